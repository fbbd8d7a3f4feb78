"""The limits of an HTTP connection of ``run``: how long it waits, and how much it reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from asgi_gateway.cli.http_protocol import GatewayHTTPProtocol

pytestmark = pytest.mark.anyio

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REFUSED = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
GOOD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SOON = 0.05
LATE = 30.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Refuse without reading the body, or answer with the body."""
    body = b""
    if scope["path"] != "/refuse":
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
    headers = [(b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": 401 if scope["path"] == "/refuse" else 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connection(*, keep_alive: float = LATE, **limits: Any) -> AsyncIterator[Streams]:
    """A client's connection to a server with these limits."""
    config = uvicorn.Config(app, timeout_keep_alive=keep_alive, log_config=None)  # type: ignore[arg-type]
    config.load()
    limited = type("Limited", (GatewayHTTPProtocol,), {"head_time": LATE, "drain_time": LATE, **limits})
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: limited(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def status(streams: Streams) -> int:
    """The status of the next response, whose body is empty."""
    top = await asyncio.wait_for(streams[0].readuntil(b"\r\n\r\n"), 10)
    return int(top.split(b" ")[1])


async def closed(streams: Streams) -> bool:
    """Whether the server closes the connection."""
    try:
        return await asyncio.wait_for(streams[0].read(), 10) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", GOOD[:-2]])
async def test_a_slow_head(sent: bytes) -> None:
    """A connection on which no complete head arrives is closed in time."""
    async with connection(head_time=SOON) as streams:
        streams[1].write(sent)
        assert await closed(streams)


@pytest.mark.parametrize("sent", [b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A"])
async def test_a_slow_head_behind_a_response(sent: bytes) -> None:
    """So is one that was kept open after a response."""
    async with connection(head_time=SOON) as streams:
        streams[1].write(GOOD)
        assert await status(streams) == 200
        streams[1].write(sent)
        assert await closed(streams)


async def test_a_long_head() -> None:
    """A head that grows beyond the bound is refused, though it never ends."""
    async with connection(head_size=2000) as streams:
        streams[1].write(b"GET / HTTP/1.1\r\nX-A: ")
        await asyncio.sleep(0.02)
        streams[1].write(b"a" * 2001)
        assert await status(streams) == 400


@pytest.mark.parametrize("sent", [b"X-A: ", b"X-A: b\r\n", b"X"])
async def test_a_long_trailer_section(sent: bytes) -> None:
    """So is a trailer section that grows beyond it; a body of tiny chunks may be longer."""
    async with connection(head_size=2000) as streams:
        streams[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(1000):
            streams[1].write(b"1\r\nx\r\n")
        streams[1].write(b"0\r\n" + sent)
        await asyncio.sleep(0.02)
        streams[1].write(sent * 2001)
        assert await status(streams) == 400


@pytest.mark.parametrize("size", [1, 999])
async def test_a_body_behind_a_refusal(size: int) -> None:
    """The body of a refused request is drained in whatever pieces it comes, and the connection serves the next one."""
    async with connection() as streams:
        streams[1].write(REFUSED)
        assert await status(streams) == 401
        streams[1].write(b"x" * size)
        await asyncio.sleep(0.01)
        streams[1].write(b"x" * (1000 - size) + GOOD)
        assert await status(streams) == 200


async def test_too_large_a_body_behind_a_refusal() -> None:
    """Beyond the bound the connection is closed."""
    async with connection(drain_size=100) as streams:
        streams[1].write(REFUSED)
        assert await status(streams) == 401
        streams[1].write(b"x" * 101)
        assert await closed(streams)


async def test_too_slow_a_body_behind_a_refusal() -> None:
    """So it is where the body does not come in time, as from a client that waited for 100 Continue."""
    async with connection(drain_time=SOON) as streams:
        streams[1].write(REFUSED)
        assert await status(streams) == 401
        assert await closed(streams)


async def test_a_malformed_body_behind_a_refusal() -> None:
    """There is no second response to one request."""
    async with connection() as streams:
        streams[1].write(b"POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n")
        assert await status(streams) == 401
        streams[1].write(b"xyz")
        assert await closed(streams)


async def test_idle_after_a_drained_body() -> None:
    """After the body the connection is kept as long as after any response."""
    async with connection(keep_alive=SOON) as streams:
        streams[1].write(REFUSED)
        assert await status(streams) == 401
        streams[1].write(b"x" * 1000)
        assert await closed(streams)


async def test_a_body_may_take_longer_than_a_head() -> None:
    """The limit of the head ends with the head."""
    async with connection(head_time=SOON) as streams:
        streams[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert await status(streams) == 200
        streams[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        await asyncio.sleep(3 * SOON)
        streams[1].write(b"x")
        assert await status(streams) == 200
