"""Negotiate and Application Negotiate: GSS-API tokens in headers (RFC 4559).

Authentication is per request: nothing that a connection has proved counts for the next request on it.
"""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.interfaces import ChallengeScheme
from asgi_gateway.model import Headers

__all__ = ["ApplicationNegotiateScheme", "NegotiateScheme"]


class NegotiateScheme(ChallengeScheme):
    """``Negotiate``: browsers answer it by themselves, for the servers that their policy lists."""

    name = "Negotiate"
    wire_name = "negotiate"
    strength = 40

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        # no realm: RFC 4559 has no parameters, and clients take whatever follows the scheme for a token
        return " ".join((self.name, *data))

    def success(self, data: Iterable[str] = ()) -> Headers:
        token = " ".join(data)
        return ((b"www-authenticate", f"{self.name} {token}".encode("ascii")),) if token else ()


class ApplicationNegotiateScheme(NegotiateScheme):
    """``Application Negotiate``: the prefix keeps browsers from answering, so that the page can."""

    name = "Application Negotiate"
