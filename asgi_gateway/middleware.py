"""ASGI in, ASGI out: the gateway in front of an application. The only room that writes answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sniffio

from asgi_gateway.config import load_config
from asgi_gateway.endpoints.browser_client import BrowserClient
from asgi_gateway.endpoints.service import TEXT, Endpoints, Reply
from asgi_gateway.errors import HeaderError
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.subprotocols import without_credentials
from asgi_gateway.model import Allow, AuthRequest, Challenge, Decision, Forbid, Headers, Unavailable
from asgi_gateway.services.identity import SCOPE_KEY, application_scope
from asgi_gateway.services.inspection import application_roots
from asgi_gateway.services.origins import without_cors
from asgi_gateway.services.paths import ambiguity, path_below_root
from asgi_gateway.services.remote_user import with_remote_user
from asgi_gateway.services.root_path import RootPath
from asgi_gateway.websockets.kaazing_handshake import COOKIE_REQUEST, HANDSHAKE_PROTOCOL
from asgi_gateway.websockets.live import LiveSocket, Owner
from asgi_gateway.websockets.login import SocketLogin

__all__ = ["GatewayMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("asgi_gateway.middleware")

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
        self.app: App = with_remote_user(app)
        self.gateway = config if isinstance(config, Gateway) else load_config(config)
        self._endpoints = Endpoints(self.gateway)
        path = self.gateway.browser_client
        self._browser_client = BrowserClient(path) if path is not None else None
        self._recall = self.gateway.recall if path is None else self._recall_but_for_module
        self._open = False
        self._root_path = RootPath(self.gateway.root_path, application_roots(app))
        self._settles_every_root = self._root_path.concerns_every_scope
        for warning in self._root_path.warnings:
            logger.warning("%s", warning)
        for problem in self.gateway.problems:
            logger.warning("%s", problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._settles_every_root or scope.get("root_path"):
            settled = self._root_path.settle(scope)
            scope = settled.scope
            if settled.refusal is not None:
                return await self._refuse(scope, receive, send, settled.refusal)
        allow = self._recall(scope)
        if allow is not None:
            if allow.headers:
                send = _adding(send, allow.headers)
            return await self.app(application_scope(scope, allow.additions), receive, send)
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
        if request.kind == "http" and "/;" in request.path:
            reply = await self._guarded(request, self._endpoints.answer)
            if isinstance(reply, Reply):
                return _answer(send, reply.status, reply.headers, reply.body, reply.content_type)
            if reply is not None:
                return _answer(send, *_status_headers_body(reply))
        decision = await self._guarded(request, self.gateway.decide)
        if isinstance(decision, Allow):
            return self._enter(scope, receive, send, decision, ended)
        if scope["type"] == "websocket":
            return _deny_websocket(scope, receive, send, decision)
        return _answer(send, *_status_headers_body(decision))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, reason: str) -> None:
        """Refuse a request before its service is known."""
        decision = self.gateway.deny(request_of(scope), None, reason)
        if scope["type"] == "websocket":
            await _deny_websocket(scope, receive, send, decision)
        else:
            await _answer(send, *_status_headers_body(decision))

    def _recall_but_for_module(self, scope: Scope) -> Allow | None:
        own = scope["type"] == "http" and path_below_root(scope) == self.gateway.browser_client
        return None if own else self.gateway.recall(scope)

    async def _guarded(self, request: AuthRequest, decide: Callable[[AuthRequest], Awaitable[T]]) -> T | Unavailable:
        try:
            if not self._open:  # a server without lifespan
                await self._open_gateway()
            return await decide(request)
        except Exception:
            logger.exception("an unexpected error while deciding; the request is refused")
            return self.gateway.unavailable(request, "unexpected error")

    def _enter(self, scope: Scope, receive: Receive, send: Send, allow: Allow, ended: int) -> Awaitable[None]:
        """Run the application; ``ended`` is how often something was revoked when the decision began."""
        scope = application_scope(scope, allow.additions)
        if scope["type"] == "websocket":
            if allow.subprotocols:
                scope.update(without_credentials(scope, allow.subprotocols))
            endless = allow.session_timeout is None and allow.authorization_timeout is None and allow.expires is None
            if allow.subject is not None and not (endless and sniffio.current_async_library() != "asyncio"):
                return self._live(scope, self._live_socket(scope, receive, send, allow), ended)
        if allow.headers:
            send = _adding(send, allow.headers)
        return self.app(scope, receive, send)

    async def _log_in_inside(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """The extended handshake; what it decides, it decides as for a plain one."""
        service = self.gateway.locate(request_of(scope))
        if isinstance(service, Forbid):
            return _deny_websocket(scope, receive, send, service)
        if (await receive())["type"] != "websocket.connect":
            return None
        ended = 0

        async def decide(inner: Scope) -> Decision:
            nonlocal ended
            ended = self.gateway.sockets.ended
            return await self._guarded(request_of(inner), self.gateway.decide)

        login = SocketLogin(scope.get("query_string", b""), receive, send)
        entered = await login.run(scope, decide, _status_headers_body, service.credential_headers)
        return None if entered is None else self._enter(entered[0], login.receive, login.send, entered[1], ended)

    def _serves_sockets(self, request: AuthRequest) -> bool:
        """Whether a path that ends as the Java client's request for cookies begins with that of a service's sockets."""
        path = request.path.removesuffix(COOKIE_REQUEST)
        if request.method != "GET" or ambiguity(path, request.raw_path) is not None:
            return False
        try:
            return self.gateway.find(AuthRequest("websocket", "GET", path, headers=request.headers)) is not None
        except HeaderError:
            return False

    async def _live(self, scope: Scope, socket: LiveSocket, ended: int) -> None:
        """Run the application until the socket or its login ends."""
        self.gateway.sockets.add(socket, ended)
        try:
            await self.app(scope, socket.receive, socket.send)
        except OSError:
            if not socket.ended:
                raise  # the application's own
        finally:
            self.gateway.sockets.discard(socket)
            await socket.finish()

    def _live_socket(self, scope: Scope, receive: Receive, send: Send, allow: Allow) -> LiveSocket:
        """The authenticated socket, its timer set."""
        owner = Owner(allow.service, allow.realm, allow.subject.name if allow.subject is not None else "")
        headers, name = allow.headers, ""
        if allow.authorization_timeout is not None:
            name = self.gateway.reauthorizations.new_name(owner)
            headers = (*headers, (SOCKET_HEADER, name.encode("ascii")))
            scope[SCOPE_KEY] = replace(scope[SCOPE_KEY], socket=name)
        socket = LiveSocket(receive, send, owner, allow.revocation_keys, name, headers)
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
    """A ``send`` that adds headers to the application's response, or to the answer of the handshake.

    The gateway's headers of CORS replace the application's: browsers refuse a response that has both.
    """

    cors = any(name == b"access-control-allow-origin" for name, _ in headers)

    def adding(message: Message) -> Awaitable[None]:
        if message["type"] in _OPENING:
            given = message.get("headers", ())
            message = {**message, "headers": [*(without_cors(given) if cors else given), *headers]}
        return send(message)

    return adding
