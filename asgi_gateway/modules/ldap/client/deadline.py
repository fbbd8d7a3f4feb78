"""When a login with a directory must have ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TypeVar

import anyio

from asgi_gateway.modules.ldap.client.errors import OutOfTime

__all__ = ["Deadline"]

T = TypeVar("T")

_OUT_OF_TIME = "the login's time is used up"


class Deadline:
    """When a login must have ended. Real time, like the timeouts of sockets, not the injected clock."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, most: float) -> float:
        """Seconds until then, at most so many.

        Raises:
            OutOfTime: none are left.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise OutOfTime(_OUT_OF_TIME)
        return min(seconds, most)

    async def limit(self, work: Awaitable[T]) -> T:
        """Wait for something that has no limit of its own.

        Raises:
            OutOfTime: it took too long.
        """
        with anyio.move_on_after(self._end - time.monotonic()):
            return await work
        raise OutOfTime(_OUT_OF_TIME)
