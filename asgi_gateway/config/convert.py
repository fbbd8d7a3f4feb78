"""Write a loaded configuration in either spelling, without loss.

The text is the configuration before ``${}`` was expanded: nothing from the environment ends up in a file.
Elements of the original that are not supported are listed in a comment; ``service-defaults`` are written into each
service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import yaml

from asgi_gateway.config.element_names import FieldKind, fields, singular
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.model import ConfigElement, GatewayConfig
from asgi_gateway.documents import Node, collapse

__all__ = ["to_xml", "to_yaml"]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_DASHES = re.compile(r"-(?=-)")  # two in a row would end an XML comment
_NATIVE = (
    *("allow-encoded-slash", "basic-charset-fallback", "credential-cache", "delegate", "extended-handshake", "life"),
    *("match-host", "max-authentication-attempts", "max-connections", "pass-basic", "pass-credentials", "plain-http"),
    *("preserve-host", "recheck", "require-valid-user", "same-user"),
    *("sessions-per-client", "sessions-per-user", "time-limit"),
)
_FLAT = ("realms", "services")
_ATTEMPTS, _BINDS = "max-authentication-attempts", "bind"


def to_yaml(loaded: LoadedConfig) -> str:
    """Return the configuration as YAML.

    Args:
        loaded: the configuration; ``loads`` of the result gives an equal one.
    """
    document: dict[str, Any] = {}
    if loaded.properties:
        document["properties"] = {name: _native(node.text) for name, node in loaded.properties.items()}
    document |= _plain(GatewayConfig, loaded.tree)
    comments = ["yaml-language-server: $schema=gateway.schema.json", *_ignored(loaded)]
    text = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False
    )
    return "".join(f"# {line}\n" for line in comments) + "\n" + text


def to_xml(loaded: LoadedConfig) -> str:
    """Return the configuration as XML, its elements in the original's order.

    Args:
        loaded: the configuration; ``loads`` of the result gives an equal one.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    if comments := _ignored(loaded):
        lines += ["<!--", *(f"  {_DASHES.sub('- ', line)}" for line in comments), "-->"]
    lines.append("<gateway-config>")
    if loaded.properties:
        lines.append("  <properties>")
        for name, node in loaded.properties.items():
            value = node.text
            lines += ["    <property>", _text("name", name, 6), _text("value", value, 6), "    </property>"]
        lines.append("  </properties>")
    # the original has its services before security
    root = Node(loaded.tree.mark, dict(sorted(loaded.tree.entries.items(), reverse=True)))
    lines += _elements(GatewayConfig, root, 2, in_order=False)
    return "\n".join([*lines, "</gateway-config>", ""])


def _ignored(loaded: LoadedConfig) -> list[str]:
    found = [problem for problem in loaded.problems if problem.severity == "ignored"]
    if not found:
        return []
    source = loaded.file.name if loaded.file else "the original"
    lines = [f"Left out, since asgi_gateway does not support it (by its line in {source}):"]
    lines += [f"  {problem.line}: {problem.path}" for problem in found]
    return ["".join(char if char.isprintable() else "?" for char in line) for line in lines]


# ---------------------------------------------------------------------------------------------------------------- YAML


class _Dumper(yaml.SafeDumper):
    """Indents lists inside mappings, and writes text of several lines as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _plain(cls: type[ConfigElement], node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in fields(cls).items():
        child = node.entries.get(name)
        if child is None:
            continue
        if entry.kind is FieldKind.FREE:
            found[name] = _option(child)
        elif entry.kind is FieldKind.ELEMENT and entry.element:
            found[name] = _plain(entry.element, child)
        elif entry.kind is FieldKind.ELEMENTS and entry.element:
            found[name] = [_plain(entry.element, item) for item in child.items]
        elif entry.kind is FieldKind.TEXTS:
            texts = [item.text for item in child.items]
            found[name] = texts[0] if len(texts) == 1 else texts
        elif name == "require-valid-user":
            found[name] = _native(child.text or "true")
        else:
            found[name] = _native(child.text) if name in _NATIVE or name.endswith("timeout") else child.text
    return found


def _option(node: Node) -> Any:
    if node.is_mapping:
        return {key: _option(child) for key, child in node.entries.items()}
    if node.is_sequence:
        return [_option(child) for child in node.items]
    return _native(node.text)


def _native(text: str) -> str | int | bool:
    """Return the number or boolean that a text spells in just the way YAML would."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if _NUMBER.fullmatch(text) else text


# ----------------------------------------------------------------------------------------------------------------- XML


def _elements(cls: type[ConfigElement], node: Node, indent: int, *, in_order: bool = True) -> Iterator[str]:
    known = fields(cls)
    for name in known if in_order else node.entries:
        child = node.entries.get(name)
        if child is None:
            continue
        entry = known[name]
        if entry.kind is FieldKind.FREE and name != _BINDS:
            yield from _block(name, list(_options(child, indent + 2)), indent)
        elif entry.kind is FieldKind.ELEMENT and entry.element:
            yield from _block(name, list(_elements(entry.element, child, indent + 2)), indent)
        elif entry.kind is FieldKind.ELEMENTS and entry.element:
            yield from _repeated(name, entry.element, child, indent)
        elif entry.kind is FieldKind.TEXTS:
            yield from (_text(name, item.text, indent) for item in child.items)
        elif name == _BINDS:
            yield from _block("accept-options", list(_options(child, indent + 2)), indent)
        elif name == _ATTEMPTS:
            option = _text("http.max.authentication.attempts", child.text, indent + 2)
            yield from _block("connect-options", [option], indent)
        elif name == "require-valid-user" and child.text in ("", "true"):
            yield f"{' ' * indent}<{name}/>"
        else:
            yield _text(name, child.text, indent)


def _repeated(name: str, cls: type[ConfigElement], node: Node, indent: int) -> Iterator[str]:
    one = singular(name)
    contained = one != name and name not in _FLAT
    inner = indent + 2 if contained else indent
    lines = [line for item in node.items for line in _block(one, list(_elements(cls, item, inner + 2)), inner)]
    yield from _block(name, lines, indent) if contained else lines


def _options(node: Node, indent: int) -> Iterator[str]:
    for name, child in node.entries.items():
        for item in child.items or [child]:
            if item.is_mapping:
                yield from _block(name, list(_options(item, indent + 2)), indent)
            else:
                yield _text(name, item.text, indent)


def _block(name: str, lines: list[str], indent: int) -> Iterator[str]:
    space = " " * indent
    if not lines:
        yield f"{space}<{name}/>"
        return
    yield f"{space}<{name}>"
    yield from lines
    yield f"{space}</{name}>"


def _text(name: str, text: str, indent: int) -> str:
    # without xml:space a reader collapses white space; it turns a bare carriage return into a line feed
    keep = "" if text == collapse(text) else ' xml:space="preserve"'
    escaped = escape(text, {"\r": "&#13;"})
    return f"{' ' * indent}<{name}{keep}>{escaped}</{name}>" if text else f"{' ' * indent}<{name}/>"
