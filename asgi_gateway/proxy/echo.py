"""Send back what clients send: the service type ``echo``."""

from __future__ import annotations

from contextlib import suppress

from starlette.responses import PlainTextResponse

from asgi_gateway.services.backend import Backend, Receive, Scope, Send
from asgi_gateway.websockets.kaazing_handshake import HANDSHAKE_PROTOCOL

__all__ = ["MAX_BODY", "Echo"]

MAX_BODY = 1_048_576
"""The longest request body that is sent back unless the service says otherwise, in bytes."""
_CREDENTIALS = ("bearer.", "basic.")
_HEADERS = [(b"content-type", b"application/octet-stream"), (b"x-content-type-options", b"nosniff")]


class Echo(Backend):
    """Sends each WebSocket message back as it came, text as text, and an HTTP request's body as the response.

    Of the subprotocols that a client offers it accepts the first one, since browsers close a WebSocket whose
    subprotocols were all refused. One that carries a credential is never accepted.

    Args:
        repeat: how often each message, or body, is sent back.
        max_body: the longest request body, in bytes; a longer one is answered with 413.
    """

    description = "echo"

    def __init__(self, repeat: int = 1, max_body: int = MAX_BODY) -> None:
        self._repeat = repeat
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hold one WebSocket until its client leaves."""
        if scope["type"] == "websocket":
            await self._messages(scope, receive, send)
        else:
            await self._body(scope, receive, send)

    async def _messages(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept", "subprotocol": _subprotocol(scope)})
        with suppress(OSError):  # the client left, or the gateway closed the socket
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                answer = {"text": text} if text is not None else {"bytes": message.get("bytes") or b""}
                for _ in range(self._repeat):
                    await send({"type": "websocket.send", **answer})

    async def _body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body:
                await _refuse(scope, receive, send)
                return
        length = str(len(body) * self._repeat).encode("ascii")
        start = {"type": "http.response.start", "status": 200, "headers": [*_HEADERS, (b"content-length", length)]}
        await send(start)
        parts = 0 if scope["method"] == "HEAD" else self._repeat if body else 0
        for _ in range(parts):
            await send({"type": "http.response.body", "body": bytes(body), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 413. The rest of the body is not read, so an HTTP/1 connection must not be used again."""
    close = {"connection": "close"} if scope.get("http_version", "1.1").startswith("1") else None
    await PlainTextResponse("Content Too Large\n", 413, close)(scope, receive, send)


def _subprotocol(scope: Scope) -> str | None:
    """Return the first offered subprotocol that is neither a credential nor the gateway's own."""
    offered = (each for each in scope.get("subprotocols", ()) if not each.lower().startswith(_CREDENTIALS))
    return next((each for each in offered if each != HANDSHAKE_PROTOCOL), None)
