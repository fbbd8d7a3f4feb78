"""The applications that ``bench.served`` puts behind uvicorn: the same one bare and behind the gateway."""

from __future__ import annotations

import tempfile
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.inprocess import DictBackend, behind_gateway


async def hello(request: Request) -> PlainTextResponse:
    """The smallest answer."""
    return PlainTextResponse("hello")


async def echo(socket: WebSocket) -> None:
    """Say back what was said."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


bare = Starlette(routes=[Route("/app/hello", hello), WebSocketRoute("/chat/echo", echo)])


def gated() -> object:
    """The same behind the gateway; a factory, so that the bare one pays nothing for it."""
    return behind_gateway(bare, Path(tempfile.mkdtemp(prefix="asgi-gateway-bench-")))


def with_dict() -> object:
    """The same behind Starlette's own middleware with the least that a backend can do."""
    return AuthenticationMiddleware(bare, backend=DictBackend())
