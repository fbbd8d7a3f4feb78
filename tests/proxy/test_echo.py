"""The echo service over WebSocket and HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.proxy.echo import MAX_BODY, Echo
from tests.gateways import CONNECT, DISCONNECT, Server, scope


def receive(**content: Any) -> dict[str, Any]:
    return {"type": "websocket.receive", **content}


async def socket(*messages: dict[str, Any], repeat: int = 1, subprotocols: tuple[str, ...] = ()) -> Server:
    server = Server(CONNECT.copy(), *messages, DISCONNECT.copy())
    await Echo(repeat)(scope("/", kind="websocket", subprotocols=list(subprotocols)), server.receive, server.send)
    return server


async def post(*bodies: bytes, app: Echo | None = None, method: str = "POST", **more: Any) -> Server:
    server = Server(
        *({"type": "http.request", "body": body, "more_body": True} for body in bodies),
        {"type": "http.request", "body": b"", "more_body": False},
    )
    await (app or Echo())(scope("/", method=method, **more), server.receive, server.send)
    return server


@pytest.mark.anyio
async def test_messages_come_back_as_they_came() -> None:
    """Text comes back as text and binary as binary, also empty, in order."""
    server = await socket(
        receive(text="hello"),
        receive(bytes=b"\x00\xff"),
        receive(text=""),
        receive(bytes=b""),
        receive(text=None, bytes=b"x"),
        receive(text="ü", bytes=None),
    )
    assert server.sent == [
        {"type": "websocket.accept", "subprotocol": None},
        {"type": "websocket.send", "text": "hello"},
        {"type": "websocket.send", "bytes": b"\x00\xff"},
        {"type": "websocket.send", "text": ""},
        {"type": "websocket.send", "bytes": b""},
        {"type": "websocket.send", "bytes": b"x"},
        {"type": "websocket.send", "text": "ü"},
    ]


@pytest.mark.anyio
async def test_repeat() -> None:
    """With ``repeat`` each message, and each body, comes back that often."""
    server = await socket(receive(text="a"), receive(text="b"), repeat=3)
    assert [message["text"] for message in server.sent[1:]] == ["a", "a", "a", "b", "b", "b"]
    found = await post(b"ab", app=Echo(3))
    assert found.body == b"ababab"
    assert (b"content-length", b"6") in found.headers


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        (("chat",), "chat"),
        (("v2.chat", "chat"), "v2.chat"),
        (("bearer.abc", "chat"), "chat"),
        (("Bearer.abc",), None),
        (("basic.abc",), None),
        (("x-kaazing-handshake", "chat"), "chat"),
    ],
)
async def test_subprotocols(offered: tuple[str, ...], chosen: str | None) -> None:
    """The first subprotocol is accepted, since browsers insist on one; a credential or the gateway's own never is."""
    assert (await socket(subprotocols=offered)).sent[0]["subprotocol"] == chosen


@pytest.mark.anyio
async def test_a_client_that_leaves() -> None:
    """A client that leaves before or after the handshake, or in mid-answer, ends the echo without an error."""
    server = Server(DISCONNECT.copy())
    await Echo()(scope("/", kind="websocket"), server.receive, server.send)
    assert server.sent == []

    async def gone(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the client is gone")

    server = Server(CONNECT.copy(), receive(text="a"), receive(text="b"))
    await Echo()(scope("/", kind="websocket"), server.receive, gone)
    server = Server({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"})
    await Echo()(scope("/", method="POST"), server.receive, server.send)
    assert server.sent == []


@pytest.mark.anyio
async def test_bodies() -> None:
    """A request's body is the response's, as bytes of no type that a browser would show or run."""
    found = await post(b"<script>", b"alert(1)</script>")
    assert (found.status, found.body) == (200, b"<script>alert(1)</script>")
    assert sorted(found.headers) == [
        (b"content-length", b"25"),
        (b"content-type", b"application/octet-stream"),
        (b"x-content-type-options", b"nosniff"),
    ]
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert (await post(method=method)).body == b""
    head = await post(b"abc", method="HEAD")
    assert (head.body, (b"content-length", b"3") in head.headers) == (b"", True)


@pytest.mark.anyio
async def test_long_bodies() -> None:
    """A body at the limit comes back; a longer one is 413 as soon as that shows, and its connection is closed."""
    piece = b"x" * (MAX_BODY // 2)
    assert (await post(piece, piece)).body == piece * 2
    found = await post(piece, piece, b"y", b"never read")
    assert found.status == 413
    assert (b"connection", b"close") in found.headers
    assert (await post(b"abcd", app=Echo(1, 3))).status == 413
    second = await post(b"abcd", app=Echo(1, 3), http_version="2")
    assert b"connection" not in dict(second.headers)
