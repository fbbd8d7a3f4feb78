"""Parse accept URLs: which requests a service accepts."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass

from asgi_gateway.model import Protocol
from asgi_gateway.services.paths import ambiguity

__all__ = ["AcceptURL", "parse_accept"]

_BOTH: frozenset[Protocol] = frozenset(("http", "websocket"))
_HTTP: frozenset[Protocol] = frozenset(("http",))
_WEBSOCKET: frozenset[Protocol] = frozenset(("websocket",))
_KINDS: dict[str, frozenset[Protocol]] = {"http": _HTTP, "https": _HTTP, "ws": _WEBSOCKET, "wss": _WEBSOCKET}
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/:\[\]@?#\s]+)(?::([0-9]{1,5}))?(/.*)?", re.IGNORECASE)
# Schemes of the original that have a path of HTTP: a request for that path reaches this gateway, too.
_OVER_HTTP = re.compile(r"(sse|httpxe?|wse|wsn|wsr|wsx)(s|\+ssl)?")
_OTHER = re.compile(r"(agrona|amqps?|jmx|mcp|pipe|rtmp[st]?|snmp|socks|ssl|tcp|tls|udp)(\+ssl)?")
# What a canonical path never contains: the gateway refuses requests whose path has any of it.
_CONFUSABLE = re.compile(r"[\x00-\x1f\x7f\\%?#;]|//|/\.{1,2}(/|$)")
# A pattern of other tools, of which none would ever match as it is written.
_PATTERN = re.compile(r"[*{}<>|^\[\]]|(?<=/):|\$(?=/|$)")
_SEVERAL = re.compile(r"[\s,;|]+(?:or\s+|and\s+)?(?:/|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AcceptURL:
    """A parsed accept URL.

    Args:
        kinds: ``http``, ``websocket`` or both; none for a transport that has no requests, such as ``tcp``.
        path: a canonical path without a slash at its end; ``/`` for everything; empty for a transport without paths.
        scheme: the URL's scheme in lower case; empty for a path alone.
        host: the URL's host in lower case, or None. It counts with ``match-host``, and for where the server listens.
        port: the URL's port, or None when it names none. Likewise.
        unsupported: the URL's scheme, if it is one of KAAZING Gateway's that this gateway does not serve.
    """

    kinds: frozenset[Protocol]
    path: str
    _: KW_ONLY
    scheme: str = ""
    host: str | None = None
    port: int | None = None
    unsupported: str = ""


def parse_accept(text: str) -> AcceptURL:
    """Parse ``/path`` or a URL such as ``ws://host:port/path``.

    Args:
        text: the accept URL. A path alone accepts HTTP and WebSocket.

    Returns:
        The parsed URL. Schemes of KAAZING Gateway that are not served are marked ``unsupported``.

    Raises:
        ValueError: the text is neither a path nor a URL, is a pattern or a list, or has a path that no request can
            have. Text after ``"; "`` is a hint.
    """
    if _SEVERAL.search(text):
        raise ValueError("several paths in one accept; write one accept for each path")
    if text.startswith("/") and not text.startswith("//"):
        return AcceptURL(_BOTH, _path(text))
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if _OTHER.fullmatch(scheme):
        return AcceptURL(frozenset(), "", scheme=scheme, unsupported=scheme)
    match = _URL.fullmatch(text)
    if match is None:
        hint = "write / for every path" if "*" in text else "write /path or ws://host:port/path"
        raise ValueError(f"neither a path nor a URL; {hint}")
    _, host, port, path = match.groups()
    over_http = _OVER_HTTP.fullmatch(scheme) is not None
    kinds = _HTTP if over_http else _KINDS.get(scheme)
    if kinds is None:
        raise ValueError(f"unknown scheme {scheme}; write an http, https, ws or wss URL")
    if port is not None and not 0 < int(port) < 65536:
        raise ValueError("port must be 1-65535")
    return AcceptURL(
        kinds,
        _path(path or "/"),
        scheme=scheme,
        host=host.lower(),
        port=int(port) if port else None,
        unsupported=scheme if over_http else "",
    )


def _path(path: str) -> str:
    if match := _PATTERN.search(path):
        prefix = path[: match.start()].rpartition("/")[0] or "/"
        hint = f"a path accepts everything below it: write {prefix}, or one accept for each of several paths"
        raise ValueError(f"patterns are not supported in an accept path; {hint}")
    if _CONFUSABLE.search(path) or ambiguity(path) is not None:
        raise ValueError("invalid path: no request can have it; write it decoded, without dot segments, ; ? # % or //")
    if path != path.strip():
        raise ValueError("invalid path: white space at its end; remove it")
    return path.rstrip("/") or "/"
