"""Pass a WebSocket's messages on to a TCP back end as bytes, and its bytes back as messages: type ``proxy``.

The connection is made before the WebSocket is accepted, so a client learns at once if there is no back end. Message
boundaries mean nothing to the back end: its bytes come in messages of any length.
"""

from __future__ import annotations

import asyncio
import codecs

from asgi_gateway.proxy.dial import BackendFailure, Dialer, TunnelBackend, refuse, while_connected
from asgi_gateway.proxy.relay import BackendStream, CloseFrame, relay
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.services.backend import Message, Receive, Scope, Send
from asgi_gateway.telemetry.audit import Audit
from asgi_gateway.websockets.kaazing_handshake import HANDSHAKE_PROTOCOL

__all__ = ["TcpProxy"]

_ENDED = CloseFrame(1000)
_NOT_UTF_8 = CloseFrame(1007, "the back end's bytes are not UTF-8")
_ENCODINGS = frozenset(("base64",))
"""Subprotocols that would change what a message means: noVNC's of before 2015."""


class TcpProxy(TunnelBackend):
    """Joins each WebSocket to a connection of its own to a TCP back end.

    Args:
        settings: what the service says of its back ends.
        targets: chooses among them.
        audit: takes events.
        subprotocols: the subprotocols to choose from; None to accept the first one that a client offers.
    """

    def __init__(
        self, settings: ProxySettings, targets: Targets, audit: Audit, subprotocols: tuple[str, ...] | None = None
    ) -> None:
        self._settings = settings
        self._dialer = Dialer(settings, targets, audit)
        self._subprotocols = subprotocols
        self._prefixes = tuple(f"{name}." for name in settings.credentials.subprotocols)
        self.description = f"proxy to {', '.join(map(str, targets.connects))}"

    async def check(self) -> list[str]:
        return await self._dialer.check()

    async def _join(
        self, scope: Scope, client: tuple[Receive, Send], ahead: asyncio.Future[Message], made: list[BackendStream]
    ) -> None:
        _, send = client
        try:
            connected = await while_connected(self._dialer.connect(lambda _: self._stream(made), scope), ahead)
        except BackendFailure as failure:
            self._dialer.report(failure, scope)
            return await refuse(scope, send, failure.status)
        if connected is None:  # the client left
            return None
        stream, _ = connected
        await send({"type": "websocket.accept", "subprotocol": self._subprotocol(scope), "headers": []})
        settings = self._settings
        return await relay(stream, scope, client, ahead, idle=settings.timeouts.idle, max_message=settings.max_body)

    def _stream(self, made: list[BackendStream]) -> BackendStream:
        stream = _TextStream() if self._settings.text else _BinaryStream()
        made.append(stream)
        return stream

    def _subprotocol(self, scope: Scope) -> str | None:
        """Return the subprotocol to accept: browsers close a WebSocket if none of those that they offered was."""
        offered = [each for each in scope.get("subprotocols", ()) if not each.startswith(self._prefixes)]
        if self._subprotocols is not None:
            return next((each for each in self._subprotocols if each in offered), None)
        return next((each for each in offered if each not in _ENCODINGS and each != HANDSHAKE_PROTOCOL), None)


class _BinaryStream(BackendStream):
    """A TCP connection whose bytes become binary messages."""

    def write_message(self, message: Message) -> None:
        data = message.get("bytes")
        if data is None:
            data = (message.get("text") or "").encode("utf-8", "surrogatepass")
        if self._transport is not None:
            self.last_activity = self.loop.time()
            self._transport.write(data)

    def finish(self, close: CloseFrame) -> None:
        if self.end is None:
            self._end(close)
            if self._transport is not None and not self._transport.is_closing():
                self._close_soon()
                self._transport.close()  # what was written before still goes out

    def data_received(self, data: bytes) -> None:
        if self.end is None:
            self.last_activity = self.loop.time()
            self._deliver({"type": "websocket.send", "bytes": data}, len(data))

    def eof_received(self) -> bool:
        self._end(_ENDED)
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._end(_ENDED)
        super().connection_lost(exc)


class _TextStream(_BinaryStream):
    """A TCP connection whose bytes are UTF-8 and become text messages, cut between characters."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def data_received(self, data: bytes) -> None:
        if self.end is None:
            self._decode(data)

    def eof_received(self) -> bool:
        if self.end is None:
            self._decode(b"", final=True)
        return super().eof_received()

    def _decode(self, data: bytes, *, final: bool = False) -> None:
        self.last_activity = self.loop.time()
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self._end(_NOT_UTF_8)
            if self._transport is not None:
                self._transport.abort()
            return
        if text:
            self._deliver({"type": "websocket.send", "text": text}, len(data))
