"""Pass WebSockets on to WebSocket back ends: the service type ``proxy``, and the WebSocket half of ``http.proxy``.

The back end's handshake comes first. What it answers decides what the client gets: its subprotocol and cookies, or its
refusal. Extensions, pings and pongs are each side's own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from websockets.http11 import Response

from asgi_gateway.client import MutualAuthenticationError
from asgi_gateway.http.headers import single_header
from asgi_gateway.model import Headers
from asgi_gateway.proxy.backend_socket import MAX_MESSAGE, BackendSocket, HandshakeFailed, response_lines
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.dial import BackendFailure, Dialer, TunnelBackend, refuse, request_of, while_connected
from asgi_gateway.proxy.login import BackendChallenge, BackendCredentials, BackendLogin
from asgi_gateway.proxy.mapping import MappedPath, PathMapping
from asgi_gateway.proxy.outgoing import OutgoingRequest, RequestRefused
from asgi_gateway.proxy.relay import BackendStream, relay
from asgi_gateway.proxy.rewriting import InvalidResponse, ResponseHeaders
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.services.backend import Message, Receive, Scope, Send
from asgi_gateway.services.identity import SCOPE_KEY
from asgi_gateway.telemetry.audit import Audit

__all__ = ["WebSocketProxy"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH = frozenset((b"content-length",))
_BODY = frozenset((b"content-length", b"content-encoding", b"content-type"))
_SCHEMES = {"http": "ws", "https": "wss"}


class _Opened:
    """A back end's answer to a handshake, and what the client gets of it.

    Args:
        stream: the WebSocket to the back end.
        response: the answer.
        headers: the headers that pass.
    """

    def __init__(self, stream: BackendSocket, response: Response, headers: list[tuple[bytes, bytes]]) -> None:
        self.stream = stream
        self.response = response
        self.headers = headers


class WebSocketProxy(TunnelBackend):
    """Joins each WebSocket to one of its own to a back end.

    Args:
        settings: what the service says of its back ends.
        outgoing: writes the headers of the handshake.
        targets: chooses among the back ends.
        login: answers the 401s of back ends.
        audit: takes events.
        compressed: whether permessage-deflate is offered to back ends.
    """

    def __init__(
        self,
        settings: ProxySettings,
        outgoing: OutgoingRequest,
        targets: Targets,
        *,
        login: BackendLogin,
        audit: Audit,
        compressed: bool = False,
    ) -> None:
        self._settings = settings
        self._outgoing = outgoing
        self._login = login
        self._audit = audit
        self._compressed = compressed
        self._mapping = PathMapping(settings.accepts)
        self._responses = ResponseHeaders(settings)
        self._dialer = Dialer(settings, targets, audit)
        self.description = f"proxy to {', '.join(map(str, targets.connects))}"

    async def open(self) -> None:
        await self._login.open()

    async def close(self) -> None:
        await self._login.close()

    async def check(self) -> list[str]:
        return [*await self._dialer.check(), *await self._login.check()]

    async def _join(
        self, scope: Scope, client: tuple[Receive, Send], ahead: asyncio.Future[Message], made: list[BackendStream]
    ) -> None:
        _, send = client
        try:
            opened = await while_connected(self._open(scope, made), ahead)
        except BackendFailure as failure:
            self._dialer.report(failure, scope)
            return await refuse(scope, send, failure.status)
        except RequestRefused as refusal:
            self._audit.event("denial", request_of(scope), service=self._settings.service, reason=refusal.reason)
            return await refuse(scope, send, refusal.status)
        if opened is None:  # the client left
            return None
        if opened.response.status_code != 101:
            opened.stream.abort()
            return await refuse(scope, send, opened.response.status_code, opened.headers, bytes(opened.response.body))
        accept = {"type": "websocket.accept", "subprotocol": opened.stream.subprotocol, "headers": opened.headers}
        await send(accept)
        settings = self._settings
        return await relay(
            opened.stream, scope, client, ahead, idle=settings.timeouts.idle, max_message=settings.max_body
        )

    async def _open(self, scope: Scope, made: list[BackendStream]) -> _Opened:
        """Make the handshake with a back end, answering its challenges."""
        mapped = self._mapping.split(scope)
        subprotocols = self._outgoing.subprotocols(list(scope.get("subprotocols", ())))
        if not all(map(_TOKEN.fullmatch, subprotocols)):
            raise RequestRefused(400, "a subprotocol's name is invalid")
        stream, connect = await self._dialer.connect(lambda _: self._stream(made), scope)
        target = mapped.target(connect, self._outgoing.query(scope.get("query_string", b"")))
        headers = self._outgoing.headers(scope, connect)
        url = _url(connect, mapped)
        own = any(name == b"authorization" for name, _ in headers)  # the client's own, so a 401 is about that
        attempts = 0 if own else self._login.attempts
        credentials = self._login.first(url) if attempts else None
        response = await self._ask(stream, connect, target, (_with(headers, credentials), subprotocols))
        attempt = 0
        while response.status_code == 401 and attempt < attempts:
            attempt += 1
            challenge = self._challenge(scope, url, response, attempt, credentials)
            answer = await self._login.answer(challenge)
            if answer is None:
                break
            credentials = answer
            stream.abort()
            stream = await self._dialer.connect_to(connect, lambda _: self._stream(made))
            response = await self._ask(stream, connect, target, (_with(headers, credentials), subprotocols))
        received = _lower(response)
        if credentials is not None:
            try:
                received = self._login.finish(credentials, response.status_code, received)
            except MutualAuthenticationError as error:
                raise BackendFailure(connect, str(error)) from error
        return _Opened(stream, response, self._passed(scope, (response.status_code, received), connect, mapped))

    def _stream(self, made: list[BackendStream]) -> BackendSocket:
        stream = BackendSocket(self._settings.max_body or MAX_MESSAGE, compressed=self._compressed)
        made.append(stream)
        return stream

    async def _ask(
        self,
        stream: BackendSocket,
        connect: ConnectURL,
        target: str,
        offer: tuple[list[tuple[bytes, bytes]], list[str]],
    ) -> Response:
        seconds = self._settings.timeouts.response
        try:
            return await stream.open(target, *offer, seconds)
        except HandshakeFailed as error:
            raise BackendFailure(connect, str(error)) from error
        except TimeoutError as error:
            raise BackendFailure(connect, f"no response to the handshake within {seconds:g} s", 504) from error

    def _challenge(
        self, scope: Scope, url: str, response: Response, attempt: int, previous: BackendCredentials | None
    ) -> BackendChallenge:
        context = scope.get(SCOPE_KEY)
        return BackendChallenge(
            url=url,
            headers=_lower(response),
            subject=getattr(context, "subject", None),
            authorization=single_header(scope["headers"], b"authorization"),
            attempt=attempt,
            previous=previous,
        )

    def _passed(
        self, scope: Mapping[str, Any], answer: tuple[int, Headers], connect: ConnectURL, mapped: MappedPath
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers of the back end's answer, its status and headers, that the client gets."""
        status, received = answer
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        lines = [line for line in received if not line[0].startswith(b"sec-websocket-")]
        try:
            passed = self._responses.write(lines, status, connect, mapped, host)
        except InvalidResponse as error:
            raise BackendFailure(connect, str(error)) from error
        dropped = _BODY if status == 101 else _LENGTH
        return [header for header in passed if header[0] not in dropped]


def _lower(response: Response) -> Headers:
    return tuple((name.lower(), value) for name, value in response_lines(response))


def _url(connect: ConnectURL, mapped: MappedPath) -> str:
    scheme = _SCHEMES.get(connect.scheme, connect.scheme)
    return f"{scheme}://{connect.authority}{mapped.target(connect)}"


def _with(headers: list[tuple[bytes, bytes]], credentials: BackendCredentials | None) -> list[tuple[bytes, bytes]]:
    """Return headers with credentials in place of those of the same names."""
    if credentials is None:
        return headers
    names = {name for name, _ in credentials.headers}
    return [*(header for header in headers if header[0].lower() not in names), *credentials.headers]
