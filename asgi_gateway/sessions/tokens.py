"""Issue and read the gateway's own tokens: signed, expiring, for one audience and one realm, single-use or not.

A token names its bearer. A service that knows a user can send them to another one with it, and a page can trade a login
for a ticket that opens one WebSocket. Its content is not encrypted.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import RevocationKey
from asgi_gateway.sessions.signing import Signer

__all__ = ["MAX_LIFE", "Token", "TokenIssuer"]

MAX_LIFE = 366 * 86400.0
"""The longest life of a token in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The claims of a token.

    Args:
        user: the name of its bearer.
        roles: the roles it grants.
        audience: the application it is for.
        realm: the realm it is for.
        issued: when it was issued, in seconds since the epoch.
        expires: when it expires, in seconds since the epoch.
        id: its unique id.
        single_use: whether it is valid for one login only.
        until: when what was opened with it has to end, in seconds since the epoch, if that is not ``expires``.
        service: the only service it is for; empty for all that its realm protects.
        revocation_keys: the revocations that end the login that it was issued for; for a user with the user's
            generation in the store.
    """

    user: str
    roles: tuple[str, ...]
    audience: str
    realm: str
    issued: float
    expires: float
    id: str
    single_use: bool = False
    until: float | None = None
    service: str = ""
    revocation_keys: tuple[tuple[RevocationKey, str], ...] = ()


class TokenIssuer:
    """Issues and reads tokens.

    Args:
        keys: the first signs, all verify; 32 bytes at least.
        audience: the application that the tokens are for.

    Raises:
        ConfigError: a key is too short, or there is none.
        ValueError: the audience is empty.
    """

    def __init__(self, keys: Sequence[bytes], audience: str) -> None:
        if not audience:
            raise ValueError("a token needs an audience")
        self._signer = Signer(keys, "token")
        self.audience = audience

    def issue(  # noqa: PLR0913 - all by keyword, one for each claim
        self,
        user: str,
        *,
        realm: str,
        now: float,
        life: float,
        roles: Iterable[str] = (),
        single_use: bool = False,
        until: float | None = None,
        service: str = "",
        revocation_keys: Iterable[tuple[RevocationKey, str]] = (),
    ) -> str:
        """Return a new token.

        Args:
            user: the name of its bearer.
            realm: the realm's name.
            now: the time in seconds since the epoch.
            life: seconds until it expires.
            roles: the roles it grants.
            single_use: whether it is valid for one login only.
            until: when what is opened with it has to end, in seconds since the epoch; by default when it expires, or
                never for a single-use token.
            service: the only service it is for; empty for all that its realm protects.
            revocation_keys: the revocations that end the login that it is issued for, and so what is opened with it;
                for a user with the user's generation in the store.

        Raises:
            ValueError: an argument is empty or out of range.
        """
        roles = tuple(roles)
        if not user or not realm or not all(roles):
            raise ValueError("a token needs a user and a realm, and its roles need names")
        if not 0 < life <= MAX_LIFE:
            raise ValueError("a token lives more than 0 seconds and at most 366 days")
        data: dict[str, Any] = {
            "sub": user,
            "roles": roles,
            "aud": self.audience,
            "realm": realm,
            "iat": now,
            "exp": now + life,
            "jti": secrets.token_urlsafe(16),
        }
        if single_use:
            data["once"] = True
        if until is not None:
            data["until"] = until
        if service:
            data["service"] = service
        if ends := tuple(revocation_keys):
            data["ends"] = [(each.kind, each.name, each.realm, seen) for each, seen in ends]
        return self._signer.sign(data)

    def is_single_use(self, text: str) -> bool:
        """Return whether a text is a token of this issuer for one login only, valid or not.

        Args:
            text: the text.
        """
        data = self._signer.read(text)
        return data is not None and data.get("once") is True

    def read(self, text: str, *, realm: str, now: float, leeway: float) -> Token:
        """Read a token, and check that it is valid now.

        Args:
            text: the token.
            realm: the realm it has to be for.
            now: the time in seconds since the epoch.
            leeway: seconds by which the clocks of issuer and reader may differ.

        Raises:
            LoginFailed: it is invalid; the reason shows nothing of the token.
        """
        data = self._signer.read(text)
        if data is None:
            raise LoginFailed("the token is not signed with one of the keys")
        token = _token(data)
        if token.audience != self.audience:
            raise LoginFailed("the token is for another audience")
        if token.realm != realm:
            raise LoginFailed("the token is for another realm")
        if token.expires + leeway <= now:
            raise LoginFailed("the token has expired")
        if token.issued - leeway > now:
            raise LoginFailed("the token was issued in the future: do the clocks agree?")
        return token


def _token(data: dict[str, Any]) -> Token:
    """Return the token of a signed object. Check it all the same, since other programs may have the key."""
    roles = data.get("roles")
    texts = [data.get(name) for name in ("sub", "aud", "realm", "jti")]
    times = [data.get("iat"), data.get("exp"), data.get("until", 0.0)]
    if not (
        all(isinstance(text, str) and text for text in texts)
        and isinstance(roles, list)
        and all(isinstance(role, str) and role for role in roles)
        and all(isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time) for time in times)
        and 0 < times[1] - times[0] <= MAX_LIFE
        and isinstance(data.get("once", False), bool)
        and isinstance(data.get("service", ""), str)
        and _are_revocations(data.get("ends", []))
    ):
        raise LoginFailed("the token is signed, but is not one of the gateway's")
    user, audience, realm, identity = map(str, texts)
    return Token(
        user=user,
        roles=tuple(roles),
        audience=audience,
        realm=realm,
        issued=times[0],
        expires=times[1],
        id=identity,
        single_use=data.get("once", False),
        until=data.get("until"),
        service=data.get("service", ""),
        revocation_keys=tuple((RevocationKey(*each[:3]), each[3]) for each in data.get("ends", ())),
    )


def _are_revocations(ends: Any) -> bool:
    """Return whether something is a list of revocation keys, each with a generation."""
    return isinstance(ends, list) and all(
        isinstance(each, list)
        and len(each) == 4
        and all(isinstance(text, str) for text in each)
        and each[0] in ("user", "session", "token")
        for each in ends
    )
