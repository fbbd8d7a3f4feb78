"""Read the request about which another proxy asks, from the headers of its kind: ``forward-auth``.

Each kind of proxy has one set of headers. Those of the other kinds are not read: a proxy passes on what clients send
under names that it does not set itself. What could be read in two ways is refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.headers import single_header
from asgi_gateway.model import Headers
from asgi_gateway.services.identity import GatewayContext

__all__ = [
    "PROXY_KINDS",
    "ForwardAuthSettings",
    "ProxyKind",
    "Scope",
    "as_handshake",
    "is_handshake",
    "original_request",
]

Scope = MutableMapping[str, Any]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_URI = re.compile(rb"/[!\"$-~]*")
"""A path with or without a query: printable ASCII without a number sign, which would begin a fragment."""
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?")
_UNKNOWN_METHOD = "POST"
"""Decided on where the proxy does not name the method: requests that change something have the strictest rules."""
_HANDSHAKE = b"sec-websocket-"
"""What the names of the headers begin with that every WebSocket handshake has and no script can set (RFC 6455)."""
_SOCKET_SCHEMES = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyKind:
    """How a kind of proxy asks.

    Args:
        uri: the header with the path and query that its client asked for; None where the check's own path holds it.
        method: the header with the client's method; None where it is the check's own.
        host: the header with the client's Host; None where it is the check's own.
        knows_errors: whether it passes other responses than 200, 401 and 403 on to its client.
        passes_bodies: whether it passes the bodies of responses on. A body that it does not want costs a connection.
    """

    uri: bytes | None
    method: bytes | None
    host: bytes | None
    knows_errors: bool
    passes_bodies: bool = True


PROXY_KINDS: Mapping[str, ProxyKind] = {
    "nginx": ProxyKind(
        uri=b"x-original-uri", method=b"x-original-method", host=None, knows_errors=False, passes_bodies=False
    ),
    "traefik": ProxyKind(
        uri=b"x-forwarded-uri", method=b"x-forwarded-method", host=b"x-forwarded-host", knows_errors=True
    ),
    "caddy": ProxyKind(
        uri=b"x-forwarded-uri", method=b"x-forwarded-method", host=b"x-forwarded-host", knows_errors=True
    ),
    "haproxy": ProxyKind(
        uri=b"x-forwarded-uri", method=b"x-forwarded-method", host=b"x-forwarded-host", knows_errors=True
    ),
    "envoy": ProxyKind(uri=None, method=None, host=None, knows_errors=False),
}
"""The kinds of proxies, by the names that the configuration gives them."""


@dataclass(frozen=True, slots=True)
class ForwardAuthSettings:
    """``forward-auth``.

    Args:
        accept: the path at which proxies ask.
        kind: the name of their kind.
        identities: by the name of a service, what writes its identity headers.
    """

    accept: str
    kind: str
    identities: Mapping[str, Callable[[GatewayContext], Headers]] = field(default_factory=dict)


def is_handshake(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether headers are those of a WebSocket handshake, as far as any of them says so.

    Proxies drop Upgrade and Connection on the way to a check, so the other headers of the handshake count. A browser
    sends them with every handshake, over HTTP/2 too (RFC 8441).
    """
    for name, value in headers:
        if name.startswith(_HANDSHAKE) or (name == b"upgrade" and b"websocket" in value.lower()):
            return True
    return False


def original_request(scope: Scope, kind: ProxyKind, accept: str) -> Scope:
    """Return the ASGI scope of the request about which a proxy asks.

    Its type is ``http`` whatever the request is; client and scheme are the check's, which ``trusted-proxies`` settled.

    Args:
        scope: the check's own scope.
        kind: how the proxy asks.
        accept: the path at which it asks, without ``root_path``.

    Raises:
        HeaderError: there is no sound original URI, or the method or the host is malformed or a duplicate.
    """
    headers = scope["headers"]
    uri = _uri_in_path(scope, accept) if kind.uri is None else _uri(headers, kind.uri)
    raw_path, _, query = uri.partition(b"?")
    path = raw_path.decode("ascii")
    if "%" in path:
        path = unquote(path)
    if kind.host is not None:
        headers = _with_host(headers, kind.host)
    original: Scope = {
        **scope,
        "type": "http",
        "method": scope.get("method", "GET") if kind.method is None else _method(headers, kind.method),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
    }
    if scope["type"] == "websocket":
        original["scheme"] = {"ws": "http", "wss": "https"}.get(scope.get("scheme", ""), "")
    return original


def as_handshake(original: Scope) -> Scope:
    """Return the scope of the WebSocket handshake that an original request is.

    Args:
        original: what ``original_request`` returned.
    """
    offered = b",".join(value for name, value in original["headers"] if name == b"sec-websocket-protocol")
    return {
        **original,
        "type": "websocket",
        "scheme": _SOCKET_SCHEMES.get(original.get("scheme", ""), ""),
        "subprotocols": [each for part in offered.decode("latin-1").split(",") if (each := part.strip(" \t"))],
    }


def _uri(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    uri = single_header(headers, name)
    if uri is None:
        raise HeaderError(f"missing header {name.decode()}, the URI of the original request")
    if _URI.fullmatch(uri) is None:
        raise HeaderError(f"malformed header {name.decode()}: not a path of printable ASCII characters")
    return uri


def _uri_in_path(scope: Scope, accept: str) -> bytes:
    """Return what follows the path of forward-auth in the check's own path, with its query."""
    raw_path = scope.get("raw_path")
    before = ((scope.get("root_path") or "") + accept).encode("ascii", "replace")
    if raw_path is None or not raw_path.startswith(before):
        raise HeaderError("the path of the check does not hold the URI of the original request")
    path = raw_path.partition(b"?")[0][len(before) :]
    query = scope.get("query_string", b"")
    uri: bytes = path + b"?" + query if query else path
    if _URI.fullmatch(uri) is None:
        raise HeaderError("missing or malformed URI of the original request in the path of the check")
    return uri


def _method(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    method = single_header(headers, name)
    if method is None:
        return _UNKNOWN_METHOD
    if _TOKEN.fullmatch(method) is None:
        raise HeaderError(f"malformed header {name.decode()}")
    return method.decode("ascii")


def _with_host(headers: list[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    """Return headers whose Host is the one that the proxy names; without Host if it names none."""
    host = single_header(headers, name)
    others = [each for each in headers if each[0] != b"host"]
    if host is None:
        return others
    if _HOST.fullmatch(host) is None:
        raise HeaderError(f"malformed header {name.decode()}")
    return [(b"host", host), *others]
