"""Basic and Application Basic: user name and password in the Authorization header (RFC 7617)."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_gateway.headers import basic_credentials, quoted
from asgi_gateway.interfaces import ChallengeScheme, UserNamePassword
from asgi_gateway.model import AuthenticationToken

__all__ = ["ApplicationBasicScheme", "BasicScheme"]


class BasicScheme(ChallengeScheme):
    """``Basic``: browsers answer it with a window of their own."""

    name = "Basic"
    wire_name = "basic"
    strength = 10

    def read(self, token: AuthenticationToken) -> UserNamePassword | None:
        first = token.get()
        return None if first is None else UserNamePassword(*basic_credentials(first))

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return " ".join((f"{self.name} realm={quoted(realm)}", *data))


class ApplicationBasicScheme(BasicScheme):
    """``Application Basic``: the prefix keeps browsers from answering, so that the page can."""

    name = "Application Basic"
