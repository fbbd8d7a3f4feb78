"""Connections to back ends: what they send, when they are used again, and what becomes of answers that are none."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.http_client import (
    BackendClient,
    BackendResponse,
    CannotConnect,
    ConnectionBroken,
    ConnectTimeout,
    InvalidHead,
)
from asgi_gateway.proxy.settings import ProxySettings, Timeouts

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HOST = [(b"host", b"back.example")]

Answer = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """A connection as the back end sees it.

    Args:
        reader: what the gateway sends.
        writer: to the gateway.
        number: how many connections there were before.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def head(self) -> bytes:
        """The next request's head; empty if the gateway has closed the connection."""
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()


class Backend:
    """A back end on the loopback, whose every connection is played by a function."""

    def __init__(self, answer: Answer, timeouts: Timeouts) -> None:
        self._answer, self._timeouts = answer, timeouts
        self.connections = 0
        self.heads: list[bytes] = []
        self.closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        exchange = Exchange(reader, writer, self.connections)
        self.connections += 1
        try:
            await self._answer(exchange)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self.closed.set()
            writer.close()
            self._tasks.discard(task)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BackendClient]:
        """Serve, and give a client of it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        client = client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", self._timeouts)
        try:
            yield client
        finally:
            await client.close()
            server.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def client_of(url: str, timeouts: Timeouts = Timeouts(), tls: ssl.SSLContext | None = None) -> BackendClient:  # noqa: B008
    connect = parse_connect(url)
    settings = ProxySettings(service="s", accepts=(), connects=(connect,), public=True, timeouts=timeouts, tls=tls)
    client = BackendClient(settings, connect)
    client.open()
    return client


def played(answer: Answer, **timeouts: float) -> Backend:
    return Backend(answer, Timeouts(**timeouts))


async def get(client: BackendClient, method: str = "GET") -> tuple[int, bytes]:
    response = await client.send(method, "/a?b", HOST, None)
    return response.status, await response.content.read()


async def answering(exchange: Exchange) -> None:
    """Answer every request."""
    while await exchange.head():
        await exchange.say(OK)


async def test_a_connection_is_used_again() -> None:
    """Requests one after the other have one connection; requests at once have one each."""
    backend = played(answering)
    async with backend.running() as client:
        for _ in range(3):
            assert await get(client) == (200, b"hello")
        assert backend.connections == 1
        assert await asyncio.gather(*(get(client) for _ in range(4))) == [(200, b"hello")] * 4
        assert backend.connections == 4


@pytest.mark.parametrize(
    ("method", "body", "length", "expected", "sent"),
    [
        ("GET", None, None, b"", b""),
        ("HEAD", None, None, b"", b""),
        ("POST", None, None, b"content-length: 0\r\n", b""),
        ("PUT", b"abc", None, b"content-length: 3\r\n", b"abc"),
        ("GET", b"abc", None, b"content-length: 3\r\n", b"abc"),
        ("POST", [b"ab", b"", b"cd"], None, b"transfer-encoding: chunked\r\n", b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
        ("POST", [b"ab", b"cd"], 4, b"content-length: 4\r\n", b"abcd"),
        ("POST", [], None, b"transfer-encoding: chunked\r\n", b"0\r\n\r\n"),
    ],
)
async def test_what_is_sent(
    method: str, body: bytes | list[bytes] | None, length: int | None, expected: bytes, sent: bytes
) -> None:
    """The request line, the headers as they are, and the body with the framing that goes with it."""
    seen: list[bytes] = []

    async def answer(exchange: Exchange) -> None:
        seen.append(await exchange.head())
        seen.append(await exchange.reader.readexactly(len(sent)))
        await exchange.say(OK)

    async def pieces(parts: list[bytes]) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    headers = [*HOST, (b"x-a", b"\xc3\xa9"), (b"x-a", b"\xe9 2")]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    async with played(answer).running() as client:
        stream = pieces(body) if isinstance(body, list) else body
        response = await client.send(method, '/p/..%2F?q="', headers, stream)
        assert response.status == 200
    head = method.encode() + b' /p/..%2F?q=" HTTP/1.1\r\nhost: back.example\r\nx-a: \xc3\xa9\r\nx-a: \xe9 2\r\n'
    assert seen == [head + expected + b"\r\n", sent]


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/a b\r\nX: y", (b"a", b"b")),
        ("/\n", (b"a", b"b")),
        ("/", (b"a", b"b\r\nc: d")),
        ("/", (b"a", b"b\n")),
        ("/", (b"a", b"b\r")),
        ("/", (b"a\r\nb", b"c")),
        ("/", (b"a", b"b\0")),
    ],
)
async def test_what_would_break_a_request_apart(target: str, header: tuple[bytes, bytes]) -> None:
    """Line ends and NUL in a target, a name or a value are refused before anything is sent."""
    backend = played(answering)
    async with backend.running() as client:
        with pytest.raises(ValueError, match="control character"):
            await client.send("GET", target, [*HOST, header], None)
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert backend.heads == []


@pytest.mark.parametrize(
    "rest",
    [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\n"],
    ids=["garbage", "an answer", "a line end"],
)
@pytest.mark.parametrize("when", ["at once", "later"])
async def test_a_rest_of_an_answer_is_never_read(rest: bytes, when: str) -> None:
    """A connection on which more than the answer came is not used again."""

    async def answer(exchange: Exchange) -> None:
        while await exchange.head():
            if exchange.number:
                await exchange.say(OK)
            elif when == "at once":
                await exchange.say(OK + rest)
            else:
                await exchange.say(OK)
                later.set()
                await exchange.say(rest)

    later = asyncio.Event()
    backend = played(answer)
    async with backend.running() as client:
        assert await get(client) == (200, b"hello")
        if when == "later":
            await later.wait()
        assert await get(client) == (200, b"hello")
        assert await get(client) == (200, b"hello")
        assert backend.connections <= 2


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhello"),
    ],
)
async def test_a_body_where_none_may_be(method: str, answer: bytes) -> None:
    """What follows an answer without a body is no body, and ends the connection."""

    async def answering_once(exchange: Exchange) -> None:
        while await exchange.head():
            await exchange.say(OK if exchange.number else answer)

    backend = played(answering_once)
    async with backend.running() as client:
        status, body = await get(client, method)
        assert (status, body) == (int(answer[9:12]), b"")
        assert await get(client) == (200, b"hello")
        assert backend.connections == 2


async def test_a_connection_that_was_closed() -> None:
    """A kept connection that the back end has closed is not used again."""

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(OK)
        exchange.writer.close()

    backend = played(answer)
    async with backend.running() as client:
        assert await get(client) == (200, b"hello")
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert await get(client) == (200, b"hello")
        assert backend.connections == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"])
async def test_connection_close(answer: bytes) -> None:
    """A connection that the back end will close is closed."""

    async def once(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(answer)

    backend = played(once)
    async with backend.running() as client:
        assert await get(client) == (200, b"hello")
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert await get(client) == (200, b"hello")
        assert backend.connections == 2


async def test_a_connection_taken_out_of_use() -> None:
    """A response can take its connection out of use, before its end and after it."""
    backend = played(answering)
    async with backend.running() as client:
        response = await client.send("GET", "/", HOST, None)
        response.use_no_longer()
        await response.content.read()
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert await get(client) == (200, b"hello")
        assert backend.connections == 2


@pytest.mark.parametrize(("number", "status"), [(3, 200), (100, 0)])
async def test_interim_responses(number: int, status: int) -> None:
    """A few 1xx responses are skipped; without end they are no answer."""

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * number, OK)

    async with played(answer).running() as client:
        if status:
            assert await get(client) == (status, b"hello")
        else:
            with pytest.raises(InvalidHead, match="interim"):
                await get(client)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX y\r\n\r\n",
    ],
)
async def test_no_answer(answer: bytes) -> None:
    """Garbage, two lengths, headers that are too long or too many: none of it is an answer."""

    async def once(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(answer)

    backend = played(once)
    async with backend.running() as client:
        with pytest.raises(InvalidHead):
            await get(client)
        await asyncio.wait_for(backend.closed.wait(), 5)


async def test_a_connection_that_breaks() -> None:
    """A connection that ends before the answer is told apart from one that could not be made."""

    async def once(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(b"HTTP/1.1 200")
        exchange.writer.close()

    async with played(once).running() as client:
        with pytest.raises(ConnectionBroken):
            await get(client)


async def test_no_connection() -> None:
    """A port on which nothing listens, a name that is unknown, a Unix socket that is not there."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    for url in (f"http://127.0.0.1:{port}", "http://unknown.invalid", "http+unix://%2Fnowhere%2Fsocket"):
        with pytest.raises(CannotConnect) as raised:
            await get(client_of(url))
        assert not isinstance(raised.value, ConnectTimeout)


async def test_bodies_that_stop() -> None:
    """A body of which no byte comes in time is a timeout."""

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")

    backend = played(answer)
    async with backend.running() as client:
        response = await client.send("GET", "/", HOST, None)
        response.limit_idle(0.05)
        assert await response.content.readany() == b"he"
        with pytest.raises(TimeoutError):
            await response.content.readany()
        response.close()
        await asyncio.wait_for(backend.closed.wait(), 5)


async def test_the_rest_of_a_body() -> None:
    """The rest of a short body can be read, and the connection be used again; of a long one it is closed."""

    async def answer(exchange: Exchange) -> None:
        for size in (10_000, 1_000_000):
            await exchange.head()
            await exchange.say(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)

    backend = played(answer)
    async with backend.running() as client:
        for kept in (1, 0):
            response = await client.send("GET", "/", HOST, None)
            await response.read_rest()
            assert await _kept(client) == kept
        assert backend.connections == 1


async def test_a_slow_reader_stops_the_back_end() -> None:
    """What is not read is not received: the back end's sending stops, and goes on when it is read."""
    size, sent = 8_000_000, 0

    async def answer(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.head()
        await exchange.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 10_000):
            await exchange.say(b"x" * 10_000)
            sent += 10_000

    backend = played(answer)
    async with backend.running() as client:
        response = await client.send("GET", "/", HOST, None)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < size
        received = 0
        while piece := await response.content.readany():
            received += len(piece)
        assert received == size
        assert await _kept(client) == 1


async def _kept(client: BackendClient) -> int:
    await asyncio.sleep(0)
    return len(client._kept)


async def test_an_answer_before_the_body_was_sent() -> None:
    """The answer is passed on, the rest of the body is not sent, and the connection is not used again."""

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")

    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 65_536

    backend = played(answer)
    async with backend.running() as client:
        response = await client.send("POST", "/", HOST, endless())
        assert (response.status, await response.content.read()) == (413, b"no")
        assert await _kept(client) == 0
        before = taken
        await asyncio.sleep(0.05)
        assert taken == before


async def test_a_body_that_fails() -> None:
    """A body that cannot be read breaks the request off, and its error is not lost."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("the client left")

    backend = played(answering)
    async with backend.running() as client:
        with pytest.raises(ConnectionBroken):
            await client.send("POST", "/", HOST, broken())
        await asyncio.wait_for(backend.closed.wait(), 5)


async def test_cancelled_requests_leave_nothing() -> None:
    """Requests that are cancelled at any moment leave no connection behind."""

    async def silent(exchange: Exchange) -> None:
        await exchange.head()

    backend = played(silent)
    async with backend.running() as client:
        tasks = [asyncio.create_task(get(client)) for _ in range(10)]
        for number, task in enumerate(tasks):
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert await _kept(client) == 0
        gc.collect()


async def test_responses_that_are_left() -> None:
    """A response that is closed before its end closes the connection; one whose end came leaves it for others."""

    async def answer(exchange: Exchange) -> None:
        while await exchange.head():
            await exchange.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")

    backend = played(answer)
    async with backend.running() as client:
        response: BackendResponse = await client.send("GET", "/", HOST, None)
        response.close()
        response.close()
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert await _kept(client) == 0


async def test_unused_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody uses for a while is closed, with nobody asking for it."""
    monkeypatch.setattr("asgi_gateway.proxy.http_client._KEPT_SECONDS", 0.05)
    backend = played(answering)
    async with backend.running() as client:
        assert await get(client) == (200, b"hello")
        await asyncio.wait_for(backend.closed.wait(), 5)
        assert await _kept(client) == 0


async def test_closing() -> None:
    """Closing ends unused connections at once, used ones after their response, and allows no new one."""
    go = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say(OK[:-5])
        await go.wait()
        await exchange.say(b"hello")

    backend = played(answer)
    async with backend.running() as client:
        response = await client.send("GET", "/", HOST, None)
        await client.close()
        go.set()
        assert await response.content.read() == b"hello"
        await asyncio.wait_for(backend.closed.wait(), 5)
        with pytest.raises(CannotConnect):
            await get(client)


async def test_unix_sockets(tmp_path: Path) -> None:
    """A back end on a Unix socket is asked as any other."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()
        await writer.wait_closed()

    path = tmp_path / "socket"
    server = await asyncio.start_unix_server(serve, path)
    client = client_of(f"http+unix://{quote(str(path), safe='')}")
    assert await get(client) == (200, b"hello")
    await client.close()
    server.close()
