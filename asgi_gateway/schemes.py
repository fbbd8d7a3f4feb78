"""Define the built-in challenge schemes: Basic (RFC 7617), Bearer (RFC 6750), Negotiate (RFC 4559) and Token.

The ``Application`` form of a scheme differs in its challenge alone: browsers do not know it, so the page can answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from asgi_gateway.http.headers import basic_credentials, quoted
from asgi_gateway.model import AuthenticationToken, Headers
from asgi_gateway.plugins.scheme import ChallengeScheme, UserNamePassword

__all__ = [
    "ApplicationBasicScheme",
    "ApplicationBearerScheme",
    "ApplicationNegotiateScheme",
    "ApplicationTokenScheme",
    "BasicScheme",
    "BearerScheme",
    "NegotiateScheme",
]

_SCOPE = re.compile(r"[!#-\[\]-~]+")
"""A scope token (RFC 6749 section 3.3)."""


class BasicScheme(ChallengeScheme):
    """``Basic``: browsers answer it with a window of their own.

    The challenge asks for UTF-8 (RFC 7617 section 2.1), after the realm, where the clients look for it that know no
    other parameter.

    Args:
        latin1_fallback: read credentials that are not UTF-8 as ISO-8859-1, for clients that do not know ``charset``.
    """

    name = "Basic"
    wire_name = "basic"
    _parameters = ', charset="UTF-8"'

    def __init__(self, *, latin1_fallback: bool = False) -> None:
        self._latin1_fallback = latin1_fallback

    def read(self, token: AuthenticationToken) -> UserNamePassword | None:
        first = token.get()
        return None if first is None else UserNamePassword(*self._credentials(first))

    def _credentials(self, text: str) -> tuple[str, str]:
        return basic_credentials(text, latin1_fallback=self._latin1_fallback)

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return " ".join((f"{self.name} realm={quoted(realm)}{self._parameters}", *data))


class ApplicationBasicScheme(BasicScheme):
    """``Application Basic``: the prefix keeps browsers from answering, so that the page can."""

    name = "Application Basic"
    _parameters = ""  # the original's clients take all up to the last quote for the realm's name


class BearerScheme(ChallengeScheme):
    """``Bearer``: a token on the Authorization line (RFC 6750), for the modules ``jwt`` and ``token``.

    Args:
        resource_metadata: the URL of the protected resource's metadata (RFC 9728 section 5.1); empty for none.
        scope: the scopes that the resource needs, named in challenges (RFC 6750 section 3).

    Raises:
        ValueError: the URL or a scope has characters that may not stand there.
    """

    name = "Bearer"
    wire_name = "bearer"
    recycles = False
    refusal_data = ('error="invalid_token"',)

    def __init__(self, resource_metadata: str = "", scope: Sequence[str] = ()) -> None:
        if any(character in resource_metadata for character in '"\\') or not _is_visible(resource_metadata):
            raise ValueError("a metadata URL has no quotes, spaces or control characters")
        if not all(_SCOPE.fullmatch(each) for each in scope):
            raise ValueError("a scope has visible ASCII characters, and neither quotes nor backslashes")
        self._parameters = [f'resource_metadata="{resource_metadata}"'] if resource_metadata else []
        if scope:
            self._parameters.append(f'scope="{" ".join(scope)}"')

    def challenge(self, realm: str, data: Iterable[str] = ()) -> str:
        return f"{self.name} {', '.join((f'realm={quoted(realm)}', *data, *self._parameters))}"

    def forbidden(self, realm: str) -> str | None:
        return self.challenge(realm, ('error="insufficient_scope"',))


class ApplicationBearerScheme(BearerScheme):
    """``Application Bearer``: the prefix keeps other clients from answering, so that the page can."""

    name = "Application Bearer"


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


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
