"""End a long HTTP response, such as server-sent events or a download, when the login behind it ends.

A response of the wrapped application counts as long from its second body message on. Before that nothing is registered,
so that short responses, which are nearly all, cost no more than the headers that the gateway adds to them. What a back
end answers may be long in coming and long in going, so it is registered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgi_gateway.model import Allow, Headers, RevocationKey
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.services.origins import without_cors
from asgi_gateway.websockets.closable import ConnectionEnded
from asgi_gateway.websockets.live import CloseReason, LiveSockets
from asgi_gateway.websockets.monitor import LoginMonitor

__all__ = ["LiveStream", "LiveStreams", "adding_headers"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DISCONNECT = "http.disconnect"
_OPENING = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
_ALLOW_ORIGIN = b"access-control-allow-origin"


class LiveStreams:
    """Answers for the long responses of one gateway.

    Args:
        sockets: what revocations close.
        monitor: checks the logins that responses rest on.
        clock: the time.
    """

    def __init__(self, sockets: LiveSockets, monitor: LoginMonitor, clock: Clock) -> None:
        self._sockets = sockets
        self._monitor = monitor
        self._clock = clock

    def add(self, stream: LiveStream) -> None:
        """Answer for a response from now on; end it at once if its login ended since the decision on it."""
        allow = stream.allow
        if allow.session_timeout is not None:
            stream.set_timer(allow.session_timeout, CloseReason.SESSION_TIMEOUT)
        if allow.expires is not None:
            stream.set_timer(allow.expires - self._clock.time(), CloseReason.TOKEN_EXPIRED)
        self._sockets.add(stream, stream.revocation_epoch)
        for check in allow.checks:
            self._monitor.add(stream, check)

    def discard(self, stream: LiveStream) -> None:
        """Forget a response that is complete or whose application ended."""
        self._sockets.discard(stream)
        for check in stream.allow.checks:
            self._monitor.discard(stream, check)


class LiveStream:
    """Wraps ``receive`` and ``send`` of one HTTP request so that the gateway can end its response.

    When the gateway ends it, the application's ``receive`` returns ``http.disconnect`` and its ``send`` raises, as the
    ASGI specification has it for a client that is gone. The server cuts the body off.

    Args:
        streams: answers for the response while it is long.
        receive: the server's ``receive``.
        send: the server's ``send``.
        allow: the decision on the request; its headers go with the response.
        revocation_epoch: the number of revocations before the decision began.
    """

    # Set on the class, because most responses need no value of their own: one is made for each request.
    reason: CloseReason | None = None
    loop: asyncio.AbstractEventLoop
    _bodies = 0
    _live = False
    _received = False
    _ended: asyncio.Event | None = None
    _timers: tuple[asyncio.TimerHandle, ...] = ()

    def __init__(self, streams: LiveStreams, receive: Receive, send: Send, allow: Allow, revocation_epoch: int) -> None:
        self._streams = streams
        self._receive = receive
        self._send = send
        self.allow = allow
        self.revocation_epoch = revocation_epoch
        if allow.backend is not None and not allow.ends_late:
            self._received = True
            self._begin()

    @property
    def name(self) -> str:
        """Empty: no client authenticates again for a response."""
        return ""

    @property
    def revocation_keys(self) -> tuple[RevocationKey, ...]:
        """The revocations that end it."""
        return self.allow.revocation_keys

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on.

        Raises:
            ConnectionEnded: the gateway ended the response.
        """
        if self.reason is not None:
            raise ConnectionEnded(self.reason.reason)
        kind = message["type"]
        if kind == "http.response.start":
            return self._send(with_headers(message, self.allow.headers))
        if kind == "http.response.body":
            self._bodies += 1
            if not message.get("more_body", False):
                self._finish()
            elif self._bodies == 2 and not self._live:
                self._begin()
                if self.reason is not None:  # the login ended before
                    raise ConnectionEnded(self.reason.reason)
        return self._send(message)

    async def receive(self) -> Message:
        """Return the server's next message, or ``http.disconnect`` once the gateway ended the response."""
        if self.reason is not None:
            return {"type": _DISCONNECT}
        if self.allow.ends_late:  # ``send`` tells of the end: a response that waits is no stream yet
            return await self._receive()
        if not self._received:  # the request's body cannot be what the application waits for the end with
            message = await self._receive()
            self._received = message["type"] != "http.request" or not message.get("more_body", False)
            return message
        if self._ended is None:
            self._ended = asyncio.Event()
        received = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((received, ended), return_when=asyncio.FIRST_COMPLETED)
            if received.done():
                return received.result()
            return {"type": _DISCONNECT}
        finally:
            received.cancel()
            ended.cancel()

    def close(self, reason: CloseReason) -> None:
        """End the response now. Must be called in the stream's own event loop."""
        if self.reason is None and self._live:
            self.reason = reason
            if self._ended is not None:
                self._ended.set()

    def set_timer(self, seconds: float, reason: CloseReason) -> None:
        """End the response after some seconds, unless it ends before."""
        self._timers = (*self._timers, self.loop.call_later(max(0.0, seconds), self.close, reason))

    def _begin(self) -> None:
        self._live = True
        self.loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is not None:  # however the application ends, the stream is discarded
            task.add_done_callback(lambda _: self._finish())
        self._streams.add(self)

    def _finish(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        if self._live:
            self._live = False
            self._streams.discard(self)


def with_headers(message: Message, headers: Headers) -> Message:
    """Return the first message of a response, or of the answer to a handshake, with headers of the gateway's.

    The gateway's headers of CORS replace the application's: browsers refuse a response that has both.
    """
    given = message.get("headers", ())
    if _ALLOW_ORIGIN in [name for name, _ in headers]:
        given = without_cors(given)
    return {**message, "headers": [*given, *headers]}


def adding_headers(send: Send, headers: Headers) -> Send:
    """Return a ``send`` that adds headers to the application's response, or to its answer to the handshake."""

    def adding(message: Message) -> Awaitable[None]:
        return send(with_headers(message, headers) if message["type"] in _OPENING else message)

    return adding
