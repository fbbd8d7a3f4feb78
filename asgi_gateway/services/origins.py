"""The rules on cross-origin requests: CORS (Fetch standard) and the Origin check of WebSockets (RFC 6455 section 10.2).

A browser sets the Origin header itself and scripts cannot change it. A request without it was not made by a page of
another site, and passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from asgi_gateway.model import AuthRequest, Headers

__all__ = ["CrossSite", "OriginRules"]

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
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
    """

    __slots__ = ("_constraints",)

    def __init__(self, constraints: Iterable[CrossSite] = ()) -> None:
        self._constraints = tuple(constraints)

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

    def preflight(self, request: AuthRequest, origin: bytes) -> Headers | None:
        """Return the headers that answer a preflight; None if its origin or its method is not allowed.

        Args:
            request: The preflight.
            origin: The value of its Origin header.

        Raises:
            HeaderError: Access-Control-Request-Method occurs twice.
        """
        constraint = self._constraint(origin.decode("latin-1").lower())
        if constraint is None:
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
        """Return the headers that let a page of an allowed origin read a response.

        ``Vary: Origin`` is among them wherever the service has constraints, so that caches keep responses apart.

        Args:
            origin: The value of the request's Origin header, or None.
        """
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


def _same_origin(request: AuthRequest, origin: str) -> bool:
    """Return whether an origin is that of the request's own host.

    A page served over https has the service's origin also where a proxy ends TLS. A page served over http never has the
    origin of a service over TLS, since an attacker on the network could have written the page.
    """
    host = (request.header(b"host") or b"").decode("latin-1").lower()
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme not in ("http", "https") or not host:
        return False
    if scheme == "http" and request.scheme in ("https", "wss"):
        return False
    page, service = _authority(authority, scheme), _authority(host, scheme)
    return page is not None and page == service


def _authority(authority: str, scheme: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{authority}")
        if parts.username is not None or parts.path or parts.query or parts.fragment or not parts.hostname:
            return None
        return parts.hostname, parts.port or _PORTS[scheme]
    except ValueError:
        return None
