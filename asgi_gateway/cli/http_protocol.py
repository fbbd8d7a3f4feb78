"""uvicorn's HTTP protocol on httptools, made strict: one request has one meaning, here and at every other server.

httptools (llhttp) refuses most of what request smuggling needs. h11 takes more: Content-Length beside
Transfer-Encoding, lines that end in LF alone, folded lines, lists of lengths. What httptools and uvicorn leave is
refused here with 400 and the connection closed.

- Host: missing, a duplicate, or another one than in an absolute-form target (RFC 9112 section 3.2).
- Transfer-Encoding: anything but ``chunked`` alone, or in HTTP/1.0 (RFC 9112 section 6.1).
- Versions other than 1.0 and 1.1, CONNECT, targets with a fragment, heads that are too long or too slow.
- WebSocket handshakes that are no bodiless GET of HTTP/1.1 (RFC 6455 section 4.1).

Upgrades other than ``websocket`` are ignored, as RFC 9110 section 7.8 allows: the body that follows is read as one.
Fields of a trailer section are dropped; uvicorn would add them to the headers. The body of a request that was answered
before it arrived is drained within bounds.
"""

from __future__ import annotations

import asyncio

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["GatewayHTTPProtocol", "InvalidRequest"]


_CHECKED = frozenset((b"host", b"transfer-encoding", b"content-length"))
"""Header fields that occur once at most."""


class InvalidRequest(Exception):
    """A request that is refused with 400 before the gateway sees it."""


class GatewayHTTPProtocol(HttpToolsProtocol):
    """An HTTP connection of uvicorn."""

    head_size = 64 * 1024
    """The largest size in bytes of a request line with its header fields, and of a trailer section."""
    head_time = 30.0
    """Seconds within which the head of a request arrives; a new connection has as long for its first one."""
    drain_size = 64 * 1024 * 1024
    """How many bytes of a body are read and dropped after the response."""
    drain_time = 10.0
    """Seconds for the same."""

    _in_head = False
    _unproductive = 0  # bytes received since the last head was complete, or the last piece of a body came
    _ignoring = False  # the callbacks of a head that only tells the parser how a body ends
    _deadline: asyncio.TimerHandle | None = None
    _left_to_drain: int | None = None
    _upgraded = False

    # ------------------------------------------------------------------------------------------------------ connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline(self.head_time)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._left_to_drain is not None and not self._drain(len(data)):
            return
        self._unproductive += len(data)
        self._feed(data)
        if self._unproductive > self.head_size and not self.transport.is_closing():
            self._refuse("too long a head or trailer section")
        elif self._deadline is None and self._waits_for_head():
            self._set_deadline(self.head_time)

    def _waits_for_head(self) -> bool:
        """Return whether nothing else limits how long the connection stays open."""
        if self.transport.is_closing() or self._upgraded:
            return False
        idle = self.cycle is None or self.cycle.response_complete
        return self._in_head or (idle and self.timeout_keep_alive_task is None)

    def _feed(self, data: bytes) -> None:
        """Parse what was received, as the base class does, and go on after an upgrade that is ignored."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgraded = True
                self.handle_websocket_upgrade()
            else:
                self._go_on(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, InvalidRequest) else error)

    def _refuse(self, reason: object) -> None:
        self.logger.warning("Invalid HTTP request received: %s", reason)
        self.send_400_response("Invalid HTTP request received.")

    def _go_on(self, rest: bytes) -> None:
        """Read the body of a request whose upgrade is ignored; the parser has stopped at its head.

        A new parser is told how the body ends, by a head whose other contents do not matter.
        """
        framing = [
            name + b": " + value + b"\r\n"
            for name, value in self.headers
            if name in (b"content-length", b"transfer-encoding")
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the base class does
        self._ignoring = True
        self.parser.feed_data(b"".join((b"POST / HTTP/1.1\r\n", *(framing or [b"content-length: 0\r\n"]), b"\r\n")))
        self._ignoring = False
        if rest:
            self._feed(rest)

    def send_400_response(self, msg: str) -> None:
        """Refuse the rest of a connection.

        There is one response to each request: none is written into one that is under way, or behind one whose
        request's body turns out to be malformed.
        """
        if self._left_to_drain is not None or self._responds():
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _responds(self) -> bool:
        """Return whether what a client receives next is the response to a request that is complete or under way."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    # ------------------------------------------------------------------------------------------------ parser callbacks

    def on_message_begin(self) -> None:
        if not self._ignoring:
            self._in_head = True
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._ignoring:
            super().on_url(url)

    def on_headers_complete(self) -> None:
        if self._ignoring:
            return
        self._in_head = False
        self._unproductive = 0
        if self._deadline is not None:
            self._clear_deadline()
        self._check_head()
        super().on_headers_complete()
        self.headers = self.headers.copy()  # the scope keeps the other list, to which no trailer section is added

    def on_body(self, body: bytes) -> None:
        self._unproductive = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # its body follows
        if self._left_to_drain is not None:
            self._left_to_drain = None
            self._clear_deadline()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        super().on_message_complete()

    # -------------------------------------------------------------------------------------------------------- the head

    def _check_head(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if version not in ("1.1", "1.0"):
            raise InvalidRequest("unsupported version")
        if method == b"CONNECT":
            raise InvalidRequest("CONNECT")
        values: dict[bytes, bytes] = {}
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value)
            if name in _CHECKED:
                if name in values:
                    raise InvalidRequest(f"duplicate {name.decode()}")
                values[name] = value
        if size > self.head_size:
            raise InvalidRequest("too long a head")
        self._check_target(values.get(b"host"), version)
        if (coding := values.get(b"transfer-encoding")) is not None and (
            coding.lower() != b"chunked" or version == "1.0"
        ):
            raise InvalidRequest("unsupported transfer-encoding")
        if self.parser.should_upgrade() and self._should_upgrade():
            body = coding is not None or values.get(b"content-length", b"0").strip(b"0") != b""
            self._check_handshake(method, version, body)

    def _check_handshake(self, method: bytes, version: str, body: bool) -> None:
        if method != b"GET" or version == "1.0" or body:
            raise InvalidRequest("invalid WebSocket handshake")
        if self.cycle is not None and not self.cycle.response_complete:
            raise InvalidRequest("WebSocket handshake before the last response")

    def _check_target(self, host: bytes | None, version: str) -> None:
        if host is None and version != "1.0":
            raise InvalidRequest("missing host")
        if b"#" in self.url:
            raise InvalidRequest("fragment in the target")
        if not self.url.startswith((b"/", b"*")):  # absolute-form
            authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
            if host is None or authority.lower() != host.lower():
                raise InvalidRequest("another host in the target than in the Host header")

    # ---------------------------------------------------------------------------------------------------------- bodies

    def on_response_complete(self) -> None:
        unread = self.cycle.response_complete and self.cycle.more_body
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._left_to_drain = self.drain_size
            self._unset_keepalive_if_required()
            self._set_deadline(self.drain_time)

    def _drain(self, size: int) -> bool:
        """Count what is read after the response; the connection is closed where it is too much."""
        if self._left_to_drain is None or self._left_to_drain < size:
            self.transport.close()
            return False
        self._left_to_drain -= size
        return True

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self._on_deadline)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
