"""ASGI in, ASGI out: the gateway in front of an application. The only room that writes answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from asgi_gateway.config import load_config
from asgi_gateway.gateway import Gateway
from asgi_gateway.lifetime import SocketLifetime
from asgi_gateway.model import Allow, AuthRequest, Challenge, Forbid, Headers, Unavailable
from asgi_gateway.paths import path_below_root

__all__ = ["GatewayMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_KINDS = ("http", "websocket")
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_NO_STORE = (b"cache-control", b"no-store")


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
        self._open = False
        for problem in self.gateway.problems:
            logger.warning("%s", problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow = self._recall(scope)
        if allow is None:
            return await self._decide(scope, receive, send)
        return await self.app({**scope, **allow.additions}, receive, send)

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _KINDS:
            return await self._other(scope, receive, send)
        request = request_of(scope)
        if (preflight := self.gateway.preflight(request)) is not None:
            return await _answer(send, 204, preflight, b"")
        try:
            if not self._open:  # a server without lifespan
                await self._open_gateway()
            decision = await self.gateway.decide(request)
        except Exception:
            logger.exception("an unexpected error while deciding; the request is refused")
            decision = self.gateway.unavailable(request, "unexpected error")
        if not isinstance(decision, Allow):
            if scope["type"] == "websocket":
                return await _deny_websocket(scope, receive, send, decision)
            return await _answer(send, *_status_headers_body(decision))
        inner = {**scope, **decision.additions}  # whatever stood under these keys before is gone
        if decision.headers:
            send = _adding(send, decision.headers)
        if scope["type"] == "http":
            return await self.app(inner, receive, send)
        return await self._websocket(inner, receive, send, decision)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, allow: Allow) -> None:
        limits = [limit for limit in (allow.session_timeout, allow.authorization_timeout) if limit is not None]
        if not limits:
            return await self.app(scope, receive, send)
        lifetime = SocketLifetime(receive, send)
        reason = "session timeout" if min(limits) == allow.session_timeout else "authorization timeout"
        lifetime.end_after(min(limits), reason)
        try:
            await self.app(scope, lifetime.receive, lifetime.send)
        except OSError:
            if not lifetime.ended:
                raise  # the application's own
        finally:
            await lifetime.finish()
        return None

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


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    # RFC 9110 section 8.6: a 204 has no Content-Length
    content = (_PLAIN, (b"content-length", str(len(body)).encode())) if body else ()
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

    async def adding(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return adding
