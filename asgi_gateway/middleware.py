"""ASGI in, ASGI out: the gateway in front of an application. The only room that writes answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sniffio

from asgi_gateway.config import load_config
from asgi_gateway.endpoints import TEXT, Endpoints, Reply
from asgi_gateway.gateway import Gateway
from asgi_gateway.identity import SCOPE_KEY
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Forbid, Headers, Unavailable
from asgi_gateway.paths import path_below_root
from asgi_gateway.sockets import LiveSocket, Owner
from asgi_gateway.subprotocols import without_credentials

__all__ = ["GatewayMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_KINDS = ("http", "websocket")
_PLAIN = (b"content-type", TEXT.encode())
_OPENING = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
_NO_STORE = (b"cache-control", b"no-store")
SOCKET_HEADER = b"gateway-socket"
"""Tells a client by what name to authenticate again for its WebSocket."""


class GatewayMiddleware:
    """Puts the gateway in front of an ASGI application.

    Args:
        app: the application, any ASGI 3 callable.
        config: a file (``.yaml``, ``.yml``, ``.xml``), the YAML form as a mapping, or a Gateway.

    Raises:
        ConfigError: the configuration cannot be used; every problem of it is listed.
    """

    def __init__(self, app: App, config: str | Path | Mapping[str, Any] | Gateway) -> None:
        self.app = app
        self.gateway = config if isinstance(config, Gateway) else load_config(config)
        self._recall = self.gateway.recall
        self._endpoints = Endpoints(self.gateway)
        self._open = False
        for problem in self.gateway.problems:
            logger.warning("%s", problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow = self._recall(scope)
        if allow is None:
            return await self._decide(scope, receive, send)
        if allow.headers:
            send = _adding(send, allow.headers)
        return await self.app({**scope, **allow.additions}, receive, send)

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _KINDS:
            return await self._other(scope, receive, send)
        request = request_of(scope)
        ended = self.gateway.sockets.ended
        if (preflight := self.gateway.preflight(request)) is not None:
            return await _answer(send, 204, preflight, b"")
        try:
            if not self._open:  # a server without lifespan
                await self._open_gateway()
            decision: Decision | Reply = await self._endpoints.answer(request) or await self.gateway.decide(request)
        except Exception:
            logger.exception("an unexpected error while deciding; the request is refused")
            decision = self.gateway.unavailable(request, "unexpected error")
        if isinstance(decision, Reply):
            return await _answer(send, decision.status, decision.headers, decision.body, decision.content_type)
        if not isinstance(decision, Allow):
            if scope["type"] == "websocket":
                return await _deny_websocket(scope, receive, send, decision)
            return await _answer(send, *_status_headers_body(decision))
        inner = {**scope, **decision.additions}  # whatever stood under these keys before is gone
        if scope["type"] == "websocket":
            return await self._websocket(inner, receive, send, decision, ended)
        if decision.headers:
            send = _adding(send, decision.headers)
        return await self.app(inner, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, allow: Allow, ended: int) -> None:
        """Run the application until the socket or its login ends; ``ended`` is from before the decision."""
        if allow.subprotocols:
            scope.update(without_credentials(scope, allow.subprotocols))
        endless = allow.session_timeout is None and allow.authorization_timeout is None and allow.expires is None
        if allow.subject is None or (endless and sniffio.current_async_library() != "asyncio"):
            return await self.app(scope, receive, _adding(send, allow.headers) if allow.headers else send)
        sockets = self.gateway.sockets
        socket = self._live_socket(scope, receive, send, allow)
        sockets.add(socket, ended)
        try:
            await self.app(scope, socket.receive, socket.send)
        except OSError:
            if not socket.ended:
                raise  # the application's own
        finally:
            sockets.discard(socket)
            await socket.finish()
        return None

    def _live_socket(self, scope: Scope, receive: Receive, send: Send, allow: Allow) -> LiveSocket:
        """The authenticated socket, its timer set."""
        owner = Owner(allow.service, allow.realm, allow.subject.name if allow.subject is not None else "")
        headers, name = allow.headers, ""
        if allow.authorization_timeout is not None:
            name = self.gateway.reauthorizations.new_name(owner)
            headers = (*headers, (SOCKET_HEADER, name.encode("ascii")))
            scope[SCOPE_KEY] = replace(scope[SCOPE_KEY], socket=name)
        socket = LiveSocket(receive, send, owner, allow.ends_with, name, headers)
        expires = None if allow.expires is None else max(0.0, allow.expires - self.gateway.clock.time())
        socket.limit(allow.session_timeout, expires, allow.authorization_timeout)
        socket.renewal = self.gateway.reauthorizations.renewal if name else None
        return socket

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            # What the gateway does not know it cannot protect.
            raise ValueError(f"asgi_gateway: scope type {scope['type']!r} is refused")
        await _Lifespan(self, receive, send).run(scope)

    async def _open_gateway(self) -> None:
        await self.gateway.open()
        self._open = True

    async def _close_gateway(self) -> None:
        self._open = False
        await self.gateway.close()


class _Lifespan:
    """Opens the gateway before the application starts and closes it after the application stopped."""

    def __init__(self, middleware: GatewayMiddleware, receive: Receive, send: Send) -> None:
        self._middleware = middleware
        self._receive = receive
        self._send = send
        self._asked = False
        self._failed = False

    async def run(self, scope: Scope) -> None:
        try:
            await self._middleware.app(scope, self.receive, self.send)
        except Exception:
            if self._asked:
                raise
        if not self._asked:
            await self._alone()  # the application knows no lifespan; the gateway does

    async def receive(self) -> Message:
        self._asked = True
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            try:
                await self._middleware._open_gateway()
            except Exception as error:
                # The exception alone would tell most servers that lifespan is not supported, and they would go on.
                self._failed = True
                await self._send({"type": "lifespan.startup.failed", "message": f"asgi_gateway: {error}"})
                raise
        return message

    async def send(self, message: Message) -> None:
        if self._failed:
            return
        if message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            await self._middleware._close_gateway()
        await self._send(message)

    async def _alone(self) -> None:
        while True:
            message = await self.receive()
            await self.send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def request_of(scope: Mapping[str, Any]) -> AuthRequest:
    """The request that an ASGI scope describes."""
    client = scope.get("client")
    return AuthRequest(
        scope["type"],
        scope.get("method", "GET"),
        path_below_root(scope),
        scope.get("query_string", b""),
        scope["headers"],
        client[0] if client else None,
        scope.get("scheme", "http"),
        scope.get("raw_path"),
        client[1] if client else None,
    )


def _status_headers_body(decision: Challenge | Forbid | Unavailable) -> tuple[int, Headers, bytes]:
    """The answer to a refused request: one body for each status, whatever the reason."""
    if isinstance(decision, Challenge):
        return 401, decision.headers, b"Unauthorized\n"
    if isinstance(decision, Unavailable):
        return 503, ((b"retry-after", str(decision.retry_after).encode()), *decision.headers), b"Service Unavailable\n"
    return 403, decision.headers, b"Forbidden\n"


async def _answer(send: Send, status: int, headers: Headers, body: bytes, content_type: str = TEXT) -> None:
    # RFC 9110 section 8.6: a 204 has no Content-Length
    length = (b"content-length", str(len(body)).encode())
    content = ((b"content-type", content_type.encode()), length) if body else ()
    await send({"type": "http.response.start", "status": status, "headers": [*content, _NO_STORE, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _deny_websocket(
    scope: Scope, receive: Receive, send: Send, decision: Challenge | Forbid | Unavailable
) -> None:
    if (await receive())["type"] != "websocket.connect":
        return
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        # The server answers 403. Sending a response unoffered would hang the client.
        await send({"type": "websocket.close", "code": 1008})
        return
    status, headers, body = _status_headers_body(decision)
    joined = _joined((_PLAIN, _NO_STORE, (b"content-length", str(len(body)).encode()), *headers))
    await send({"type": "websocket.http.response.start", "status": status, "headers": joined})
    await send({"type": "websocket.http.response.body", "body": body})


def _joined(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers with lines of one name joined by a comma (RFC 9110 section 5.3): granian cannot send two of a name."""
    lines: dict[bytes, bytes] = {}
    for name, value in headers:
        lines[name] = lines[name] + b", " + value if name in lines else value
    return list(lines.items())


def _adding(send: Send, headers: Headers) -> Send:
    """A ``send`` that adds headers to the application's response, or to the answer of the handshake."""

    def adding(message: Message) -> Awaitable[None]:
        if message["type"] in _OPENING:
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        return send(message)

    return adding
