"""Join one client's WebSocket to one connection to a back end, until either side ends.

Memory is bounded on both sides. What comes from the back end waits in a queue of a fixed size, and then the connection
is no longer read; while the connection takes no more, at most one message of the client's waits.
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from asgi_gateway.services.backend import ON_END, Message, Receive, Scope, Send

__all__ = ["GONE", "LOST", "BackendStream", "CloseFrame", "relay", "sendable_code"]

logger = logging.getLogger("asgi_gateway.proxy")

QUEUED = 256 * 1024
"""Bytes from a back end that wait for a slow client before the connection is no longer read."""
LINGER = 5.0
"""Seconds that a back end has to take what was sent last, and to answer a close frame. No task waits for it."""
_CLOSE_SECONDS = 1.0
"""Seconds that a client has to take its close frame, if it took nothing else."""
_OVERHEAD = 64
"""What an empty message counts for, so that many of them are bounded too."""


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """A frozen close code and its reason (RFC 6455 section 7.1.6).

    Args:
        code: the code; None for a close frame without one.
        reason: the reason, at most 123 bytes of UTF-8.
    """

    code: int | None
    reason: str = ""


LOST = CloseFrame(1011, "back end lost")
GONE = CloseFrame(1001)
"""What a back end is told when its client left without a close frame."""
_IDLE = CloseFrame(1001, "idle timeout")
_TOO_BIG = CloseFrame(1009, "message too big")


def sendable_code(code: int | None) -> bool:
    """Return whether a close code may be sent (RFC 6455 section 7.4): never 1005, 1006 or 1015."""
    if code is None:
        return False
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


class BackendStream(asyncio.Protocol, abc.ABC):
    """A connection to a back end. Subclasses define what its bytes mean.

    Its messages have the form of ASGI's: ``text`` or ``bytes``.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.last_activity = self.loop.time()
        """When a byte last came or went, by the loop's clock."""
        self.end: CloseFrame | None = None
        """What the client is told, once the back end's side has ended."""
        self._transport: asyncio.Transport | None = None
        self._incoming: deque[tuple[Message, int]] = deque()
        self._queued = 0
        self._reading_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._lost = False

    @abc.abstractmethod
    def write_message(self, message: Message) -> None:
        """Send a client's message, or take it for sending later."""

    @abc.abstractmethod
    def finish(self, close: CloseFrame) -> None:
        """Take notice that the client closed: what it sent before still goes out."""

    @property
    def writable(self) -> bool:
        """Whether the connection takes more now."""
        return self._drained is None

    async def drain(self) -> None:
        """Wait until the connection takes more, or has ended."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    async def next_message(self) -> Message | None:
        """Return the next message from the back end; None if it has ended and all were returned."""
        while not self._incoming:
            if self.end is not None:
                return None
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, size = self._incoming.popleft()
        self._queued -= size
        if self._reading_paused and self._queued <= QUEUED // 2 and self.end is None:
            self._reading_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return message

    def abort(self) -> None:
        """Close the connection at once. Nothing more is read or sent."""
        self._end(GONE)
        self._incoming.clear()
        if self._transport is not None and not self._lost:  # asyncio's transports take no abort afterwards
            self._transport.abort()

    def cut(self) -> None:
        """Close a connection that takes nothing, because the gateway ended the WebSocket.

        Of any other one the end is noticed where the client's next message is waited for.
        """
        if not self.writable:
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self.end is not None:  # given up meanwhile
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._end(LOST)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._drained is None and not self._lost:
            self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    def _deliver(self, message: Message, size: int) -> None:
        """Queue a message for the client."""
        size += _OVERHEAD
        self._incoming.append((message, size))
        self._queued += size
        transport = self._transport
        if self._queued > QUEUED and not self._reading_paused and transport is not None and not transport.is_closing():
            self._reading_paused = True
            transport.pause_reading()
        self._wake()

    def _end(self, close: CloseFrame) -> None:
        """Note how the back end's side ended, unless it has ended before."""
        if self.end is None:
            self.end = close
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _close_soon(self) -> None:
        """Close once what was written has gone out; after LINGER in any case."""
        transport = self._transport
        if transport is None or self._lost:
            return
        if self._reading_paused:  # the end of the connection is noticed only while it is read
            self._reading_paused = False
            transport.resume_reading()
        if self._linger is None:
            self._linger = self.loop.call_later(LINGER, transport.abort)


class _Relay:
    """Passes messages both ways until either side ends."""

    def __init__(self, stream: BackendStream, receive: Receive, send: Send, max_message: int | None) -> None:
        self._stream = stream
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self.last_activity = stream.loop.time()
        self.refusal: CloseFrame | None = None

    async def to_backend(self, ahead: Awaitable[Message]) -> None:
        """Pass the client's messages on until it leaves.

        Args:
            ahead: what already waits for the client's first message.
        """
        stream, receive, largest = self._stream, self._receive, self._max_message
        message = await ahead
        while message["type"] == "websocket.receive":
            self.last_activity = stream.loop.time()
            if largest is not None and _length(message) > largest:
                self.refusal = _TOO_BIG
                stream.finish(_TOO_BIG)
                return
            if stream.end is None:
                stream.write_message(message)
            if stream.writable:
                message = await receive()
            else:
                message = await self._receive_while_full()
        stream.finish(_close_of(message))

    async def _receive_while_full(self) -> Message:
        """Return the client's next message once the back end takes more; a disconnect at once."""
        ahead = asyncio.ensure_future(self._receive())
        drained = asyncio.ensure_future(self._stream.drain())
        try:
            await asyncio.wait((ahead, drained), return_when=asyncio.FIRST_COMPLETED)
            if not drained.done() and ahead.result()["type"] == "websocket.receive":
                await drained
                self.last_activity = self._stream.loop.time()
            return await ahead
        finally:
            ahead.cancel()
            drained.cancel()

    async def to_client(self) -> None:
        """Pass the back end's messages on until it ends."""
        stream, send = self._stream, self._send
        while (message := await stream.next_message()) is not None:
            await send(message)
            self.last_activity = stream.loop.time()


async def relay(
    stream: BackendStream,
    scope: Scope,
    client: tuple[Receive, Send],
    ahead: Awaitable[Message],
    *,
    idle: float,
    max_message: int | None,
) -> None:
    """Pass messages between an accepted WebSocket and a back end until either side ends; then close the other.

    Args:
        stream: the connection to the back end.
        scope: the WebSocket's scope.
        client: the WebSocket's ``receive`` and ``send``.
        ahead: what waits for the client's first message.
        idle: seconds without a message or a byte, both ways, after which both sides are closed.
        max_message: the longest message of a client, in bytes; None for any length.
    """
    receive, send = client
    joined = _Relay(stream, receive, send, max_message)
    if (on_end := scope.get(ON_END)) is not None:
        on_end(stream.cut)
    up = asyncio.ensure_future(joined.to_backend(ahead))
    down = asyncio.ensure_future(joined.to_client())
    close: CloseFrame | None = None
    try:
        close = await _first_end(joined, stream, up, down, idle)
    except OSError:
        stream.finish(GONE)  # the client is gone, or the gateway ended the socket
    finally:
        for task in (up, down):
            task.cancel()
        with suppress(Exception):  # the first error is the one that counts
            await asyncio.gather(up, down, return_exceptions=True)
        if close is _IDLE:
            stream.finish(_IDLE)
        elif stream.end is None:
            stream.abort()
    if close is not None:
        await close_client(send, close)


async def _first_end(
    joined: _Relay, stream: BackendStream, up: asyncio.Future[None], down: asyncio.Future[None], idle: float
) -> CloseFrame | None:
    """Wait until a side ends. Return what the client is told; None if it has closed itself."""
    while True:
        last = max(joined.last_activity, stream.last_activity)
        left = last + idle - stream.loop.time()
        if left <= 0:
            return _IDLE
        done, _ = await asyncio.wait((up, down), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if up in done:
            up.result()
            return joined.refusal
        if down in done:
            down.result()
            return stream.end


async def close_client(send: Send, close: CloseFrame) -> None:
    """Send a client its close frame, unless it is gone."""
    code = close.code if sendable_code(close.code) else 1000 if close.code in (None, 1005) else 1011
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await send({"type": "websocket.close", "code": code, "reason": close.reason})
    except Exception:  # the client is gone, takes nothing, or the server does not send the code
        logger.debug("a client's WebSocket could not be closed with %s", code, exc_info=True)


def _close_of(message: Message) -> CloseFrame:
    """Return what a back end is told about a client's disconnect."""
    code, reason = message.get("code"), message.get("reason")
    if code == 1005 and reason is not None:  # uvicorn gives the code, without a reason, also to connections lost
        return CloseFrame(None)
    return CloseFrame(code, reason or "") if sendable_code(code) else GONE


def _length(message: Message) -> int:
    data: Any = message.get("bytes")
    return len(data) if data is not None else len((message.get("text") or "").encode())
