"""Define one login's use of one directory server, and of the servers that it refers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio.lowlevel

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.connection import LdapConnection
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.entries import Entry, SearchRequest
from asgi_gateway.modules.ldap.client.errors import Referral, ServerUnreachable
from asgi_gateway.modules.ldap.client.server import Binding, DirectoryServer
from asgi_gateway.modules.ldap.client.urls import Address

__all__ = ["LdapSession", "UserConnection"]

T = TypeVar("T")

_MAX_PLACES = 10


@dataclass(frozen=True, slots=True)
class UserConnection:
    """A connection bound as the user, for the rest of one login."""

    connection: LdapConnection
    deadline: Deadline

    def search(self, request: SearchRequest) -> Awaitable[list[Entry]]:
        """Search as the user; errors are those of ``LdapConnection.search``."""
        return self.connection.search(request, self.deadline)

    def who_am_i(self) -> Awaitable[str | None]:
        """Return the user's authorization identity; see ``LdapConnection.who_am_i``."""
        return self.connection.who_am_i(self.deadline)


class LdapSession:
    """One login's use of one server.

    Args:
        server: the server.
        base: the DN of the URL that names the server.
        deadline: the login's end.
        refer: returns the server and base DN of a referral's URL.
        referred: another server named this one.
    """

    def __init__(
        self,
        server: DirectoryServer,
        base: str,
        deadline: Deadline,
        refer: Callable[[str], tuple[DirectoryServer, str]],
        *,
        referred: bool = False,
    ) -> None:
        self.server = server
        self.base = base
        self._deadline = deadline
        self._refer = refer
        self._referred = referred

    def search(self, request: SearchRequest) -> Awaitable[list[Entry]]:
        """Search as the bind account, or anonymously; errors are those of ``LdapConnection.search``."""
        return self._use("account", lambda connection: connection.search(request, self._deadline))

    async def find(self, request: SearchRequest) -> tuple[list[Entry], LdapSession]:
        """Search below the session's base, and if the request asks for it where references lead, each place once.

        Args:
            request: the search; its base is replaced by the session's.

        Returns:
            The entries of the first place that has any, and its session.

        Raises:
            LoginUnavailable: references cannot be followed, form a loop, or lead to too many places.
        """
        if not request.references:
            return await self.search(request if request.base == self.base else replace(request, base=self.base)), self
        waiting, seen, searched = [self], {self._place}, False
        while waiting:
            session = waiting.pop(0)
            try:
                entries = await session.search(replace(request, base=session.base))
            except Referral as error:
                found = [session._at(url) for url in error.urls]
                waiting += {place._place: place for place in found if place._place not in seen}.values()
                seen.update(place._place for place in found)
                if len(seen) > _MAX_PLACES:
                    raise LoginUnavailable(f"the directory refers to more than {_MAX_PLACES} places") from None
                continue
            if entries:
                return entries, session
            searched = True
        if not searched:
            raise LoginUnavailable("the referrals lead back to where they came from")
        return [], self

    @property
    def _place(self) -> tuple[Address, str]:
        return self.server.address, self.base.lower()

    def _at(self, url: str) -> LdapSession:
        server, base = self._refer(url)
        return LdapSession(server, base or self.base, self._deadline, self._refer, referred=True)

    async def bound(self, dn: str, password: str, job: Callable[[UserConnection], Awaitable[T]]) -> T:
        """Bind as a user, and run a job on the connection as that user.

        Raises:
            BindRefused: the bind was refused.
            LoginError: what the job raises.
        """

        async def bind_and_run(connection: LdapConnection) -> T:
            await connection.bind(dn, password, self._deadline)
            return await job(UserConnection(connection, self._deadline))

        return await self._use("user", bind_and_run)

    def bind(self, dn: str, password: str) -> Awaitable[None]:
        """Bind as a user, and do nothing as that user.

        Raises:
            BindRefused: the bind was refused.
        """
        return self._use("user", lambda connection: connection.bind(dn, password, self._deadline))

    async def connect(self) -> None:
        """Connect to the server without a bind.

        Raises:
            ServerUnreachable: it is unreachable.
        """
        await self._use("user", lambda connection: anyio.lowlevel.checkpoint())

    def _use(self, binding: Binding, job: Callable[[LdapConnection], Awaitable[T]]) -> Awaitable[T]:
        used = self.server.use(binding, job, self._deadline)
        return _never_unreachable(used) if self._referred else used


async def _never_unreachable(used: Awaitable[T]) -> T:
    try:
        return await used
    except ServerUnreachable as error:  # not the fault of the server that the login began with
        raise LoginUnavailable(str(error)) from None
