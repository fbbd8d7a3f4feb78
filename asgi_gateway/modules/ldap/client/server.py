"""Define one directory server and its idle connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from asgi_gateway.errors import LoginError, LoginUnavailable
from asgi_gateway.modules.ldap.client.connection import ConnectionSettings, LdapConnection
from asgi_gateway.modules.ldap.client.deadline import Deadline
from asgi_gateway.modules.ldap.client.errors import BindRefused, DirectoryTimeout, ServerUnreachable
from asgi_gateway.modules.ldap.client.urls import Address
from asgi_gateway.plugins.clock import Clock

__all__ = ["Binding", "DirectoryServer"]

T = TypeVar("T")

Binding = Literal["account", "user"]
"""Connections that stay bound as the bind account (or anonymous), and connections that each login binds again."""

_CHECK_AFTER = 10.0
_MAX_AGE = 600.0
_REMEMBER_REFUSAL = 3.0


@dataclass(slots=True)
class _Idle:
    connection: LdapConnection
    opened: float
    used: float


class DirectoryServer:
    """A server, its pools of connections, and when it failed last.

    Args:
        address: its address.
        settings: how to speak to it.
        clock: the time, for the age of connections and failures.
        size: how many idle connections of each binding are kept.
    """

    def __init__(self, address: Address, settings: ConnectionSettings, clock: Clock, size: int) -> None:
        self.address = address
        self.settings = settings
        self.dead_until = 0.0
        """The time until which other servers are preferred."""
        self._clock = clock
        self._size = size
        self._idle: dict[Binding, deque[_Idle]] = {"account": deque(), "user": deque()}
        self._refusal: tuple[float, str] = (0.0, "")
        self._closed = False

    async def use(self, binding: Binding, job: Callable[[LdapConnection], Awaitable[T]], deadline: Deadline) -> T:
        """Run a job on a connection, and again on a new one if the server had closed the pooled one.

        Args:
            binding: the pool to take the connection from.
            job: runs on the connection.
            deadline: the login's end.

        Raises:
            ServerUnreachable: the server cannot be asked.
            LoginError: what the job raises.
        """
        while True:
            pooled = self._take(binding) or await self._take_checked(binding, deadline)
            entry = pooled or await self._connect(binding, deadline)
            try:
                result = await job(entry.connection)
            except ServerUnreachable as error:
                entry.connection.close()
                if pooled is None or isinstance(error, DirectoryTimeout):
                    raise
                self.forget_connections()
                continue
            except LoginError:
                self._give_back(binding, entry)  # the server answered
                raise
            except BaseException:
                entry.connection.close()
                raise
            self._give_back(binding, entry)
            return result

    def mark_dead(self, until: float) -> None:
        """Prefer other servers until then, and close the idle connections."""
        self.dead_until = until
        self.forget_connections()

    def mark_alive(self) -> None:
        """Use the server in its configured order again."""
        self.dead_until = 0.0

    def forget_connections(self) -> None:
        """Close the idle connections."""
        for entries in self._idle.values():
            while entries:
                entries.pop().connection.close()

    def close(self) -> None:
        """Close the idle connections, and the others when they are given back."""
        self._closed = True
        self.forget_connections()

    def _take(self, binding: Binding) -> _Idle | None:
        """Return the idle connection used last, if that was too recently for a check."""
        idle, now = self._idle[binding], self._clock.monotonic()
        if idle and now - idle[-1].used < _CHECK_AFTER and now - idle[-1].opened < _MAX_AGE:
            return idle.pop()
        return None

    async def _take_checked(self, binding: Binding, deadline: Deadline) -> _Idle | None:
        """Return the idle connection used last that still works; close those that are too old or dead."""
        idle = self._idle[binding]
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

    def _give_back(self, binding: Binding, entry: _Idle) -> None:
        entry.used = self._clock.monotonic()
        if entry.connection.idle and not self._closed and len(self._idle[binding]) < self._size:
            self._idle[binding].append(entry)
        else:
            entry.connection.close()

    async def _connect(self, binding: Binding, deadline: Deadline) -> _Idle:
        now = self._clock.monotonic()
        until, refusal = self._refusal
        if binding == "account" and now < until:  # asking on would keep a locked account locked
            raise LoginUnavailable(refusal)
        connection: LdapConnection = await deadline.run_in_thread(LdapConnection, self.address, self.settings, deadline)
        if binding == "account" and self.settings.principal is not None:
            try:
                await connection.bind(self.settings.principal, self.settings.password or "", deadline)
            except BindRefused as error:
                connection.close()
                refusal = f"the bind account {self.settings.principal!r} is refused: {error}"
                self._refusal = (now + _REMEMBER_REFUSAL, refusal)
                raise LoginUnavailable(refusal) from None
            except BaseException:
                connection.close()
                raise
        return _Idle(connection, now, now)
