"""One WebSocket to a back end: websockets' sans-I/O client on a connection of the event loop.

Its own handshake, extensions, pings and pongs. Messages are handed on whole, as ASGI has them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.datastructures import Headers as WebSocketHeaders
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from asgi_gateway.model import Headers
from asgi_gateway.proxy.frames import data_frame, frame_length, whole_messages
from asgi_gateway.proxy.relay import LOST, BackendStream, CloseFrame, sendable_code
from asgi_gateway.services.backend import Message

__all__ = ["MAX_MESSAGE", "BackendSocket", "HandshakeFailed"]

MAX_MESSAGE = 64 * 1024 * 1024
"""The longest message of a back end unless the service says otherwise, in bytes: ASGI passes messages on whole."""
_PING_SECONDS = 20.0
"""Seconds between two pings to a back end, and until one that does not answer counts as lost."""
_BROKEN = CloseFrame(1011, "invalid data from the back end")
_TOO_BIG = CloseFrame(1009, "message too big")
_WINDOW_BITS = 12
_HEAD_END = b"\r\n\r\n"
_SUCCESS = b"HTTP/1.1 2"
_logger = logging.Logger("asgi_gateway.proxy.websockets", logging.WARNING)
"""Of its own, since the library would write headers and messages to its logger at the level DEBUG."""


class HandshakeFailed(Exception):
    """The back end did not answer the handshake, or not with a response that can be used. The text shows no secret."""


class BackendSocket(BackendStream):
    """A WebSocket to a back end.

    Args:
        max_message: the longest message that it may send, in bytes, after decompression.
        compressed: whether permessage-deflate is offered (RFC 7692).
    """

    def __init__(self, max_message: int = MAX_MESSAGE, *, compressed: bool = False) -> None:
        super().__init__()
        self._max_message = max_message
        self._compressed = compressed
        self._protocol: ClientProtocol | None = None
        self._response: asyncio.Future[Response] = self.loop.create_future()
        self._status_line = b""
        self._fragments: bytearray | None = None
        self._is_text = False
        self._plain = False  # whether whole messages may be written, and perhaps read, without the library
        self._unparsed: int | None = None
        self._heard = self.loop.time()
        self._pinged: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(
        self, target: str, headers: Sequence[tuple[bytes, bytes]], subprotocols: Sequence[str], seconds: float
    ) -> Response:
        """Make the handshake on a connection that has been made. Return the response, which accepts or refuses.

        Args:
            target: path and query.
            headers: Host first; none of the handshake's own.
            subprotocols: what is offered.
            seconds: how long the back end may take.

        Raises:
            HandshakeFailed: no response that could be read, or one that accepts and is not correct.
            TimeoutError: no response in time.
        """
        offered = [Subprotocol(each) for each in subprotocols]
        protocol = ClientProtocol(
            WebSocketURI(False, "", 80, "/", ""),  # Host and target are written here
            extensions=[_deflate()] if self._compressed else None,
            subprotocols=offered or None,
            max_size=self._max_message,
            logger=_logger,
        )
        own = protocol.connect().headers
        del own["Host"]
        lines = WebSocketHeaders()
        for name, value in headers:
            lines[name.decode("latin-1")] = value.decode("latin-1")
        for own_name, own_value in own.raw_items():
            lines[own_name] = own_value
        protocol.send_request(Request(target, lines))
        self._protocol = protocol
        self._write()
        if self._lost or self.end is not None:
            raise HandshakeFailed("it closed the connection before it answered")
        async with asyncio.timeout(seconds):
            response = await self._response
        if response.status_code == 101:
            self._timer = self.loop.call_later(_PING_SECONDS, self._on_timer)
        return response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the back end chose."""
        return self._protocol.subprotocol if self._protocol is not None else None

    def write_message(self, message: Message) -> None:
        protocol = self._protocol
        if protocol is None or protocol.state is not State.OPEN:
            return
        data = message.get("bytes")
        text = data is None
        if data is None:
            data = (message.get("text") or "").encode()
        self.last_activity = self.loop.time()
        if not self._plain:
            protocol.send_text(data) if text else protocol.send_binary(data)
            self._write()
        elif self._transport is not None and not self._lost:
            self._transport.write(data_frame(data, text=text))

    def finish(self, close: CloseFrame) -> None:
        if self.end is not None:
            return
        self._end(close)
        protocol = self._protocol
        if protocol is None or protocol.state is not State.OPEN:
            self.abort()
            return
        code = close.code if sendable_code(close.code) else None
        protocol.send_close(code, close.reason if code is not None else "")
        self._write()
        self._close_soon()

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol is None:  # what comes before the request is no answer to it
            self.abort()
            return
        self._heard = now = self.loop.time()
        if not self._response.done():
            if self._is_success(data):
                return
            if end := data.find(_HEAD_END) + 1:
                self._receive(protocol, data[: end + 3], now)
                data = data[end + 3 :]
                self._unparsed = 0
        if self._plain and self._unparsed == 0 and self.end is None:
            data = self._take_messages(data)
        if data:
            self._receive(protocol, data, now)

    def _receive(self, protocol: ClientProtocol, data: bytes, now: float) -> None:
        """Have the library read data."""
        protocol.receive_data(data)
        if protocol.writes:
            self._write_answers(protocol)
        events = protocol.events_received()
        if self._unparsed is not None:
            self._unparsed += len(data)
        if len(events) != 1 or type(events[0]) is not Frame or events[0].opcode is not Opcode.PONG:
            self.last_activity = now
        for event in events:
            if type(event) is Frame:
                if self._unparsed is not None:
                    self._unparsed -= frame_length(len(event.data))
                self._take(event)
        if not self._response.done():
            self._take_response(protocol, events)
        if protocol.parser_exc is not None and self.end is None:
            self._end(_TOO_BIG if isinstance(protocol.parser_exc, PayloadTooBig) else _BROKEN)
            self._close_soon()

    def eof_received(self) -> bool:
        if self._protocol is not None:
            self._protocol.receive_eof()
            if not self._response.done():
                self._take_response(self._protocol, self._protocol.events_received())
        self._end(LOST)
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("it closed the connection before it answered")
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        self._fail("the handshake was given up")
        super().abort()

    def _take_messages(self, data: bytes) -> bytes:
        """Take the whole messages at the beginning of data. Return the rest, which is for the library.

        This is right between two frames only. ``_unparsed`` is 0 there: it counts the bytes that the library got since
        the handshake, less those of its frames. It is None where the end of the handshake was not seen, and it stays
        above 0 once a back end made a frame's head longer than need be. Then the library reads all.
        """
        if self._fragments is not None:
            return data
        messages, taken = whole_messages(data, self._max_message)
        if taken:
            self.last_activity = self._heard
        for text, payload in messages:
            self._is_text = text
            self._deliver_message(payload)
            if self.end is not None:
                return b""
        return data[taken:] if taken else data

    def _is_success(self, data: bytes) -> bool:
        """Return whether the back end answers the handshake with 2xx: then no body is waited for."""
        if len(self._status_line) < len(_SUCCESS):
            self._status_line = (self._status_line + data)[: len(_SUCCESS)]
        if self._status_line != _SUCCESS:
            return False
        self._fail("it answered 2xx instead of 101")
        return True

    def _take_response(self, protocol: ClientProtocol, events: Sequence[object]) -> None:
        """Take the answer to the handshake, once it is complete."""
        error = protocol.handshake_exc
        response = next((each for each in events if isinstance(each, Response)), None)
        if response is not None and (
            error is None or (isinstance(error, InvalidStatus) and response.status_code > 299)
        ):
            self._response.set_result(response)
            self._plain = protocol.state is State.OPEN and not protocol.extensions
        elif isinstance(error, InvalidStatus):
            self._fail(f"it answered {error.response.status_code} instead of 101")
        elif isinstance(error, InvalidMessage):
            self._fail(f"no HTTP response: {error.__cause__ or error}")
        elif isinstance(error, InvalidHandshake):
            self._fail(f"its response to the handshake is invalid: {error}")
        elif error is not None:
            self._fail("its response to the handshake cannot be read")

    def _fail(self, reason: str) -> None:
        if not self._response.done():
            self._response.set_exception(HandshakeFailed(reason))
            self._response.exception()  # nobody may be waiting any longer

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._take_close()
        elif self.end is not None:
            return  # the client is gone
        elif opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            if frame.fin:
                self._deliver_message(frame.data)
            else:
                self._fragments = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._fragments is not None:
            self._fragments += frame.data
            if frame.fin:
                data, self._fragments = self._fragments, None
                self._deliver_message(data)

    def _deliver_message(self, data: bytes | bytearray | memoryview) -> None:
        size = len(data)
        if not self._is_text:
            self._deliver({"type": "websocket.send", "bytes": bytes(data)}, size)
            return
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError:
            self._break(1007)
            return
        self._deliver({"type": "websocket.send", "text": text}, size)

    def _break(self, code: int) -> None:
        """Fail the WebSocket because of what the back end sent."""
        if self._protocol is not None:
            self._protocol.fail(code)
            self._write()
        self._end(_BROKEN)
        self._close_soon()

    def _take_close(self) -> None:
        """Take the back end's close frame, which has been answered."""
        received = self._protocol.close_rcvd if self._protocol is not None else None
        if received is not None and self.end is None:
            code = received.code if sendable_code(received.code) else None
            self._end(CloseFrame(code, received.reason if code is not None else ""))
        if self._transport is not None:
            self._close_soon()
            self._transport.close()

    def _write_answers(self, protocol: ClientProtocol) -> None:
        """Write pongs, or an answer to a close frame. A back end that pings and reads nothing gets no pongs."""
        if self._drained is None or protocol.state is not State.OPEN:
            self._write()
        else:
            protocol.data_to_send()

    def _write(self) -> None:
        if self._protocol is None:
            return
        data = b"".join(self._protocol.data_to_send())
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _on_timer(self) -> None:
        """Ping the back end; count it as lost if the last ping was not answered."""
        protocol = self._protocol
        if self.end is not None or protocol is None or protocol.state is not State.OPEN:
            return
        if self._reading_paused or self._drained is not None:
            self._pinged = None  # a pong may wait unread, and a ping would not go out
        elif self._pinged is not None and self._heard < self._pinged:
            self._end(LOST)
            if self._transport is not None:
                self._transport.abort()
            return
        else:
            self._pinged = self.loop.time()
            protocol.send_ping(b"")
            self._write()
        self._timer = self.loop.call_later(_PING_SECONDS, self._on_timer)


def _deflate() -> ClientPerMessageDeflateFactory:
    return ClientPerMessageDeflateFactory(
        server_max_window_bits=_WINDOW_BITS,
        client_max_window_bits=_WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )


def response_lines(response: Response) -> Headers:
    """Return a response's headers as they came."""
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.raw_items())
