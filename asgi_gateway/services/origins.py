"""The rules on requests that pages of other origins make.

They are CORS (Fetch standard), the Origin check of WebSockets (RFC 6455 section 10.2), and the check of HTTP requests
that change something. Browsers set the headers Origin and Sec-Fetch-Site (W3C Fetch Metadata) themselves, and scripts
cannot change them. A request without either was not made by a page of another site, and passes.

KAAZING's clients that run outside browsers send the host and port that they connect to as their origin, with the scheme
``privileged``. No page has an origin of that scheme, so it is the service's own if it names the request's Host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from asgi_gateway.errors import HeaderError
from asgi_gateway.model import AuthRequest, Headers

__all__ = ["SAFE_METHODS", "CrossSite", "OriginRules", "canonical_origin", "check_origin", "without_cors"]

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""The methods that change nothing (RFC 9110 section 9.2.1)."""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_TLS = ("https", "wss")
_PRIVILEGED = "privileged"
"""The scheme of the origin that KAAZING's clients send outside browsers."""
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/:@?#\[\]\\,]+)(?::([0-9]+))?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_FORM = "write scheme://host or scheme://host:port, or *"
_EXPOSED = b"WWW-Authenticate, Sec-Challenge-Identity"


@dataclass(frozen=True, slots=True)
class CrossSite:
    """A frozen ``cross-site-constraint``.

    Args:
        origins: The allowed origins, exact and in lower case. ``*`` allows every origin but ``null``.
        methods: The methods allowed beside GET, HEAD and POST, which the Fetch standard always allows.
        headers: The allowed request headers, in lower case.
        max_age: Seconds for which a browser may cache the answer to a preflight; None leaves it to the browser.
    """

    origins: frozenset[str]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    max_age: int | None = None

    def allows(self, origin: str) -> bool:
        """Return whether pages of an origin may use the service.

        Args:
            origin: The origin in lower case.
        """
        return origin != "null" and (origin in self.origins or "*" in self.origins)


class OriginRules:
    """The origin rules of one service.

    Args:
        constraints: The service's ``cross-site-constraint`` elements. The first that allows an origin applies.
        by_application: Whether the application answers preflights and sends the headers of CORS, not the gateway. The
            constraints then say which origins are refused, and nothing else.
    """

    __slots__ = ("_by_application", "_constraints")

    def __init__(self, constraints: Iterable[CrossSite] = (), *, by_application: bool = False) -> None:
        self._constraints = tuple(constraints)
        self._by_application = by_application

    def __bool__(self) -> bool:
        return bool(self._constraints)

    def allows(self, request: AuthRequest, origin: bytes) -> bool:
        """Return whether a page of an origin may make a request: its origin is the service's own or a listed one.

        Args:
            request: The request.
            origin: The value of its Origin header.

        Raises:
            HeaderError: The Host header occurs twice.
        """
        text = origin.decode("latin-1").lower()
        return self._constraint(text) is not None or _same_origin(request, text)

    def refusal(self, request: AuthRequest, *, protected: bool) -> str | None:
        """Return why a request is refused for the page that made it; None if it passes.

        Origin is checked where the service has constraints, and for WebSockets of a protected service. A request to a
        protected service that changes something passes if Sec-Fetch-Site says that the service's own page or the user
        made it; without that header, Origin is checked. Sec-Fetch-Site goes first, since a proxy may rewrite Host.

        Args:
            request: The request.
            protected: Whether the service has a realm.

        Raises:
            HeaderError: Origin, Sec-Fetch-Site or Host occurs twice.
        """
        http = request.protocol == "http"
        changes = http and protected and request.method not in SAFE_METHODS
        if not (self._constraints or changes or (protected and not http)):
            return None
        origin = request.header(b"origin")
        site = request.header(b"sec-fetch-site") if http else None
        if site in (b"same-origin", b"none") or (site is None and origin is None):
            return None
        shown = "" if origin is None else origin.decode("latin-1")
        if changes and site is not None:
            allowed = self._constraint(shown.lower()) is not None
            return None if allowed else f"a cross-site {request.method} of origin {shown or 'unknown'} is not allowed"
        if origin is None or self.allows(request, origin):
            return None
        return f"origin {shown} is not allowed"

    def left_to_application(self, request: AuthRequest) -> bool:
        """Return whether a request is a preflight for the application. Browsers send no credentials with one.

        Args:
            request: The request.
        """
        if not self._by_application or request.method != "OPTIONS" or request.protocol != "http":
            return False
        try:
            return None not in (request.header(b"origin"), request.header(b"access-control-request-method"))
        except HeaderError:
            return False

    def preflight(self, request: AuthRequest, origin: bytes) -> Headers | None:
        """Return the headers that answer a preflight; None if its origin or its method is not allowed.

        Args:
            request: The preflight.
            origin: The value of its Origin header.

        Raises:
            HeaderError: Access-Control-Request-Method occurs twice.
        """
        constraint = self._constraint(origin.decode("latin-1").lower())
        if constraint is None or self._by_application:
            return None
        asked = (request.header(b"access-control-request-method") or b"").decode("latin-1")
        if asked not in ("GET", "HEAD", "POST", *constraint.methods):
            return None
        headers = [*self.response(origin)]
        if constraint.methods:
            headers.append((b"access-control-allow-methods", ", ".join(constraint.methods).encode("latin-1")))
        if constraint.headers:
            headers.append((b"access-control-allow-headers", ", ".join(constraint.headers).encode("latin-1")))
        if constraint.max_age is not None:
            headers.append((b"access-control-max-age", str(constraint.max_age).encode()))
        return tuple(headers)

    def response(self, origin: bytes | None) -> Headers:
        """Return the headers that let a page of an allowed origin read a response; none if the application sends them.

        ``Vary: Origin`` is among them wherever the service has constraints, so that caches keep responses apart.

        Args:
            origin: The value of the request's Origin header, or None.
        """
        if self._by_application:
            return ()
        constraint = None if origin is None else self._constraint(origin.decode("latin-1").lower())
        if origin is None or constraint is None:
            return ((b"vary", b"Origin"),) if self._constraints else ()
        listed = origin.decode("latin-1").lower() in constraint.origins
        headers = [
            (b"access-control-allow-origin", origin if listed else b"*"),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]
        if listed:  # with "*" a browser sends and accepts no credentials, by the standard
            headers.append((b"access-control-allow-credentials", b"true"))
        return tuple(headers)

    def _constraint(self, origin: str) -> CrossSite | None:
        return next((constraint for constraint in self._constraints if constraint.allows(origin)), None)


def canonical_origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without its scheme's own port or a slash at its end.

    Args:
        text: An origin for which ``check_origin`` has no objection, or ``*``.
    """
    scheme, separator, authority = text.lower().removesuffix("/").partition("://")
    return scheme + separator + authority.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ""))


def check_origin(text: str) -> str | None:
    """Return a hint if no browser sends such an origin (HTML standard, serialization of an origin); None if one may.

    Letter case, the scheme's own port and one slash at the end do not matter: ``canonical_origin`` removes them.

    Args:
        text: One origin of ``allow-origin``, or ``*``.
    """
    if text == "*":
        return None
    match = _ORIGIN.fullmatch(text.removesuffix("/"))
    if match is None:
        return f"write https://{text}" if _HOST.fullmatch(text) and text.lower() != "null" else _FORM
    scheme, host, port = match.groups()
    hint = None
    if scheme.lower() in ("ws", "wss"):
        hint = f"the origin is that of the page: write http{scheme[2:].lower()}://{text.partition('://')[2]}"
    elif scheme.lower() == "file":
        hint = "pages of files have the origin null, which cannot be allowed"
    elif port is not None and (not 0 < int(port[:6]) < 65536 or port[0] == "0"):
        hint = "port must be 1-65535"
    elif scheme.lower() in ("http", "https"):
        hint = _check_host(host)
    elif "*" in host:
        hint = "write each origin in full, or * for all"
    return hint


def without_cors(headers: Headers) -> Headers:
    """Return headers without those of CORS, for a response that gets the gateway's.

    Args:
        headers: The application's headers.
    """
    return tuple(each for each in headers if not each[0].lower().startswith(b"access-control-"))


def _check_host(host: str) -> str | None:
    if "*" in host:
        return "write each origin in full, or * for all"
    if not host.isascii():
        try:
            return f"write the host as browsers send it: {host.encode('idna').decode('ascii')}"
        except UnicodeError:
            return _FORM
    try:
        if host.startswith("["):
            canonical = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        elif host.rstrip(".").rpartition(".")[2].isdecimal():  # browsers read such a host as an IPv4 address
            canonical = str(ipaddress.IPv4Address(host))
        else:
            return None if _HOST.fullmatch(host) else "a host has letters, digits, dashes and dots"
    except ValueError:
        return "the host is not an IP address"
    return None if canonical == host.lower() else f"write the address as browsers send it: {canonical}"


def _same_origin(request: AuthRequest, origin: str) -> bool:
    """Return whether an origin is that of the request's own host.

    A page served over https has the service's origin also where a proxy ends TLS. A page served over http never has the
    origin of a service over TLS, since an attacker on the network could have written the page.
    """
    host = (request.header(b"host") or b"").decode("latin-1").lower()
    scheme, separator, authority = origin.partition("://")
    if not separator or not host:
        return False
    if scheme == _PRIVILEGED:
        return _same_target(request, authority, host)
    if scheme not in ("http", "https") or (scheme == "http" and request.scheme in _TLS):
        return False
    page, service = _authority(authority), _authority(host)
    return page is not None and service is not None and _with_port(page, scheme) == _with_port(service, scheme)


def _same_target(request: AuthRequest, origin: str, host: str) -> bool:
    """Return whether a client that is no browser names the host and the port it connected to as its origin.

    Such clients always write the port. Host lacks it where it is the one of the client's scheme, which may be https
    though the request came over http: a proxy may have ended TLS.
    """
    named, asked = _authority(origin), _authority(host)
    if named is None or asked is None:
        return False
    schemes = ("https",) if request.scheme in _TLS else ("http", "https")
    return any(_with_port(named, scheme) == _with_port(asked, scheme) for scheme in schemes)


def _authority(authority: str) -> tuple[str, int | None] | None:
    """Return the host and the port, None if it names none; None if it is no authority of an origin."""
    try:
        parts = urlsplit(f"//{authority}")
        if parts.username is not None or parts.path or parts.query or parts.fragment or not parts.hostname:
            return None
        return parts.hostname, parts.port
    except ValueError:
        return None


def _with_port(authority: tuple[str, int | None], scheme: str) -> tuple[str, int]:
    host, port = authority
    return host, _PORTS[scheme] if port is None else port
