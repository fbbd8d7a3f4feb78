"""AcceptURL URLs: which requests a service takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asgi_gateway.model import Protocol
from asgi_gateway.services.paths import ambiguity

__all__ = ["AcceptURL", "parse_accept"]

_BOTH: frozenset[Protocol] = frozenset(("http", "websocket"))
_KINDS: dict[str, frozenset[Protocol]] = {
    "http": frozenset(("http",)),
    "https": frozenset(("http",)),
    "ws": frozenset(("websocket",)),
    "wss": frozenset(("websocket",)),
}
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/:\[\]@?#\s]+)(?::([0-9]{1,5}))?(/.*)?", re.IGNORECASE)
# what a canonical path never holds: the gateway refuses requests whose path has any of it
_CONFUSABLE = re.compile(r"[\x00-\x1f\x7f\\%?#;]|//|/\.{1,2}(/|$)")


@dataclass(frozen=True, slots=True)
class AcceptURL:
    """A parsed accept URL.

    Args:
        kinds: ``http``, ``websocket`` or both.
        path: a canonical path without a slash at its end; ``/`` takes everything.
        host: the URL's host in lower case, or None. It counts only with ``match-host``.
        port: the URL's port, or None when it names none. It counts only with ``match-host``.
    """

    kinds: frozenset[Protocol]
    path: str
    host: str | None = None
    port: int | None = None


def parse_accept(text: str) -> AcceptURL:
    """Parse ``/path`` or a URL such as ``ws://host:port/path``.

    Args:
        text: the accept URL. A path alone takes HTTP and WebSocket.

    Raises:
        ValueError: it is neither, or no request could ever have such a path.
    """
    if text.startswith("/") and not text.startswith("//"):
        return AcceptURL(_BOTH, _path(text))
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("neither a path nor a URL; write /path or ws://host:port/path")
    scheme, host, port, path = match.groups()
    kinds = _KINDS.get(scheme.lower())
    if kinds is None:
        raise ValueError(f"takes http, https, ws and wss URLs, not {scheme}")
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError("there is no such port")
    return AcceptURL(kinds, _path(path or "/"), host.lower(), int(port) if port else None)


def _path(path: str) -> str:
    if _CONFUSABLE.search(path) or ambiguity(path) is not None:
        raise ValueError("has a path that no request can have; write it decoded, without dot segments, ; ? # % or //")
    return path.rstrip("/") or "/"
