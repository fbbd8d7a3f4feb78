"""An application of WebSockets that takes the first subprotocol offered, says who the user is, and echoes.

``app`` is bare, for ``asgi-gateway run``; ``guarded`` has the gateway of the file ``GATEWAY_CONFIG`` in front.
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from asgi_gateway import GatewayMiddleware


async def echo(websocket: WebSocket) -> None:
    """Send the user's name and the subprotocols that were offered, then every message as it came."""
    offered = websocket.scope["subprotocols"]
    await websocket.accept(offered[0] if offered else None)
    await websocket.send_json([websocket.user.display_name, offered, websocket.scope["query_string"].decode()])
    while (message := await websocket.receive())["type"] == "websocket.receive":
        answer: Message = {**message, "type": "websocket.send"}
        await websocket.send(answer)


app = Starlette(routes=[WebSocketRoute("/{path:path}", echo)])
if "GATEWAY_CONFIG" in os.environ:
    guarded = GatewayMiddleware(app, os.environ["GATEWAY_CONFIG"])
