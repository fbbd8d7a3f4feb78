"""Run equal calls once: those that come while the first is under way wait for its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

V = TypeVar("V")


class SingleFlight(Generic[V]):
    """Share one call's result among all callers with an equal key that come while it is under way."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, asyncio.Future[V]] = {}

    async def run(self, key: Hashable, call: Callable[[], Awaitable[V]]) -> V:
        """Return the result of the call under way for this key, or make the call.

        A caller that is cancelled, or whose call raises, passes the work on: one of those that wait makes the call
        again.

        Args:
            key: equal for calls that have the same result.
            call: makes the call.
        """
        loop = asyncio.get_running_loop()
        while (first := self._calls.get(key)) is not None and first.get_loop() is loop:
            # asyncio.wait, unlike await, neither raises the future's cancellation nor cancels it with this task
            await asyncio.wait((first,))
            if not first.cancelled():
                return first.result()
        mine: asyncio.Future[V] = loop.create_future()
        self._calls[key] = mine
        try:
            result = await call()
            mine.set_result(result)
            return result
        finally:
            if self._calls.get(key) is mine:
                del self._calls[key]
            if not mine.done():
                mine.cancel()
