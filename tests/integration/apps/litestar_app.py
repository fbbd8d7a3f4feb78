"""Litestar: ``request.user`` and ``request.auth``, and a guard of its own."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException, WebSocketDisconnect
from litestar.handlers import BaseRouteHandler

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG


def administrators(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if "ADMINISTRATOR" not in connection.auth.scopes:
        raise PermissionDeniedException


@get(["/public", "/who", "/locked"])
async def who(request: Request[Any, Any, Any]) -> dict[str, Any]:
    user = request.user
    return {"authenticated": user.is_authenticated, "name": user.display_name, "roles": sorted(request.auth.scopes)}


@get("/admin", guards=[administrators])
async def admin(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"name": request.user.display_name}


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"{socket.user.display_name}: {await socket.receive_text()}")
    except WebSocketDisconnect:
        return


app = GatewayMiddleware(Litestar([who, admin, echo]), CONFIG)
