"""Starlette: ``request.user``, ``request.auth`` and ``@requires``."""

from __future__ import annotations

from contextlib import suppress

import anyio
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG


async def who(request: Request) -> JSONResponse:
    user = request.user
    return JSONResponse(
        {"authenticated": user.is_authenticated, "name": user.display_name, "roles": sorted(request.auth.scopes)}
    )


@requires("ADMINISTRATOR")
async def admin(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.user.display_name})


@requires("authenticated")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.user.display_name}: {text}")


async def ticks(websocket: WebSocket) -> None:
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text("tick")
            await anyio.sleep(0.02)


app = GatewayMiddleware(
    Starlette(
        routes=[
            Route("/public", who),
            Route("/who", who),
            Route("/admin", admin),
            Route("/locked", who),
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/brief", echo),
            WebSocketRoute("/brief/ticks", ticks),
            WebSocketRoute("/two", echo),
        ]
    ),
    CONFIG,
)
