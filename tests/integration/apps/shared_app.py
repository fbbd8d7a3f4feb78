"""An application behind a gateway whose configuration the environment names; it says which worker answered."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_gateway import GatewayMiddleware


async def worker(request: Request) -> PlainTextResponse:
    """The worker's process id and the user's name."""
    return PlainTextResponse(f"{os.getpid()} {request.user.display_name}")


async def stay(socket: WebSocket) -> None:
    """A socket that stays open until somebody ends it."""
    await socket.accept()
    await socket.send_text(str(os.getpid()))
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        pass


app = GatewayMiddleware(
    Starlette(routes=[Route("/{path:path}", worker), WebSocketRoute("/{path:path}", stay)]),
    os.environ["GATEWAY_CONFIG"],
)
