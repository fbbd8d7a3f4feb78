"""GatewayAuth: challenge handlers for httpx, synchronous and asynchronous."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

import httpx

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.flow import Ask, Flow, Reply, Send, ask, ask_async, authenticate
from asgi_gateway.client.memory import Memory

__all__ = ["GatewayAuth"]

MAX_BODY = 64 * 1024
"""How much of a 401's body is read, in bytes."""
MAX_BODY_SECONDS = 5.0
"""How long the body of a 401 that is answered is read."""


class GatewayAuth(httpx.Auth):
    """Answers a server's challenges with a challenge handler; for ``httpx.Client`` and ``httpx.AsyncClient``.

    A request's body is read into memory, since it may have to be sent again. Of a 401's body at most 64 KiB are read.

    Args:
        handler: who answers challenges.
        max_authentication_attempts: how many challenges of one request are answered; 0: none.
        remember: whether accepted credentials that may be used again (those of Basic) are sent with later requests to
            the same place at once, so that the handler is asked only once; they are kept in this object alone.
        clock: seconds that never go back.

    Raises:
        ValueError: a negative number of attempts.
        MutualAuthenticationError: (while a request runs) the server did not prove its identity.
    """

    requires_request_body = True

    def __init__(
        self,
        handler: ChallengeHandler,
        max_authentication_attempts: int = 3,
        *,
        remember: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_authentication_attempts < 0:
            raise ValueError("max_authentication_attempts is 0 or more")
        self._handler = handler
        self._max_attempts = max_authentication_attempts
        self._memory = Memory() if remember else None
        self._clock = clock

    def forget(self) -> None:
        """Forget all accepted credentials; the handler is asked again."""
        if self._memory is not None:
            self._memory.forget()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.read()
        flow = self._flow(request)
        response: httpx.Response | None = None
        try:
            step = next(flow)
            while True:
                if isinstance(step, Ask):
                    step = flow.send(ask(step))
                    continue
                if response is not None:
                    self._drain(response)
                response = yield _prepare(request, step)
                step = flow.send(_reply(response))
        except StopIteration:
            return
        finally:
            flow.close()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await request.aread()
        flow = self._flow(request)
        response: httpx.Response | None = None
        try:
            step = next(flow)
            while True:
                if isinstance(step, Ask):
                    step = flow.send(await ask_async(step))
                    continue
                if response is not None:
                    await self._drain_async(response)
                response = yield _prepare(request, step)
                step = flow.send(_reply(response))
        except StopIteration:
            return
        finally:
            flow.close()

    def _flow(self, request: httpx.Request) -> Flow:
        return authenticate(self._handler, str(request.url), self._max_attempts, self._memory)

    def _drain(self, response: httpx.Response) -> None:
        """Read an answered 401's body, so that its connection can be used again; not for ever."""
        stream, end = response.stream, self._clock() + MAX_BODY_SECONDS
        assert isinstance(stream, httpx.SyncByteStream)
        for _ in stream:
            if self._clock() > end:
                break
        stream.close()
        response.stream = httpx.ByteStream(b"")

    async def _drain_async(self, response: httpx.Response) -> None:
        stream, end = response.stream, self._clock() + MAX_BODY_SECONDS
        assert isinstance(stream, httpx.AsyncByteStream)
        async for _ in stream:
            if self._clock() > end:
                break
        await stream.aclose()
        response.stream = httpx.ByteStream(b"")


def _prepare(request: httpx.Request, step: Send) -> httpx.Request:
    if step.headers:
        request.headers.pop("Sec-Challenge-Identity", None)
        request.headers.update(step.headers)
    return request


def _reply(response: httpx.Response) -> Reply:
    if response.status_code == 401:
        if isinstance(response.stream, httpx.SyncByteStream) and not isinstance(response.stream, httpx.ByteStream):
            response.stream = _BoundedStream(response.stream)
        elif isinstance(response.stream, httpx.AsyncByteStream) and not isinstance(response.stream, httpx.ByteStream):
            response.stream = _AsyncBoundedStream(response.stream)
    return Reply(response.status_code, response.headers.multi_items(), str(response.url))


class _BoundedStream(httpx.SyncByteStream):
    """A body that ends after so many bytes."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left = MAX_BODY
        for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    def close(self) -> None:
        self._stream.close()


class _AsyncBoundedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BODY
        async for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
