"""uvicorn's WebSocket protocol for configurations with the extended handshake.

The extended handshake accepts a socket before its client has logged in. The server would inflate and collect messages
of such a client before the gateway can look at their length. So these sockets never negotiate compression, and until
the login has succeeded their messages are bounded.

KAAZING's Java client compares the whole status line of the response that accepts its WebSocket, so these sockets get
the reason phrase that it expects. Others get that of RFC 9110.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL
from asgi_gateway.websockets.kaazing_handshake import LoginLimits

__all__ = ["GatewayWebSocketProtocol"]

_ADMITTED = b"HTTP/1.1 101 "
"""How the response inside the socket begins that lets the client in."""
_REASON_PHRASE = "Web Socket Protocol Handshake"


class GatewayWebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection of uvicorn; one that holds a login is uncompressed, bounded and accepted as by KAAZING."""

    _logging_in = False

    def handle_connect(self, event: Request) -> None:
        offers = ",".join(event.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        if HANDSHAKE_PROTOCOL in (offer.strip() for offer in offers):
            self._logging_in = True
            self.conn.available_extensions = []
            self.conn.max_message_size = LoginLimits().message + 1  # one more: the gateway answers 400 to a longer one
        super().handle_connect(event)
        if self._logging_in and self.response.status_code == 101:  # sent when the gateway accepts
            self.response.reason_phrase = _REASON_PHRASE

    async def send(self, message: Any) -> None:
        if self._logging_in and (message.get("bytes") or b"").startswith(_ADMITTED):
            self._logging_in = False
            self.conn.max_message_size = self.config.ws_max_size
        await super().send(message)
