"""Users of a keystore, over TLS from a keystore: run as ``python -m … CONFIG KEYSTORE PORT WORKERS``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware
from asgi_gateway.keystores import load_keystore, uvicorn_tls

_CONFIG = "KEYSTORE_APP_CONFIG"


async def who(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.user.display_name, "scheme": request.url.scheme})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.user.display_name}: {text}")


def application() -> GatewayMiddleware:
    return GatewayMiddleware(
        Starlette(routes=[Route("/{path:path}", who), WebSocketRoute("/{path:path}", echo)]), os.environ[_CONFIG]
    )


def main(config: str, keystore: str, port: str, workers: str) -> None:
    os.environ[_CONFIG] = config
    tls = uvicorn_tls(load_keystore(Path(keystore), "changeit"), "localhost", time.time())
    uvicorn.run(f"{__spec__.name}:application", factory=True, port=int(port), workers=int(workers), **tls)


if __name__ == "__main__":
    main(*sys.argv[1:])
