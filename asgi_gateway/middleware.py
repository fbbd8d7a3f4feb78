"""ASGI in, ASGI out: the gateway in front of an application. The only room that writes answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import sniffio

from asgi_gateway.browser import BrowserClient
from asgi_gateway.config import load_config
from asgi_gateway.errors import HeaderError
from asgi_gateway.gateway import Gateway
from asgi_gateway.handshake import COOKIE_REQUEST, HANDSHAKE_PROTOCOL
from asgi_gateway.lifetime import SocketLifetime
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Forbid, Headers, Unavailable
from asgi_gateway.paths import confusion, path_below_root
from asgi_gateway.socket_login import SocketLogin

__all__ = ["GatewayMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

_KINDS = ("http", "websocket")
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_OPENING = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
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
        path = self.gateway.browser_client
        self._browser_client = BrowserClient(path) if path is not None else None
        self._recall = self.gateway.recall if path is None else self._recall_but_for_module
        self._open = False
        for problem in self.gateway.problems:
            logger.warning("%s", problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allow = self._recall(scope)
        if allow is not None:
            if allow.headers:
                send = _adding(send, allow.headers)
            return await self.app({**scope, **allow.additions}, receive, send)
        entered = await self._decide(scope, receive, send)
        if entered is not None:  # awaited here, so that an open socket holds no frame of the decision
            await entered
        return None

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """Decide; what is left to be awaited is the application, if it is entered."""
        if scope["type"] not in _KINDS:
            return self._other(scope, receive, send)
        request = request_of(scope)
        ended = self.gateway.sockets.ended
        if (preflight := self.gateway.preflight(request)) is not None:
            return _answer(send, 204, preflight, b"")
        module = self._browser_client
        if module is not None and request.path == module.path and request.kind == "http":
            return _answer_file(send, *module.answer(request))
        if scope["type"] == "websocket" and HANDSHAKE_PROTOCOL in scope.get("subprotocols", ()):
            return await self._log_in_inside(scope, receive, send)
        if request.path.endswith(COOKIE_REQUEST) and self._serves_sockets(request):
            return _answer(send, 200, (), b"")
        decision = await self._decision(request)
        if isinstance(decision, Allow):
            return self._enter(scope, receive, send, decision, ended)
        if scope["type"] == "websocket":
            return _deny_websocket(scope, receive, send, decision)
        return _answer(send, *_status_headers_body(decision))

    def _recall_but_for_module(self, scope: Scope) -> Allow | None:
        own = scope["type"] == "http" and path_below_root(scope) == self.gateway.browser_client
        return None if own else self.gateway.recall(scope)

    async def _decision(self, request: AuthRequest) -> Decision:
        try:
            if not self._open:  # a server without lifespan
                await self._open_gateway()
            return await self.gateway.decide(request)
        except Exception:
            logger.exception("an unexpected error while deciding; the request is refused")
            return self.gateway.unavailable(request, "unexpected error")

    def _enter(self, scope: Scope, receive: Receive, send: Send, allow: Allow, ended: int) -> Awaitable[None]:
        """Run the application; ``ended`` is how many revocations there had been before the decision."""
        scope = {**scope, **allow.additions}  # whatever stood under these keys before is gone
        if allow.headers:
            send = _adding(send, allow.headers)
        if scope["type"] == "websocket":
            limited = allow.session_timeout is not None or allow.authorization_timeout is not None
            if limited or (allow.ends_with and sniffio.current_async_library() == "asyncio"):
                return self._limited(scope, receive, send, allow, ended)
        return self.app(scope, receive, send)

    async def _log_in_inside(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """The extended handshake; what it decides, it decides as for a plain one."""
        service = self.gateway.locate(request_of(scope))
        if isinstance(service, Forbid):
            return _deny_websocket(scope, receive, send, service)
        if (await receive())["type"] != "websocket.connect":
            return None
        login = SocketLogin(scope.get("query_string", b""), receive, send)
        ended = 0

        async def decide(inner: Scope) -> Decision:
            nonlocal ended
            ended = self.gateway.sockets.ended
            return await self._decision(request_of(inner))

        entered = await login.run(scope, decide, _status_headers_body, service.credential_headers)
        return None if entered is None else self._enter(entered[0], login.receive, login.send, entered[1], ended)

    def _serves_sockets(self, request: AuthRequest) -> bool:
        """Whether a path that ends as the Java client's request for cookies begins with that of a service's sockets."""
        path = request.path.removesuffix(COOKIE_REQUEST)
        if request.method != "GET" or confusion(path, request.raw_path) is not None:
            return False
        try:
            return self.gateway.find(AuthRequest("websocket", "GET", path, headers=request.headers)) is not None
        except HeaderError:
            return False

    async def _limited(self, scope: Scope, receive: Receive, send: Send, allow: Allow, ended: int) -> None:
        """Run the application in a socket that ends with its session, its authorization or its login."""
        limits = [limit for limit in (allow.session_timeout, allow.authorization_timeout) if limit is not None]
        lifetime = SocketLifetime(receive, send)
        if limits:
            reason = "session timeout" if min(limits) == allow.session_timeout else "authorization timeout"
            lifetime.end_after(min(limits), reason)
        end = lifetime.end
        self.gateway.sockets.add(allow.ends_with, end, ended)
        try:
            await self.app(scope, lifetime.receive, lifetime.send)
        except OSError:
            if not lifetime.ended:
                raise  # the application's own
        finally:
            self.gateway.sockets.discard(allow.ends_with, end)
            await lifetime.finish()

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


async def _answer_file(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
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
