"""A gateway whose services are all at back ends, and what its process holds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

from asgi_gateway import GatewayMiddleware

logging.getLogger("asgi_gateway.audit").setLevel(logging.INFO)
logging.getLogger("asgi_gateway.audit").addHandler(logging.StreamHandler())

BACKEND = os.environ["BACKEND"]
USERS = str(Path(__file__).with_name("users.xml"))
gateway = GatewayMiddleware(
    None,
    {
        "security": {
            "realms": [
                {
                    "name": "demo",
                    "authentication": {
                        "http-challenge-scheme": "Basic",
                        "login-modules": [{"type": "file", "success": "required", "options": {"file": USERS}}],
                    },
                }
            ]
        },
        "services": [
            {"name": "public", "accept": "/public", "connect": f"{BACKEND}/inner"},
            {
                "name": "protected",
                "accept": "/app",
                "connect": f"{BACKEND}/inner",
                "realm-name": "demo",
                "authorization-constraint": {"require-role": "*"},
                "identity-headers": {"user": "X-Forwarded-User", "roles": "X-Roles"},
                "max-body": "1 MB",
            },
            {
                "name": "down",
                "accept": "/down",
                "connect": "http://127.0.0.1:1/",
                "timeouts": {"connect": "2 seconds"},
            },
        ],
    },
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The gateway, and at ``/held`` the numbers of its process's descriptors and tasks."""
    if scope["type"] != "http" or scope["path"] != "/held":
        await gateway(scope, receive, send)
        return
    held = {"descriptors": len(os.listdir("/proc/self/fd")), "tasks": len(asyncio.all_tasks())}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(held).encode()})
