"""Starlette behind the realms of a Kerberos site; ``/tickets/page`` opens a WebSocket by itself."""

from __future__ import annotations

import logging
import sys
from typing import Any

from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute

from asgi_gateway import GatewayMiddleware
from tests.integration.apps.kerberos_config import CONFIG, REALMS
from tests.integration.apps.starlette_app import echo, who

PAGE = """<!doctype html><title>waiting</title><script>
const socket = new WebSocket(`ws://${location.host}/tickets/echo`);
socket.onopen = () => socket.send("hello");
socket.onmessage = message => { document.title = message.data; };
socket.onclose = event => { if (document.title == "waiting") document.title = "closed " + event.code; };
</script>"""


async def page(request: Any) -> HTMLResponse:
    return HTMLResponse(PAGE)


logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
app = GatewayMiddleware(
    Starlette(
        routes=[
            *(Route(f"/{name}", who) for name in ("public", "locked", *REALMS)),
            *(WebSocketRoute(f"/{name}/echo", echo) for name in REALMS),
            Route("/tickets/page", page),
        ]
    ),
    CONFIG,
)
