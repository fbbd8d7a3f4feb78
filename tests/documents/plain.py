"""A YAML tree without its positions, as tests compare it."""

from __future__ import annotations

from typing import Any

from asgi_gateway.documents import Node

__all__ = ["plain"]


def plain(node: Node) -> Any:
    """Return the node as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value
