"""Which pages may use a service from another origin: CORS (the Fetch standard) and the Origin rule for WebSockets.

A request without an Origin header was not made by a page of another site, and passes. Scripts cannot set the header.
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
    """One ``cross-site-constraint``.

    Args:
        origins: allowed origins, exact, in lower case; ``*`` among them allows every origin but ``null``.
        methods: allowed methods; empty for what the Fetch standard always allows.
        headers: allowed request headers, in lower case.
        max_age: seconds that a browser may remember a preflight, or None.
    """

    origins: frozenset[str]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    max_age: int | None = None

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may use the service."""
        return origin != "null" and (origin in self.origins or "*" in self.origins)


class OriginRules:
    """What a service says about origins.

    Args:
        constraints: its ``cross-site-constraint`` elements; the first that allows an origin holds.
    """

    __slots__ = ("_constraints",)

    def __init__(self, constraints: Iterable[CrossSite] = ()) -> None:
        self._constraints = tuple(constraints)

    def __bool__(self) -> bool:
        return bool(self._constraints)

    def allows(self, request: AuthRequest, origin: bytes) -> bool:
        """Whether a page of this origin may make this request: its own origin's pages, and listed ones.

        Raises:
            HeaderError: the Host header is there twice.
        """
        text = origin.decode("latin-1").lower()
        return self._constraint(text) is not None or _same_origin(request, text)

    def preflight(self, request: AuthRequest, origin: bytes) -> Headers | None:
        """The headers of the answer to a preflight request; None if it is refused."""
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
        """The headers that let a page of another, allowed origin read an answer; caches keep answers apart by them."""
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
    """Whether an origin is that of the request's own host.

    A page served over TLS counts as the same host behind a proxy that ends TLS; one served in the clear never counts as
    the same as a service over TLS, since anybody on the way could have written it.
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
