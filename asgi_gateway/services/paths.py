"""The path that a request is decided on, and which paths are ambiguous.

A gateway that decides on one reading of a path while the application acts on another protects nothing. An ambiguous
path is refused, never normalised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["ambiguity", "path_below_root"]

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|\Z)")
_ENCODED_SEPARATOR = re.compile(rb"%(?:2[fF]|5[cC]|00|2[eE])")


def path_below_root(scope: Mapping[str, Any]) -> str:
    """Return the scope's path without its ``root_path``, as Starlette's router and Django remove it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    if path == root:
        return ""
    return path[len(root) :] if path[len(root)] == "/" else path


def ambiguity(path: str, raw_path: bytes | None = None) -> str | None:
    """Return why a path is ambiguous; None if it is canonical.

    Args:
        path: The percent-decoded path of the scope.
        raw_path: The path as it was sent, or None if the server does not pass it on.

    Returns:
        A few words for the log, or None.
    """
    if path.isascii():
        if not path.isprintable():
            return "a control character"
    elif (reason := _unicode_ambiguity(path)) is not None:
        return reason
    if "//" in path:
        return "an empty segment"
    if "\\" in path:
        return "a backslash"
    if ";" in path:
        return "a path parameter"
    if "/." in path and _DOT_SEGMENT.search(path):
        return "a dot segment"
    if "%" in path and _ENCODED.search(path):
        return "percent-encoding that is encoded again"
    if raw_path is not None and b"%" in raw_path and _ENCODED_SEPARATOR.search(raw_path.partition(b"?")[0]):
        return "an encoded separator"
    if path and path[0] != "/":
        return "no slash in front"
    return None


def _unicode_ambiguity(path: str) -> str | None:
    if not path.isprintable():
        return "a control or invisible character"
    if "\ufffd" in path:
        return "bytes that are not UTF-8"
    folded = unicodedata.normalize("NFKC", path)
    if any(folded.count(character) != path.count(character) for character in "/\\.;%"):
        return "a character that looks like a separator"
    return None
