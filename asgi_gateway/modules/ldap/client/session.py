"""One login's use of one directory server, and of those that it refers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio.lowlevel

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.connection import Connection, Entry
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.errors import Referred, ServerLost
from asgi_gateway.modules.ldap.client.server import Blocking, Purpose, Server
from asgi_gateway.modules.ldap.client.urls import Address

__all__ = ["Session"]

T = TypeVar("T")

_MAX_PLACES = 10


class Session:
    """One login's use of one server.

    Args:
        server: the server.
        base: the DN of the URL that names it.
        deadline: when the login must have ended.
        refer: gives the server and base DN of a referral's URL.
        blocking: runs what blocks.
        referred: another server named this one.
    """

    def __init__(
        self,
        server: Server,
        base: str,
        deadline: Deadline,
        refer: Callable[[str], tuple[Server, str]],
        blocking: Blocking,
        *,
        referred: bool = False,
    ) -> None:
        self.server = server
        self.base = base
        self.deadline = deadline
        self._refer = refer
        self._blocking = blocking
        self._referred = referred

    def search(
        self,
        base: str,
        scope: int,
        filter_text: str,
        attributes: Iterable[str],
        limit: int,
        *,
        follow: bool = False,
    ) -> Awaitable[list[Entry]]:
        """Search as the bind account, or anonymously; arguments and errors as ``Connection.search``."""
        wanted = tuple(attributes)

        def search(connection: Connection) -> Awaitable[list[Entry]]:
            return connection.search(base, scope, filter_text, wanted, limit, self.deadline, follow=follow)

        return self._use("search", search)

    async def find(
        self, scope: int, filter_text: str, attributes: Iterable[str], limit: int, *, follow: bool
    ) -> tuple[list[Entry], Session]:
        """Search below the session's base DN, and if asked to where referrals lead, each place once.

        Returns:
            the entries of the first place that has any, and its session.

        Raises:
            LoginUnavailable: referrals lead nowhere, in circles, or on and on.
        """
        if not follow:
            return await self.search(self.base, scope, filter_text, attributes, limit), self
        waiting, seen, searched = [self], {self._place}, False
        while waiting:
            session = waiting.pop(0)
            try:
                entries = await session.search(session.base, scope, filter_text, attributes, limit, follow=True)
            except Referred as error:
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

    def _at(self, url: str) -> Session:
        server, base = self._refer(url)
        return Session(server, base or self.base, self.deadline, self._refer, self._blocking, referred=True)

    async def bound(self, dn: str, password: str, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Bind as a user, and run a job on the connection as that user.

        Raises:
            Refused: the bind was.
            LoginError: what the job raises.
        """

        async def bind_and_run(connection: Connection) -> T:
            await connection.bind(dn, password, self.deadline)
            return await job(connection)

        return await self._use("login", bind_and_run)

    def bind(self, dn: str, password: str) -> Awaitable[None]:
        """Bind as a user, and do nothing as that user.

        Raises:
            Refused: the bind was.
        """
        return self._use("login", lambda connection: connection.bind(dn, password, self.deadline))

    async def reach(self) -> None:
        """Connect to the server, if only for a moment.

        Raises:
            ServerLost: it cannot be reached.
        """
        await self._use("login", lambda connection: anyio.lowlevel.checkpoint())

    def _use(self, purpose: Purpose, job: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]:
        used = self.server.use(purpose, job, self.deadline, self._blocking)
        return _not_lost(used) if self._referred else used


async def _not_lost(used: Awaitable[T]) -> T:
    try:
        return await used
    except ServerLost as error:  # not the fault of the server that the login began with
        raise LoginUnavailable(str(error)) from None
