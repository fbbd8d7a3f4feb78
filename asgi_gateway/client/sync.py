"""``connect`` for programs without an event loop: websockets' threading client with challenge handlers."""

from __future__ import annotations

from typing import Any

from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, reconnect
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
from asgi_gateway.client.flow import HttpReply, SendRequest, authenticate, run_step
from asgi_gateway.client.urls import without_credentials
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL

__all__ = ["connect"]


class _Connect(reconnect):
    """Follows redirects within the origin only, and sends no credentials of a URI by itself."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        result = super().process_redirect(exc)
        if not isinstance(result, str):
            return result
        return without_credentials(result) if same_origin(self.uri, result) else exc


def connect(
    uri: str,
    *,
    handler: ChallengeHandler,
    max_authentication_attempts: int = 3,
    extended: bool = False,
    open_timeout: float | None = 10.0,
    **options: Any,
) -> ClientConnection:
    """Open a WebSocket, answering the server's challenges; the connection is a context manager.

    Sockets that are challenged alike at the same time, in several threads, ask the handler once.

    Args:
        uri: ``ws://`` or ``wss://``. Credentials in it are sent first, as Basic, unless others could read them; the
            handler is asked if the server refuses them.
        handler: who answers challenges.
        max_authentication_attempts: how many challenges are answered; 0: none.
        extended: hold the login inside the socket (the extended handshake), as browsers must.
        open_timeout: seconds until the socket must be open, not counting the time in which the handler is asked.
        **options: everything else that ``websockets.sync.client.connect`` takes, such as ``additional_headers`` and
            ``subprotocols``.

    Returns:
        the open connection.

    Raises:
        InvalidStatus: the server refused; its ``response`` has status and headers.
        MutualAuthenticationError: the server did not prove its identity.
        HandshakeError: the server violates the protocol of the extended handshake.
        TimeoutError: not open in time.
        ValueError: a negative number of attempts, or a ``sock`` that could serve one attempt only.
    """
    if options.get("sock") is not None and not extended:
        raise ValueError("a socket serves one handshake only; extended=True needs no second one")
    flow = authenticate(handler, uri, flow_options(uri, max_authentication_attempts, options.get("additional_headers")))
    options = {"user_agent_header": USER_AGENT, "additional_headers": None, "subprotocols": None, **options}
    kind = _ExtendedOpening if extended else _PlainOpening
    opening = kind(uri, Timer(open_timeout), options)
    try:
        step = next(flow)
        while True:
            step = flow.send(opening.send(step) if isinstance(step, SendRequest) else run_step(step))
    except StopIteration:
        pass
    except BaseException:
        opening.abandon()
        raise
    finally:
        flow.close()
    return opening.result()


class _PlainOpening:
    """A plain handshake: one connection for each attempt."""

    def __init__(self, uri: str, timer: Timer, options: dict[str, Any]) -> None:
        self._connection: ClientConnection | None = None
        self._refusal: InvalidStatus | None = None
        self._location = uri
        self._timer = timer
        self._options = options

    def send(self, step: SendRequest) -> HttpReply:
        """Send a request with a step's headers."""
        headers = headers_with(self._options["additional_headers"], step.headers)
        self._refusal = None
        with self._timer.running() as seconds:
            uri = without_credentials(self._location)
            opening = _Connect(uri, **self._options | {"additional_headers": headers, "open_timeout": seconds})
            try:
                self._connection = opening.connect()
            except InvalidStatus as error:
                self._refusal = error
                response: Response | None = error.response
            else:
                response = self._connection.response
        return plain_reply(response, self._location if opening.uri == uri else opening.uri)

    def result(self) -> ClientConnection:
        """Return the open connection.

        Raises:
            InvalidStatus: the server refused.
        """
        if self._refusal is None and self._connection is not None:
            self._connection.pending_legacy_warning = False
            return self._connection
        self.abandon()
        raise self._refusal or HandshakeError("the login was ended before a request was sent")

    def abandon(self) -> None:
        """Close the connection, if one is open."""
        if self._connection is not None:
            self._connection.pending_legacy_warning = False
            self._connection.close()


class _ExtendedOpening(_PlainOpening):
    """An extended handshake: one connection, in which requests and responses are messages."""

    def __init__(self, uri: str, timer: Timer, options: dict[str, Any]) -> None:
        super().__init__(uri, timer, options)
        self._handshake = ExtendedHandshake(uri, options["subprotocols"] or ())

    def send(self, step: SendRequest) -> HttpReply:
        """Send a request with a step's headers inside the socket, which the first one opens."""
        handshake = self._handshake
        connection = self._connection or self._open()
        with self._timer.running():
            connection.send(handshake.request(step.headers))
        while not self._receive(connection):
            pass
        if handshake.reply.status == 101:
            chosen = handshake.subprotocol
            connection.protocol.subprotocol = Subprotocol(chosen) if chosen else None
            self._refusal = None
        else:
            self._refusal = invalid_status(handshake)
        return handshake.reply

    def _open(self) -> ClientConnection:
        subprotocols = [Subprotocol(HANDSHAKE_PROTOCOL), *(self._options["subprotocols"] or ())]
        with self._timer.running() as seconds:
            options = self._options | {"subprotocols": subprotocols, "open_timeout": seconds}
            self._connection = _Connect(self._handshake.opening_uri, **options).connect()
        self._connection.pending_legacy_warning = False
        self._handshake.check_opening(self._connection.subprotocol)
        self._receive(self._connection)
        return self._connection

    def _receive(self, connection: ClientConnection) -> bool:
        with self._timer.running() as seconds:
            return self._handshake.receive(connection.recv(timeout=seconds))
