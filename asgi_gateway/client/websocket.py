"""``connect``: websockets' asyncio client with challenge handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.connect_common import (
    USER_AGENT,
    Timer,
    flow_options,
    headers_with,
    invalid_status,
    plain_reply,
    same_origin,
)
from asgi_gateway.client.extended import ExtendedHandshake, HandshakeError
from asgi_gateway.client.flow import HttpReply, SendRequest, authenticate, run_step_async
from asgi_gateway.client.urls import without_credentials
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL

__all__ = ["connect"]


class _Connect(websockets_connect):
    """Follows redirects within the origin only, and sends no credentials of a URI by itself."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        result = super().process_redirect(exc)
        if not isinstance(result, str):
            return result
        return without_credentials(result) if same_origin(self.uri, result) else exc


class connect:  # noqa: N801 (spelled as in websockets, since it is used as a function)
    """Open a WebSocket, answering the server's challenges.

    Use it as ``async with connect(…) as websocket:`` or ``websocket = await connect(…)``. Sockets that are challenged
    alike at the same time ask the handler once.

    Args:
        uri: ``ws://`` or ``wss://``. Credentials in it are sent first, as Basic, unless others could read them; the
            handler is asked if the server refuses them.
        handler: who answers challenges.
        max_authentication_attempts: how many challenges are answered; 0: none.
        extended: hold the login inside the socket (the extended handshake), as browsers must.
        open_timeout: seconds until the socket must be open, not counting the time in which the handler is asked.
        **options: everything else that ``websockets.asyncio.client.connect`` takes, such as ``additional_headers`` and
            ``subprotocols``.

    Raises:
        InvalidStatus: the server refused; its ``response`` has status and headers.
        MutualAuthenticationError: the server did not prove its identity.
        HandshakeError: the server violates the protocol of the extended handshake.
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
        **options: Any,
    ) -> None:
        if options.get("sock") is not None and not extended:
            raise ValueError("a socket serves one handshake only; extended=True needs no second one")
        self._additional_headers = options.pop("additional_headers", None)
        self._subprotocols = options.pop("subprotocols", None)
        self._flow = authenticate(
            handler, uri, flow_options(uri, max_authentication_attempts, self._additional_headers)
        )
        self._location = uri
        self._handshake = ExtendedHandshake(uri, self._subprotocols or ()) if extended else None
        self._timer = Timer(open_timeout)
        self._options = {"user_agent_header": USER_AGENT, **options}
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
        flow = self._flow
        try:
            step = next(flow)
            while True:
                step = flow.send(
                    await self._send(step) if isinstance(step, SendRequest) else await run_step_async(step)
                )
        except StopIteration:
            pass
        except BaseException as error:
            if self._connection is not None:
                self._connection.transport.abort()
                if isinstance(error, Exception):  # a cancellation waits for nothing
                    await self._connection.wait_closed()
            raise
        finally:
            flow.close()
        return await self._result()

    async def _result(self) -> ClientConnection:
        if self._refusal is None and self._connection is not None:
            return self._connection
        if self._connection is not None:
            await self._connection.close()
        raise self._refusal or HandshakeError("the login was ended before a request was sent")

    async def _send(self, step: SendRequest) -> HttpReply:
        self._refusal = None
        with self._timer.running() as seconds:
            if self._handshake is None:
                return await self._connect_plain(step, seconds)
            async with asyncio.timeout(seconds):
                return await self._exchange_extended(self._handshake, step)

    async def _connect_plain(self, step: SendRequest, seconds: float | None) -> HttpReply:
        """Make a plain handshake: one connection for each attempt."""
        uri = without_credentials(self._location)
        opening = _Connect(
            uri,
            additional_headers=headers_with(self._additional_headers, step.headers),
            subprotocols=self._subprotocols,
            open_timeout=seconds,
            **self._options,
        )
        try:
            self._connection = await opening
        except InvalidStatus as error:
            self._refusal = error
            response: Response | None = error.response
        else:
            response = self._connection.response
        return plain_reply(response, self._location if opening.uri == uri else opening.uri)

    async def _exchange_extended(self, handshake: ExtendedHandshake, step: SendRequest) -> HttpReply:
        """Send one request of an extended handshake: one connection, in which requests and responses are messages."""
        if self._connection is None:
            self._connection = await _Connect(
                handshake.opening_uri,
                additional_headers=self._additional_headers,
                subprotocols=[Subprotocol(HANDSHAKE_PROTOCOL), *(self._subprotocols or ())],
                open_timeout=None,
                **self._options,
            )
            handshake.check_opening(self._connection.subprotocol)
            handshake.receive(await self._connection.recv())
        await self._connection.send(handshake.request(step.headers))
        while not handshake.receive(await self._connection.recv()):
            pass
        if handshake.reply.status == 101:
            chosen = handshake.subprotocol
            self._connection.protocol.subprotocol = Subprotocol(chosen) if chosen else None
        else:
            self._refusal = invalid_status(handshake)
        return handshake.reply
