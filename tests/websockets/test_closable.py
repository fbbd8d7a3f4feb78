"""The end of a WebSocket's life."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from asgi_gateway.websockets.closable import ClosableWebSocket, ConnectionEnded
from tests.gateways import Server

pytestmark = pytest.mark.anyio


class Wire(Server):
    """A server that refuses some codes."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self.refused = refused
        self.lifetime = ClosableWebSocket(self.receive, self.send)

    async def send(self, message: Any) -> None:
        await asyncio.sleep(0)
        if message.get("code") in self.refused:
            raise ValueError("no such code here")
        await super().send(message)


ENDED = {"type": "websocket.disconnect", "code": 1008, "reason": "over"}
CLOSE = {"type": "websocket.close", "code": 1008, "reason": "over"}


async def test_messages_pass() -> None:
    """Until the end, messages pass both ways as they are."""
    wire = Wire()
    wire.say({"type": "websocket.receive", "text": "x"})
    assert await wire.lifetime.receive() == {"type": "websocket.receive", "text": "x"}
    await wire.lifetime.send({"type": "websocket.send", "text": "y"})
    assert wire.sent == [{"type": "websocket.send", "text": "y"}]


async def test_the_end_while_receiving() -> None:
    """A receive that waits returns the disconnect, the server is told to close, and nothing passes any more."""
    wire = Wire()
    waiting = asyncio.create_task(wire.lifetime.receive())
    await asyncio.sleep(0)
    wire.lifetime.end("over")
    assert await waiting == ENDED
    assert waiting.cancelling() == 0
    await wire.lifetime.wait_closed()
    assert wire.sent == [CLOSE]
    assert await wire.lifetime.receive() == ENDED
    with pytest.raises(ConnectionEnded):
        await wire.lifetime.send({"type": "websocket.send"})
    assert wire.sent == [CLOSE]


async def test_several_receivers() -> None:
    """Every receive that waits returns, and one that was given up before does not hide the others."""
    wire = Wire()
    waiting = [asyncio.create_task(wire.lifetime.receive()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.sleep(0)
    wire.lifetime.end("over")
    assert await asyncio.gather(*waiting[:2]) == [ENDED, ENDED]
    assert waiting[2].cancelled()


async def test_the_end_while_not_receiving() -> None:
    """An application that only sends is closed as well."""
    wire = Wire()
    wire.lifetime.end("over", 1012)
    await wire.lifetime.wait_closed()
    assert wire.sent == [CLOSE | {"code": 1012}]


async def test_the_first_end_holds() -> None:
    """A socket ends once, for the first reason."""
    wire = Wire()
    wire.lifetime.end("over")
    wire.lifetime.end("again", 1000)
    await wire.lifetime.wait_closed()
    assert wire.sent == [CLOSE]
    assert wire.lifetime.reason == "over"


async def test_a_message_at_the_very_end() -> None:
    """A message that comes at the moment of the end is not delivered after it."""
    wire = Wire()
    waiting = asyncio.create_task(wire.lifetime.receive())
    await asyncio.sleep(0)
    wire.say({"type": "websocket.receive", "text": "late"})
    wire.lifetime.end("over")
    assert await waiting == ENDED


async def test_cancelled_by_others() -> None:
    """A cancellation that is not the lifetime's own goes on, before the end and at it."""
    wire = Wire()
    waiting = asyncio.create_task(wire.lifetime.receive())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    both = asyncio.create_task(wire.lifetime.receive())
    await asyncio.sleep(0)
    both.cancel()
    wire.lifetime.end("over")
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_under_a_timeout() -> None:
    """An application's own timeout around receive works as without the lifetime, and the end is no timeout."""
    wire = Wire()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await wire.lifetime.receive()
    asyncio.get_running_loop().call_soon(wire.lifetime.end, "over")
    async with asyncio.timeout(20):
        assert await wire.lifetime.receive() == ENDED


async def test_nothing_is_kept() -> None:
    """A lifetime whose socket is through is kept by no task."""
    wire = Wire()
    wire.lifetime.end("over")
    await wire.lifetime.wait_closed()

    class Kept:
        pass

    marker = Kept()
    wire.marker = marker  # type: ignore[attr-defined]
    gone = weakref.ref(marker)
    del wire, marker
    gc.collect()
    assert gone() is None


async def test_sends_at_once() -> None:
    """Sends of several tasks at once all arrive; those after the end raise, and none of them hangs."""
    wire = Wire()

    async def send(number: int) -> str:
        try:
            await wire.lifetime.send({"type": "websocket.send", "text": str(number)})
        except ConnectionEnded:
            return "ended"
        return "sent"

    before = asyncio.gather(*(send(number) for number in range(5)))
    await asyncio.sleep(0)
    wire.lifetime.end("over")
    after = await asyncio.gather(*(send(number) for number in range(5)))
    assert await before == ["sent"] * 5
    assert after == ["ended"] * 5
    await wire.lifetime.wait_closed()
    assert [message["type"] for message in wire.sent] == ["websocket.send"] * 5 + ["websocket.close"]


@pytest.mark.parametrize(("refused", "sent"), [((1008,), [3000]), ((1008, 3000), [])])
async def test_a_server_that_refuses_the_code(refused: tuple[int, ...], sent: list[int]) -> None:
    """Where a server refuses to send 1008 another code is tried; where it refuses both, nothing is raised."""
    wire = Wire(*refused)
    wire.lifetime.end("over")
    await wire.lifetime.wait_closed()
    assert [message["code"] for message in wire.sent] == sent
