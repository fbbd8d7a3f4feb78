"""The type ``proxy`` to TCP back ends."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.proxy.tcp import TcpProxy
from tests.proxy.asgi_socket import LOOPBACK, SocketClient, audit, listening, proxy_settings, targets

pytestmark = pytest.mark.anyio


def tcp(*connects: str, subprotocols: tuple[str, ...] | None = None, **more: Any) -> TcpProxy:
    settings = proxy_settings(*connects, **more)
    return TcpProxy(settings, targets(settings), audit(), subprotocols)


def free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port


async def test_bytes_pass_both_ways() -> None:
    """Text and binary messages become bytes, and bytes become binary messages."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        client.binary(b"\x00\xff")
        client.text("gr\u00fc\u00dfe")
        assert await peer.read(9) == b"\x00\xff" + "gr\u00fc\u00dfe".encode()
        peer.writer.write(b"answer\x00")
        assert await client.bytes(7) == b"answer\x00"
        client.leave()
        await client.done()
        assert await peer.eof() == b""


async def test_last_bytes_before_a_fin_arrive() -> None:
    """What a back end sends right before its FIN reaches the client, and then both sides are closed with 1000."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"x" * 3_000_000 + b"last")

    async with listening(handle) as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        client.binary(b"?")
        assert (await client.bytes(3_000_004)).endswith(b"xlast")
        assert await client.closed() == (1000, "")


async def test_half_closed_ends_both() -> None:
    """A back end that only shuts down its sending side ends both directions."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        peer.writer.write_eof()
        assert await client.closed() == (1000, "")
        assert await peer.eof() == b""


async def test_reset_is_1011() -> None:
    """A back end that is lost is 1011."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        raw = peer.writer.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()
        assert await client.closed() == (1011, "back end lost")


async def test_what_was_sent_before_a_close_arrives() -> None:
    """What a client sent before it left reaches the back end, followed by a FIN."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        client.binary(b"z" * 1_000_000)
        client.leave(1000)
        await client.done()
        assert len(await (await back.peer()).eof()) == 1_000_000


async def test_text_is_cut_between_characters() -> None:
    """With message-type text the bytes become text, however they arrive."""
    text = "a\u00e9\u20ac\U0001f600" * 3
    async with listening() as back:
        client = SocketClient(tcp(back.url, text=True))
        await client.accepted()
        peer = await back.peer()
        found = ""
        for byte in text.encode():
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        while found != text:
            message = await client.next()
            assert "bytes" not in message
            found += message["text"]
        client.leave()
        await client.done()


@pytest.mark.parametrize("data", [b"ok\xff", b"\xc3("])
async def test_invalid_utf_8_is_1007(data: bytes) -> None:
    """Bytes that are not UTF-8 end a text tunnel with 1007, and the connection."""
    async with listening() as back:
        client = SocketClient(tcp(back.url, text=True))
        await client.accepted()
        peer = await back.peer()
        peer.writer.write(data)
        assert (await client.closed())[0] == 1007
        assert await peer.reset() or await peer.eof() == b""


async def test_character_cut_off_by_a_fin() -> None:
    """A character that the back end's end cuts off is 1007."""
    async with listening() as back:
        client = SocketClient(tcp(back.url, text=True))
        await client.accepted()
        peer = await back.peer()
        peer.writer.write("\u20ac".encode()[:2])
        peer.writer.write_eof()
        assert (await client.closed())[0] == 1007


@pytest.mark.parametrize(
    ("offered", "configured", "chosen"),
    [
        ([], None, None),
        (["binary"], None, "binary"),
        (["base64", "binary"], None, "binary"),
        (["v12.stomp", "v11.stomp"], None, "v12.stomp"),
        (["bearer.secret", "amqp"], None, "amqp"),
        (["x-kaazing-handshake", "xmpp"], None, "xmpp"),
        (["v10.stomp", "v12.stomp"], ("v12.stomp", "v11.stomp"), "v12.stomp"),
        (["binary"], ("amqp",), None),
    ],
)
async def test_subprotocol(offered: list[str], configured: tuple[str, ...] | None, chosen: str | None) -> None:
    """The first subprotocol offered is accepted, or the first configured one; never a credential or base64."""
    from asgi_gateway.proxy.settings import CredentialNames

    credentials = CredentialNames(subprotocols=frozenset(("bearer",)))
    async with listening() as back:
        backend = tcp(back.url, subprotocols=configured, credentials=credentials)
        client = SocketClient(backend, subprotocols=offered)
        assert (await client.accepted())["subprotocol"] == chosen
        client.leave()
        await client.done()


async def test_refused_before_accept(caplog: pytest.LogCaptureFixture) -> None:
    """Without a back end the handshake is refused with 502, an audit event and a warning that name it."""
    port = free_port()
    client = SocketClient(tcp(f"tcp://{LOOPBACK}:{port}"))
    assert await client.refused() == 502
    event = json.loads(next(each.getMessage() for each in caplog.records if each.name == "tests.audit"))
    assert (event["outcome"], event["service"]) == ("unavailable", "proxied")
    assert f"tcp://{LOOPBACK}:{port}" in event["reason"]
    assert "cannot connect" in event["reason"]
    assert any(each.name == "asgi_gateway.outages" and str(port) in each.getMessage() for each in caplog.records)


async def test_refused_by_a_server_without_responses() -> None:
    """A server that cannot send a response to a handshake closes it."""
    client = SocketClient(tcp(f"tcp://{LOOPBACK}:{free_port()}"), extensions={})
    assert (await client.next())["type"] == "websocket.close"
    await client.done()


async def test_too_slow_to_connect() -> None:
    """A back end that does not take the connection in time is 504."""
    full = socket.socket()
    full.bind((LOOPBACK, 0))
    full.listen(0)
    fillers = []
    try:
        for _ in range(4):  # the queue of connections that nobody accepts is full then
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        client = SocketClient(tcp(f"tcp://{LOOPBACK}:{full.getsockname()[1]}", connect=0.2))
        assert await client.refused() == 504
    finally:
        for each in (full, *fillers):
            each.close()


async def test_tls_handshake_that_hangs() -> None:
    """A back end that does not answer the TLS handshake in time is 504, and nothing of it counts."""
    context = ssl.create_default_context()
    async with listening() as back:
        client = SocketClient(tcp(back.url.replace("tcp:", "tls:"), tls=context, connect=0.3))
        peer = await back.peer()
        assert await client.refused() == 504
        assert (await peer.eof()).startswith(b"\x16\x03")


async def test_tls_that_is_none() -> None:
    """A back end that answers a TLS handshake in clear text is 502, and nothing of it counts."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello in clear text\n" * 100)
        await reader.read()

    async with listening(handle) as back:
        client = SocketClient(tcp(back.url.replace("tcp:", "tls:"), tls=ssl.create_default_context()))
        assert await client.refused() == 502


async def test_tls_without_a_context_is_never_clear_text() -> None:
    """Without a TLS context no connection to a TLS back end is used."""
    async with listening() as back:
        assert await SocketClient(tcp(back.url.replace("tcp:", "tls:"))).refused() == 502


async def test_unknown_host() -> None:
    """A back end whose name is not known is 502."""
    assert await SocketClient(tcp("tcp://back-end.invalid:1")).refused() == 502


async def test_next_back_end_takes_over() -> None:
    """With several back ends the next one is tried, and the dead one is passed over for a while."""
    async with listening() as back:
        backend = tcp(f"tcp://{LOOPBACK}:{free_port()}", back.url)
        for _ in range(3):
            client = SocketClient(backend)
            await client.accepted()
            await back.peer()
            client.leave()
            await client.done()


async def test_back_ends_take_turns() -> None:
    """Live back ends take turns."""
    async with listening() as first, listening() as second:
        backend = tcp(first.url, second.url)
        clients = [SocketClient(backend) for _ in range(4)]
        for client in clients:
            await client.accepted()
            client.leave()
            await client.done()
        for back in (first, second, first, second):
            await back.peer()


async def test_client_leaves_while_connecting() -> None:
    """A client that leaves before there is a connection ends the attempt at once."""
    full = socket.socket()
    full.bind((LOOPBACK, 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    try:
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        client = SocketClient(tcp(f"tcp://{LOOPBACK}:{full.getsockname()[1]}", connect=60.0))
        client.leave(1006)
        await client.done()
        assert client.sent.empty()
    finally:
        for each in (full, *fillers):
            each.close()


async def test_message_before_the_connection_is_kept() -> None:
    """Of a client that sends before there is a connection one message waits, and none is lost."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        for _ in range(5):
            client.binary(b"early")
        assert client.untaken == 6
        await client.accepted()
        assert await (await back.peer()).read(25) == b"early" * 5
        client.leave()
        await client.done()


async def test_slow_client_stops_the_back_end() -> None:
    """A back end is not read while its client takes nothing, and nothing is lost."""
    total = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        for _ in range(240):
            writer.write(b"x" * 100_000)
            await writer.drain()
            total += 100_000

    async with listening(handle) as back:
        client = SocketClient(tcp(back.url), gate=0)
        await client.accepted()
        before = -1
        while before != total:  # until the back end stands still
            before = total
            await asyncio.sleep(0.3)
        assert 0 < total < 16_000_000
        client.take(10_000)
        assert len(await client.bytes(24_000_000)) == 24_000_000
        assert await client.closed() == (1000, "")


async def test_slow_back_end_stops_the_client() -> None:
    """A client's messages are not taken while the back end takes nothing, and nothing is lost."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        for _ in range(400):
            client.binary(b"y" * 100_000)
        before = -1
        while before != client.untaken:
            before = client.untaken
            await asyncio.sleep(0.3)
        assert before > 200
        assert await peer.read(40_000_000) == b"y" * 40_000_000
        client.leave()
        await client.done()


async def test_ended_by_the_gateway() -> None:
    """When the gateway ends the WebSocket the back end is closed at once."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        client.closable.end("user revoked", 4004)
        assert await peer.eof() == b""
        await client.done()


async def test_ended_by_the_gateway_while_the_back_end_takes_nothing() -> None:
    """A back end that takes nothing does not hold up the end of a login."""
    async with listening() as back:
        client = SocketClient(tcp(back.url))
        await client.accepted()
        peer = await back.peer()
        for _ in range(400):
            client.binary(b"y" * 100_000)
        before = -1
        while before != client.untaken:
            before = client.untaken
            await asyncio.sleep(0.2)
        client.closable.end("user revoked", 4004)
        await client.done()
        assert len(await peer.eof()) < 40_000_000


async def test_idle() -> None:
    """A tunnel without a byte for as long as ``idle`` says is closed on both sides; one with bytes is not."""
    async with listening() as back:
        client = SocketClient(tcp(back.url, idle=0.4))
        await client.accepted()
        peer = await back.peer()
        for _ in range(4):
            await asyncio.sleep(0.15)
            peer.writer.write(b".")
        assert await client.bytes(4) == b"...."
        assert await client.closed() == (1001, "idle timeout")
        assert await peer.reset() or await peer.eof() == b""


async def test_longest_message() -> None:
    """A message longer than max-body ends both sides with 1009 and is not passed on."""
    async with listening() as back:
        client = SocketClient(tcp(back.url, max_body=10))
        await client.accepted()
        client.binary(b"x" * 10)
        client.binary(b"x" * 11)
        assert (await client.closed())[0] == 1009
        assert await (await back.peer()).eof() == b"x" * 10


async def test_unix_socket(tmp_path: Path) -> None:
    """A back end may listen on a Unix socket."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        await writer.drain()
        writer.close()

    path = tmp_path / "back.sock"
    async with await asyncio.start_unix_server(handle, path):
        client = SocketClient(tcp(f"unix://{path}"))
        await client.accepted()
        client.binary(b"hi")
        assert await client.bytes(2) == b"hi"
        await client.closed()


async def test_many_leave_in_mid_transfer() -> None:
    """200 clients that leave in mid-transfer leave no connection and no task."""
    open_now: set[object] = set()
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        finally:
            open_now.discard(writer)
            if not open_now:
                gone.set()

    async with listening(handle) as back:
        backend = tcp(back.url)
        tasks = asyncio.all_tasks()
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
        left = {each for each in asyncio.all_tasks() - tasks if "accept" not in repr(each)}
        assert not left


async def test_check_names_what_is_down() -> None:
    """``check`` has a line for each back end that cannot be reached."""
    async with listening() as back:
        down = f"tcp://{LOOPBACK}:{free_port()}"
        assert await tcp(back.url).check() == []
        (line,) = await tcp(back.url, down).check()
        assert down in line
