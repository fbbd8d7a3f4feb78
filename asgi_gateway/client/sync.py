"""``connect`` for programs without an event loop: websockets' threading client with challenge handlers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from websockets.datastructures import HeadersLike
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, reconnect
from websockets.typing import Subprotocol

from asgi_gateway.client.challenge import ChallengeHandler
from asgi_gateway.client.connect_common import Timer, headers_with, refusal, same_origin
from asgi_gateway.client.extended import ExtendedHandshake
from asgi_gateway.client.flow import Ask, Reply, Send, ask, authenticate
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL

__all__ = ["connect"]


class _Connect(reconnect):
    """Follows redirects within the origin only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        result = super().process_redirect(exc)
        return exc if isinstance(result, str) and not same_origin(self.uri, result) else result


def connect(
    uri: str,
    *,
    handler: ChallengeHandler,
    max_authentication_attempts: int = 3,
    extended: bool = False,
    open_timeout: float | None = 10.0,
    additional_headers: HeadersLike | None = None,
    subprotocols: Sequence[Subprotocol] | None = None,
    **options: Any,
) -> ClientConnection:
    """Open a WebSocket, answering the server's challenges; the connection is a context manager.

    Args:
        uri: ``ws://`` or ``wss://``.
        handler: who answers challenges.
        max_authentication_attempts: how many challenges are answered; 0: none.
        extended: hold the login inside the socket (the extended handshake), as browsers must.
        open_timeout: seconds until the socket must be open, not counting the time in which the handler is asked.
        additional_headers: headers of the application's own.
        subprotocols: subprotocols to offer.
        **options: everything else that ``websockets.sync.client.connect`` takes.

    Raises:
        InvalidStatus: the server refused; its ``response`` says how.
        MutualAuthenticationError: the server did not prove its identity.
        HandshakeError: the server does not keep to the extended handshake.
        TimeoutError: not open in time.
        ValueError: a negative number of attempts, or a ``sock`` that could serve one attempt only.
    """
    if max_authentication_attempts < 0:
        raise ValueError("max_authentication_attempts is 0 or more")
    if options.get("sock") is not None and not extended:
        raise ValueError("a socket serves one handshake only; extended=True needs no second one")
    options |= {"additional_headers": additional_headers, "subprotocols": subprotocols}
    timer = Timer(open_timeout)
    opening = _ExtendedOpening(uri, timer, options) if extended else _PlainOpening(uri, timer, options)
    flow = authenticate(handler, uri, max_authentication_attempts)
    try:
        step = next(flow)
        while True:
            step = flow.send(ask(step) if isinstance(step, Ask) else opening.send(step))
    except StopIteration:
        return opening.result()
    except BaseException:
        opening.abandon()
        raise
    finally:
        flow.close()


class _PlainOpening:
    """A plain handshake: one connection for each attempt."""

    connection: ClientConnection | None = None
    refusal: InvalidStatus | None = None

    def __init__(self, uri: str, timer: Timer, options: dict[str, Any]) -> None:
        self._uri = uri
        self._timer = timer
        self._options = options

    def send(self, step: Send) -> Reply:
        headers = headers_with(self._options["additional_headers"], step.headers)
        with self._timer.running() as seconds:
            opening = _Connect(self._uri, **self._options | {"additional_headers": headers, "open_timeout": seconds})
            try:
                self.connection = opening.connect()
            except InvalidStatus as error:
                self.refusal = error
                return Reply(error.response.status_code, error.response.headers.raw_items(), opening.uri)
        assert self.connection.response is not None
        self.refusal = None
        return Reply(101, self.connection.response.headers.raw_items(), opening.uri)

    def result(self) -> ClientConnection:
        """The open connection.

        Raises:
            InvalidStatus: there is none.
        """
        if self.refusal is not None:
            self.abandon()
            raise self.refusal
        assert self.connection is not None
        self.connection.pending_legacy_warning = False
        return self.connection

    def abandon(self) -> None:
        """Close what is open."""
        if self.connection is not None:
            self.connection.pending_legacy_warning = False
            self.connection.close()


class _ExtendedOpening(_PlainOpening):
    """An extended handshake: one connection, in which requests and responses are messages."""

    def __init__(self, uri: str, timer: Timer, options: dict[str, Any]) -> None:
        super().__init__(uri, timer, options)
        self._handshake = ExtendedHandshake(uri, options["subprotocols"] or ())

    def send(self, step: Send) -> Reply:
        handshake = self._handshake
        connection = self.connection or self._open()
        with self._timer.running():
            connection.send(handshake.request(step.headers))
        while not self._receive(connection):
            pass
        if handshake.reply.status == 101:
            chosen = handshake.subprotocol
            connection.protocol.subprotocol = Subprotocol(chosen) if chosen else None
            self.refusal = None
        else:
            self.refusal = refusal(handshake)
        return handshake.reply

    def _open(self) -> ClientConnection:
        subprotocols = [Subprotocol(HANDSHAKE_PROTOCOL), *(self._options["subprotocols"] or ())]
        with self._timer.running() as seconds:
            options = self._options | {"subprotocols": subprotocols, "open_timeout": seconds}
            self.connection = _Connect(self._handshake.opening_uri, **options).connect()
        self.connection.pending_legacy_warning = False
        self._handshake.begin(self.connection.subprotocol)
        self._receive(self.connection)
        return self.connection

    def _receive(self, connection: ClientConnection) -> bool:
        with self._timer.running() as seconds:
            return self._handshake.receive(connection.recv(timeout=seconds))
