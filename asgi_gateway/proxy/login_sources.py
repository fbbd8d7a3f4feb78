"""Where credentials for back ends come from: files, the user's own Authorization header, a handler given in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    PasswordAuthentication,
    TokenChallengeHandler,
)
from asgi_gateway.client.challenge import MaybeAwaitable
from asgi_gateway.errors import HeaderError
from asgi_gateway.http.headers import basic_credentials, parse_authorization
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.proxy.login import BackendUser, CredentialSource

__all__ = ["CredentialSources", "FirstHandler", "GivenHandler", "StoredPassword", "StoredToken", "UserPassword"]


class FirstHandler(ChallengeHandler):
    """Passes each challenge to the first of some handlers that can handle it.

    Args:
        handlers: the handlers.
    """

    def __init__(self, handlers: Sequence[ChallengeHandler]) -> None:
        self._handlers = tuple(handlers)

    def can_handle(self, request: ChallengeRequest) -> bool:
        return any(handler.can_handle(request) for handler in self._handlers)

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        handler = self._choose(request)
        return handler.handle(request) if handler is not None else None

    def answering_handler(self, request: ChallengeRequest) -> ChallengeHandler:
        handler = self._choose(request)
        return handler.answering_handler(request) if handler is not None else self

    def _choose(self, request: ChallengeRequest) -> ChallengeHandler | None:
        return next((handler for handler in self._handlers if handler.can_handle(request)), None)


class CredentialSources(CredentialSource):
    """Several sources, each for schemes of its own.

    Args:
        sources: the sources.
    """

    def __init__(self, sources: Iterable[CredentialSource]) -> None:
        self._sources = tuple(sources)

    def handler(self, user: BackendUser) -> ChallengeHandler:
        return FirstHandler([source.handler(user) for source in self._sources])

    async def open(self) -> None:
        for source in self._sources:
            await source.open()

    async def close(self) -> None:
        for source in self._sources:
            await source.close()

    async def check(self) -> list[str]:
        return [line for source in self._sources for line in await source.check()]


class GivenHandler(CredentialSource):
    """A challenge handler given in Python. It is asked for every 401, since its answers may depend on anything.

    Args:
        handler: the handler.
    """

    def __init__(self, handler: ChallengeHandler) -> None:
        self._handler = handler

    def handler(self, user: BackendUser) -> ChallengeHandler:
        return self._handler


class _Stored(CredentialSource):
    """A secret of a file, which is read again when it changes; a subclass says what it is good for.

    Args:
        secret: the file.
    """

    def __init__(self, secret: PolledFile[str]) -> None:
        self._secret = secret

    async def open(self) -> None:
        self._secret.start()

    async def close(self) -> None:
        await self._secret.stop()


class StoredPassword(_Stored):
    """A user name and the password of a file.

    Args:
        username: the user name.
        password: the file.
        plain_http: whether it may travel unencrypted.
    """

    def __init__(self, username: str, password: PolledFile[str], *, plain_http: bool) -> None:
        super().__init__(password)
        self._username = username
        self._handler = BasicChallengeHandler(self._login, allow_plain_http=plain_http)

    def handler(self, user: BackendUser) -> ChallengeHandler:
        return self._handler

    def _login(self, request: ChallengeRequest) -> PasswordAuthentication:
        return PasswordAuthentication(self._username, self._secret.current())


class StoredToken(_Stored):
    """The token of a file, for ``Application Token`` and ``Bearer``.

    Args:
        token: the file.
        plain_http: whether it may travel unencrypted.
    """

    def __init__(self, token: PolledFile[str], *, plain_http: bool) -> None:
        super().__init__(token)

        def handler(scheme: Literal["Token", "Bearer"]) -> ChallengeHandler:
            return TokenChallengeHandler(
                lambda request: token.current(), allow_plain_http=plain_http, scheme=scheme, reusable=True
            )

        self._handler = FirstHandler([handler("Token"), handler("Bearer")])

    def handler(self, user: BackendUser) -> ChallengeHandler:
        return self._handler


class UserPassword(CredentialSource):
    """The user's own name and password, where the request's Authorization header has them.

    A request that has a session, a ticket or credentials elsewhere may have an Authorization header that the gateway
    did not look at. There the name in it has to be the user's, so that no password goes to a back end as another's.

    Args:
        plain_http: whether they may travel unencrypted.
        verified: whether users of the service are always authenticated by this header.
    """

    def __init__(self, *, plain_http: bool, verified: bool) -> None:
        self._plain_http = plain_http
        self._verified = verified

    def handler(self, user: BackendUser) -> ChallengeHandler:
        def login(request: ChallengeRequest) -> PasswordAuthentication | None:
            # a client may have logged in inside a WebSocket instead
            verified = self._verified and not request.location.startswith(("ws:", "wss:"))
            return _own_password(user, verified=verified)

        return BasicChallengeHandler(login, allow_plain_http=self._plain_http)


def _own_password(user: BackendUser, *, verified: bool) -> PasswordAuthentication | None:
    if user.subject is None or user.authorization is None:
        return None
    try:
        scheme, rest = parse_authorization(user.authorization)
        username, password = basic_credentials(rest) if scheme == "basic" else ("", "")
    except HeaderError:
        return None
    is_own = bool(username) and (verified or _is_user(username, user.subject))
    return PasswordAuthentication(username, password) if is_own else None


def _is_user(typed: str, subject: Subject) -> bool:
    """Return whether a name as it was typed is the user's, whose realm or domain need not be typed."""
    names = [each.name.casefold() for each in subject.principals if isinstance(each, UserPrincipal)]
    return typed.casefold() in names or typed.casefold() in [name.partition("@")[0] for name in names]
