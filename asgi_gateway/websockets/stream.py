"""End a long HTTP response, such as server-sent events or a download, when the login behind it ends.

A response counts as long from its second body message on. Before that nothing is registered, so that short responses,
which are nearly all, cost no more than the headers that the gateway adds to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgi_gateway.model import Allow, RevocationKey
from asgi_gateway.websockets.closable import ConnectionEnded
from asgi_gateway.websockets.live import CloseReason

__all__ = ["LiveStream"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DISCONNECT = "http.disconnect"


class LiveStream:
    """Wraps ``receive`` and ``send`` of one HTTP request so that the gateway can end its response.

    When the gateway ends it, the application's ``receive`` returns ``http.disconnect`` and its ``send`` raises, as the
    ASGI specification has it for a client that is gone. The server cuts the body off.

    Args:
        receive: the server's ``receive``.
        send: the ``send`` that the application would get.
        allow: the decision on the request.
        register: called at the second body message; it answers for the stream from then on.
        discard: called when the response is complete or its task ends.
    """

    __slots__ = (
        "_bodies",
        "_discard",
        "_ended",
        "_live",
        "_receive",
        "_received",
        "_register",
        "_send",
        "_timer",
        "allow",
        "loop",
        "reason",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        allow: Allow,
        register: Callable[[LiveStream], None],
        discard: Callable[[LiveStream], None],
    ) -> None:
        self.allow = allow
        self.loop = asyncio.get_running_loop()
        self.reason: CloseReason | None = None
        self._receive = receive
        self._send = send
        self._register = register
        self._discard = discard
        self._bodies = 0
        self._live = False
        self._received = False
        self._ended: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None

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
        if message["type"] == "http.response.body":
            self._bodies += 1
            if not message.get("more_body", False):
                self._finish()
            elif self._bodies == 2:
                self._begin()
                if self.reason is not None:  # the login ended before
                    raise ConnectionEnded(self.reason.reason)
        return self._send(message)

    async def receive(self) -> Message:
        """Return the server's next message, or ``http.disconnect`` once the gateway ended the response."""
        if self.reason is not None:
            return {"type": _DISCONNECT}
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
        self._timer = self.loop.call_later(max(0.0, seconds), self.close, reason)

    def _begin(self) -> None:
        self._live = True
        task = asyncio.current_task()
        if task is not None:  # however the application ends, the stream is discarded
            task.add_done_callback(lambda _: self._finish())
        self._register(self)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._live:
            self._live = False
            self._discard(self)
