"""A page and a WebSocket behind one realm with sessions, without a login that is remembered."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import USERS


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.user.display_name}: {text}")


app = GatewayMiddleware(
    Starlette(routes=[Route("/page", page), WebSocketRoute("/echo", echo)]),
    {
        "security": {
            "realms": [
                {
                    "name": "demo",
                    "credential-cache": "0",
                    "authentication": {
                        "http-challenge-scheme": "Basic",
                        "authorization-mode": "recycle",
                        "login-modules": [{"type": "file", "success": "required", "options": {"file": str(USERS)}}],
                    },
                }
            ]
        }
    },
)
