"""One page of two services in every framework; the header ``x-framework`` says which framework answers.

``/public/...`` is public and answers ``public``; ``/admin/secret`` needs a login and answers ``secret``. In Starlette
``/files/...`` is public, takes encoded slashes, and answers with its path; ``/files/closed`` needs a login.
"""

from __future__ import annotations

import os
from typing import Any

from a2wsgi import WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi
from channels.routing import URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar, websocket
from litestar import WebSocket as LitestarSocket
from litestar import get as litestar_get
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

# ------------------------------------------------------------------------------------------------ Starlette and FastAPI


async def public(request: Request) -> PlainTextResponse:
    return PlainTextResponse("public")


async def files(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params["rest"])


async def secret(request: Request) -> PlainTextResponse:
    return PlainTextResponse("secret")


async def open_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("secret" if socket.url.path.endswith("/admin/socket") else "public")
    await socket.close()


starlette = Starlette(
    routes=[
        Route("/public/{rest:path}", public),
        Route("/files/{rest:path}", files),
        Mount("/admin", routes=[Route("/secret", secret), WebSocketRoute("/socket", open_socket)]),
    ]
)

fastapi = FastAPI()


@fastapi.get("/public/{rest:path}", response_class=PlainTextResponse)
async def fastapi_public(rest: str) -> str:
    return "public"


@fastapi.get("/admin/secret", response_class=PlainTextResponse)
async def fastapi_secret() -> str:
    return "secret"


fastapi.add_api_websocket_route("/admin/socket", open_socket)

# ------------------------------------------------------------------------------------------------------------- Litestar


@litestar_get("/public/{rest:path}", media_type="text/plain")
async def litestar_public() -> str:
    return "public"


@litestar_get("/admin/secret", media_type="text/plain")
async def litestar_secret() -> str:
    return "secret"


@websocket("/admin/socket")
async def litestar_socket(socket: LitestarSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text("secret")
    await socket.close()


# ---------------------------------------------------------------------------------------------------------------- Quart

quart = Quart(__name__)


@quart.get("/public/<path:rest>")
async def quart_public(rest: str) -> str:
    return "public"


@quart.get("/admin/secret")
async def quart_secret() -> str:
    return "secret"


@quart.websocket("/admin/socket")
async def quart_socket() -> None:
    await quart_websocket.send("secret")


# -------------------------------------------------------------------------------------------------- Django and Channels

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="only for tests", USE_TZ=True)


async def django_public(request: HttpRequest, rest: str) -> HttpResponse:
    return HttpResponse("public")


async def django_secret(request: HttpRequest) -> HttpResponse:
    return HttpResponse("secret")


urlpatterns = [path("public/<path:rest>", django_public), path("admin/secret", django_secret)]


def consumer(text: str) -> Any:
    """A consumer without Channels' base class, for HTTP and WebSocket."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": text.encode()})
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})

    return answer


channels = URLRouter(
    [re_path(r"^public/.+$", consumer("public")), re_path(r"^admin(/secret|/socket)?$", consumer("secret"))]
)

# ---------------------------------------------------------------------------------------------------------------- Flask

flask = Flask(__name__)
flask.add_url_rule("/public/<path:rest>", "public", lambda rest: "public")
flask.add_url_rule("/admin/secret", "secret", lambda: "secret")

FRAMEWORKS: dict[str, Any] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": Litestar([litestar_public, litestar_secret, litestar_socket]),
    "quart": quart,
    "django": get_asgi_application(),
    "channels": channels,
    "a2wsgi": WSGIMiddleware(flask),
    "asgiref": WsgiToAsgi(flask),
}

config: dict[str, Any] = {
    "security": CONFIG["security"],
    "services": [
        *(service for service in CONFIG["services"] if service["name"] in ("public", "admin", "brief", "two")),
        {"name": "files", "accept": "/files", "allow-encoded-slash": True},
        {"name": "closed", "accept": "/files/closed", "realm-name": "demo"},
    ],
}
if root := os.environ.get("GATEWAY_ROOT_PATH"):
    config["root-path"] = root

apps = {name: GatewayMiddleware(framework, config) for name, framework in FRAMEWORKS.items()}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await apps["starlette"](scope, receive, send)
        return
    (name,) = (value.decode() for key, value in scope["headers"] if key == b"x-framework")
    await apps[name](scope, receive, send)
