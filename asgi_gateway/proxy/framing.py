"""Read how the body of a request is framed, and the body itself.

A request whose framing can be read in two ways is refused (RFC 9112 section 6.3). Servers let some of them pass, with
the headers as they were sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from asgi_gateway.proxy.outgoing import RequestRefused
from asgi_gateway.proxy.watch import RequestWatch
from asgi_gateway.services.backend import Receive

__all__ = ["BodyTooLarge", "ClientGone", "RequestBody", "RequestFraming", "drain", "request_framing"]

_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"expect"))
_MAX_DIGITS = 18
_DRAINED_BYTES = 1_048_576
_DRAINED_SECONDS = 2.0


class ClientGone(Exception):
    """The client left before its request was complete."""


class BodyTooLarge(Exception):
    """The request's body is longer than ``max-body``."""


@dataclass(frozen=True, slots=True)
class RequestFraming:
    """How a request's body is framed.

    Args:
        length: the body's length; None if it is only known at its end.
        waits: whether the client waits to be asked for the body (``Expect: 100-continue``).
        stated: whether the length was stated, or that there is a body.
    """

    length: int | None
    waits: bool = False
    stated: bool = True


_NO_BODY = RequestFraming(0, stated=False)
_UNKNOWN = RequestFraming(None, stated=False)


def request_framing(scope: Mapping[str, Any]) -> RequestFraming:
    """Return how a request's body is framed.

    Args:
        scope: the ASGI scope.

    Raises:
        RequestRefused: the framing is ambiguous, or an expectation is unknown.
    """
    found = [header for header in scope["headers"] if header[0] in _FRAMING]
    version = scope.get("http_version", "1.1")
    unstated = _NO_BODY if version in ("1.0", "1.1") else _UNKNOWN
    if not found:
        return unstated
    lengths = [value for name, value in found if name == b"content-length"]
    codings = [value for name, value in found if name == b"transfer-encoding"]
    expected = [value.lower() for name, value in found if name == b"expect"]
    if any(each != b"100-continue" for each in expected):
        raise RequestRefused(417, "the header expect is not 100-continue")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise RequestRefused(400, "transfer-encoding beside content-length, or another one than chunked")
        if version != "1.1":
            raise RequestRefused(400, "transfer-encoding in a request that is not HTTP/1.1")
        return RequestFraming(None, waits=bool(expected))
    if not lengths:
        return unstated
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_DIGITS:
        raise RequestRefused(400, "content-length is not one number")
    return RequestFraming(int(lengths[0]), waits=bool(expected))


class RequestBody:
    """The body of a request, read piece by piece as the back end takes it.

    Args:
        receive: the ASGI ``receive``.
        first: the first piece, which was read already; None if nothing was.
        length: the length that the client stated, or None.
        limit: the most bytes; None for any number.
        keep: how many bytes are kept, so that they can be sent again.
        watch: watches the request.
    """

    def __init__(
        self,
        receive: Receive,
        first: Mapping[str, Any] | None,
        *,
        length: int | None,
        limit: int | None,
        keep: int,
        watch: RequestWatch,
    ) -> None:
        self._receive = receive
        self._first = first
        self._length = length
        self._limit = limit
        self._keep = keep
        self._kept: list[bytes] | None = [] if keep else None
        self._watch = watch
        self._received = 0
        self.complete = False
        """Whether all of it was read from the client."""
        self.sent = False
        """Whether all of it was taken."""
        self.error: Exception | None = None
        """Why it ended too early, or None."""

    @property
    def again(self) -> bytes | None:
        """The whole body, so that it can be sent again; None if it was not kept whole."""
        return b"".join(self._kept) if self.complete and self._kept is not None else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces.

        Raises:
            ClientGone: the client left before the end.
            BodyTooLarge: it is longer than the limit.
        """
        message = self._first
        while not self.complete:
            if message is None:
                message = await self._receive()
            if message["type"] != "http.request":
                raise self._failed(ClientGone())
            piece = message.get("body", b"")
            self.complete = not message.get("more_body", False)
            message = None
            self._received += len(piece)
            self._check()
            self._keep_piece(piece)
            if self.complete:
                self._watch.request_sent()
            if piece:
                self._watch.request_piece(sending=True)
                yield piece
                self._watch.request_piece(sending=False)
        self.sent = True

    def _check(self) -> None:
        if self._limit is not None and self._received > self._limit:
            raise self._failed(BodyTooLarge())
        if self._length is not None and (
            self._received > self._length or (self.complete and self._received < self._length)
        ):
            raise self._failed(ClientGone())

    def _keep_piece(self, piece: bytes) -> None:
        if self._kept is not None:
            self._kept.append(piece)
            if self._received > self._keep:
                self._kept = None

    def _failed(self, error: Exception) -> Exception:
        self.error = error
        self._watch.request_failed()
        return error


async def drain(receive: Receive) -> None:
    """Read what is left of a request's body, within bounds, so that a client reads its answer before the end."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass
