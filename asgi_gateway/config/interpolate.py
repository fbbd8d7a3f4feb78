"""Expand ``${name}`` in values.

A definition from outside wins, so that one file serves several hosts: those given with ``-D name=value``, then an
environment variable of exactly that name, then the file's ``properties``, then the names that are built in. The result
of an expansion is not expanded again, except that a property may use the properties above it. ``$${`` stands for a
literal ``${``. Keys are never expanded, and no message shows a value.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from asgi_gateway.config.normalize import NormalizedTree
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Node

__all__ = ["BUILT_IN", "SETTINGS", "Definitions", "Source", "expand"]

Source: TypeAlias = Literal["definition", "environment", "properties", "built-in"]
"""Where the value of a name comes from."""

BUILT_IN: Mapping[str, Callable[[], str]] = {
    "hostname": socket.gethostname,
    "cloud.host": socket.gethostname,
    "cloud.instanceId": socket.gethostname,
}
"""Names that KAAZING Gateway knows without a definition. No cloud's metadata service is asked for them."""

SETTINGS = frozenset(("http.authenticator",))
"""Names of definitions that set something themselves, so that no value need refer to them."""

_REFERENCE = re.compile(r"(\$)?\$\{(?:([^{}]*)\})?")


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions from outside the file.

    Args:
        given: those of ``-D``, or of the argument ``properties``.
        environment: the environment variables.
    """

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def expand(normalized: NormalizedTree, definitions: Definitions) -> tuple[Any, dict[str, Source]]:
    """Expand every reference of a tree.

    Args:
        normalized: the tree; references that cannot be expanded are added to its problems.
        definitions: the definitions from outside the file.

    Returns:
        The tree as dicts, lists and text; and where the value of each name that is used comes from.
    """
    expander = _Expander(normalized, definitions)
    for name, node in normalized.properties.items():
        if expander.outside(name) is None:
            expander.properties[name] = expander.text(node, ("properties", name))
    values = expander.node(normalized.root, ())
    for name in definitions.given.keys() - SETTINGS - expander.sources.keys() - normalized.properties.keys():
        known = expander.sources.keys() | normalized.properties.keys()
        hint = did_you_mean(name, known) if known else ""
        message = f"unused definition: the configuration has no ${{{name[:80]}}}"
        normalized.problems.append(normalized.root.mark.problem(message, hint=hint, severity="warning"))
    return values, dict(sorted(expander.sources.items()))


class _Expander:
    def __init__(self, normalized: NormalizedTree, definitions: Definitions) -> None:
        self.normalized = normalized
        self.definitions = definitions
        self.properties: dict[str, str] = {}
        self.sources: dict[str, Source] = {}

    def node(self, node: Node, path: ConfigPath) -> Any:
        if isinstance(node.value, dict):
            return {key: self.node(child, (*path, key)) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.node(child, (*path, index)) for index, child in enumerate(node.value)]
        return self.text(node, path)

    def text(self, node: Node, path: ConfigPath) -> str:
        if "${" not in node.text:
            return node.text
        return _REFERENCE.sub(lambda match: self.reference(match, node, path), node.text)

    def reference(self, match: re.Match[str], node: Node, path: ConfigPath) -> str:
        escaped, name = match.groups()
        if escaped:
            return match[0][1:]
        if name and (found := self.look_up(name)) is not None:
            source, value = found
            self.sources[name] = source
            return value
        if name is None:
            message, hint = "unclosed reference: ${ without }", "write $${ for a literal ${"
        else:
            message = f"undefined reference ${{{name[:80]}}}: no property above it and no environment variable"
            hint = (
                did_you_mean(name, self.properties) if self.properties else "add it to properties, or give it with -D"
            )
        self.normalized.problems.append(node.mark.problem(message, path=path_text(path), hint=hint))
        self.normalized.broken.append(path)
        return ""

    def look_up(self, name: str) -> tuple[Source, str] | None:
        if (outside := self.outside(name)) is not None:
            return outside
        if name in self.properties:
            return "properties", self.properties[name]
        return ("built-in", BUILT_IN[name]()) if name in BUILT_IN else None

    def outside(self, name: str) -> tuple[Source, str] | None:
        if name in self.definitions.given:
            return "definition", self.definitions.given[name]
        if name in self.definitions.environment:
            return "environment", self.definitions.environment[name]
        return None
