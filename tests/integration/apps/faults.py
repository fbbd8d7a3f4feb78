"""An application that tells what its process holds, behind a gateway whose logins can be slow; for tests of faults."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_gateway import GatewayMiddleware, Grant, LoginAttempt, LoginFailed, LoginModule

logger = logging.getLogger("faults")
logging.getLogger("asgi_gateway").addHandler(logging.StreamHandler())
logging.getLogger("asgi_gateway").setLevel(logging.DEBUG)
USERS = str(Path(__file__).with_name("users.xml"))
COUNTS = dict.fromkeys(("asked", "pending", "aborted", "entered", "left"), 0)


class Slow(LoginModule):
    """Lets everybody in after as many seconds as the password says; ``blocking`` is whose thread waits."""

    async def login(self, attempt: LoginAttempt) -> Grant:
        seconds = float(attempt.password or 0)
        COUNTS["asked"] += 1
        COUNTS["pending"] += 1
        try:
            if attempt.username == "blocking":
                await attempt.run_blocking(time.sleep, seconds)
            else:
                await anyio.sleep(seconds)
        finally:
            COUNTS["pending"] -= 1
        if attempt.username is None or attempt.username == "refused":
            raise LoginFailed("refused")
        return Grant.user(attempt.username)

    async def abort(self, attempt: LoginAttempt) -> None:
        COUNTS["aborted"] += 1
        logger.warning("aborted: %s", attempt)


def realm(name: str, module: dict[str, Any], **authentication: Any) -> dict[str, Any]:
    modules = [{"success": "required", **module}]
    return {
        "name": name,
        "authentication": {"http-challenge-scheme": "Basic", "login-modules": modules, **authentication},
    }


def file(users: str) -> dict[str, Any]:
    return {"type": "file", "options": {"file": users}}


PLACES = {"http-header": ["X-Key"], "http-query-parameter": ["ticket"], "http-cookie": ["pass"]}
CONFIG: dict[str, Any] = {
    "security": {
        "realms": [
            realm("demo", file(os.environ.get("FAULTS_USERS", USERS))),
            realm("places", file(USERS), **PLACES),
            realm("slow", {"type": f"class:{__name__}.Slow"}),
        ]
    },
    "services": [
        {"name": "public", "accept": "/public"},
        {"name": "who", "accept": "/who", "realm-name": "demo"},
        {"name": "places", "accept": "/places", "realm-name": "places"},
        {"name": "slow", "accept": "/slow", "realm-name": "slow"},
        {
            "name": "cross",
            "accept": "/cross",
            "realm-name": "demo",
            "cross-site-constraint": {"allow-origin": "https://friend.example"},
        },
    ],
}


async def debug(request: Request) -> JSONResponse:
    """What the process holds now."""
    held = {
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }
    return JSONResponse(COUNTS | held)


async def who(request: Request) -> JSONResponse:
    COUNTS["entered"] += 1
    return JSONResponse({"who": request.user.display_name})


async def echo(websocket: WebSocket) -> None:
    COUNTS["entered"] += 1
    try:
        with suppress(WebSocketDisconnect):
            await websocket.accept()
            async for text in websocket.iter_text():
                await websocket.send_text(f"{websocket.user.display_name}: {text}")
    finally:
        COUNTS["left"] += 1


PATHS = ("/who", "/places", "/slow", "/cross")
EVERY = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]
app = GatewayMiddleware(
    Starlette(
        routes=[
            Route("/public/debug", debug),
            *(WebSocketRoute(f"{path}/echo", echo) for path in PATHS),
            *(Route(f"{path}{{rest:path}}", who, methods=EVERY) for path in ("/public", *PATHS)),
        ]
    ),
    CONFIG,
)
