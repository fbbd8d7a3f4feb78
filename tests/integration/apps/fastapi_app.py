"""FastAPI: ``request.user``, ``request.auth`` and Starlette's ``@requires``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, WebSocket
from starlette.authentication import requires

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

api = FastAPI()


@api.get("/public")
@api.get("/who")
@api.get("/locked")
async def who(request: Request) -> dict[str, Any]:
    user = request.user
    return {"authenticated": user.is_authenticated, "name": user.display_name, "roles": sorted(request.auth.scopes)}


@api.get("/admin")
@requires("ADMINISTRATOR")
async def admin(request: Request) -> dict[str, str]:
    return {"name": request.user.display_name}


@api.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.user.display_name}: {text}")


app = GatewayMiddleware(api, CONFIG)
