"""Turn every source into one kind of tree: XML, YAML and dicts become nodes whose scalars are all text.

XML has nothing but text, so YAML's numbers and booleans count as they are spelt: the same configuration is then the
same tree, and ``name: no`` is a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgi_gateway.documents import Mark, Node, XmlElement, collapse
from asgi_gateway.documents.nodes import MAX_DEPTH
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["from_mapping", "from_xml", "from_yaml", "text_node"]

_ORIGINAL = re.compile(r"http://xmlns\.kaazing\.(org|com)/[0-9]{4}/[0-9]{2}/gateway")
"""The namespaces of the original's files, by the year and month of its versions."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_node(mark: Mark, text: str) -> Node:
    """Return a scalar."""
    return Node(mark, text, text)


def from_yaml(node: Node, problems: list[Problem]) -> Node:
    """Return a YAML document's tree; null is the empty text, as an empty element is."""
    if isinstance(node.value, dict):
        entries = {key: from_yaml(child, problems) for key, child in node.value.items()}
        return Node(node.mark, entries, keys=node.keys)
    if isinstance(node.value, list):
        return Node(node.mark, [from_yaml(child, problems) for child in node.value])
    return _checked(node.mark, "" if node.value is None else node.text, problems)


def from_mapping(value: Any, problems: list[Problem], path: str = "", depth: int = 0) -> Node:
    """Return the tree of a dict of the YAML form, which has no positions.

    Raises:
        ConfigError: a key or a value has a type that YAML does not have, or the dict is nested too deeply.
    """
    mark = Mark()
    if depth > MAX_DEPTH:
        raise ConfigError(mark.problem(f"nested deeper than {MAX_DEPTH} levels", path=path))
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(mark.problem(f"invalid key of type {type(key).__name__}: keys are text", path=path))
        entries = {key: from_mapping(child, problems, f"{path}.{key}", depth + 1) for key, child in value.items()}
        return Node(mark, entries, keys=dict.fromkeys(entries, mark))
    if isinstance(value, list | tuple):
        return Node(mark, [from_mapping(v, problems, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)])
    if value is None:
        return text_node(mark, "")
    if isinstance(value, bool):
        return text_node(mark, str(value).lower())
    if isinstance(value, str | int | float | Path):
        return _checked(mark, str(value), problems)
    message = f"invalid value of type {type(value).__name__}: expected text, a number, a boolean, a list or a dict"
    raise ConfigError(mark.problem(message, path=path.lstrip(".")))


def from_xml(element: XmlElement, problems: list[Problem]) -> Node:
    """Return an XML document's tree: elements of one name become a list under it.

    Raises:
        ConfigError: the root is not that of a configuration.
    """
    root = _from_element(element, problems)
    if element.name == "gateway-config":
        return _with_original_defaults(root) if _ORIGINAL.fullmatch(element.namespace) else root
    if element.name == "security":
        return Node(element.mark, {"security": root}, keys={"security": element.mark})
    hint = "the root of a configuration is <gateway-config> or <security>"
    raise ConfigError(element.mark.problem(f"unknown root element <{element.name}>", hint=hint))


def _with_original_defaults(root: Node) -> Node:
    """Return the tree of a file of the original with what the original does without being told."""
    if "extended-handshake" in root.entries or not root.is_mapping:
        return root
    entries = {**root.entries, "extended-handshake": text_node(root.mark, "true")}
    return Node(root.mark, entries, keys={**root.keys, "extended-handshake": root.mark})


def _from_element(element: XmlElement, problems: list[Problem]) -> Node:
    for name in element.attributes:
        if name != "xml:space":
            message = f"<{element.name}> has an attribute {name!r}: attributes are not supported"
            problems.append(element.mark.problem(message, hint=f"write an element <{name}> inside it"))
    if not element.children:
        return _text(element, problems)
    if element.text.strip():
        message = f"<{element.name}> has text between its elements"
        problems.append(element.mark.problem(message, hint="remove the text, or put it into an element"))
    found: dict[str, list[XmlElement]] = {}
    for child in element.children:
        found.setdefault(child.name, []).append(child)
    entries = {}
    for name, children in found.items():
        nodes = [_from_element(child, problems) for child in children]
        entries[name] = nodes[0] if len(nodes) == 1 else Node(nodes[0].mark, nodes)
    keys = {name: children[0].mark for name, children in found.items()}
    return Node(element.mark, entries, keys=keys)


def _text(element: XmlElement, problems: list[Problem]) -> Node:
    text = element.text if element.attributes.get("xml:space") == "preserve" else collapse(element.text)
    if element.cdata:
        # files written after the original's own example double the escape: &amp; inside CDATA, where & is meant
        text = text.replace("&amp;", "&")
    return text_node(element.mark, text)


def _checked(mark: Mark, text: str, problems: list[Problem]) -> Node:
    if _NOT_XML.search(text):
        problems.append(mark.problem("invalid control character", hint="remove it"))
        text = _NOT_XML.sub("", text)
    return text_node(mark, text)
