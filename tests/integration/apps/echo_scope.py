"""An application that tells what the server and the gateway say of a request."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


def _told(scope: MutableMapping[str, Any]) -> str:
    context = scope["asgi_gateway"]
    told = {key: scope.get(key) for key in ("server", "client", "scheme", "path", "method")}
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    return json.dumps(
        {**told, "service": context.service, "user": scope["user"].display_name, "headers": headers, "pid": os.getpid()}
    )


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer a request, or the first message of a WebSocket, with what the scope says, and the body that came."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": _told(scope)})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    told = json.loads(_told(scope)) | {"body": body.decode("latin-1")}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
