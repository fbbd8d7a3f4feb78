"""The client's side of the extended handshake, without input or output.

1. The socket is opened with the subprotocol ``x-kaazing-handshake`` and ``.kl=Y`` in the query; the server's first
   message must be the marker and ``N``. Anything else, a redirect included, ends the handshake.
2. Each request is one message. The messages that follow, up to an empty one, are its response.
3. After a 101 the marker and ``N`` come again; then the socket is the application's.

Messages, their number and their size are bounded; the driver bounds the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

from asgi_gateway.client.flow import Reply
from asgi_gateway.errors import GatewayError, HeaderError
from asgi_gateway.http.http1 import (
    HANDSHAKE_PROTOCOL,
    MARKER,
    NO_REDIRECT,
    ResponseHead,
    format_request,
    parse_response,
)

__all__ = ["ExtendedHandshake", "HandshakeError"]

MAX_RESPONSE = 128 * 1024
MAX_MESSAGES = 64


class HandshakeError(GatewayError):
    """The server does not keep to the extended handshake."""


class ExtendedHandshake:
    """One extended handshake.

    Args:
        uri: the WebSocket's URI, as the application wrote it.
        subprotocols: what the application offers.
    """

    def __init__(self, uri: str, subprotocols: Sequence[str] = ()) -> None:
        parts = urlsplit(uri)
        query = f"{parts.query}&.kl=Y" if parts.query else ".kl=Y"
        self.opening_uri = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))
        """What the socket is opened with."""
        self.response: ResponseHead | None = None
        """The last whole response."""
        self._uri = uri
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._subprotocols = tuple(subprotocols)
        self._marker_due = True
        self._parts: list[bytes] = []

    def begin(self, subprotocol: str | None) -> None:
        """Check what the server answered to the opening.

        Raises:
            HandshakeError: it does not know the extended handshake.
        """
        if subprotocol != HANDSHAKE_PROTOCOL:
            raise HandshakeError("the server does not offer the extended handshake here")

    def request(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """The message that asks with these headers."""
        self.response = None
        own = (("Sec-WebSocket-Protocol", ",".join(self._subprotocols)), ("Sec-WebSocket-Extensions", ""))
        return format_request(self._target, (*own, *headers))

    def receive(self, message: str | bytes) -> bool:
        """Take a message; True when the awaited part (the first marker, or a response) is whole.

        Raises:
            HandshakeError: the message does not belong there.
        """
        data = message.encode() if isinstance(message, str) else message
        if self._marker_due:
            if data != NO_REDIRECT:
                redirect = data.startswith(MARKER + b"R")
                raise HandshakeError("the server redirects" if redirect else "the server's marker is missing")
            self._marker_due = False
            return True
        if data:
            self._parts.append(data)
            if len(self._parts) > MAX_MESSAGES or sum(map(len, self._parts)) > MAX_RESPONSE:
                raise HandshakeError("the server's response is too long")
            return False
        try:
            self.response = parse_response(b"".join(self._parts))
        except HeaderError as error:
            raise HandshakeError(str(error)) from None
        self._parts.clear()
        self._marker_due = self.response.status == 101
        return not self._marker_due

    @property
    def reply(self) -> Reply:
        """The last response, as the authentication flow takes it."""
        assert self.response is not None
        headers = [(name.decode(), value.decode("latin-1")) for name, value in self.response.headers]
        return Reply(self.response.status, headers, self._uri)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose.

        Raises:
            HandshakeError: it was not offered.
        """
        chosen = self.reply.all("sec-websocket-protocol")
        name = chosen[0] if chosen else ""
        if name and name not in self._subprotocols:
            raise HandshakeError("the server chose a subprotocol that was not offered")
        return name or None
