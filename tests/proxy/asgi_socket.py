"""A client's WebSocket in memory, in front of a Backend, and what unit tests of proxies need beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.settings import ProxySettings, Timeouts
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.services.backend import ON_END, Backend
from asgi_gateway.telemetry.audit import Audit
from asgi_gateway.websockets.closable import ClosableWebSocket
from tests.gateways import scope as asgi_scope

LOOPBACK = "127.0.0.1"
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class SocketClient:
    """Enters a back end as a server would for one WebSocket.

    Args:
        backend: the back end.
        path: the path.
        gate: how many messages the client takes before it is slow; None for any number.
        more: further keys of the scope.
    """

    def __init__(self, backend: Backend, path: str = "/x", *, gate: int | None = None, **more: Any) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.received = 0
        self._to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._gate = asyncio.Semaphore(gate) if gate is not None else None
        self.closable = ClosableWebSocket(self._receive, self._send)
        scope = asgi_scope(path, *more.pop("headers", ()), kind="websocket", **more)
        scope[ON_END] = self.closable.on_end
        self.say({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(backend(scope, self.closable.receive, self.closable.send))

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to the back end."""
        self._to_app.put_nowait(message)

    def text(self, text: str) -> None:
        """Send a text message."""
        self.say({"type": "websocket.receive", "text": text})

    def binary(self, data: bytes) -> None:
        """Send a binary message."""
        self.say({"type": "websocket.receive", "bytes": data})

    def leave(self, code: int = 1001, **reason: str) -> None:
        """Close."""
        self.say({"type": "websocket.disconnect", "code": code, **reason})

    @property
    def untaken(self) -> int:
        """How many messages the back end has not taken yet."""
        return self._to_app.qsize()

    async def next(self) -> dict[str, Any]:
        """Return the next message that the client gets."""
        async with asyncio.timeout(10):
            message: dict[str, Any] = await self.sent.get()
            return message

    async def accepted(self) -> dict[str, Any]:
        """Return the message that accepts."""
        message = await self.next()
        assert message["type"] == "websocket.accept", message
        return message

    async def bytes(self, length: int) -> bytes:
        """Return that many bytes, of as many messages as it takes."""
        found = bytearray()
        while len(found) < length:
            found += (await self.next())["bytes"]
        return bytes(found)

    async def done(self) -> None:
        """Wait until the back end has returned."""
        async with asyncio.timeout(10):
            await self.task

    async def refused(self) -> int:
        """Return the status with which the handshake was refused."""
        start, body = await self.next(), await self.next()
        assert (start["type"], body["type"]) == ("websocket.http.response.start", "websocket.http.response.body")
        await self.done()
        return int(start["status"])

    async def closed(self) -> tuple[int, str]:
        """Return the close code and reason that come next."""
        message = await self.next()
        assert message["type"] == "websocket.close", message
        await self.done()
        return message["code"], message["reason"]

    def take(self, messages: int = 1) -> None:
        """Let a slow client take more messages."""
        assert self._gate is not None
        for _ in range(messages):
            self._gate.release()

    async def _receive(self) -> Any:
        return await self._to_app.get()

    async def _send(self, message: Any) -> None:
        if self._gate is not None and message["type"] == "websocket.send":
            await self._gate.acquire()
        self.sent.put_nowait(message)


class Peer:
    """A back end's side of one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, length: int) -> bytes:
        """Return exactly that many bytes."""
        async with asyncio.timeout(10):
            return await self.reader.readexactly(length)

    async def eof(self) -> bytes:
        """Return what comes until the end."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def reset(self) -> bool:
        """Return whether the connection ends by a reset."""
        try:
            await self.eof()
        except ConnectionResetError:
            return True
        return False


class Listener:
    """A TCP server that hands out its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(10):
            return await self.peers.get()

    @property
    def url(self) -> str:
        return f"tcp://{LOOPBACK}:{self.port}"


@asynccontextmanager
async def listening(handle: Handle | None = None, **options: Any) -> AsyncIterator[Listener]:
    """Run a TCP server.

    Args:
        handle: called for each connection, which is closed afterwards; None to hand it out.
        **options: of ``asyncio.start_server``.
    """
    listener = Listener()
    writers = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if handle is None:
            listener.peers.put_nowait(Peer(reader, writer))
            return
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, LOOPBACK, 0, **options)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        for writer in writers:
            if not writer.is_closing():
                writer.transport.abort()
        server.close()
        await server.wait_closed()


def proxy_settings(*connects: str, **more: Any) -> ProxySettings:
    """Settings of a public service at ``/x``; time limits by their names."""
    limits = {name: more.pop(name) for name in ("connect", "response", "idle") if name in more}
    more.setdefault("public", True)
    return ProxySettings(
        service="proxied",
        accepts=("/x",),
        connects=tuple(map(parse_connect, connects)),
        timeouts=Timeouts(**limits),
        **more,
    )


def targets(settings: ProxySettings) -> Targets:
    return Targets(settings.connects, SystemClock().monotonic)


def audit() -> Audit:
    """An audit log on the logger ``tests.audit``."""
    logger = logging.getLogger("tests.audit")
    logger.setLevel(logging.INFO)
    return Audit(SystemClock(), logger)
