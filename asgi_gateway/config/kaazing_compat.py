"""What the original's services say in their own way: options of transports, and the deprecated constraint."""

from __future__ import annotations

import re
from collections.abc import Callable

from asgi_gateway.config.element_names import ignored_option
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.documents import Mark, Node

__all__ = ["prepare_service"]

_OPTIONS = {
    "accept-options": ("http.realm", "realm-name"),
    "connect-options": ("http.max.authentication.attempts", "max-authentication-attempts"),
}


def prepare_service(node: Node, path: ConfigPath, add_problem: Callable[..., None]) -> Node:
    """A service with the original's own elements replaced by what they mean here.

    Args:
        node: the service as it was written.
        path: where it stands.
        add_problem: takes a mark, a path, a message, a hint and a severity.
    """
    entries: dict[str, Node] = {}
    keys: dict[str, Mark] = {}

    def add(name: str, mark: Mark, value: Node) -> None:
        if name in entries:
            add_problem(mark, (*path, name), "stands here a second time in other words", "keep one")
        entries.setdefault(name, value)
        keys.setdefault(name, mark)

    for key, child in node.entries.items():
        mark = node.keys[key]
        if key in ("auth-constraint", "auth-constraints"):
            hint = "write authorization-constraint"
            add_problem(mark, (*path, key), f"{key} is a deprecated name", hint, "warning")
            add("authorization-constraint", mark, child)
        elif key in _OPTIONS:
            _options(key, child, path, add_problem, add)
        else:
            add(key, mark, child)
    return Node(node.mark, entries, keys=keys)


def _options(
    key: str, node: Node, path: ConfigPath, add_problem: Callable[..., None], add: Callable[[str, Mark, Node], None]
) -> None:
    wanted, name = _OPTIONS[key]
    if not node.is_mapping and node.value != "":
        add_problem(node.mark, (*path, key), f"options are names with values, not {node.kind}")
    for option, value in node.entries.items():
        mark = node.keys[option]
        if option == wanted:
            add(name, mark, _words(value) if name == "realm-name" else value)
        elif ignored_option(option):
            add_problem(mark, (*path, key, option), "means nothing to an ASGI gateway", severity="ignored")
        else:
            message = f"there is no {option[:80]!r} in {key}"
            add_problem(mark, (*path, key, option[:80]), message, did_you_mean(option, [wanted]))


def _words(node: Node) -> Node:
    """The words of a list such as ``demo, second``; YAML may write a list of its own."""
    if not node.is_scalar:
        return node
    words = [Node(node.mark, word, word) for word in re.split(r"\s*,\s*|\s+", node.text.strip()) if word]
    return Node(node.mark, list(words))
