"""A gateway without an application: every service of its configuration has a back end."""

from __future__ import annotations

import os

from asgi_gateway import GatewayMiddleware

app = GatewayMiddleware(None, os.environ["PROXY_CONFIG"])
