"""What GatewayAuth does with httpx and with httpx2, whose interfaces are the same and whose classes are not."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, ClassVar, TypeVar

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.flow import (
    AuthenticationFlow,
    FlowOptions,
    HttpReply,
    SendRequest,
    authenticate,
    run_step,
    run_step_async,
)
from asgi_gateway.client.memory import CredentialMemory

__all__ = ["AsyncBoundedBody", "BoundedBody", "HttpAuth", "OneRequestHeaders"]

MAX_BODY = 64 * 1024
"""How much of a 401's body is read, in bytes."""
MAX_BODY_SECONDS = 5.0
"""How long the body of a 401 that is answered is read."""
IDENTITY = "Sec-Challenge-Identity"

B = TypeVar("B", str, bytes)


class HttpAuth:
    """Answers a server's challenges; a subclass also derives from its library's ``Auth``.

    Args:
        handler: who answers challenges.
        max_authentication_attempts: how many challenges of one request are answered; 0: none.
        remember: whether accepted credentials that may be used again (those of Basic) are sent with later requests to
            the same place at once, and answer later challenges of the same realm, so that the handler is asked only
            once; they are kept in this object alone. Requests that are challenged at the same time ask once, too.
        clock: seconds that never go back.

    Raises:
        ValueError: a negative number of attempts.
        MutualAuthenticationError: (while a request runs) the server did not prove its identity.
    """

    requires_request_body = True
    _library: ClassVar[Any]
    _bounded_body: ClassVar[type[Any]]
    _async_bounded_body: ClassVar[type[Any]]
    _one_request_headers: ClassVar[type[Any]]

    def __init__(
        self,
        handler: ChallengeHandler,
        max_authentication_attempts: int = 3,
        *,
        remember: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = handler
        self._memory = CredentialMemory() if remember else None
        self._options = FlowOptions(max_attempts=max_authentication_attempts, memory=self._memory, share_login=remember)
        self._clock = clock

    def forget(self) -> None:
        """Forget all accepted credentials; the handler is asked again."""
        if self._memory is not None:
            self._memory.forget()

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Drive the flow for a synchronous client."""
        request.read()
        flow = self._flow(request)
        response: Any = None
        try:
            step = next(flow)
            while True:
                if not isinstance(step, SendRequest):
                    step = flow.send(run_step(step))
                    continue
                if response is not None:
                    self._drain(response)
                response = yield self._prepare(request, step)
                step = flow.send(self._reply(response))
        except StopIteration:
            return
        finally:
            flow.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Drive the flow for an asynchronous client."""
        await request.aread()
        flow = self._flow(request)
        response: Any = None
        try:
            step = next(flow)
            while True:
                if not isinstance(step, SendRequest):
                    step = flow.send(await run_step_async(step))
                    continue
                if response is not None:
                    await self._drain_async(response)
                response = yield self._prepare(request, step)
                step = flow.send(self._reply(response))
        except StopIteration:
            return
        finally:
            flow.close()

    def _flow(self, request: Any) -> AuthenticationFlow:
        return authenticate(self._handler, str(request.url), self._options)

    def _prepare(self, request: Any, step: SendRequest) -> Any:
        """Return the request with a step's headers; no redirect takes Sec-Challenge-Identity along."""
        if step.headers:
            headers, added = self._library.Headers(request.headers), dict(step.headers)
            headers.pop(IDENTITY, None)
            identity = added.pop(IDENTITY, None)
            headers.update(added)
            once = [(IDENTITY, identity)] if identity is not None else []
            request.headers = self._one_request_headers(headers, once)
        return request

    def _reply(self, response: Any) -> HttpReply:
        if response.status_code == 401 and not isinstance(response.stream, self._library.ByteStream):
            if isinstance(response.stream, self._library.SyncByteStream):
                response.stream = self._bounded_body(response.stream)
            elif isinstance(response.stream, self._library.AsyncByteStream):
                response.stream = self._async_bounded_body(response.stream)
        return HttpReply(response.status_code, response.headers.multi_items(), str(response.url))

    def _drain(self, response: Any) -> None:
        """Read an answered 401's body for a while, so that its connection can be used again."""
        stream, end = response.stream, self._clock() + MAX_BODY_SECONDS
        for _ in stream:
            if self._clock() > end:
                break
        stream.close()
        response.stream = self._library.ByteStream(b"")

    async def _drain_async(self, response: Any) -> None:
        stream, end = response.stream, self._clock() + MAX_BODY_SECONDS
        async for _ in stream:
            if self._clock() > end:
                break
        await stream.aclose()
        response.stream = self._library.ByteStream(b"")


class OneRequestHeaders:
    """Headers with further lines that only the request itself has; a subclass also derives from its library's Headers.

    The libraries build the request to a redirect's target from a copy of the headers, and take only Authorization away
    where the target is of another origin. A copy has none of the further lines.

    Args:
        headers: the library's Headers.
        once: name and value of each further line.
    """

    def __init__(self, headers: Any, once: list[tuple[str, str]]) -> None:
        super().__init__(headers)  # type: ignore[call-arg]  # the library's, which comes after this class
        self._once = once

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return all lines as bytes; transports send these."""
        lines: list[tuple[bytes, bytes]] = super().raw  # type: ignore[misc]
        return [*lines, *((name.encode("ascii"), value.encode("latin-1")) for name, value in self._once)]

    def __getitem__(self, name: str) -> str:
        for known, value in self._once:
            if name.lower() == known.lower():
                return value
        found: str = super().__getitem__(name)  # type: ignore[misc]
        return found

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and any(name.lower() == known.lower() for known, _ in self._once):
            return True
        return bool(super().__contains__(name))  # type: ignore[misc]


class BoundedBody:
    """A body that ends after so many bytes; a subclass also derives from its library's SyncByteStream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        remaining = MAX_BODY
        for chunk in self._stream:
            yield chunk[:remaining]
            remaining -= len(chunk)
            if remaining <= 0:
                return

    def close(self) -> None:
        self._stream.close()


class AsyncBoundedBody:
    """A body that ends after so many bytes; a subclass also derives from its library's AsyncByteStream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        remaining = MAX_BODY
        async for chunk in self._stream:
            yield chunk[:remaining]
            remaining -= len(chunk)
            if remaining <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
