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

from asgi_gateway.client.flow import HttpReply
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
    """The server violates the protocol of the extended handshake."""


class ExtendedHandshake:
    """The state of one extended handshake.

    Args:
        uri: the WebSocket's URI, as the application wrote it.
        subprotocols: what the application offers.
    """

    def __init__(self, uri: str, subprotocols: Sequence[str] = ()) -> None:
        parts = urlsplit(uri)
        query = f"{parts.query}&.kl=Y" if parts.query else ".kl=Y"
        self.opening_uri = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", query, ""))
        """The URI that the socket is opened with. Credentials are not part of it: the first request carries them."""
        self._response: ResponseHead | None = None
        self._uri = uri
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._subprotocols = tuple(subprotocols)
        self._marker_due = True
        self._parts: list[bytes] = []

    def check_opening(self, subprotocol: str | None) -> None:
        """Check the subprotocol that the server chose in the opening.

        Raises:
            HandshakeError: the server does not know the extended handshake.
        """
        if subprotocol != HANDSHAKE_PROTOCOL:
            raise HandshakeError("the server does not offer the extended handshake here")

    def request(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Return the message that sends a request with these headers."""
        self._response = None
        own = (("Sec-WebSocket-Protocol", ",".join(self._subprotocols)), ("Sec-WebSocket-Extensions", ""))
        return format_request(self._target, (*own, *headers))

    def receive(self, message: str | bytes) -> bool:
        """Read a message of the server.

        Returns:
            whether the awaited part (the first marker, or a response) is complete.

        Raises:
            HandshakeError: the message is malformed, too long, or another than the protocol has at this point.
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
            self._response = parse_response(b"".join(self._parts))
        except HeaderError as error:
            raise HandshakeError(str(error)) from None
        self._parts.clear()
        self._marker_due = self._response.status == 101
        return not self._marker_due

    @property
    def response(self) -> ResponseHead:
        """Return the last response.

        Raises:
            HandshakeError: none is complete.
        """
        if self._response is None:
            raise HandshakeError("the server's response is incomplete")
        return self._response

    @property
    def reply(self) -> HttpReply:
        """Return the last response, as the authentication flow takes it.

        Raises:
            HandshakeError: none is complete.
        """
        headers = [(name.decode(), value.decode("latin-1")) for name, value in self.response.headers]
        return HttpReply(self.response.status, headers, self._uri)

    @property
    def subprotocol(self) -> str | None:
        """Return the subprotocol that the server chose for the application.

        Raises:
            HandshakeError: the subprotocol was not offered.
        """
        chosen = self.reply.get_all("sec-websocket-protocol")
        name = chosen[0] if chosen else ""
        if name and name not in self._subprotocols:
            raise HandshakeError("the server chose a subprotocol that was not offered")
        return name or None
