"""FastAPI with the gateway added as its middleware: every tool that finds the application finds it protected."""

from __future__ import annotations

from asgi_gateway import GatewayMiddleware
from tests.integration.apps import CONFIG
from tests.integration.apps.fastapi_app import api as app

app.add_middleware(GatewayMiddleware, config=CONFIG)
