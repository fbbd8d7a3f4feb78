"""One directory server and its idle connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from asgi_gateway.errors import LoginError, LoginUnavailable
from asgi_gateway.modules.ldap.client.connection import Connection, Settings
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.errors import DirectoryTimeout, Refused, ServerLost
from asgi_gateway.modules.ldap.client.urls import Address
from asgi_gateway.plugins.clock import Clock

__all__ = ["Blocking", "Purpose", "Server"]

T = TypeVar("T")

Blocking = Callable[..., Awaitable[Any]]
"""Has a thread call a function with arguments, and waits for its result."""

Purpose = Literal["search", "login"]
"""Connections that stay bound as the bind account, and connections that each login binds again."""

_CHECK_AFTER = 10.0
_MAX_AGE = 600.0
_REMEMBER_REFUSAL = 3.0


@dataclass(slots=True)
class _Idle:
    connection: Connection
    opened: float
    used: float


class Server:
    """A server, its pool, and what is remembered of its failures.

    Args:
        address: where it is.
        settings: how to speak to it.
        clock: the time, for ages and memories.
        size: how many idle connections of each purpose are kept.
    """

    def __init__(self, address: Address, settings: Settings, clock: Clock, size: int) -> None:
        self.address = address
        self.settings = settings
        self.dead_until = 0.0
        """While the clock shows less, other servers are preferred."""
        self._clock = clock
        self._size = size
        self._idle: dict[Purpose, deque[_Idle]] = {"search": deque(), "login": deque()}
        self._refusal: tuple[float, str] = (0.0, "")
        self._closed = False

    async def use(
        self, purpose: Purpose, job: Callable[[Connection], Awaitable[T]], deadline: Deadline, blocking: Blocking
    ) -> T:
        """Run a job on a connection, and once more on a new one if the server had ended the pooled one meanwhile.

        Args:
            purpose: which pool the connection is of.
            job: what to do with it.
            deadline: the login's end.
            blocking: runs what opens a connection.

        Raises:
            ServerLost: the server cannot be asked.
            LoginError: what the job raises.
        """
        while True:
            pooled = self._take(purpose) or await self._take_checked(purpose, deadline)
            entry = pooled or await self._connect(purpose, deadline, blocking)
            try:
                result = await job(entry.connection)
            except ServerLost as error:
                entry.connection.close()
                if pooled is None or isinstance(error, DirectoryTimeout):
                    raise
                self.forget_connections()
                continue
            except LoginError:
                self._give_back(purpose, entry)  # an answer, if not the one hoped for
                raise
            except BaseException:
                entry.connection.close()
                raise
            self._give_back(purpose, entry)
            return result

    def forget_connections(self) -> None:
        """Close what is idle."""
        for entries in self._idle.values():
            while entries:
                entries.pop().connection.close()

    def close(self) -> None:
        """Close what is idle, and from now on whatever comes back."""
        self._closed = True
        self.forget_connections()

    def _take(self, purpose: Purpose) -> _Idle | None:
        """The idle connection used last, if it was used so lately that it need not be checked."""
        idle, now = self._idle[purpose], self._clock.monotonic()
        if idle and now - idle[-1].used < _CHECK_AFTER and now - idle[-1].opened < _MAX_AGE:
            return idle.pop()
        return None

    async def _take_checked(self, purpose: Purpose, deadline: Deadline) -> _Idle | None:
        """The idle connection used last; ones too old, or found dead, are closed on the way."""
        idle = self._idle[purpose]
        while idle:
            entry = idle.pop()
            try:
                if self._clock.monotonic() - entry.opened < _MAX_AGE and await entry.connection.alive(deadline):
                    return entry
            except BaseException:
                entry.connection.close()
                raise
            entry.connection.close()
        return None

    def _give_back(self, purpose: Purpose, entry: _Idle) -> None:
        entry.used = self._clock.monotonic()
        if entry.connection.idle and not self._closed and len(self._idle[purpose]) < self._size:
            self._idle[purpose].append(entry)
        else:
            entry.connection.close()

    async def _connect(self, purpose: Purpose, deadline: Deadline, blocking: Blocking) -> _Idle:
        now = self._clock.monotonic()
        until, refusal = self._refusal
        if purpose == "search" and now < until:  # asking on would keep a locked account locked
            raise LoginUnavailable(refusal)
        connection: Connection = await deadline.limit(blocking(Connection, self.address, self.settings, deadline))
        if purpose == "search" and self.settings.principal is not None:
            try:
                await connection.bind(self.settings.principal, self.settings.password or "", deadline)
            except Refused as error:
                connection.close()
                refusal = f"the bind account {self.settings.principal!r} is refused: {error}"
                self._refusal = (now + _REMEMBER_REFUSAL, refusal)
                raise LoginUnavailable(refusal) from None
            except BaseException:
                connection.close()
                raise
        return _Idle(connection, now, now)
