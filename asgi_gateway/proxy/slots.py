"""Bound how many requests are with a back end at once; more wait a while for their turn."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["SlotUnavailable", "Slots"]


class SlotUnavailable(Exception):
    """No slot became free in time, or too many requests wait already."""


class Slots:
    """A number of slots, handed out in the order in which they are asked for. Used in one event loop.

    Args:
        number: how many there are; as many requests may wait for one.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def used(self) -> int:
        """How many are taken."""
        return self._used

    def take(self) -> bool:
        """Take a slot if one is free, and return whether it was."""
        if self._used >= self._number:
            return False
        self._used += 1
        return True

    async def wait(self, seconds: float) -> None:
        """Take a slot as soon as one is free.

        Args:
            seconds: how long to wait.

        Raises:
            SlotUnavailable: none became free in that time, or too many wait already.
        """
        if self.take():
            return
        if len(self._waiting) >= self._number:
            raise SlotUnavailable("too many requests wait for a connection")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.free()  # it was handed over in the same moment
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise SlotUnavailable(f"all {self._number} connections are in use") from None
            raise

    def free(self) -> None:
        """Give a slot back: to the request that has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._used -= 1
