"""Quart with the gateway around its ``asgi_app``, so that ``quart run`` finds the application protected."""

from __future__ import annotations

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG

app: Any = quart
app.asgi_app = GatewayMiddleware(app.asgi_app, CONFIG)
