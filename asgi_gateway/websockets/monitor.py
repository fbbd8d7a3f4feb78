"""Check while sockets live whether their logins still hold: a user may be disabled, removed, or lose a role.

Each login is checked once per interval, however many sockets rest on it. A login that no longer holds closes its
sockets with a reason of its own. A back end that cannot be asked closes none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from dataclasses import dataclass, field

from asgi_gateway.model import LoginCheck
from asgi_gateway.websockets.live import CloseReason, Revocable

__all__ = ["LoginMonitor"]

logger = logging.getLogger("asgi_gateway.monitor")

_TICK = 0.5
"""Seconds between two looks at what is due."""
_AT_ONCE = 8
"""Logins that are checked at the same time."""


@dataclass(slots=True)
class _Login:
    check: LoginCheck
    due: float
    sockets: set[Revocable] = field(default_factory=set)


class LoginMonitor:
    """Checks the logins of the live sockets and streams of one process."""

    def __init__(self) -> None:
        self._logins: dict[Hashable, _Login] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Return the number of logins that are checked."""
        return len(self._logins)

    async def open(self) -> None:
        """Begin to check."""
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.create_task(self._run(), name="asgi-gateway-login-checks")

    async def close(self) -> None:
        """Stop checking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def add(self, socket: Revocable, check: LoginCheck) -> None:
        """Check a socket's login from now on."""
        key = check.key()
        login = self._logins.get(key)
        if login is None:
            login = self._logins[key] = _Login(check, asyncio.get_running_loop().time() + check.interval)
        login.sockets.add(socket)

    def discard(self, socket: Revocable, check: LoginCheck) -> None:
        """Check a socket's login no longer; do nothing if it was not added."""
        key = check.key()
        login = self._logins.get(key)
        if login is not None:
            login.sockets.discard(socket)
            if not login.sockets:
                del self._logins[key]

    def check_now(self, realm: str) -> None:
        """Check every login of a realm at once, because its data changed. May be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._make_due, realm)

    def _make_due(self, realm: str) -> None:
        for login in self._logins.values():
            if login.check.realm == realm:
                login.due = 0.0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            due = [login for login in self._logins.values() if login.due <= now]
            for start in range(0, len(due), _AT_ONCE):
                await asyncio.gather(*(self._check(login) for login in due[start : start + _AT_ONCE]))

    async def _check(self, login: _Login) -> None:
        login.due = asyncio.get_running_loop().time() + login.check.interval
        try:
            holds = await login.check.holds()
        except Exception:
            logger.exception("cannot check a login of realm %s; its sockets stay open", login.check.realm)
            return
        if holds:
            return
        for socket in tuple(login.sockets):
            if not socket.loop.is_closed():
                socket.loop.call_soon_threadsafe(socket.close, CloseReason.LOGIN_ENDED)
