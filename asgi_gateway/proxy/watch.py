"""End the task of a proxied request from outside: its client left, or the other side is too slow."""

from __future__ import annotations

import asyncio
from typing import Literal

from asgi_gateway.proxy.settings import Timeouts
from asgi_gateway.services.backend import Receive

__all__ = ["Interruption", "RequestWatch"]

Interruption = Literal["gone", "late", "stalled"]
"""Why a request ends: its client left or takes nothing; no response; the back end takes nothing of the request."""

_QUICK_SECONDS = 0.05
"""Most requests are answered before a task that waits for the client's leaving would pay."""


class RequestWatch:
    """Watches one request, in the task that passes it on.

    Args:
        receive: the ASGI ``receive``, which returns a disconnect when the client has left.
        timeouts: how long things may take.
    """

    __slots__ = (
        "_answered",
        "_late",
        "_look",
        "_loop",
        "_piece",
        "_receive",
        "_task",
        "_timeouts",
        "_watcher",
        "reason",
    )

    def __init__(self, receive: Receive, timeouts: Timeouts) -> None:
        self.reason: Interruption | None = None
        self._receive = receive
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._answered = False
        self._look: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None
        self._piece: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def request_sent(self) -> None:
        """Begin to watch: nothing of the request's body is left to receive."""
        if self._look is None:
            self._look = self._loop.call_later(_QUICK_SECONDS, self._begin)
        elif self._watcher is not None and not self._answered:
            self._expect_answer()

    def sending_again(self) -> None:
        """Expect another response."""
        self._answered = False
        if self._watcher is not None:
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
        for timer in (self._look, self._late, self._piece):
            if timer is not None:
                timer.cancel()
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

    def _begin(self) -> None:
        self._watcher = self._loop.create_task(self._wait_for_leaving())
        if not self._answered:
            self._expect_answer()

    def _expect_answer(self) -> None:
        if self._late is not None:
            self._late.cancel()
        seconds = self._timeouts.connect + self._timeouts.response
        self._late = self._loop.call_later(seconds, self._interrupt, "late")

    async def _wait_for_leaving(self) -> None:
        while (await self._receive())["type"] == "http.request":
            pass
        self._interrupt("gone")

    def _interrupt(self, reason: Interruption) -> None:
        if self.reason is None and self._task is not None:
            self.reason = reason
            self._task.cancel()
