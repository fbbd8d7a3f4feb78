"""The end of a WebSocket's life: closed when its login ends, whatever the application is doing.

The timer is one entry in the event loop; messages pass through one extra coroutine call and are not looked at. When the
time comes, the server is told to close with 1008, the application's pending ``receive`` returns a disconnect, and its
later ``send`` fails as the ASGI specification has it for a connection that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import sniffio

__all__ = ["ConnectionEnded", "SocketLifetime"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION = 1008
"""RFC 6455 section 7.4.1."""
UNAUTHORIZED = 3000
"""IANA's WebSocket Close Code Number Registry: what stands in where a server refuses to send 1008."""

logger = logging.getLogger(__name__)


class ConnectionEnded(OSError):
    """Raised by ``send`` after the gateway closed the socket (ASGI specification, "send after disconnect")."""


class SocketLifetime:
    """Wraps ``receive`` and ``send`` of one WebSocket so that it can be ended from outside.

    Args:
        receive: the server's.
        send: the server's.

    Raises:
        RuntimeError: the server's event loop is not asyncio's.
    """

    __slots__ = ("_closing", "_receive", "_receivers", "_send", "_timer", "code", "ended", "reason")

    def __init__(self, receive: Receive, send: Send) -> None:
        if sniffio.current_async_library() != "asyncio":
            raise RuntimeError("a WebSocket with a session or authorization timeout needs a server on asyncio")
        self._receive = receive
        self._send = send
        self._receivers: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self.ended = False
        self.code = POLICY_VIOLATION
        self.reason = ""

    def end_after(self, seconds: float, reason: str) -> None:
        """End the socket after so many seconds; a later call replaces an earlier one."""
        self.release()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end, reason)

    def release(self) -> None:
        """Drop the timer: the application is through."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        """Close the socket now. Must be called in the socket's own event loop.

        Args:
            reason: shown to the client, at most 123 bytes.
            code: the close code.
        """
        if self.ended:
            return
        self.ended, self.code, self.reason = True, code, reason
        self.release()
        self._closing = asyncio.get_running_loop().create_task(self._close())
        for receiver in self._receivers:
            # As asyncio.timeout does: the cancellation is ours, and taken back where the receive waits.
            receiver.cancel()

    async def receive(self) -> Message:
        """The server's next message, or the disconnect once the socket has ended."""
        task = asyncio.current_task()
        if not self.ended and task is not None:
            self._receivers.add(task)
            try:
                return await self._receive()
            except asyncio.CancelledError:
                # Ours, unless somebody else cancelled the task as well.
                if not self.ended or task.uncancel() > 0:
                    raise
            finally:
                self._receivers.discard(task)
        return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}

    async def send(self, message: Message) -> None:
        """Pass a message on.

        Raises:
            ConnectionEnded: the socket has ended.
        """
        if self.ended:
            raise ConnectionEnded(self.reason)
        await self._send(message)

    async def finish(self) -> None:
        """Wait until the close that ``end`` began has been handed to the server."""
        self.release()
        if self._closing is not None:
            await self._closing

    async def _close(self) -> None:
        for code in (self.code, UNAUTHORIZED):
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": self.reason})
                break
            except Exception:
                # The connection is gone already, which is what was wanted, or the server refuses the code: daphne lets
                # nobody send 1008 and would leave the socket open.
                logger.debug("a socket could not be closed with %d", code, exc_info=True)
