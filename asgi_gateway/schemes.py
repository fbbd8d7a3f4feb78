"""The challenge schemes that come with the gateway: Basic (RFC 7617), Negotiate (RFC 4559) and Token.

The ``Application`` form of a scheme differs in its challenge alone: browsers do not know it, so the page can answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.http.headers import basic_credentials, quoted
from asgi_gateway.model import AuthenticationToken, Headers
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword

__all__ = [
    "ApplicationBasicScheme",
    "ApplicationNegotiateScheme",
    "ApplicationTokenScheme",
    "BasicScheme",
    "NegotiateScheme",
]


class BasicScheme(ChallengeScheme):
    """``Basic``: browsers answer it with a window of their own.

    The challenge asks for UTF-8 (RFC 7617 section 2.1), after the realm, where the clients look for it that know no
    other parameter.
    """

    name = "Basic"
    wire_name = "basic"
    _parameters = ', charset="UTF-8"'

    def read(self, token: AuthenticationToken) -> UserNamePassword | None:
        first = token.get()
        return None if first is None else UserNamePassword(*basic_credentials(first))

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return " ".join((f"{self.name} realm={quoted(realm)}{self._parameters}", *data))


class ApplicationBasicScheme(BasicScheme):
    """``Application Basic``: the prefix keeps browsers from answering, so that the page can."""

    name = "Application Basic"
    _parameters = ""  # the original's clients take all up to the last quote for the realm's name


class NegotiateScheme(ChallengeScheme):
    """``Negotiate``: browsers answer it by themselves, for the servers that their policy lists."""

    name = "Negotiate"
    wire_name = "negotiate"

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        # no realm: RFC 4559 has no parameters, and clients take whatever follows the scheme for a token
        return " ".join((self.name, *data))

    def success(self, data: Iterable[str] = ()) -> Headers:
        token = " ".join(data)
        return ((b"www-authenticate", f"{self.name} {token}".encode("ascii")),) if token else ()


class ApplicationNegotiateScheme(NegotiateScheme):
    """``Application Negotiate``: the prefix keeps browsers from answering, so that the page can."""

    name = "Application Negotiate"


class ApplicationTokenScheme(ChallengeScheme):
    """``Application Token``: no realm parameter; wrong tokens are refused, not challenged again."""

    name = "Application Token"
    wire_name = "token"
    rejects_with_403 = True
    recycles = False

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return " ".join((self.name, *data))
