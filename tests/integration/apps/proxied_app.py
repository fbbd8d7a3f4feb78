"""An application that tells what it was given, behind a gateway that believes the proxies of this host."""

from __future__ import annotations

from typing import Any

from hypercorn.middleware import ProxyFixMiddleware

from asgi_gateway import GatewayMiddleware
from tests.integration.apps.told_app import app as told

app = GatewayMiddleware(
    told,
    {
        "security": {"trusted-proxies": ["127.0.0.1", "unix"]},
        "services": [{"name": "all", "accept": "/"}],
        "forward-auth": {"accept": "/gateway-check", "kind": "nginx"},
    },
)

_inner: Any = app
fixed = ProxyFixMiddleware(_inner)
"""The same behind hypercorn's own middleware, which takes the client's address from headers."""
