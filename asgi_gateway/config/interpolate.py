"""``${name}`` in values: from the file's properties first, then from the environment.

What an expansion gives is not expanded again, except that a property may use the properties above it. ``$${`` stands
for a literal ``${``. Keys are never expanded, and no message shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asgi_gateway.config.normalize import NormalizedTree
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Node

__all__ = ["expand"]

_REFERENCE = re.compile(r"(\$)?\$\{(?:([^{}]*)\})?")


def expand(normalized: NormalizedTree, environment: Mapping[str, str]) -> Any:
    """The normalized tree as dicts, lists and text, with every reference expanded.

    Args:
        normalized: the tree; what cannot be expanded is added to its problems.
        environment: names that no property has.
    """
    expander = _Expander(normalized, environment)
    for name, node in normalized.properties.items():
        expander.known[name] = expander.text(node, ("properties", name))
    return expander.node(normalized.root, ())


class _Expander:
    def __init__(self, normalized: NormalizedTree, environment: Mapping[str, str]) -> None:
        self.normalized = normalized
        self.environment = environment
        self.known: dict[str, str] = {}

    def node(self, node: Node, path: ConfigPath) -> Any:
        if isinstance(node.value, dict):
            return {key: self.node(child, (*path, key)) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.node(child, (*path, index)) for index, child in enumerate(node.value)]
        return self.text(node, path)

    def text(self, node: Node, path: ConfigPath) -> str:
        return (
            _REFERENCE.sub(lambda match: self.reference(match, node, path), node.text)
            if "${" in node.text
            else node.text
        )

    def reference(self, match: re.Match[str], node: Node, path: ConfigPath) -> str:
        escaped, name = match.groups()
        if escaped:
            return match[0][1:]
        if name in self.known:
            return self.known[name]
        if name and name in self.environment:
            return self.environment[name]
        if name is None:
            message, hint = "${ is not closed by }", "write $${ for a literal ${"
        else:
            message = f"nothing is called ${{{name[:80]}}}: no property above and no environment variable"
            hint = did_you_mean(name, self.known) if self.known else "add it to properties or to the environment"
        self.normalized.problems.append(node.mark.problem(message, path=path_text(path), hint=hint))
        self.normalized.broken.append(path)
        return ""
