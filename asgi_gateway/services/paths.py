"""The path that a request is decided on, and which paths are ambiguous.

A gateway that decides on one reading of a path while the application acts on another protects nothing. An ambiguous
path is refused, never normalised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

__all__ = ["ambiguity", "folded", "is_below", "path_below_root", "with_encoded_slashes"]

_ENCODED = re.compile(r"%(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
"""``%uXXXX`` is how IIS and older software encode characters."""
_DOT_SEGMENT = re.compile(r"/\.{1,2}(?:/|\Z)")
_ENCODED_SEPARATOR = re.compile(rb"%(?:2[fF]|5[cC]|00|2[eE])")
_ENCODED_SLASH = re.compile(rb"%2[fF]")
_NOT_UTF8 = re.compile("[\ud800-\udfff\ufffd]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# the characters with the property Default_Ignorable_Code_Point: some file systems and normal forms remove them
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


_MOST_COMBINING = 30
"""As in the Stream-Safe Text Format (UAX #15). Longer runs take normalization a time that grows with their square."""


def path_below_root(scope: Mapping[str, Any]) -> str:
    """Return the scope's path without its ``root_path``.

    Args:
        scope: A scope whose ``root_path`` has been checked by ``RootPath.settle``.

    Raises:
        ValueError: The ``root_path`` is not a leading part of the path. Frameworks disagree on how to read such a path.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if not root:
        return path
    if not is_below(path, root):
        raise ValueError(f"root_path {root!r} is not a leading part of the path")
    return path[len(root) :]


def is_below(path: str, root: str) -> bool:
    """Return whether a path is a root without a slash at its end, or lies below it, segment by segment."""
    return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


def ambiguity(path: str, raw_path: bytes | None = None, *, encoded_slash: bool = False) -> str | None:
    """Return why a path is ambiguous; None if it is canonical.

    Args:
        path: The percent-decoded path of the scope.
        raw_path: The path as it was sent, or None if the server does not pass it on.
        encoded_slash: Take ``%2F`` in the raw path as a part of a segment, which it must not make a dot segment of.

    Returns:
        A few words for the log, or None.
    """
    raw = b"" if raw_path is None else raw_path.partition(b"?")[0]
    encoded_slash = encoded_slash and _ENCODED_SLASH.search(raw) is not None
    if path.isascii():
        reason = None if path.isprintable() else "a control character"
    else:
        reason = _unicode_ambiguity(path, empty_segments=encoded_slash)
    reason = reason or _structural_ambiguity(path, empty_segments=encoded_slash)
    if reason is None and b"%" in raw:
        if encoded_slash:
            reason = "an empty segment" if b"//" in raw else None
            raw = _ENCODED_SLASH.sub(b"/", raw)
        if _ENCODED_SEPARATOR.search(raw):
            reason = "an encoded separator"
    return reason


def folded(path: str) -> str:
    """Return a path as software reads it that normalises Unicode: in the form NFKC, without ignorable characters."""
    return path if path.isascii() else unicodedata.normalize("NFKC", _IGNORABLE.sub("", path))


def with_encoded_slashes(path: str, raw_path: bytes) -> str | None:
    """Return a path as an application reads it that splits ``raw_path``: slashes that were sent encoded stay ``%2F``.

    Args:
        path: The path below the root, as the server decoded it.
        raw_path: The whole path as it was sent.

    Returns:
        The path below the root, or None if raw_path is not that of the path, or has an encoded slash in its root.
    """
    raw = raw_path.partition(b"?")[0]
    decoded, kept = (
        unquote_to_bytes(each).decode("utf-8", "replace") for each in (raw, _ENCODED_SLASH.sub(b"%252F", raw))
    )
    root = decoded.removesuffix(path)
    if root + path != decoded or not is_below(kept, root):
        return None
    return kept[len(root) :]


def _structural_ambiguity(path: str, *, empty_segments: bool = False) -> str | None:
    found = None
    if "//" in path and not empty_segments:
        found = "an empty segment"
    elif "\\" in path:
        found = "a backslash"
    elif ";" in path:
        found = "a path parameter"
    elif "/." in path and _DOT_SEGMENT.search(path):
        found = "a dot segment"
    elif "%" in path and _ENCODED.search(path):
        found = "percent-encoding that is encoded again"
    elif path and path[0] != "/":
        found = "no slash in front"
    return found


def _unicode_ambiguity(path: str, *, empty_segments: bool) -> str | None:
    """Return why a path may be read differently once it is normalised; unusual characters alone are no reason."""
    if _CONTROL.search(path):
        return "a control character"
    if _NOT_UTF8.search(path):
        return "bytes that are not UTF-8"
    if _has_long_run(_IGNORABLE.sub("", path)):
        return f"more than {_MOST_COMBINING} combining characters in a row"
    normalized = folded(path)
    if normalized.count("/") != path.count("/"):
        return "a character that looks like a separator"
    if normalized == path:
        return None
    reason = _structural_ambiguity(normalized, empty_segments=empty_segments and "//" in path)
    return reason and f"{reason} once it is normalized"


def _has_long_run(text: str) -> bool:
    run = 0
    for combining_class in map(unicodedata.combining, text):
        run = run + 1 if combining_class else 0
        if run > _MOST_COMBINING:
            return True
    return False
