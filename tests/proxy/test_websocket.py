"""WebSockets to WebSocket back ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.proxy.identity import IdentityWriter
from asgi_gateway.proxy.login import BackendChallenge, BackendCredentials, BackendLogin
from asgi_gateway.proxy.outgoing import OutgoingRequest
from asgi_gateway.proxy.settings import CredentialNames
from asgi_gateway.proxy.websocket import WebSocketProxy
from tests.proxy.asgi_socket import LOOPBACK, Peer, SocketClient, audit, listening, proxy_settings, targets

pytestmark = pytest.mark.anyio

Serve = Callable[[ServerConnection], Awaitable[None]]


def proxy(*connects: str, compressed: bool = False, login: BackendLogin | None = None, **more: Any) -> WebSocketProxy:
    settings = proxy_settings(*connects, **more)
    outgoing = OutgoingRequest(settings, IdentityWriter([], None, SystemClock()))
    return WebSocketProxy(
        settings, outgoing, targets(settings), login=login or BackendLogin(), audit=audit(), compressed=compressed
    )


@asynccontextmanager
async def back_end(handle: Serve, **options: Any) -> AsyncIterator[str]:
    """A back end of the library websockets; its URL."""
    options.setdefault("compression", None)
    async with serve(handle, LOOPBACK, 0, **options) as server:
        yield f"ws://{LOOPBACK}:{next(iter(server.sockets)).getsockname()[1]}"


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def test_messages_pass_both_ways() -> None:
    """Text stays text and binary stays binary, empty messages too."""
    async with back_end(echo) as url:
        client = SocketClient(proxy(url))
        assert (await client.accepted())["subprotocol"] is None
        for message in ({"text": "gr\u00fc\u00dfe"}, {"bytes": b"\x00\xff"}, {"text": ""}, {"bytes": b""}):
            client.say({"type": "websocket.receive", **message})
            assert await client.next() == {"type": "websocket.send", **message}
        client.leave(1000)
        await client.done()


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 1_100_000, 20_000_000])
async def test_long_messages(size: int) -> None:
    """Messages of every length pass, longer ones than 1 MiB too."""
    async with back_end(echo, max_size=None) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        client.binary(b"x" * size)
        assert (await client.next())["bytes"] == b"x" * size
        client.leave()
        await client.done()


async def test_fragments_are_joined() -> None:
    """A message in fragments is one message."""

    async def handle(websocket: ServerConnection) -> None:
        await websocket.send(["a", "", "\u00e9", "b"])
        await websocket.send([b"a", b"\xff"])

    async with back_end(handle) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert (await client.next())["text"] == "a\u00e9b"
        assert (await client.next())["bytes"] == b"a\xff"
        assert await client.closed() == (1000, "")


async def test_headers_target_and_subprotocol() -> None:
    """The back end sees the mapped target, its own Host and what was offered; its choice and cookies come back."""
    seen: list[Request] = []

    def process(websocket: ServerConnection, request: Request, response: Response) -> Response:
        seen.append(request)
        response.headers["Set-Cookie"] = "a=1; Path=/app"
        response.headers["Set-Cookie"] = "gw-0123456789ab=2"
        response.headers["X-Back"] = "yes"
        return response

    async with back_end(echo, subprotocols=["two"], process_response=process) as url:
        credentials = CredentialNames(
            session_cookie="gw", subprotocols=frozenset(("bearer",)), parameters=frozenset(("token",))
        )
        client = SocketClient(
            proxy(url + "/app", credentials=credentials),
            path="/x/%2Froom",
            raw_path=b"/x/%252Froom",
            query_string=b"a=%20b&token=secret&c",
            headers=[
                (b"host", b"gateway.example"),
                (b"connection", b"Upgrade, X-Hop"),
                (b"x-hop", b"1"),
                (b"upgrade", b"websocket"),
                (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
                (b"sec-websocket-version", b"13"),
                (b"sec-websocket-extensions", b"permessage-deflate"),
                (b"sec-websocket-protocol", b"one, bearer.secret, two"),
                (b"authorization", b"Basic secret"),
                (b"cookie", b"mine=1; gw-0123456789ab=secret"),
                (b"x-custom", b"kept"),
            ],
            subprotocols=["one", "bearer.secret", "two"],
        )
        accept = await client.accepted()
        assert accept["subprotocol"] == "two"
        cookies = [value for name, value in accept["headers"] if name == b"set-cookie"]
        assert cookies == [b"a=1; Path=/x"]
        names = [name for name, _ in accept["headers"]]
        assert (b"x-back", b"yes") in accept["headers"]
        assert not {b"upgrade", b"connection", b"content-length", b"date", b"server"} & set(names)
        assert not [name for name in names if name.startswith(b"sec-websocket")]
        client.leave()
        await client.done()
    (request,) = seen
    assert request.path == "/app/%252Froom?a=%20b&c"
    assert request.headers.get_all("Host") == [url.removeprefix("ws://")]
    assert request.headers["Sec-WebSocket-Protocol"] == "one, two"
    assert request.headers.get_all("Connection") == ["Upgrade"]
    assert request.headers.get_all("Upgrade") == ["websocket"]
    assert len(request.headers.get_all("Sec-WebSocket-Key")) == 1
    assert request.headers["Sec-WebSocket-Key"] != "AAAAAAAAAAAAAAAAAAAAAA=="
    assert request.headers["Cookie"] == "mine=1"
    assert request.headers["X-Custom"] == "kept"
    for name in ("Authorization", "X-Hop", "Sec-WebSocket-Extensions"):
        assert name not in request.headers
    assert "secret" not in str(request.headers)


async def test_extensions_are_per_side() -> None:
    """permessage-deflate is offered to the back end if the service says so, whatever the client has."""
    found: list[str | None] = []

    async def handle(websocket: ServerConnection) -> None:
        assert websocket.response is not None
        found.append(websocket.response.headers.get("Sec-WebSocket-Extensions"))
        await echo(websocket)

    async with back_end(handle, compression="deflate") as url:
        for compressed in (False, True):
            client = SocketClient(proxy(url, compressed=compressed))
            await client.accepted()
            for text in ("x" * 5000, "y" * 5000):
                client.text(text)
                assert (await client.next())["text"] == text
            client.leave()
            await client.done()
    assert found[0] is None
    assert "permessage-deflate" in str(found[1])


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "bye"), (1001, ""), (1003, "x"), (1011, "oops"), (1013, ""), (3000, "a"), (4999, "z")]
)
async def test_close_codes_pass_both_ways(code: int, reason: str) -> None:
    """Close codes and reasons pass from the back end to the client and from the client to the back end."""
    closes: list[tuple[int, str]] = []

    async def handle(websocket: ServerConnection) -> None:
        if await websocket.recv() == "close":
            await websocket.close(code, reason)
            return
        await websocket.wait_closed()
        closes.append((websocket.close_code or 0, websocket.close_reason or ""))

    async with back_end(handle) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        client.text("close")
        assert await client.closed() == (code, reason)
        client = SocketClient(proxy(url))
        await client.accepted()
        client.text("wait")
        client.leave(code, reason=reason)
        await client.done()
    assert closes == [(code, reason)]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"code": 1005}, 1001),
        ({"code": 1006}, 1001),
        ({"code": 1015, "reason": ""}, 1001),
        ({}, 1001),
        ({"code": 1005, "reason": ""}, 1005),
    ],
)
async def test_client_gone(message: dict[str, Any], code: int) -> None:
    """A client that is gone is 1001 for the back end; codes that may not be sent never are."""
    closes: list[int] = []

    async def handle(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        closes.append(websocket.close_code or 0)

    async with back_end(handle) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        client.say({"type": "websocket.disconnect", **message})
        await client.done()
    assert closes == [code]


async def test_back_end_closes_without_a_code() -> None:
    """A close frame of the back end without a code is 1000 for the client, never 1005."""
    async with raw_back_end(upgraded(b"\x88\x00")) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert await client.closed() == (1000, "")


async def test_pings_are_per_side() -> None:
    """A back end's ping is answered by the gateway, and no message of it reaches the client."""

    async def handle(websocket: ServerConnection) -> None:
        await (await websocket.ping(b"x"))
        await websocket.send("pong came")

    async with back_end(handle) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert (await client.next())["text"] == "pong came"
        assert await client.closed() == (1000, "")


MESSAGES = (
    b"\x81\x01a" + b"\x82\x7e\x00\x80" + b"b" * 128 + b"\x89\x02hi\x01\x01c\x80\x01d" + b"\x82\x00\x81\x03\xe2\x82\xac"
)
"""Whole messages, a ping, and a message in fragments."""
LONG_HEAD = b"\x82\x7e\x00\x01x"
"""A frame whose head is longer than need be."""


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64, 150, 1000])
@pytest.mark.parametrize("first", [b"", LONG_HEAD], ids=["plain", "long head"])
async def test_messages_in_any_pieces(step: int, first: bytes) -> None:
    """Frames mean the same however their bytes arrive, with the response to the handshake or after it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        data = upgraded()(head)[-20:] + first + MESSAGES * 3 + b"\x88\x02\x03\xe8"
        writer.write(upgraded()(head)[:-20])
        for at in range(0, len(data), step):
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(data[at : at + step])
        await reader.read()

    expected: list[dict[str, Any]] = [
        {"text": "a"},
        {"bytes": b"b" * 128},
        {"text": "cd"},
        {"bytes": b""},
        {"text": "\u20ac"},
    ] * 3
    async with listening(handle) as back:
        client = SocketClient(proxy(f"ws://{LOOPBACK}:{back.port}"))
        await client.accepted()
        for message in ([{"bytes": b"x"}] if first else []) + expected:
            assert await client.next() == {"type": "websocket.send", **message}
        assert await client.closed() == (1000, "")


# --------------------------------------------------------------------------------------- refusals and bad handshakes


@pytest.mark.parametrize("status", [403, 404, 426, 500, 503])
async def test_refusals_pass(status: int) -> None:
    """The back end's refusal is the client's: status, body and the headers that may pass."""

    def process(websocket: ServerConnection, request: Request) -> Response:
        response = websocket.respond(HTTPStatus(status), "no\n")
        response.headers["X-Why"] = "because"
        response.headers["Set-Cookie"] = "a=1"
        return response

    async with back_end(echo, process_request=process) as url:
        client = SocketClient(proxy(url))
        start, body = await client.next(), await client.next()
        await client.done()
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == status
    assert body["body"] == b"no\n"
    headers = start["headers"]
    assert (b"x-why", b"because") in headers
    assert (b"set-cookie", b"a=1") in headers
    assert [value for name, value in headers if name == b"content-length"] == [b"3"]
    assert not [name for name, _ in headers if name in (b"connection", b"upgrade", b"transfer-encoding")]


async def test_redirect_is_passed_and_not_followed() -> None:
    """A redirect goes to the client, with the service's address in place of the back end's."""

    def process(websocket: ServerConnection, request: Request) -> Response:
        response = websocket.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "/app/login"
        return response

    async with back_end(echo, process_request=process) as url:
        client = SocketClient(proxy(url + "/app"))
        start, _ = await client.next(), await client.next()
        await client.done()
    assert start["status"] == 302
    assert (b"location", b"/x/login") in start["headers"]


def accept_key(head: bytes) -> str:
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    text = key.partition(b":")[2].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(text).digest()).decode()


Answer = Callable[[bytes], bytes]


def upgraded(data: bytes = b"", **headers: str) -> Answer:
    """A correct 101, with other headers in place of the right ones, and what follows it."""

    def answer(head: bytes) -> bytes:
        lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_key(head)}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        return f"HTTP/1.1 101 Switching Protocols\r\n{text}\r\n".encode() + data

    return answer


@asynccontextmanager
async def raw_back_end(answer: Answer, *, close: bool = False) -> AsyncIterator[str]:
    """A back end that reads a head and writes what it is told to; it closes, or waits for the end."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(head))
        if not close:
            await reader.read()

    async with listening(handle) as back:
        yield f"ws://{LOOPBACK}:{back.port}"


BAD_HANDSHAKES: dict[str, Answer] = {
    "200 with Upgrade": lambda head: upgraded()(head).replace(b"101 Switching Protocols", b"200 OK"),
    "wrong key": upgraded(Sec_WebSocket_Accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "no key": upgraded(Sec_WebSocket_Accept=""),
    "other upgrade": upgraded(Upgrade="h2c"),
    "no upgrade": upgraded(Upgrade=""),
    "no connection": upgraded(Connection=""),
    "extension not offered": upgraded(Sec_WebSocket_Extensions="permessage-deflate"),
    "subprotocol not offered": upgraded(Sec_WebSocket_Protocol="chat"),
    "HTTP/1.0": lambda head: upgraded()(head).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "garbage": lambda head: b"\x00\x01garbage\r\n\r\n",
    "CR in a header": lambda head: upgraded(X="a\rb")(head),
    "another 1xx": lambda head: b"HTTP/1.1 102 Processing\r\n\r\n" + upgraded()(head),
    "204": lambda head: b"HTTP/1.1 204 No Content\r\n\r\n",
    "two lengths": lambda head: b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("kind", BAD_HANDSHAKES)
async def test_bad_handshakes(kind: str) -> None:
    """Only a correct 101 opens a tunnel: anything else is 502, and the connection is closed."""
    async with raw_back_end(BAD_HANDSHAKES[kind]) as url:
        client = SocketClient(proxy(url))
        assert await client.refused() == 502


@pytest.mark.parametrize("length", [200_000, 3_000_000])
async def test_endless_headers(length: int) -> None:
    """Headers without an end are 502 once they are too long."""
    async with raw_back_end(lambda head: b"HTTP/1.1 101 x\r\nX: " + b"y" * length) as url:
        client = SocketClient(proxy(url))
        assert await client.refused() == 502


async def test_too_many_headers() -> None:
    """A response of thousands of headers is 502."""
    async with raw_back_end(lambda head: b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 5000) as url:
        assert await SocketClient(proxy(url)).refused() == 502


async def test_closed_in_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    """A back end that closes without an answer is 502, with its audit event."""
    async with raw_back_end(lambda head: b"", close=True) as url:
        assert await SocketClient(proxy(url)).refused() == 502
    event = json.loads(next(each.getMessage() for each in caplog.records if each.name == "tests.audit"))
    assert event["outcome"] == "unavailable"
    assert url in event["reason"]


async def test_hangs_in_the_handshake() -> None:
    """A back end that does not answer in time is 504, also if it sends a byte now and then."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    async with listening(handle) as back:
        client = SocketClient(proxy(f"ws://{LOOPBACK}:{back.port}", response=0.3))
        assert await client.refused() == 504


async def test_invalid_subprotocol_is_refused() -> None:
    """A subprotocol that is no token is 400 and is not passed on."""
    async with back_end(echo) as url:
        assert await SocketClient(proxy(url), subprotocols=["a b"]).refused() == 400


async def test_back_end_down() -> None:
    """A back end that cannot be reached is 502; with another one the handshake is made there."""
    async with back_end(echo) as url:
        down = "ws://127.0.0.1:1"
        assert await SocketClient(proxy(down)).refused() == 502
        backend = proxy(down, url)
        for _ in range(3):
            client = SocketClient(backend)
            await client.accepted()
            client.leave()
            await client.done()


async def test_unix_socket(tmp_path: Path) -> None:
    """A back end may listen on a Unix socket."""
    path = tmp_path / "back.sock"
    async with unix_serve(echo, str(path)):
        client = SocketClient(proxy(f"ws+unix://{str(path).replace('/', '%2F')}/"))
        await client.accepted()
        client.text("hi")
        assert (await client.next())["text"] == "hi"
        client.leave()
        await client.done()


class Answers(BackendLogin):
    """Answers challenges with one token, and notes what it was asked."""

    def __init__(self, attempts: int, token: str | None) -> None:
        super().__init__(attempts)
        self._token = token
        self.asked: list[BackendChallenge] = []

    async def answer(self, challenge: BackendChallenge) -> BackendCredentials | None:
        self.asked.append(challenge)
        return BackendCredentials(authorization=self._token) if self._token else None


@pytest.mark.parametrize(
    ("attempts", "token", "status"),
    [(0, "Bearer right", 401), (1, "Bearer right", 101), (2, "Bearer wrong", 401), (3, None, 401)],
)
async def test_challenges_of_the_back_end(attempts: int, token: str | None, status: int) -> None:
    """A 401 of the handshake is answered as often as allowed, and else passed on with its challenge."""
    seen: list[str | None] = []

    def process(websocket: ServerConnection, request: Request) -> Response | None:
        seen.append(request.headers.get("Authorization"))
        if seen[-1] == "Bearer right":
            return None
        response = websocket.respond(HTTPStatus.UNAUTHORIZED, "who?\n")
        response.headers["WWW-Authenticate"] = 'Bearer realm="back"'
        return response

    login = Answers(attempts, token)
    async with back_end(echo, process_request=process) as url:
        client = SocketClient(proxy(url + "/app", login=login), headers=[(b"authorization", b"Basic client")])
        if status == 101:
            await client.accepted()
            client.leave()
            await client.done()
        else:
            start, _ = await client.next(), await client.next()
            await client.done()
            assert start["status"] == 401
            assert (b"www-authenticate", b'Bearer realm="back"') in start["headers"]
    answered = attempts if token else min(attempts, 1)
    assert seen == [None] + [token] * (answered if token else 0)
    assert len(login.asked) == answered
    for attempt, challenge in enumerate(login.asked, 1):
        assert (challenge.url, challenge.attempt) == (f"{url}/app", attempt)
        assert challenge.authorization == b"Basic client"
        assert (b"www-authenticate", b'Bearer realm="back"') in challenge.headers


# ------------------------------------------------------------------------------------------------------ lost and broken


async def test_lost_back_end_is_1011() -> None:
    """A back end that ends its connection without a close frame is 1011 within a second."""
    async with raw_back_end(upgraded(b"\x81\x02hi"), close=True) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert (await client.next())["text"] == "hi"
        async with asyncio.timeout(1):
            assert await client.closed() == (1011, "back end lost")


BROKEN = {
    "reserved bit": b"\xc1\x02hi",
    "unknown opcode": b"\x83\x00",
    "masked": b"\x81\x82\x00\x00\x00\x00hi",
    "no UTF-8": b"\x81\x01\xff",
    "continuation without a start": b"\x80\x00",
    "start within a message": b"\x01\x01a\x81\x01b",
    "long ping": b"\x89\x7e\x00\x80" + b"x" * 128,
    "close code 1005": b"\x88\x02\x03\xed",
    "close frame of one byte": b"\x88\x01\x03",
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_invalid_frames(kind: str) -> None:
    """A back end that breaks the protocol is 1011 for the client, and the connection is closed."""
    async with raw_back_end(upgraded(BROKEN[kind])) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert (await client.closed())[0] == 1011


@pytest.mark.parametrize(
    "frames", [b"\x82\x0b" + b"x" * 11, b"\x02\x06xxxxxx\x80\x05xxxxx", b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"]
)
async def test_back_ends_message_too_big(frames: bytes) -> None:
    """A message of a back end that is longer than max-body is 1009; it is not waited for."""
    async with raw_back_end(upgraded(frames)) as url:
        client = SocketClient(proxy(url, max_body=10))
        await client.accepted()
        assert (await client.closed())[0] == 1009


async def test_silent_back_end_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A back end that does not answer a ping is lost."""
    monkeypatch.setattr("asgi_gateway.proxy.backend_socket._PING_SECONDS", 0.1)
    async with raw_back_end(upgraded()) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        assert await client.closed() == (1011, "back end lost")


async def test_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebSocket without a message for as long as ``idle`` says is closed; the gateway's own pings do not count."""
    monkeypatch.setattr("asgi_gateway.proxy.backend_socket._PING_SECONDS", 0.1)
    codes: list[int | None] = []

    async def handle(websocket: ServerConnection) -> None:
        await echo(websocket)
        codes.append(websocket.close_code)

    async with back_end(handle) as url:
        client = SocketClient(proxy(url, idle=0.5))
        await client.accepted()
        await asyncio.sleep(0.3)
        client.text("x")
        await client.next()
        assert await client.closed() == (1001, "idle timeout")
    assert codes == [1001]


async def test_slow_client_stops_the_back_end() -> None:
    """A back end is not read while its client takes nothing, and nothing is lost."""
    sent = 0

    async def handle(websocket: ServerConnection) -> None:
        nonlocal sent
        for _ in range(400):
            await websocket.send(b"x" * 100_000)
            sent += 1

    async with back_end(handle, ping_interval=None) as url:
        client = SocketClient(proxy(url), gate=0)
        await client.accepted()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        assert 0 < sent < 200
        client.take(400)
        for _ in range(400):
            assert len((await client.next())["bytes"]) == 100_000
        assert await client.closed() == (1000, "")


async def test_slow_back_end_stops_the_client() -> None:
    """A client's messages are not taken while the back end takes nothing, and nothing is lost."""
    go = asyncio.Event()
    found = 0

    async def handle(websocket: ServerConnection) -> None:
        nonlocal found
        await go.wait()
        async for message in websocket:
            found += len(message)

    async with back_end(handle, max_queue=1) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        for _ in range(400):
            client.binary(b"y" * 100_000)
        before = -1
        while before != client.untaken:
            before = client.untaken
            await asyncio.sleep(0.2)
        assert before > 200
        go.set()
        while client.untaken:
            await asyncio.sleep(0.02)
        client.leave(1000)
        await client.done()
    assert found == 40_000_000


async def test_ended_by_the_gateway() -> None:
    """When the gateway ends the WebSocket, the back end is closed at once with the code that the client gets."""
    closes: list[tuple[int | None, str | None]] = []

    async def handle(websocket: ServerConnection) -> None:
        await websocket.wait_closed()
        closes.append((websocket.close_code, websocket.close_reason))

    async with back_end(handle) as url:
        client = SocketClient(proxy(url))
        await client.accepted()
        client.closable.end("user revoked", 4004)
        assert await client.closed() == (4004, "user revoked")
    assert closes == [(4004, "user revoked")]


async def test_many_leave_in_mid_transfer() -> None:
    """200 clients that leave in mid-transfer leave no connection and no task."""
    open_now = 0
    gone = asyncio.Event()

    async def handle(websocket: ServerConnection) -> None:
        nonlocal open_now
        open_now += 1
        try:
            while True:
                await websocket.send(b"x" * 10_000)
        except ConnectionClosed:
            assert websocket.close_code == 1001
        finally:
            open_now -= 1
            if not open_now:
                gone.set()

    tasks = asyncio.all_tasks()
    async with back_end(handle) as url:
        backend = proxy(url)
        clients = [SocketClient(backend, gate=2) for _ in range(200)]
        for client in clients:
            await client.accepted()
            await client.next()
        gone.clear()
        for client in clients:
            client.leave(1006)
        for client in clients:
            await client.done()
        async with asyncio.timeout(10):
            await gone.wait()
    assert not {each for each in asyncio.all_tasks() - tasks if not each.done()}


async def test_client_leaves_in_the_handshake() -> None:
    """A client that leaves while the back end's handshake is under way ends it at once."""
    async with listening() as back:
        client = SocketClient(proxy(f"ws://{LOOPBACK}:{back.port}"))
        peer: Peer = await back.peer()
        client.leave(1006)
        await client.done()
        assert b"Upgrade: websocket" in await peer.eof()
        assert client.sent.empty()


async def test_no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    """What a client sends stands in no log, at whatever level."""
    caplog.set_level(logging.DEBUG)
    async with back_end(echo) as url:
        client = SocketClient(proxy(url), query_string=b"q=canary1", headers=[(b"x-key", b"canary2")])
        await client.accepted()
        client.text("canary3")
        await client.next()
        client.leave()
        await client.done()
    own = [each for each in caplog.records if each.name.startswith(("asgi_gateway", "websockets.client"))]
    assert not [each for each in own if "canary" in each.getMessage()]
