"""Quart with the gateway around its ``asgi_app``, so that ``quart run`` finds the application protected."""

from __future__ import annotations

from typing import Any

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG
from tests.integration.apps.quart_app import quart

app: Any = quart  # Quart calls its own class an ASGI application of another type
app.asgi_app = GatewayMiddleware(app.asgi_app, CONFIG)
