"""Which path the application will see, and which paths are refused because two parties may read them differently.

A gateway that decides on one reading of a path while the application acts on another protects nothing. Such paths are
refused, never normalised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["confusion", "path_below_root"]

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|\Z)")
_ENCODED_SEPARATOR = re.compile(rb"%(?:2[fF]|5[cC]|00|2[eE])")


def path_below_root(scope: Mapping[str, Any]) -> str:
    """The scope's path without its ``root_path``, just as Starlette's router and Django take it off."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not path.startswith(root):
        return path
    if path == root:
        return ""
    return path[len(root) :] if path[len(root)] == "/" else path


def confusion(path: str, raw_path: bytes | None = None) -> str | None:
    """Why a path is refused, or None if it has one reading only.

    Args:
        path: the percent-decoded path of the scope.
        raw_path: the path as it was sent, if the server tells.
    """
    if path.isascii():
        if not path.isprintable():
            return "a control character"
    elif (reason := _unicode_confusion(path)) is not None:
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


def _unicode_confusion(path: str) -> str | None:
    if not path.isprintable():
        return "a control or invisible character"
    if "\ufffd" in path:
        return "bytes that are not UTF-8"
    folded = unicodedata.normalize("NFKC", path)
    if any(folded.count(character) != path.count(character) for character in "/\\.;%"):
        return "a character that looks like a separator"
    return None
