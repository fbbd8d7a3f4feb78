"""An application whose users log in by the gateway's login page."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware, Grant, LoginAttempt, LoginFailed, LoginModule, LoginUnavailable

PAGE = """<!doctype html><html lang="en"><title>Inside</title><body><h1>Hello {user}</h1><p id="query">{query}</p>
<p id="secret">The quarterly figures</p><a href="{path}/;o">Sign out</a>"""


class PasswordModule(LoginModule):
    """Grants each user whose password is their name and ``-pw``; nothing can ask for the user ``down``."""

    async def login(self, attempt: LoginAttempt) -> Grant:
        name = attempt.username or ""
        if name == "down":
            raise LoginUnavailable("the directory does not answer", retry_after=3)
        if attempt.password != f"{name}-pw":
            raise LoginFailed("wrong password")
        return Grant.user(name, ["STAFF"] if name == "joe" else [])


class WordModule(LoginModule):
    """Grants whoever sends the token ``good``."""

    async def login(self, attempt: LoginAttempt) -> Grant:
        if attempt.token.get() != "good":
            raise LoginFailed("wrong token")
        return Grant.user("bearer")


async def inside(request: Request) -> HTMLResponse:
    query = request.url.query.replace("&", "&amp;").replace("<", "&lt;")
    path = request.url.path.rstrip("/")
    return HTMLResponse(PAGE.format(user=request.user.display_name, query=query, path=path))


async def public(request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><html lang=en><title>Public</title><body><h1>Goodbye</h1>")


async def script(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name)


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.user.display_name}: {text}")


def _realm(name: str, scheme: str, module: type[LoginModule], **page: Any) -> dict[str, Any]:
    modules = [{"type": f"class:{__name__}.{module.__name__}", "success": "required"}]
    authentication = {"http-challenge-scheme": scheme, "login-page": page, "login-modules": modules}
    return {"name": name, "description": "The staff's pages", "authentication": authentication}


app = GatewayMiddleware(
    Starlette(
        routes=[
            Route("/public", public),
            Route("/staff/script", script),
            WebSocketRoute("/staff/echo", echo),
            *(Route(f"/{name}{{rest:path}}", inside) for name in ("staff", "word", "goodbye", "only")),
        ]
    ),
    {
        "security": {
            "realms": [
                _realm("staff", "Application Basic", PasswordModule),
                _realm("word", "Application Token", WordModule, title="Words"),
                _realm("goodbye", "Application Basic", PasswordModule, **{"after-logout": "/public"}),
            ]
        },
        "services": [
            {"name": "public", "accept": "/public"},
            {"name": "staff", "accept": "/staff", "realm-name": "staff"},
            {
                "name": "only",
                "accept": "/only",
                "realm-name": "staff",
                "authorization-constraint": {"require-role": ["STAFF"]},
            },
            {"name": "word", "accept": "/word", "realm-name": "word"},
            {"name": "goodbye", "accept": "/goodbye", "realm-name": "goodbye"},
        ],
    },
)
