"""A WebSocket that the gateway can close while the application is using it.

Messages are not inspected. ``receive()`` adds one coroutine, ``send()`` adds none. When the gateway closes the socket,
the application's pending ``receive`` returns a disconnect, and a later ``send`` fails as the ASGI specification says
for a connection that is gone. ``asgi_gateway.websockets.live`` decides when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["ClosableWebSocket", "ConnectionEnded"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

POLICY_VIOLATION = 1008
"""RFC 6455 section 7.4.1."""
UNAUTHORIZED = 3000
"""IANA's WebSocket Close Code Number Registry. Sent to a server that does not accept 1008."""

logger = logging.getLogger("asgi_gateway.lifetime")


class ConnectionEnded(OSError):
    """Raised by ``send`` after the gateway closed the socket (ASGI specification, "send after disconnect")."""


class ClosableWebSocket:
    """Wraps ``receive`` and ``send`` of one WebSocket so that the gateway can close it.

    Args:
        receive: the server's ``receive``.
        send: the server's ``send``.
    """

    __slots__ = ("_closing", "_on_end", "_others", "_receive", "_receiver", "_send", "code", "ended", "reason")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._receiver: asyncio.Task[Any] | None = None
        self._others: set[asyncio.Task[Any]] | None = None  # created only if several tasks receive at once
        self._closing: asyncio.Task[None] | None = None
        self._on_end: Callable[[], None] | None = None
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
        if self._on_end is not None:
            self._on_end()
        for receiver in (self._receiver, *(self._others or ())):
            if receiver is not None:
                # As in asyncio.timeout: the task that receives takes this cancellation back with uncancel().
                receiver.cancel()

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call a function when ``end`` closes the socket; at once if it is closed.

        Args:
            callback: must not block or raise.
        """
        self._on_end = callback
        if self.ended:
            callback()

    async def receive(self) -> Message:
        """Return the server's next message, or the disconnect once the socket has ended."""
        if self.ended:
            return self._disconnect()
        if self._receiver is not None:
            return await self._receive_in_second_task()
        task = self._receiver = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._is_cancelled_by_others(task):
                raise
            return self._disconnect()
        finally:
            self._receiver = None

    async def _receive_in_second_task(self) -> Message:
        """Receive while another task waits in ``receive``."""
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
        """Return whether a cancellation did not come from ``end``, or not from it alone."""
        return not self.ended or task is None or task.uncancel() > 0

    def _disconnect(self) -> Message:
        return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}

    def send(self, message: Message) -> Awaitable[None]:
        """Return the server's awaitable for sending a message.

        Raises:
            ConnectionEnded: the socket has ended.
        """
        if self.ended:
            raise ConnectionEnded(self.reason)
        return self._send(message)

    async def wait_closed(self) -> None:
        """Wait until the close that ``end`` began has been handed to the server."""
        if self._closing is not None:
            await self._closing

    async def _close(self) -> None:
        for code in (self.code, UNAUTHORIZED):
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": self.reason})
                break
            except Exception:
                # Either the connection is gone, which is fine, or the server refuses the code: daphne does not send
                # 1008, and would leave the socket open.
                logger.debug("a socket could not be closed with %d", code, exc_info=True)
