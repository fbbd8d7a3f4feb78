"""The end of a WebSocket's life: closed when its login ends, whatever the application is doing.

Messages are not looked at; a received one passes one coroutine more, a sent one none. At the end the server is told to
close, the application's pending ``receive`` returns a disconnect, and its later ``send`` fails as the ASGI
specification has it for a connection that is gone. When that is to happen is for ``asgi_gateway.sockets`` to know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import sniffio

__all__ = ["ClosableWebSocket", "ConnectionEnded"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION = 1008
"""RFC 6455 section 7.4.1."""
UNAUTHORIZED = 3000
"""IANA's WebSocket Close Code Number Registry: what stands in where a server refuses to send 1008."""

logger = logging.getLogger("asgi_gateway.lifetime")


class ConnectionEnded(OSError):
    """Raised by ``send`` after the gateway closed the socket (ASGI specification, "send after disconnect")."""


class ClosableWebSocket:
    """Wraps ``receive`` and ``send`` of one WebSocket so that it can be ended from outside.

    Args:
        receive: the server's.
        send: the server's.

    Raises:
        RuntimeError: the server's event loop is not asyncio's.
    """

    __slots__ = ("_closing", "_others", "_receive", "_receiver", "_send", "code", "ended", "reason")

    def __init__(self, receive: Receive, send: Send) -> None:
        if sniffio.current_async_library() != "asyncio":
            raise RuntimeError("a WebSocket with a session or authorization timeout needs a server on asyncio")
        self._receive = receive
        self._send = send
        self._receiver: asyncio.Task[Any] | None = None
        self._others: set[asyncio.Task[Any]] | None = None  # made where several tasks receive at once, which few do
        self._closing: asyncio.Task[None] | None = None
        self.ended = False
        self.code = POLICY_VIOLATION
        self.reason = ""

    def end(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        """Close the socket now. Must be called in the socket's own event loop.

        Args:
            reason: shown to the client, at most 123 bytes.
            code: the close code.
        """
        if self.ended:
            return
        self.ended, self.code, self.reason = True, code, reason
        self._closing = asyncio.get_running_loop().create_task(self._close())
        for receiver in (self._receiver, *(self._others or ())):
            if receiver is not None:
                # As asyncio.timeout does: the cancellation is ours, and taken back where the receive waits.
                receiver.cancel()

    async def receive(self) -> Message:
        """The server's next message, or the disconnect once the socket has ended."""
        if self.ended:
            return self._disconnect()
        if self._receiver is not None:
            return await self._receive_beside()
        task = self._receiver = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._is_cancelled_by_others(task):
                raise
            return self._disconnect()
        finally:
            self._receiver = None

    async def _receive_beside(self) -> Message:
        """A ``receive`` of a second task while another waits."""
        task = asyncio.current_task()
        others = self._others = self._others or set()
        if task is not None:
            others.add(task)
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._is_cancelled_by_others(task):
                raise
            return self._disconnect()
        finally:
            others.discard(task)

    def _is_cancelled_by_others(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a cancellation is not, or not only, the one of ``end``."""
        return not self.ended or task is None or task.uncancel() > 0

    def _disconnect(self) -> Message:
        return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; no coroutine of its own stands in between.

        Raises:
            ConnectionEnded: the socket has ended.
        """
        if self.ended:
            raise ConnectionEnded(self.reason)
        return self._send(message)

    async def finish(self) -> None:
        """Wait until the close that ``end`` began has been handed to the server."""
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
