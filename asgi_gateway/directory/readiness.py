"""Waiting for a socket's data in the event loop, without a thread that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import anyio.lowlevel
import sniffio

__all__ = ["Readiness", "Step"]

_LOOK_AGAIN = 0.1
"""Seconds after which to look whatever the socket shows: TLS may hold data back, or a request be only half written."""

Step = Callable[[], bool | None]
"""Takes in what has come; never blocks. True: the answer is whole; None: more must come first; False: call again soon,
after others had their turn.
"""


class Readiness:
    """Waits until what comes in on a socket makes an answer whole.

    On asyncio the socket stays registered with the loop from one answer to the next, since registering takes longer
    than an answer. Elsewhere each wait registers it.

    Args:
        fileno: gives the socket's file descriptor, which is not blocking.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._loop: asyncio.AbstractEventLoop | None = None
        self._step: Step | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end = 0.0

    async def until(self, step: Step, seconds: float) -> None:
        """Call a step whenever there is something to take in, until it says that the answer is whole.

        Args:
            step: takes it in.
            seconds: how long to wait.

        Raises:
            TimeoutError: the answer was not whole in time.
            Exception: what the step raises.
        """
        if sniffio.current_async_library() != "asyncio" or not self._register():
            await self._until_elsewhere(step, seconds)
            return
        loop = asyncio.get_running_loop()
        self._step = step
        self._waiter = loop.create_future()
        self._end = loop.time() + seconds
        self._timer = loop.call_later(min(seconds, _LOOK_AGAIN), self._look_again)
        try:
            await self._waiter
        finally:
            self._timer.cancel()
            self._step = self._waiter = self._timer = None

    def leave(self) -> None:
        """Have the loop forget the socket. To be called before the socket is closed, or at once when it was."""
        loop, self._loop = self._loop, None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fileno)

    def _register(self) -> bool:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self.leave()
            try:
                loop.add_reader(self._fileno, self._ready)
            except NotImplementedError:  # Windows' default loop
                return False
            self._loop = loop
        return True

    def _ready(self) -> None:
        waiter, step = self._waiter, self._step
        if waiter is None or step is None:  # nobody asked: most likely the server ended the connection
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
            asyncio.get_running_loop().call_soon(self._ready)

    def _look_again(self) -> None:
        self._ready()
        if self._waiter is None or self._waiter.done():
            return
        loop = asyncio.get_running_loop()
        left = self._end - loop.time()
        if left > 0:
            self._timer = loop.call_later(min(left, _LOOK_AGAIN), self._look_again)
        else:
            self._waiter.set_exception(TimeoutError())

    async def _until_elsewhere(self, step: Step, seconds: float) -> None:
        with anyio.fail_after(seconds):
            while True:
                with anyio.move_on_after(_LOOK_AGAIN):
                    await anyio.wait_readable(self._fileno)
                while (whole := step()) is False:
                    await anyio.lowlevel.checkpoint()
                if whole:
                    return
