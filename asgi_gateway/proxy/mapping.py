"""Map a request's target to the back end's.

The accept's path is replaced by the connect's, by segments. The rest goes on byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.services.paths import folded

__all__ = ["MappedPath", "PathMapping"]

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_UNSENDABLE = re.compile(rb"[^!-~]|#")
_KNOWN_PATHS = 1024
_KNOWN_LENGTH = 256
_SEGMENT = "!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class MappedPath:
    """A frozen request path in two parts, both as they were sent.

    Args:
        prefix: the root path and the accept's path, which the connect's path replaces; no slash at its end.
        rest: what follows; empty, or begins with a slash.
    """

    prefix: str
    rest: str

    def target(self, connect: ConnectURL, query: bytes = b"") -> str:
        """Return the target that a back end gets: path and query (RFC 9112 section 3.2.1).

        Args:
            connect: the back end.
            query: the query without its question mark.
        """
        path = f"{connect.path}{self.rest}" or "/"
        return f"{path}?{sendable(query)}" if query else path


class PathMapping:
    """Maps the paths of one service.

    Args:
        accepts: the paths of its accept URLs, decoded, without a slash at their end; empty for every path.
    """

    def __init__(self, accepts: Iterable[str]) -> None:
        paths = sorted(accepts, key=len, reverse=True)  # the longest one decides, as where services are looked up
        self._accepts = tuple(paths)
        self._known: BoundedCache[tuple[str, bytes | None, str], MappedPath] = BoundedCache(_KNOWN_PATHS)

    def split(self, scope: Mapping[str, Any]) -> MappedPath:
        """Return the two parts of a request's path.

        The raw path counts only if it says the same as the path that was decided on. Else that path is sent.

        Args:
            scope: the ASGI scope. Its ``root_path`` is a leading part of its path, or empty.

        Raises:
            ValueError: no accept path is a leading part of the path.
        """
        key = (scope["path"], scope.get("raw_path"), scope.get("root_path") or "")
        found = self._known.get(key)
        if found is None:
            found = self._split(*key)
            if len(key[0]) <= _KNOWN_LENGTH:
                self._known.put(key, found)
        return found

    def _split(self, path: str, raw_path: bytes | None, root: str) -> MappedPath:
        raw = _raw_path(path, root, raw_path)
        accept = self._accept(path[len(root) :])
        if raw == path:  # no byte was encoded
            end = len(root) + len(accept)
            return MappedPath(path[:end], path[end:])
        segments = raw.split("/")
        # a slash that was sent encoded is inside a segment, and never in the part that the accept's path matched
        skipped = root.count("/") + accept.count("/") + 1
        prefix, rest = segments[:skipped], segments[skipped:]
        decoded = "/".join(unquote_to_bytes(each).decode("utf-8", "replace") for each in prefix)
        if decoded != root + accept and folded(decoded) != folded(root + accept):
            raise ValueError("the raw path is not below the accept path")
        return MappedPath("/".join(prefix), "".join(f"/{each}" for each in rest))

    def _accept(self, below: str) -> str:
        for accept in self._accepts:
            if below.startswith(accept) and below[len(accept) : len(accept) + 1] in ("", "/"):
                return accept
        raise ValueError("no accept path is a leading part of the path")


def sendable(text: bytes) -> str:
    """Return a path or query in characters that a request line can carry; what it cannot carry is percent-encoded."""
    if _UNSENDABLE.search(text):
        text = _UNSENDABLE.sub(lambda match: b"%%%02X" % match[0][0], text)
    return text.decode("ascii")


def _raw_path(path: str, root: str, raw: bytes | None) -> str:
    """Return the whole path as it was sent; what the path would be encoded, where the server does not say it."""
    if raw is None:
        return _quoted(path)
    raw = raw.partition(b"?")[0]
    if not raw.startswith(b"/") and (match := _ABSOLUTE.match(raw)) is not None:
        raw = raw[match.end() :] or b"/"
    if b"%" not in raw and raw.isascii():
        decoded = raw.decode("ascii")
    else:
        decoded = unquote_to_bytes(raw).decode("utf-8", "replace")
    if decoded == path:
        return sendable(raw)
    if root and decoded == path[len(root) :]:  # some servers leave the root out
        return _quoted(root) + sendable(raw)
    return _quoted(path)


def _quoted(path: str) -> str:
    return quote(path, safe="/" + _SEGMENT, errors="replace")
