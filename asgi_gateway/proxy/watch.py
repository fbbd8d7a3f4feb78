"""End the task of a proxied request from outside: its client left, or the other side is too slow."""

from __future__ import annotations

import asyncio
from typing import Literal

from asgi_gateway.proxy.settings import Timeouts
from asgi_gateway.services.backend import Receive

__all__ = ["Interruption", "RequestWatch", "Watches"]

Interruption = Literal["gone", "late", "stalled"]
"""Why a request ends: its client left or takes nothing; no response; the back end takes nothing of the request."""

_QUICK_SECONDS = 0.25
"""Most requests are answered before a task that waits for the client's leaving would pay."""


class Watches:
    """Looks at the requests of one proxy now and then, so that each does not need a timer. Used in one event loop."""

    def __init__(self) -> None:
        self._active: set[RequestWatch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watch: RequestWatch) -> None:
        """Look at a request once it is slow."""
        self._active.add(watch)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_QUICK_SECONDS, self._look)

    def discard(self, watch: RequestWatch) -> None:
        """Forget a request that ended."""
        self._active.discard(watch)

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._active = {watch for watch in self._active if not watch.begin_if_slow(now)}
        self._timer = loop.call_later(_QUICK_SECONDS, self._look) if self._active else None


class RequestWatch:
    """Watches one request, in the task that passes it on.

    Args:
        receive: the ASGI ``receive``, which returns a disconnect when the client has left.
        timeouts: how long things may take.
        watches: looks at slow requests.
    """

    __slots__ = (
        "_answered",
        "_connected",
        "_late",
        "_loop",
        "_piece",
        "_receive",
        "_since",
        "_task",
        "_timeouts",
        "_watcher",
        "_watches",
        "reason",
    )

    def __init__(self, receive: Receive, timeouts: Timeouts, watches: Watches) -> None:
        self.reason: Interruption | None = None
        self._receive = receive
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._answered = self._connected = False
        self._since = 0.0
        self._watches = watches
        self._late: asyncio.TimerHandle | None = None
        self._piece: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def request_sent(self) -> None:
        """Begin to watch: nothing of the request's body is left to receive."""
        if self._watcher is None:
            self._since = self._loop.time()
            self._watches.add(self)
        elif not self._answered:
            self._expect_answer()

    def sending_again(self) -> None:
        """Expect another response."""
        self._answered = self._connected = False
        if self._watcher is not None:
            self._expect_answer()

    def connected(self) -> None:
        """Count the response's time from now, or from the end of the request."""
        self._connected = True
        if self._late is not None:
            self._expect_answer()

    def answered(self) -> None:
        """Stop to wait for the response's head."""
        self._answered = True
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def request_piece(self, sending: bool) -> None:
        """Limit the time until the back end has taken a piece of the request.

        Args:
            sending: True before the piece, False when it was taken.
        """
        self._limit_piece("stalled", sending=sending)

    def response_piece(self, sending: bool) -> None:
        """Limit the time until the client has taken a piece of the response.

        Args:
            sending: True before the piece, False when it was taken.
        """
        self._limit_piece("gone", sending=sending)

    def request_failed(self) -> None:
        """End a request whose body ends too early while its response is passed on already."""
        if self._answered:
            self._interrupt("gone")

    def stop(self) -> None:
        """End every timer and task."""
        self._watches.discard(self)
        if self._late is not None:
            self._late.cancel()
        if self._piece is not None:
            self._piece.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def interrupted(self) -> Interruption | None:
        """Return why the task was cancelled, if this did it; None if somebody else did. Called once, when it was."""
        if self.reason is None or self._task is None:
            return None
        return None if self._task.uncancel() > 0 else self.reason

    def _limit_piece(self, reason: Interruption, *, sending: bool) -> None:
        if self._piece is not None:
            self._piece.cancel()
            self._piece = None
        if sending:
            self._piece = self._loop.call_later(self._timeouts.idle, self._interrupt, reason)

    def begin_if_slow(self, now: float) -> bool:
        """Begin to wait for the client's leaving, if the request was sent a while ago; return whether it was."""
        if now < self._since + _QUICK_SECONDS:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        self._watcher = self._loop.create_task(self._wait_for_leaving())
        if not self._answered:
            self._expect_answer()

    def _expect_answer(self) -> None:
        if self._late is not None:
            self._late.cancel()
        seconds = self._timeouts.response + (0.0 if self._connected else self._timeouts.connect)
        self._late = self._loop.call_later(seconds, self._interrupt, "late")

    async def _wait_for_leaving(self) -> None:
        for _ in range(2):  # the first may be the end of the request's body; a third would come from no server
            if (await self._receive())["type"] != "http.request":
                self._interrupt("gone")
                return

    def _interrupt(self, reason: Interruption) -> None:
        if self.reason is None and self._task is not None:
            self.reason = reason
            self._task.cancel()
