"""WebSockets that end, are authorized again, and are opened with tickets; configured by the environment."""

from __future__ import annotations

import os
from contextlib import suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_gateway import GatewayMiddleware
from asgi_gateway.model import RevocationKey


async def revoke(request: Request) -> PlainTextResponse:
    """End a user's logins, as ``asgi-gateway revoke`` does."""
    realm, user = request.path_params["realm"], request.path_params["user"]
    await app.gateway.revocations.revoke(RevocationKey("user", user, realm))
    return PlainTextResponse(str(os.getpid()))


async def who(websocket: WebSocket) -> None:
    """Tells its process, user and socket, then echoes."""
    protocols = websocket.scope["subprotocols"]
    await websocket.accept(protocols[0] if protocols else None)
    context = websocket.scope["asgi_gateway"]
    await websocket.send_json([os.getpid(), websocket.user.display_name, context.socket, protocols])
    with suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(await websocket.receive_text())


async def pid(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


routes = [
    Route("/revoke/{realm}/{user}", revoke, methods=["POST"]),
    Route("/pid", pid),
    WebSocketRoute("/chat", who),
    WebSocketRoute("/live", who),
    WebSocketRoute("/brief", who),
]
app = GatewayMiddleware(Starlette(routes=routes), os.environ["LIVE_CONFIG"])
