"""A back end that asks for credentials: on each path another way of it. ``/log`` tells what was received."""

from __future__ import annotations

import base64
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

received: list[dict[str, str | int | None]] = []


def basic(name: str, password: str) -> str:
    """An Authorization value."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


ACCEPTED = {
    "basic": {basic("gateway", "s3cret-pw")},
    "application": {basic("gateway", "s3cret-pw")},
    "token": {"Token t0k"},
    "bearer": {"Bearer t0k"},
    "user": {basic("joe", "joe-pw"), basic("ann", "ann-pw")},
    "third": {basic("gateway", "guess 3")},
    "never": set(),
}
CHALLENGES = {
    "application": 'Application Basic realm="reports"',
    "token": "Application Token",
    "bearer": 'Bearer realm="reports"',
}


def accepts(path: str, authorization: str | None) -> bool:
    """Note a request, and return whether its credentials are right."""
    kind = path.split("/")[2]
    received.append({"path": path, "authorization": authorization})
    return authorization in ACCEPTED[kind]


def challenge(path: str) -> dict[str, str]:
    """The headers of a 401."""
    return {"WWW-Authenticate": CHALLENGES.get(path.split("/")[2], 'Basic realm="reports"')}


async def page(request: Request) -> Response:
    right = accepts(request.url.path, request.headers.get("authorization"))
    body = await request.body()
    received[-1]["length"] = len(body)
    if not right:
        return Response("who?", 401, challenge(request.url.path))
    return JSONResponse({"method": request.method, "length": len(body), "end": body[-4:].decode()})


async def socket(websocket: WebSocket) -> None:
    if not accepts(websocket.url.path, websocket.headers.get("authorization")):
        return await websocket.send_denial_response(Response("who?", 401, challenge(websocket.url.path)))
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()
    return None


async def log(request: Request) -> Response:
    found = list(received)
    received.clear()
    return JSONResponse(found)


methods: Any = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
app = Starlette(
    routes=[
        Route("/log", log),
        Route("/reports/{rest:path}", page, methods=methods),
        WebSocketRoute("/reports/{rest:path}", socket),
    ]
)
