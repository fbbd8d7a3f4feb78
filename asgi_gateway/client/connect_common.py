"""What opening a WebSocket with a login has in common, whether in an event loop or in a thread."""

from __future__ import annotations

import http
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from websockets.datastructures import Headers, HeadersLike
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from asgi_gateway.client.extended import ExtendedHandshake
from asgi_gateway.client.urls import origin

__all__ = ["Timer", "headers_with", "refusal", "same_origin"]


class Timer:
    """A connect timer that runs only while the network is waited for, and stands still while a person is asked.

    Args:
        seconds: the time that all waiting together may take; None: any.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = seconds
        self._clock = clock

    @contextmanager
    def running(self) -> Iterator[float | None]:
        """Let the timer run while the block runs; gives the seconds left.

        Raises:
            TimeoutError: time is up already.
        """
        if self._left is not None and self._left <= 0:
            raise TimeoutError("timed out during opening handshake")
        start = self._clock()
        try:
            yield self._left
        finally:
            if self._left is not None:
                self._left -= self._clock() - start


def headers_with(own: HeadersLike | None, added: Iterable[tuple[str, str]]) -> Headers:
    """The application's headers, with those of the flow in place of any of the same name."""
    headers = Headers(own) if own is not None else Headers()
    for name, value in added:
        if name in headers:
            del headers[name]
        headers[name] = value
    return headers


def same_origin(one: str, other: str) -> bool:
    """Whether two URIs share scheme, host and port."""
    return origin(one) == origin(other)


def refusal(handshake: ExtendedHandshake) -> InvalidStatus:
    """The exception for a response inside the socket, the same as websockets raises for one outside."""
    assert handshake.response is not None
    status = handshake.response.status
    headers = Headers([(name.decode(), value.decode("latin-1")) for name, value in handshake.response.headers])
    return InvalidStatus(Response(status, http.HTTPStatus(status).phrase, headers, handshake.response.body))
