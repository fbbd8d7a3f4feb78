"""Limit the time and the threads of one login with a directory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread

from asgi_gateway.modules.ldap.client.errors import DeadlineExceeded

__all__ = ["Deadline", "RunBlocking"]

RunBlocking = Callable[..., Awaitable[Any]]
"""Runs a function with arguments in a thread and returns its result."""

_EXCEEDED = "the login took longer than both timeouts of the directory together"


class Deadline:
    """The end of one login's time, and the threads that its blocking calls run in.

    Real time counts, as for the timeouts of sockets, not the injected clock.

    Args:
        seconds: the time from now.
        run_blocking: runs blocking functions in the gateway's threads.
    """

    __slots__ = ("_end", "_run_blocking")

    def __init__(self, seconds: float, run_blocking: RunBlocking = anyio.to_thread.run_sync) -> None:
        self._end = time.monotonic() + seconds
        self._run_blocking = run_blocking

    def left(self, most: float) -> float:
        """Return the seconds until the end, but no more than ``most``.

        Raises:
            DeadlineExceeded: none are left.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise DeadlineExceeded(_EXCEEDED)
        return min(seconds, most)

    async def run_in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a blocking function in a thread, and stop waiting for it at the end.

        Raises:
            DeadlineExceeded: it took too long.
            Exception: what the function raises.
        """
        with anyio.move_on_after(self._end - time.monotonic()):
            return await self._run_blocking(function, *args)
        raise DeadlineExceeded(_EXCEEDED)
