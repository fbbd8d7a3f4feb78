"""An application for pages whose logins happen inside the page."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware, Grant, LoginAttempt, LoginFailed, LoginModule
from tests.integration.apps import CONFIG

PAGE = """<!doctype html><html lang="en"><title>test</title><body><h1>Test</h1>
<script type="module">import * as client from "/asgi-gateway-client.js"; window.client = client;</script>"""


class MirrorModule(LoginModule):
    """Grants whoever sends the nonce of its challenge back to front."""

    nonces: set[str] = set()

    async def login(self, attempt: LoginAttempt) -> Grant:
        token = attempt.token.get()
        if token is None:
            nonce = secrets.token_hex(8)
            self.nonces.add(nonce)
            attempt.challenge(f'nonce="{nonce}"')
        elif token[::-1] in self.nonces:
            self.nonces.discard(token[::-1])
            return Grant.user("mirror")
        raise LoginFailed("not the nonce")


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE)


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.user.display_name}:{(await request.body()).decode()}")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept(next(iter(websocket.scope["subprotocols"]), None))
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "who":
            await websocket.send_text(websocket.user.display_name)
        elif message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


async def end(websocket: WebSocket) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _realm(name: str, scheme: str, module: Mapping[str, object]) -> dict[str, object]:
    return {
        "name": name,
        "authentication": {"http-challenge-scheme": scheme, "login-modules": [{"success": "required", **module}]},
    }


_FILE = CONFIG["security"]["realms"][0]["authentication"]["login-modules"][0]
_MIRROR = {"type": f"class:{__name__}.MirrorModule"}

app = GatewayMiddleware(
    Starlette(
        routes=[
            Route("/", page),
            Route("/api", who, methods=["GET", "POST"]),
            WebSocketRoute("/end", end),
            *(WebSocketRoute(path, echo) for path in ("/echo", "/admin", "/token", "/both")),
        ]
    ),
    {
        "browser-client": "/asgi-gateway-client.js",
        "extended-handshake": True,
        "security": {
            "realms": [
                _realm("demo", "Application Basic", _FILE),
                _realm("second", "Application Basic", _FILE),
                _realm("mirror", "Application Token", _MIRROR),
            ]
        },
        "services": [
            {"name": "page", "accept": "/"},
            {"name": "api", "accept": "/api", "realm-name": "demo"},
            {"name": "echo", "accept": "/echo", "realm-name": "demo"},
            {"name": "end", "accept": "/end", "realm-name": "demo"},
            {"name": "token", "accept": "/token", "realm-name": "mirror"},
            {"name": "both", "accept": "/both", "realm-name": ["demo", "second"]},
            {
                "name": "admin",
                "accept": "/admin",
                "realm-name": "demo",
                "authorization-constraint": {"require-role": ["ADMINISTRATOR"]},
            },
        ],
    },
)
