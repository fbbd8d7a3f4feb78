"""Answer the Negotiate challenges of back ends: as the gateway itself, or as the user, by delegation.

A user's ticket for a back end comes from a ticket that the client delegated, if there is one. Else the gateway's
account asks the KDC for one: S4U2Self, a ticket of the user for the gateway, and with it S4U2Proxy, a ticket of the
user for the back end. The KDC decides whether the account may do that ([MS-SFU]).

All tickets are held in memory, by libkrb5. A user's are kept for some minutes once they have led to a ticket for a back
end, and never before.
"""

from __future__ import annotations

import abc
import asyncio
from contextlib import suppress
from typing import Any

import gssapi

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway._runtime.threads import ThreadPool
from asgi_gateway.client import (
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    KerberosChallengeHandler,
    NegotiateChallengeHandler,
)
from asgi_gateway.client.urls import is_confidential
from asgi_gateway.errors import ConfigError, LoginError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.acceptor import KRB5, SPNEGO
from asgi_gateway.modules.kerberos.library.errors import explain
from asgi_gateway.modules.kerberos.library.initiator import KeytabLogin
from asgi_gateway.modules.kerberos.library.principals import split_principal
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.proxy.login import BackendUser, CredentialSource

__all__ = ["KERBEROS_SECONDS", "DelegatedTickets", "OwnTickets"]

KERBEROS_SECONDS = 10.0
"""How long a ticket is waited for."""
_START_SECONDS = 2.0
_THREADS = 8
_WAITING = 256
_USERS = 512
_KEPT_SECONDS = 300.0
_UNREACHABLE = ("Cannot contact any KDC", "Cannot find KDC")


class _Tickets(CredentialSource, abc.ABC):
    """Credentials by Kerberos; a subclass says whose.

    Args:
        login: logs in the gateway's account; None if it has none.
        plain_http: whether tickets may travel unencrypted.
    """

    def __init__(self, login: KeytabLogin | None, *, plain_http: bool) -> None:
        self._login = login
        self._plain_http = plain_http
        self._pool = ThreadPool(_THREADS, _WAITING)  # of its own: a silent KDC holds up no login to the gateway

    def handler(self, user: BackendUser) -> ChallengeHandler:
        return NegotiateChallengeHandler(_TicketHandler(self, user))

    async def open(self) -> None:
        """Check once, with the KDC, that the keytab's key is current.

        Raises:
            ConfigError: the key is stale. An unreachable KDC is no error.
        """
        if self._login is None:
            return
        with suppress(TimeoutError, LoginUnavailable):
            async with asyncio.timeout(_START_SECONDS):
                if (problem := await self._pool.run(self._login.stale_key)) is not None:
                    raise ConfigError(problem)

    async def close(self) -> None:
        self._pool.close()

    async def check(self) -> list[str]:
        if self._login is None:
            return []
        try:
            async with asyncio.timeout(KERBEROS_SECONDS):
                await self._pool.run(self._login.login)
        except TimeoutError:
            return [f"keytab {self._login.keytab.path}: the KDC does not answer"]
        except LoginError as error:
            return [str(error)]
        return []

    def may_send(self, request: ChallengeRequest) -> bool:
        """Return whether a ticket may travel to where a challenge came from."""
        return self._plain_http or is_confidential(request.location)

    @abc.abstractmethod
    def answer(self, handler: _TicketHandler, request: ChallengeRequest, user: BackendUser) -> ChallengeResponse | None:
        """Return the answer to a challenge. Blocks.

        Raises:
            LoginFailed: there is no ticket for the back end.
            LoginUnavailable: the KDC cannot be reached.
        """

    async def answer_in_thread(
        self, handler: _TicketHandler, request: ChallengeRequest, user: BackendUser
    ) -> ChallengeResponse | None:
        """Return the answer to a challenge, within a time limit."""
        try:
            async with asyncio.timeout(KERBEROS_SECONDS):
                return await self._pool.run(self.answer, handler, request, user)
        except TimeoutError:
            raise LoginUnavailable(
                f"no ticket within {KERBEROS_SECONDS:.0f} seconds: the KDC does not answer"
            ) from None


class _TicketHandler(KerberosChallengeHandler):
    """Answers one request's challenges."""

    def __init__(self, tickets: _Tickets, user: BackendUser) -> None:
        super().__init__()
        self._tickets = tickets
        self._user = user

    def can_handle(self, request: ChallengeRequest) -> bool:
        return super().can_handle(request) and self._tickets.may_send(request)

    async def handle(self, request: ChallengeRequest) -> ChallengeResponse | None:
        return await self._tickets.answer_in_thread(self, request, self._user)

    def with_credentials(self, request: ChallengeRequest, credentials: Any) -> ChallengeResponse | None:
        """Return the answer with somebody's credentials. Blocks.

        Raises:
            LoginFailed: there is no ticket for the back end.
            LoginUnavailable: the KDC cannot be reached.
        """
        try:
            return self._answer(request, credentials)
        except gssapi.exceptions.GSSError as error:
            raise _login_error(error, f"no ticket for {self._service}/{request.host}") from None


class OwnTickets(_Tickets):
    """The gateway's own tickets.

    Args:
        login: logs the gateway in.
        plain_http: whether tickets may travel unencrypted.
    """

    def __init__(self, login: KeytabLogin, *, plain_http: bool) -> None:
        super().__init__(login, plain_http=plain_http)
        self._own = login

    def answer(self, handler: _TicketHandler, request: ChallengeRequest, user: BackendUser) -> ChallengeResponse | None:
        return handler.with_credentials(request, self._own.login((SPNEGO,)))


class DelegatedTickets(_Tickets):
    """The user's tickets, by delegation.

    Args:
        login: logs in the account that may act as users; None to use nothing but tickets that clients delegate.
        clock: the time.
        plain_http: whether tickets may travel unencrypted.
    """

    def __init__(self, login: KeytabLogin | None, clock: Clock, *, plain_http: bool) -> None:
        super().__init__(login, plain_http=plain_http)
        self._realm = login.principal.rpartition("@")[2] if login is not None else libkrb5.default_realm() or ""
        self._kept: BoundedCache[str, Any] = BoundedCache(_USERS, ttl=_KEPT_SECONDS, monotonic=clock.monotonic)

    def answer(self, handler: _TicketHandler, request: ChallengeRequest, user: BackendUser) -> ChallengeResponse | None:
        if user.subject is None:
            raise LoginFailed("no user whose ticket could be delegated")
        name = _user_name(user.subject)
        delegated = _delegated_by_client(user.subject, self._full_name(name))
        if delegated is not None:
            return handler.with_credentials(request, delegated)
        principal = self._principal(name)
        kept = self._kept.get(principal)
        if kept is not None:
            try:
                return handler.with_credentials(request, kept)
            except LoginFailed:
                self._kept.pop(principal)  # it has expired, or the account's rights were changed: ask the KDC again
        credentials = self._impersonate(principal)
        response = handler.with_credentials(request, credentials)
        self._kept.put(principal, credentials)
        return response

    def _full_name(self, name: str) -> str:
        return name if "@" in name else f"{name}@{self._realm}"

    def _principal(self, name: str) -> str:
        """Return the user's principal.

        Raises:
            LoginFailed: the gateway's account cannot act as the user.
        """
        if self._login is None:
            raise LoginFailed("the client delegated no ticket")
        user, realm = split_principal(name)
        if realm and realm.casefold() != self._realm.casefold():
            raise LoginFailed(f"users of realm {realm} cannot be delegated: the keytab is of realm {self._realm}")
        if "/" in user:
            raise LoginFailed("services cannot be delegated, only users")
        return f"{user}@{self._realm}"

    def _impersonate(self, principal: str) -> Any:
        """Return the user's credentials, for the gateway's account to use (S4U2Self)."""
        if self._login is None:
            raise LoginFailed("the client delegated no ticket")
        own = self._login.login((SPNEGO,))
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        try:
            return own.impersonate(name, mechs=[KRB5, SPNEGO], usage="initiate")
        except gssapi.exceptions.GSSError as error:
            raise _login_error(error, f"{self._login.principal} cannot act as {principal}") from None


def _user_name(subject: Subject) -> str:
    for principal in subject.principals:
        if isinstance(principal, UserPrincipal):
            return principal.name
    raise LoginFailed("the subject has no user principal")


def _delegated_by_client(subject: Subject, name: str) -> Any:
    """Return the credentials that a client delegated, if they are of this user; None without them.

    A subject may have other credentials too, such as the gateway's own.
    """
    for each in subject.private_credentials:
        if isinstance(each, gssapi.Credentials):
            try:
                if str(each.name).casefold() == name.casefold() and each.usage != "accept" and each.lifetime != 0:
                    return each
            except gssapi.exceptions.GSSError:
                continue  # expired
    return None


def _login_error(error: Any, what: str) -> LoginError:
    reason = explain(error)
    unreachable = any(text in reason for text in _UNREACHABLE)
    return (LoginUnavailable if unreachable else LoginFailed)(f"{what}: {reason}")
