"""An application with a CORS middleware of its own, once behind the gateway's CORS and once instead of it.

The page is that of http://localhost; the application for it is at http://127.0.0.1, which is another site.
"""

from __future__ import annotations

import sys

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

PAGE = f"http://localhost:{sys.argv[sys.argv.index('--port') + 1]}"


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><html lang='en'><title>page</title><body><h1>Page</h1>")


async def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} of {request.user.display_name}", headers={"X-Total": "7"})


middleware = Middleware(
    CORSMiddleware,
    allow_origins=[PAGE],
    allow_credentials=True,
    allow_methods=["GET", "PUT"],
    allow_headers=["Authorization"],
    expose_headers=["X-Total"],
)
cross = {"allow-origin": PAGE + "/", "allow-methods": "PUT", "allow-headers": "Authorization"}
services = [
    {"accept": "/page"},
    {"accept": "/gateway", "realm-name": "demo", "cross-site-constraint": cross},
    {"accept": "/application", "realm-name": "demo", "cors": "application"},
    {"accept": "/listed", "realm-name": "demo", "cors": "application", "cross-site-constraint": {"allow-origin": PAGE}},
    {"accept": "/form", "realm-name": "demo"},
]
routes = [Route("/page", page), Route("/{path:path}", who, methods=["GET", "POST", "PUT"])]
realms = [realm for realm in CONFIG["security"]["realms"] if realm["name"] == "demo"]
app = GatewayMiddleware(
    Starlette(routes=routes, middleware=[middleware]), {"services": services, "security": {"realms": realms}}
)
