"""Quart: the user stands in the ASGI scope."""

from __future__ import annotations

from typing import Any

from quart import Quart, abort, request, websocket

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

quart = Quart(__name__)


@quart.get("/public")
@quart.get("/who")
@quart.get("/locked")
async def who() -> dict[str, Any]:
    user, auth = request.scope["user"], request.scope["auth"]
    return {"authenticated": user.is_authenticated, "name": user.display_name, "roles": sorted(auth.scopes)}


@quart.get("/admin")
async def admin() -> dict[str, str]:
    if "ADMINISTRATOR" not in request.scope["auth"].scopes:
        abort(403)
    return {"name": request.scope["user"].display_name}


@quart.websocket("/echo")
async def echo() -> None:
    while True:
        await websocket.send(f"{websocket.scope['user'].display_name}: {await websocket.receive()}")


app = GatewayMiddleware(quart, CONFIG)
