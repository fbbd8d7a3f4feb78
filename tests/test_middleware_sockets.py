"""The end of a socket's session, as server and application see it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asgi_gateway.gateway import Gateway
from asgi_gateway.middleware import GatewayMiddleware
from tests.gateways import CONNECT, Server, World, basic, scope, service, users, wrapped

pytestmark = pytest.mark.anyio


def site(world: World) -> Gateway:
    """A service whose sessions are short."""
    return world.gateway(service("short", "/short", world.realm(users(joe=""), name="short", session_timeout=0.01)))


async def test_session_timeout(world: World) -> None:
    """A socket whose session is limited is closed with 1008 and the reason, and its application is told."""
    app, inner = wrapped(site(world))
    server = Server(CONNECT.copy())
    with anyio.fail_after(10):
        await app(scope("/short", basic("joe"), kind="websocket"), server.receive, server.send)
    assert server.sent[1:] == [{"type": "websocket.close", "code": 1008, "reason": "session timeout"}]
    assert inner.messages == [{"type": "websocket.disconnect", "code": 1008, "reason": "session timeout"}]


@pytest.mark.parametrize(
    ("session", "authorization", "reason"),
    [(0.01, None, "session timeout"), (9.0, 0.01, "authorization timeout"), (0.01, 9.0, "session timeout")],
)
async def test_the_smaller_limit(world: World, session: float, authorization: float | None, reason: str) -> None:
    """Of two limits the smaller ends the socket, and is the reason told."""
    realm = world.realm(users(joe=""), session_timeout=session, authorization_timeout=authorization)
    app, inner = wrapped(world.gateway(service("one", "", realm)))
    server = Server(CONNECT.copy())
    with anyio.fail_after(10):
        await app(scope("/", basic("joe"), kind="websocket"), server.receive, server.send)
    assert inner.messages[-1]["reason"] == reason


@pytest.mark.parametrize("ended", [True, False])
async def test_errors_of_the_application(world: World, ended: bool) -> None:
    """An application that sends after the end fails quietly; an OSError of its own before it is its own."""

    async def sending(scope: Any, receive: Any, send: Any) -> None:
        if not ended:
            raise OSError("the application's own")
        await receive()
        await receive()  # the disconnect
        await send({"type": "websocket.send", "text": "too late"})

    app = GatewayMiddleware(sending, site(world))
    server = Server(CONNECT.copy())
    asked = scope("/short", basic("joe"), kind="websocket")
    if ended:
        await app(asked, server.receive, server.send)
        assert [message["type"] for message in server.sent] == ["websocket.close"]
    else:
        with pytest.raises(OSError, match="own"):
            await app(asked, server.receive, server.send)
