"""Connect to the back ends of WebSockets, and tell the client when that fails."""

from __future__ import annotations

import abc
import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from asgi_gateway.model import AuthRequest
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.relay import BackendStream
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.services.backend import Backend, Message, Receive, Scope, Send
from asgi_gateway.telemetry.audit import Audit

__all__ = ["BackendFailure", "Dialer", "TunnelBackend", "refuse", "request_of", "while_connected"]

P = TypeVar("P", bound=asyncio.Protocol)
T = TypeVar("T")

_SOCKETS = (socket.AF_INET, socket.AF_INET6)


class BackendFailure(Exception):
    """A back end cannot be used. The reason shows no secret.

    Args:
        connect: the back end.
        reason: why.
        status: what the client gets: 502, or 504 if the back end took too long (RFC 9110 sections 15.6.3 and 15.6.5).
    """

    def __init__(self, connect: ConnectURL, reason: str, status: int = 502) -> None:
        super().__init__(f"back end {connect}: {reason}")
        self.connect = connect
        self.status = status


class Dialer:
    """Connects to one of a service's back ends.

    Args:
        settings: what the service says of its back ends.
        targets: chooses among them.
        audit: takes an event for each failure.
    """

    def __init__(self, settings: ProxySettings, targets: Targets, audit: Audit) -> None:
        self._settings = settings
        self._targets = targets
        self._audit = audit

    async def connect(self, factory: Callable[[ConnectURL], P], scope: Scope) -> tuple[P, ConnectURL]:
        """Connect to the first back end that can be reached.

        Args:
            factory: makes the protocol of a connection.
            scope: the scope of the WebSocket that it is for.

        Raises:
            BackendFailure: none can be reached; the last one's failure.
        """
        failure: BackendFailure | None = None
        for connect in self._targets.candidates():
            try:
                protocol = await self.connect_to(connect, factory)
            except BackendFailure as error:
                self._targets.failed(connect)
                if failure is not None:
                    self.report(failure, scope)
                failure = error
            else:
                if failure is not None:
                    self.report(failure, scope)
                self._targets.answered(connect)
                return protocol, connect
        if failure is None:
            raise RuntimeError("there was no back end to try")
        raise failure

    async def connect_to(self, connect: ConnectURL, factory: Callable[[ConnectURL], P]) -> P:
        """Connect to one back end. Its name is looked up each time, since it may have moved.

        Args:
            connect: the back end.
            factory: makes the protocol of the connection.

        Raises:
            BackendFailure: it cannot be reached.
        """
        seconds = self._settings.timeouts.connect
        try:
            async with asyncio.timeout(seconds):
                return await self._open(connect, factory)
        except TimeoutError as error:
            raise BackendFailure(connect, f"cannot connect within {seconds:g} s", 504) from error
        except ssl.SSLCertVerificationError as error:
            raise BackendFailure(connect, f"certificate refused: {error.verify_message}") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that is none
            raise BackendFailure(connect, f"cannot connect: {_reason(error)}") from error

    def report(self, failure: BackendFailure, scope: Scope) -> None:
        """Write the audit event of a failure, and the warning that goes with it.

        Args:
            failure: the failure.
            scope: the scope of the WebSocket that it concerns.
        """
        self._audit.event(
            "unavailable",
            request_of(scope),
            service=self._settings.service,
            backend=str(failure.connect),
            reason=str(failure),
        )

    async def check(self) -> list[str]:
        """Return a line for each back end that cannot be reached."""
        found = []
        for connect in self._targets.connects:
            try:
                protocol = await self.connect_to(connect, _Probe)
            except BackendFailure as failure:
                found.append(str(failure))
            else:
                protocol.close()
        return found

    async def _open(self, connect: ConnectURL, factory: Callable[[ConnectURL], P]) -> P:
        loop = asyncio.get_running_loop()
        tls = self._settings.tls if connect.tls else None
        if connect.tls and tls is None:
            raise OSError("no TLS context")  # never in clear text
        if connect.unix is not None:
            server_name = connect.host if tls is not None else None
            _, protocol = await loop.create_unix_connection(
                lambda: factory(connect), connect.unix, ssl=tls, server_hostname=server_name
            )
            return protocol
        transport, protocol = await loop.create_connection(
            lambda: factory(connect), connect.host, connect.port, ssl=tls
        )
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in _SOCKETS:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # finds hosts that are gone
        return protocol


class TunnelBackend(Backend, abc.ABC):
    """A back end that joins each WebSocket to a connection of its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Join one WebSocket to a back end; no connection, task or descriptor is left afterwards."""
        if scope["type"] != "websocket":
            raise NotImplementedError(f"{self.description} is reached by WebSockets only")
        if (await receive())["type"] != "websocket.connect":
            return
        ahead = asyncio.ensure_future(receive())  # notices a client that leaves before there is a connection
        made: list[BackendStream] = []
        try:
            await self._join(scope, (receive, send), ahead, made)
        finally:
            for stream in made:
                if stream.end is None:
                    stream.abort()
            if not ahead.done():
                ahead.cancel()
                await asyncio.wait((ahead,))

    @abc.abstractmethod
    async def _join(
        self, scope: Scope, client: tuple[Receive, Send], ahead: asyncio.Future[Message], made: list[BackendStream]
    ) -> None:
        """Connect, answer the handshake, and pass messages until either side ends.

        Args:
            scope: the WebSocket's scope.
            client: its ``receive`` and ``send``.
            ahead: waits for its first message.
            made: takes each connection as soon as it is begun.
        """


class _Probe(asyncio.Protocol):
    """A connection that is closed as soon as it was made."""

    def __init__(self, connect: ConnectURL) -> None:
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def while_connected(work: Awaitable[T], ahead: asyncio.Future[Message]) -> T | None:
    """Return the result of work on behalf of a client; None, and cancel it, if the client leaves meanwhile.

    Args:
        work: what is done for the client.
        ahead: waits for the client's first message.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((working, ahead), return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and ahead.result()["type"] == "websocket.disconnect":
            return None
        return await working
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))


def request_of(scope: Scope) -> AuthRequest:
    """Return what an audit event says of a WebSocket."""
    client = scope.get("client")
    return AuthRequest("websocket", "GET", scope["path"], remote_address=client[0] if client else None)


async def refuse(
    scope: Scope, send: Send, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b""
) -> None:
    """Refuse a WebSocket's handshake with a response; close it where the server cannot send one, which is a 403.

    Args:
        scope: the WebSocket's scope.
        send: its ``send``.
        status: the status.
        headers: the headers without Content-Length.
        body: the body.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1011 if status >= 500 else 1008})
        return
    lines = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": lines})
    await send({"type": "websocket.http.response.body", "body": body})


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
