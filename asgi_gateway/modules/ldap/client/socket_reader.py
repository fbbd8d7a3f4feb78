"""Wait for a socket's data in the event loop, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import anyio.lowlevel
import sniffio

__all__ = ["ReadStep", "SocketReader"]

_LOOK_AGAIN = 0.1
"""Seconds after which to read even if the socket is not readable: TLS may buffer data, or a request be half written."""

ReadStep = Callable[[], bool | None]
"""Reads what has come and never blocks. Returns True if the answer is complete, None if more must come first, and
False to be called again after other tasks had their turn.
"""


class SocketReader:
    """Waits until an answer on a socket is complete.

    On asyncio the socket stays registered with the loop from one answer to the next, since registering takes longer
    than an answer; one timer serves many answers for the same reason. On other loops each wait registers the socket.

    Args:
        fileno: the socket's file descriptor, which is not blocking.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._loop: asyncio.AbstractEventLoop | None = None
        self._step: ReadStep | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end = 0.0

    async def until(self, step: ReadStep, seconds: float) -> None:
        """Call a step whenever there is something to read, until it returns that the answer is complete.

        Args:
            step: reads from the socket.
            seconds: the time limit.

        Raises:
            TimeoutError: the answer was not complete in time.
            Exception: what the step raises.
        """
        loop = _running_loop()
        if loop is None or (loop is not self._loop and not self._register(loop)):
            await self._until_elsewhere(step, seconds)
            return
        self._step = step
        self._waiter = loop.create_future()
        self._end = loop.time() + seconds
        if self._timer is None or seconds < _LOOK_AGAIN:
            self._set_timer(loop, seconds)
        try:
            await self._waiter
        finally:
            self._step = self._waiter = None

    def leave(self) -> None:
        """Unregister the socket from the loop. Call it before the socket is closed, or as soon as it was."""
        loop, self._loop = self._loop, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fileno)

    def _register(self, loop: asyncio.AbstractEventLoop) -> bool:
        self.leave()
        if sniffio.current_async_library() != "asyncio":  # trio as asyncio's guest
            return False
        try:
            loop.add_reader(self._fileno, self._ready)
        except NotImplementedError:  # Windows' default loop
            return False
        self._loop = loop
        return True

    def _set_timer(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(min(seconds, _LOOK_AGAIN), self._look_again)

    def _ready(self) -> None:
        loop, waiter, step = self._loop, self._waiter, self._step
        if loop is None or waiter is None or step is None:  # no request is pending: the server closed the connection
            self.leave()
            return
        if waiter.done():
            return
        try:
            whole = step()
        except Exception as error:
            self.leave()  # the library may have closed the socket
            waiter.set_exception(error)
            return
        if whole:
            waiter.set_result(None)
        elif whole is False:
            loop.call_soon(self._ready)

    def _look_again(self) -> None:
        self._timer = None
        if self._waiter is None:  # no request is pending
            return
        self._ready()
        loop = self._loop
        if loop is None or self._waiter.done():
            return
        left = self._end - loop.time()
        if left > 0:
            self._set_timer(loop, left)
        else:
            self._waiter.set_exception(TimeoutError())

    async def _until_elsewhere(self, step: ReadStep, seconds: float) -> None:
        with anyio.fail_after(seconds):
            while True:
                with anyio.move_on_after(_LOOK_AGAIN):
                    await anyio.wait_readable(self._fileno)
                while (whole := step()) is False:
                    await anyio.lowlevel.checkpoint()
                if whole:
                    return


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # another event loop than asyncio
        return None
