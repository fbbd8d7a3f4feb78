"""``connect``: websockets' asyncio client with challenge handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.datastructures import HeadersLike
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.connect_common import Timer, headers_with, refusal, same_origin
from asgi_gateway.client.extended import ExtendedHandshake
from asgi_gateway.client.flow import Ask, Reply, Send, ask_async, authenticate
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL

__all__ = ["connect"]


class _Connect(websockets_connect):
    """Follows redirects within the origin only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        result = super().process_redirect(exc)
        return exc if isinstance(result, str) and not same_origin(self.uri, result) else result


class connect:  # noqa: N801 (spelled as in websockets, since it is used as a function)
    """Open a WebSocket, answering the server's challenges.

    Use it as ``async with connect(…) as websocket:`` or ``websocket = await connect(…)``.

    Args:
        uri: ``ws://`` or ``wss://``.
        handler: who answers challenges.
        max_authentication_attempts: how many challenges are answered; 0: none.
        extended: hold the login inside the socket (the extended handshake), as browsers must.
        open_timeout: seconds until the socket must be open, not counting the time in which the handler is asked.
        additional_headers: headers of the application's own.
        subprotocols: subprotocols to offer.
        **options: everything else that ``websockets.asyncio.client.connect`` takes.

    Raises:
        InvalidStatus: the server refused; its ``response`` says how.
        MutualAuthenticationError: the server did not prove its identity.
        HandshakeError: the server does not keep to the extended handshake.
        TimeoutError: not open in time.
        ValueError: a negative number of attempts, or a ``sock`` that could serve one attempt only.
    """

    def __init__(
        self,
        uri: str,
        *,
        handler: ChallengeHandler,
        max_authentication_attempts: int = 3,
        extended: bool = False,
        open_timeout: float | None = 10.0,
        additional_headers: HeadersLike | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        **options: Any,
    ) -> None:
        if max_authentication_attempts < 0:
            raise ValueError("max_authentication_attempts is 0 or more")
        if options.get("sock") is not None and not extended:
            raise ValueError("a socket serves one handshake only; extended=True needs no second one")
        self._uri = uri
        self._handler = handler
        self._max_attempts = max_authentication_attempts
        self._handshake = ExtendedHandshake(uri, subprotocols or ()) if extended else None
        self._timer = Timer(open_timeout)
        self._own_headers = additional_headers
        self._subprotocols = subprotocols
        self._options = options
        self._connection: ClientConnection | None = None
        self._refusal: InvalidStatus | None = None

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self._open().__await__()

    async def __aenter__(self) -> ClientConnection:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _open(self) -> ClientConnection:
        flow = authenticate(self._handler, self._uri, self._max_attempts)
        try:
            step = next(flow)
            while True:
                step = flow.send(await ask_async(step) if isinstance(step, Ask) else await self._send(step))
        except StopIteration:
            if self._refusal is None and self._connection is not None:
                return self._connection
        except BaseException as error:
            if self._connection is not None:
                self._connection.transport.abort()
                if isinstance(error, Exception):  # a cancellation waits for nothing
                    await self._connection.wait_closed()
            raise
        finally:
            flow.close()
        if self._connection is not None:
            await self._connection.close()
        assert self._refusal is not None
        raise self._refusal

    async def _send(self, step: Send) -> Reply:
        self._refusal = None
        with self._timer.running() as seconds:
            if self._handshake is None:
                return await self._knock(step, seconds)
            async with asyncio.timeout(seconds):
                return await self._say(self._handshake, step)

    async def _knock(self, step: Send, seconds: float | None) -> Reply:
        """A plain handshake: one connection for each attempt."""
        opening = _Connect(
            self._uri,
            additional_headers=headers_with(self._own_headers, step.headers),
            subprotocols=self._subprotocols,
            open_timeout=seconds,
            **self._options,
        )
        try:
            self._connection = await opening
        except InvalidStatus as error:
            self._refusal = error
            return Reply(error.response.status_code, error.response.headers.raw_items(), opening.uri)
        assert self._connection.response is not None
        return Reply(101, self._connection.response.headers.raw_items(), opening.uri)

    async def _say(self, handshake: ExtendedHandshake, step: Send) -> Reply:
        """An extended handshake: one connection, in which requests and responses are messages."""
        if self._connection is None:
            self._connection = await _Connect(
                handshake.opening_uri,
                additional_headers=self._own_headers,
                subprotocols=[Subprotocol(HANDSHAKE_PROTOCOL), *(self._subprotocols or ())],
                open_timeout=None,
                **self._options,
            )
            handshake.begin(self._connection.subprotocol)
            handshake.receive(await self._connection.recv())
        await self._connection.send(handshake.request(step.headers))
        while not handshake.receive(await self._connection.recv()):
            pass
        if handshake.reply.status == 101:
            chosen = handshake.subprotocol
            self._connection.protocol.subprotocol = Subprotocol(chosen) if chosen else None
        else:
            self._refusal = refusal(handshake)
        return handshake.reply
