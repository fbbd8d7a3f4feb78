"""A back end to the byte, and a client of the proxy in memory: what the tests of http.proxy use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.http import HTTPProxy
from asgi_gateway.proxy.identity import IdentityWriter
from asgi_gateway.proxy.login import BackendLogin
from asgi_gateway.proxy.outgoing import OutgoingRequest
from asgi_gateway.proxy.settings import CredentialNames, ProxySettings, Timeouts
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.telemetry.audit import Audit
from tests.gateways import Records

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[["RawBackend", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawBackend:
    """A server whose bytes a test chooses. It counts its connections and keeps the heads of requests."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.open = 0
        self.heads: list[bytes] = []
        self.closed = asyncio.Event()
        self.url = ""

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        """Read a request's head and keep it."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    def lines(self, index: int = -1) -> dict[str, list[str]]:
        """The headers of a request by name."""
        found: dict[str, list[str]] = {}
        for line in self.heads[index].decode("latin-1").split("\r\n")[1:-2]:
            name, _, value = line.partition(":")
            found.setdefault(name.lower(), []).append(value.strip())
        return found

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError):
                await self._handler(self, reader, writer)
        finally:
            self._tasks.discard(task)
            self.open -= 1
            self.closed.set()
            writer.close()

    async def stop(self) -> None:
        """End what connections are left."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def raw_backend(handler: Handler) -> AsyncIterator[RawBackend]:
    """A server on a free loopback port."""
    backend = RawBackend(handler)
    server = await asyncio.start_server(backend.connected, "127.0.0.1", 0)
    backend.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield backend
    finally:
        server.close()
        await backend.stop()
        await server.wait_closed()


def answering(*responses: bytes) -> Handler:
    """A handler that answers each request of a back end with the next response, then the last again and again."""

    async def handler(backend: RawBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await backend.head(reader)
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.partition(b":")[2]))
            writer.write(responses[min(len(backend.heads), len(responses)) - 1])
            await writer.drain()

    return handler


QUICK = Timeouts(connect=1.0, response=0.4, idle=0.4)


class Proxy:
    """An HTTPProxy and its audit log."""

    def __init__(self, *urls: str, login: BackendLogin | None = None, **settings: Any) -> None:
        clock = SystemClock()
        self.records = Records()
        connects = tuple(map(parse_connect, urls))
        given: dict[str, Any] = {
            "service": "s",
            "accepts": ("",),
            "connects": connects,
            "public": True,
            "credentials": CredentialNames(authorization=False, session_cookie="asgi-gateway"),
            "timeouts": QUICK,
        }
        self.settings = ProxySettings(**{**given, **settings})
        self.targets = Targets(connects, clock.monotonic)
        outgoing = OutgoingRequest(self.settings, IdentityWriter((), None, clock))
        audit = Audit(clock, self.records)  # type: ignore[arg-type]
        self.backend = HTTPProxy(self.settings, outgoing, self.targets, login=login, audit=audit)

    async def __aenter__(self) -> Proxy:
        await self.backend.open()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.backend.close()


class Client:
    """One request to a proxy: the ASGI server's side of it.

    Args:
        proxy: the proxy.
        target: path and query as they are sent.
        headers: the headers.
        method: the method.
        pieces: the body's pieces.
        more: keep the body open after the pieces.
        changes: further keys of the scope.
    """

    def __init__(
        self,
        proxy: Proxy,
        target: str = "/",
        *headers: tuple[bytes, bytes],
        method: str = "GET",
        pieces: tuple[bytes, ...] = (),
        more: bool = False,
        **changes: Any,
    ) -> None:
        self._app = proxy.backend
        path, _, query = target.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("latin-1"),
            "root_path": "",
            "query_string": query.encode("latin-1"),
            "headers": [(b"host", b"public.example"), *headers],
            "client": ("192.0.2.1", 50000),
            "server": ("testserver", 80),
            **changes,
        }
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = False
        self.received = 0
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1 and not more
            self.say(piece, more=not last)
        if not pieces and not more:
            self.say(b"", more=False)
        self.sent: list[dict[str, Any]] = []
        self.changed = asyncio.Event()

    def leave(self) -> None:
        """Close the client's connection."""
        self._gone = True
        self._messages.put_nowait({"type": "http.disconnect"})

    def say(self, piece: bytes, *, more: bool = True) -> None:
        """Send a further piece of the body."""
        self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def receive(self) -> dict[str, Any]:
        if self._gone:
            return {"type": "http.disconnect"}
        message = await self._messages.get()
        self.received += 1
        return message

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))
        self.changed.set()

    async def run(self) -> Client:
        """Have the request answered, within ten seconds."""
        async with asyncio.timeout(10):
            await self._app(self.scope, self.receive, self.send)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was sent meets a condition."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.sent[0]["headers"]:
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
        return found

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        """Whether the last message was sent."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)
