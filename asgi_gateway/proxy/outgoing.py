"""Write the headers of requests to back ends, HTTP and WebSocket alike. No other code writes any.

The order matters. Hop-by-hop headers go first, with those that ``Connection`` names, so that a client can remove
nothing that the gateway writes. Then the client's credentials and every alias of an identity header are taken out. Then
Host, Via, X-Forwarded-*, Forwarded and the identity headers are written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.identity import IdentityWriter, folded_name
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.services.identity import SCOPE_KEY, GatewayContext
from asgi_gateway.services.trusted_proxies import real_peer

__all__ = ["VIA_NAME", "OutgoingRequest", "RequestRefused", "may_carry_identity", "own_cookie_pattern"]

VIA_NAME = b"asgi-gateway"
"""The gateway's name in Via (RFC 9110 section 7.6.3)."""
_MAX_HOPS = 10
"""How many gateways a request may pass; more are a loop."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_NODE = re.compile(r"[A-Za-z0-9._-]+")
_KNOWN_NAMES = 2000
_KNOWN_LENGTH = 64
_KNOWN_CLIENTS = 1000


# What becomes of a client's header; integers, whose hash costs nothing.
_KEEP, _DROP, _REFUSE, _CONNECTION, _HOST_RULE, _COOKIE, _CREDENTIAL, _ORIGIN, _VIA, _FORWARDING_RULE = range(1, 11)

_HOP_BY_HOP = (
    b"keep-alive",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"content-length",  # the body's framing is written by what sends it
    b"upgrade",
    b"http2-settings",
    b"expect",
    b"proxy",  # CGI programs would take it for the variable HTTP_PROXY
    b"sec-challenge-identity",
)
_FORWARDING = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"client-ip",
    b"fastly-client-ip",
    b"front-end-https",
    b"x-envoy-external-address",
    b"x-original-forwarded-for",
    b"x-original-host",
    b"x-scheme",
    b"x-url-scheme",
    b"x-original-url",
    b"x-original-uri",
    b"x-rewrite-url",
)
"""What only a proxy may say of a client and of its request; with every other ``X-Forwarded-*``."""
_MEANINGFUL = (
    b"authorization",
    b"cache-control",
    b"connection",
    b"cookie",
    b"date",
    b"host",
    b"origin",
    b"pragma",
    b"range",
    b"referer",
    b"user-agent",
    b"via",
)
_FRAMING = frozenset((b"transfer-encoding", b"content-length", b"proxy-connection", b"keep-alive", b"http2-settings"))
"""Names whose aliases with ``_`` or ``.`` a back end may take for the names themselves."""
_KEPT_ALTHOUGH_LISTED = frozenset((b"host", b"content-length", b"via", b"cache-control"))
_PLAIN_CONNECTION = frozenset((b"close", b"keep-alive", b"upgrade", b""))


class RequestRefused(Exception):
    """The request cannot be passed on: the client gets this status.

    Args:
        status: the HTTP status.
        reason: why, for the log; shows no secret.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class OutgoingRequest:
    """Writes what the back ends of one service get of a request: headers, query and subprotocols.

    Args:
        settings: what the service says of its back ends.
        identity: writes the identity headers.
    """

    def __init__(self, settings: ProxySettings, identity: IdentityWriter) -> None:
        self._settings = settings
        self._identity = identity
        self._credentials = settings.credentials
        self._removes = not settings.pass_credentials
        self._is_ticket = settings.credentials.is_ticket
        self._own_cookie = own_cookie_pattern(settings.credentials.session_cookie)
        self._cookies = frozenset(name.encode("utf-8") for name in settings.credentials.cookies)
        named = [re.escape(name) for name in self._cookies] + (
            [] if self._own_cookie is None else [self._own_cookie.pattern]
        )
        self._cookie_names = re.compile(rb"|".join(named) or rb"(?!)", re.IGNORECASE)
        self._parameters = settings.credentials.parameters
        self._prefixes = tuple(f"{name}." for name in settings.credentials.subprotocols)
        self._stripped = identity.folded_names
        self._credential_names = frozenset(map(folded_name, settings.credentials.headers))
        self._static = {name: self._rule(name) for name in (*_HOP_BY_HOP, *_FORWARDING, b"host", b"cookie", b"accept")}
        self._rules = dict(self._static)
        self._hosts = {each: each.authority.encode("ascii", "replace") for each in settings.connects}
        self._known: BoundedCache[tuple[object, ...], list[tuple[bytes, bytes]]] = BoundedCache(_KNOWN_CLIENTS)

    def headers(self, scope: Mapping[str, Any], connect: ConnectURL) -> list[tuple[bytes, bytes]]:
        """Return the headers for a back end, without those of the body's framing and of the WebSocket handshake.

        Args:
            scope: the ASGI scope, with the decision at ``asgi_gateway``.
            connect: the back end.

        Raises:
            RequestRefused: a header cannot be passed on without another meaning.
        """
        written: list[tuple[bytes, bytes]] = []
        special: dict[int, list[tuple[bytes, bytes]]] = {}
        rules, received = self._rules, scope["headers"]
        if _BAD_VALUE.search(b"".join([value for _, value in received])):
            raise RequestRefused(400, "a header has a control character")
        for header in received:
            rule = rules.get(header[0]) or self._learn(header[0])
            if rule is _KEEP:
                written.append(header)
            elif rule is not _DROP:
                special.setdefault(rule, []).append(header)
        if special and _REFUSE in special:
            raise RequestRefused(400, "a header's name is invalid, or an alias of one that frames the body")
        if _CONNECTION in special:
            written = _without_listed(written, special)
        host = _host(special.get(_HOST_RULE, ()))
        written.insert(0, (b"host", host if host and self._settings.preserve_host else self._hosts[connect]))
        self._add_special(written, special, connect)
        self._add_forwarding(written, special, scope, host)
        context = scope.get(SCOPE_KEY)
        if isinstance(context, GatewayContext):
            written += self._identity.headers(context)
        return written

    def query(self, query: bytes) -> bytes:
        """Return a query without the parameters that are credentials, all else byte for byte.

        Args:
            query: the query without its question mark.
        """
        names = self._parameters
        if not query or not names or (not self._removes and self._is_ticket is None):
            return query
        return b"&".join([field for field in query.split(b"&") if not self._is_credential_field(field)])

    def subprotocols(self, offered: list[str]) -> list[str]:
        """Return the subprotocols that a client offered without those that are credentials."""
        if not self._prefixes:
            return offered
        return [
            each
            for each in offered
            if not each.startswith(self._prefixes) or not (self._removes or self._holds_ticket(each.partition(".")[2]))
        ]

    def _rule(self, name: bytes) -> int:
        """Return what becomes of headers of a name."""
        lower, fold = name.lower(), folded_name(name)
        exact: dict[bytes, int] = {
            b"connection": _CONNECTION,
            b"host": _HOST_RULE,
            b"cookie": _COOKIE,
            b"origin": _ORIGIN,
            b"via": _VIA,
        }
        rule = exact.get(lower, _KEEP)
        if _TOKEN.fullmatch(name) is None or (fold in _FRAMING and lower != fold):
            rule = _REFUSE
        elif fold in self._stripped or fold in _HOP_BY_HOP or fold.startswith((b"proxy-", b"sec-websocket-")):
            rule = _DROP
        elif fold in _FORWARDING or fold.startswith(b"x-forwarded-"):
            rule = _FORWARDING_RULE if fold == lower else _DROP
        elif (fold == b"authorization" and self._credentials.authorization) or fold in self._credential_names:
            rule = _DROP if self._removes else _CREDENTIAL
        return rule

    def _learn(self, name: bytes) -> int:
        rule = self._rule(name)
        if len(name) <= _KNOWN_LENGTH:
            if len(self._rules) >= _KNOWN_NAMES:  # clients choose names
                self._rules.clear()
                self._rules.update(self._static)
            self._rules[name] = rule
        return rule

    def _add_special(
        self, written: list[tuple[bytes, bytes]], special: dict[int, list[tuple[bytes, bytes]]], connect: ConnectURL
    ) -> None:
        """Add what of the cookies, the credentials and Origin passes."""
        if lines := special.get(_COOKIE):
            cookies = self._without_credentials(b"; ".join([value for _, value in lines]))
            if cookies:
                written.append((b"cookie", cookies))
        for name, value in special.get(_CREDENTIAL, ()):
            if not self._holds_ticket(value.decode("latin-1").rpartition(" ")[2]):
                written.append((name, value))
        origins = special.get(_ORIGIN)
        if origins and self._settings.origin == "preserve":
            written += origins
        elif origins and self._settings.origin == "rewrite":
            written.append((b"origin", f"{'https' if connect.tls else 'http'}://{connect.authority}".encode()))

    def _without_credentials(self, cookies: bytes) -> bytes:
        if not self._cookie_names.search(cookies):
            return cookies
        parts = cookies.split(b";")
        kept = [part for part in parts if not self._is_credential_cookie(part)]
        return cookies if len(kept) == len(parts) else b";".join(kept).lstrip(b" \t")

    def _is_credential_cookie(self, part: bytes) -> bool:
        name, _, value = part.partition(b"=")
        name = name.strip(b" \t")
        if self._own_cookie is not None and self._own_cookie.fullmatch(name):
            return True
        if name not in self._cookies:
            return False
        return self._removes or self._holds_ticket(value.strip(b" \t").decode("latin-1"))

    def _is_credential_field(self, field: bytes) -> bool:
        """Return whether a field of a query is a credential, as ``query_values`` reads it."""
        raw_name, _, value = field.partition(b"=")
        if unquote_to_bytes(raw_name.replace(b"+", b" ")).decode("utf-8", "replace") not in self._parameters:
            return False
        return self._removes or self._holds_ticket(unquote_to_bytes(value.replace(b"+", b" ")).decode("latin-1"))

    def _holds_ticket(self, text: str) -> bool:
        return self._is_ticket is not None and self._is_ticket(text)

    def _add_forwarding(
        self,
        written: list[tuple[bytes, bytes]],
        special: dict[int, list[tuple[bytes, bytes]]],
        scope: Mapping[str, Any],
        host: bytes | None,
    ) -> None:
        """Add Via, X-Forwarded-* and Forwarded."""
        via = [value for _, value in special.get(_VIA, ())]
        if via and b",".join(via).count(VIA_NAME) >= _MAX_HOPS:
            raise RequestRefused(508, "the request passed this gateway too often: its back end leads back to it")
        version = scope.get("http_version", "1.1").encode("ascii")
        written.append((b"via", b", ".join([*via, version + b" " + VIA_NAME])))
        mode = self._settings.forwarded
        if mode == "exclude":
            return
        received: list[tuple[bytes, bytes]] = []
        if _FORWARDING_RULE in special and self._settings.trusted_proxies.trusts_peer(scope):
            received = special[_FORWARDING_RULE]
        if mode == "ignore":
            written += received
            return
        peer = real_peer(scope)
        key = (peer and peer[0], scope.get("scheme"), host)
        known = None if received else self._known.get(key)
        if known is None:
            scheme = b"https" if scope.get("scheme") in ("https", "wss") else b"http"
            known = _forwarding(received, peer[0] if peer else "", scheme, host)
            if not received:
                self._known.put(key, known)
        written += known


def may_carry_identity(name: bytes) -> bool:
    """Return whether a header can carry the user's identity, which every other header of its name would be taken for.

    Args:
        name: the header's name.
    """
    fold = folded_name(name)
    taken = (*_HOP_BY_HOP, *_FORWARDING, *_MEANINGFUL)
    return fold not in taken and not fold.startswith((b"proxy-", b"sec-", b"content-", b"accept"))


def own_cookie_pattern(prefix: str) -> re.Pattern[bytes] | None:
    """Return a pattern of the names of the gateway's own cookies; None if there is no prefix.

    Args:
        prefix: what the names of session cookies begin with.
    """
    if not prefix:
        return None
    name = re.escape(prefix.encode("ascii"))
    return re.compile(rb"(?:__(?:host|secure)-)?" + name + rb"-[0-9a-f]{12}", re.IGNORECASE)


def _host(lines: Any) -> bytes | None:
    if len(lines) > 1:
        raise RequestRefused(400, "duplicate header host")
    if not lines or not lines[0][1]:
        return None
    host: bytes = lines[0][1]
    if _HOST.fullmatch(host) is None:
        raise RequestRefused(400, "the header host is malformed")
    return host


def _without_listed(
    written: list[tuple[bytes, bytes]], special: dict[int, list[tuple[bytes, bytes]]]
) -> list[tuple[bytes, bytes]]:
    """Return headers without those that Connection lists, and remove these from the special ones too."""
    lines = [value for _, value in special[_CONNECTION]]
    listed = {option.strip(b" \t").lower() for line in lines for option in line.split(b",")}
    listed -= _PLAIN_CONNECTION | _KEPT_ALTHOUGH_LISTED
    if not listed:
        return written
    for rule in (_COOKIE, _CREDENTIAL, _ORIGIN):
        if rule in special:
            special[rule] = [header for header in special[rule] if header[0].lower() not in listed]
    return [header for header in written if header[0].lower() not in listed]


def _forwarding(
    received: list[tuple[bytes, bytes]], peer: str, scheme: bytes, host: bytes | None
) -> list[tuple[bytes, bytes]]:
    """Return X-Forwarded-For, -Proto and -Host, Forwarded (RFC 7239), and what else a trusted proxy sent.

    Args:
        received: what a trusted proxy sent.
        peer: the peer's address; empty for one of a Unix socket.
        scheme: ``http`` or ``https``.
        host: the client's Host header, or None.
    """
    lines: dict[bytes, list[bytes]] = {}
    peer = peer.partition("%")[0]
    for name, value in received:
        lines.setdefault(name.lower(), []).append(value)
    chain = lines.pop(b"x-forwarded-for", [])
    elements = lines.pop(b"forwarded", [])
    if chain and not elements:
        hops = [hop.strip() for line in chain for hop in line.decode("latin-1").split(",")]
        elements = [b"for=" + _node(hop) for hop in hops]
    element = b"for=" + _node(peer)
    if host is not None:
        element += b";host=" + (host if _NODE.fullmatch(host.decode("latin-1")) else b'"' + host + b'"')
    element += b";proto=" + scheme
    address = [peer.encode("ascii", "replace")] if peer else []
    written = [(b"x-forwarded-for", b", ".join([*chain, *address]))] if chain or address else []
    lines.pop(b"x-forwarded-proto", None)  # the scope's scheme is what it says, if it says one thing
    written.append((b"x-forwarded-proto", scheme))
    named = lines.pop(b"x-forwarded-host", None) or ([host] if host is not None else [])
    written += [(b"x-forwarded-host", named[0])] if named else []
    written.append((b"forwarded", b", ".join([*elements, element])))
    written += [(name, value) for name, values in lines.items() for value in values]
    return written


def _node(address: str) -> bytes:
    """Return an address as a node of Forwarded (RFC 7239 section 6); what is not one is ``unknown``."""
    if ":" in address.strip("[]") and re.fullmatch(r"\[?[0-9A-Fa-f:.]+\]?", address):
        return f'"[{address.strip("[]")}]"'.encode()
    return address.encode() if _NODE.fullmatch(address) else b"unknown"
