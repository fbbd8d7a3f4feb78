"""What opening a WebSocket with a login has in common, in an event loop and in a thread."""

from __future__ import annotations

import http
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from websockets.datastructures import Headers, HeadersLike
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from asgi_gateway.client.extended import ExtendedHandshake
from asgi_gateway.client.flow import FlowOptions, HttpReply
from asgi_gateway.client.urls import origin, url_credentials
from asgi_gateway.http.http1 import ResponseHead
from asgi_gateway.http.user_agent import user_agent

__all__ = ["USER_AGENT", "Timer", "flow_options", "headers_with", "invalid_status", "plain_reply", "same_origin"]

USER_AGENT = user_agent()
"""The User-Agent of WebSocket handshakes, unless the application gives another."""


class Timer:
    """A connect timer that runs only while the client waits for the network, and not while a person is asked.

    Args:
        seconds: the time that all waiting together may take; None: any.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._remaining = seconds
        self._clock = clock

    @contextmanager
    def running(self) -> Iterator[float | None]:
        """Let the timer run while the block runs; gives the remaining seconds.

        Raises:
            TimeoutError: no time remains.
        """
        if self._remaining is not None and self._remaining <= 0:
            raise TimeoutError("timed out during opening handshake")
        start = self._clock()
        try:
            yield self._remaining
        finally:
            if self._remaining is not None:
                self._remaining -= self._clock() - start


def flow_options(uri: str, max_attempts: int, additional_headers: HeadersLike | None) -> FlowOptions:
    """Return the options of a WebSocket's flow: credentials in the URI go first, unless the application gives others.

    Raises:
        ValueError: a negative number of attempts.
        HeaderError: Basic cannot carry the credentials in the URI.
    """
    own = Headers(additional_headers) if additional_headers is not None else Headers()
    return FlowOptions(max_attempts=max_attempts, credentials=None if "Authorization" in own else url_credentials(uri))


def headers_with(own: HeadersLike | None, added: Iterable[tuple[str, str]]) -> Headers:
    """Return the application's headers, with those of the flow in place of any of the same name."""
    headers = Headers(own) if own is not None else Headers()
    for name, value in added:
        if name in headers:
            del headers[name]
        headers[name] = value
    return headers


def same_origin(one: str, other: str) -> bool:
    """Return whether two URIs share scheme, host and port."""
    return origin(one) == origin(other)


def plain_reply(response: Response | None, location: str) -> HttpReply:
    """Return the reply to a plain handshake, as the authentication flow takes it.

    Args:
        response: the server's response; None: an open connection without one.
        location: the URI that replied.
    """
    if response is None:
        return HttpReply(101, (), location)
    return HttpReply(response.status_code, response.headers.raw_items(), location)


def invalid_status(handshake: ExtendedHandshake) -> InvalidStatus:
    """Return the exception for a response inside the socket, the same as websockets raises for one outside."""
    response: ResponseHead = handshake.response
    headers = Headers([(name.decode(), value.decode("latin-1")) for name, value in response.headers])
    try:
        phrase = http.HTTPStatus(response.status).phrase
    except ValueError:  # a status that the library does not know is a refusal all the same
        phrase = ""
    return InvalidStatus(Response(response.status, phrase, headers, response.body))
