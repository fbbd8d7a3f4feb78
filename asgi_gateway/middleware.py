"""Put the gateway in front of an ASGI application. The only module that sends ASGI responses."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from asgi_gateway.authentication.multi_realm import IDENTITY_HEADER
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.config import load_config
from asgi_gateway.config.backend_login import ConnectHandler
from asgi_gateway.config.unusable import unusable_gateway
from asgi_gateway.endpoints.browser_client import BrowserClient
from asgi_gateway.endpoints.forward_auth import ForwardAuth
from asgi_gateway.endpoints.login_page import LoginPages
from asgi_gateway.endpoints.responses import response_to
from asgi_gateway.endpoints.service import Endpoints
from asgi_gateway.errors import ConfigError, HeaderError, Problem
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.http.subprotocols import without_credentials
from asgi_gateway.model import Allow, AuthRequest, Decision, Forbid, Headers, Refusal, Response, Unavailable
from asgi_gateway.services.backend import ON_END
from asgi_gateway.services.identity import SCOPE_KEY, application_scope
from asgi_gateway.services.inspection import application_roots
from asgi_gateway.services.paths import ambiguity, path_below_root
from asgi_gateway.services.remote_user import with_remote_user
from asgi_gateway.services.resource_metadata import ResourceMetadata
from asgi_gateway.services.root_path import PATH_REMAINING, RootPath
from asgi_gateway.services.trusted_proxies import PeerSettler
from asgi_gateway.websockets.kaazing_handshake import COOKIE_REQUEST, HANDSHAKE_PROTOCOL, LoginLimits
from asgi_gateway.websockets.live import LiveSocket, SocketOwner
from asgi_gateway.websockets.login import SocketLogin
from asgi_gateway.websockets.pending import PendingLogins
from asgi_gateway.websockets.stream import LiveStream, LiveStreams, adding_headers

__all__ = ["GatewayMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")
App = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("asgi_gateway.middleware")

_PROTOCOLS = ("http", "websocket")
_NO_STORE = (b"cache-control", b"no-store")
_BODILESS = (204, 304)
"""Responses without a Content-Length (RFC 9110 section 8.6)."""
_INSIDE = LoginOptions(begin_session=False, identity_ttl=LoginLimits().later)
"""How requests inside a WebSocket are decided on."""
SOCKET_HEADER = b"gateway-socket"
"""Names a WebSocket to its client, which authenticates again by that name."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    """A request that enters the application.

    Args:
        scope: the scope that was decided on.
        receive: the application's ``receive``.
        send: the application's ``send``.
        allow: the decision.
        revocation_epoch: the number of revocations before the decision began.
    """

    scope: Scope
    receive: Receive
    send: Send
    allow: Allow
    revocation_epoch: int


class GatewayMiddleware:
    """Puts the gateway in front of an ASGI application.

    Args:
        app: the application, any ASGI 3 callable; None where every service has a back end of its own, or other proxies
            ask for decisions (``forward-auth``).
        config: a file (``.yaml``, ``.yml``, ``.xml``), the YAML form as a mapping, or a Gateway.
        connect_handler: answers the 401s of back ends whose service has no ``connect-login``: a ChallengeHandler of
            ``asgi_gateway.client``, or, for Basic, a LoginHandler or a function as it takes one. A Gateway has its own:
            give it to ``load_config``.

    Raises:
        ConfigError: the configuration cannot be used; every problem of it is listed.
    """

    def __init__(
        self,
        app: App | None,
        config: str | Path | Mapping[str, Any] | Gateway,
        *,
        connect_handler: ConnectHandler | None = None,
    ) -> None:
        self.app: App = with_remote_user(app) if app is not None else _no_application
        if isinstance(config, Gateway) and connect_handler is not None:
            raise ConfigError(Problem("a Gateway has a connect_handler already", hint="give it to load_config"))
        self.gateway = config if isinstance(config, Gateway) else _gateway_of(config, connect_handler)
        """The gateway that decides."""
        if app is None and (names := self.gateway.services_of_application):
            hint = "give connect and type, or name the application"
            raise ConfigError(Problem(f"no application for the service {', '.join(names)}", hint=hint))
        self._pages = LoginPages(self.gateway)
        self._endpoints = Endpoints(self.gateway, self._pages)
        self._pending_logins = PendingLogins()
        self._hinted = False
        path = self.gateway.browser_client
        files: list[BrowserClient | ResourceMetadata] = [BrowserClient(path)] if path is not None else []
        self._files = {each.path: each for each in (*files, *self.gateway.resources)}
        checks = self.gateway.forward_auth
        root = RootPath(self.gateway.root_path, application_roots(app))
        self._forward_auth = None if checks is None else ForwardAuth(self.gateway, checks, root, self._guarded)
        has_own = self._files or self._forward_auth
        self._cached_decision = self._cached_decision_beside_own if has_own else self.gateway.cached_decision
        self._open = False
        self._streams = LiveStreams(self.gateway.sockets, self.gateway.monitor, self.gateway.clock)
        self._root_path = root
        trusted = self.gateway.trusted_proxies
        self._peers = PeerSettler(trusted) if trusted else None
        self._settles_every_root = self._root_path.concerns_every_scope
        for warning in self._root_path.warnings:
            logger.warning("%s", warning)
        for problem in self.gateway.problems:
            logger.warning("%s", problem)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._peers is not None:
            scope = self._peers.settle(scope)
        if self._settles_every_root or scope.get("root_path") or PATH_REMAINING in scope:
            settled = self._root_path.settle(scope)
            scope = settled.scope
            if settled.refusal is not None:
                refusal = self.gateway.deny(request_of(scope), settled.refusal)
                return await send_response(scope, receive, send, response_to(refusal))
        allow = self._cached_decision(scope)
        if allow is not None:
            if allow.ends:
                stream = LiveStream(self._streams, receive, send, allow, self.gateway.sockets.revocation_epoch)
                receive, send = stream.receive, stream.send
            elif allow.headers:
                send = adding_headers(send, allow.headers)
            return await (allow.backend or self.app)(application_scope(scope, allow.additions), receive, send)
        if scope["type"] not in _PROTOCOLS:
            return await self._other(scope, receive, send)
        outcome = await self._decide_or_refuse(scope, receive, send)
        if outcome is None:
            return None
        if isinstance(outcome, Response):
            return await send_response(scope, receive, send, outcome)
        running = self._enter(outcome)
        del outcome  # an open socket holds neither the decision nor what led to it
        return await running

    async def _decide_or_refuse(self, scope: Scope, receive: Receive, send: Send) -> Response | _Entry | None:
        """Return what ``_decide`` returns; on a stop answer 503 first, where the server would answer 500."""
        try:
            return await self._decide(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] == "http":
                with suppress(Exception):  # the client may be gone
                    reason = self.gateway.unavailable(request_of(scope), "the server stopped during the login")
                    await send_response(scope, receive, send, response_to(reason))
            raise

    async def _decide(self, scope: Scope, receive: Receive, send: Send) -> Response | _Entry | None:
        """Return the response to a request, or its entry into the application; None if its client is gone."""
        if self._forward_auth is not None and self._forward_auth.concerns(scope):
            return await self._forward_auth.answer(scope)
        request = request_of(scope)
        epoch = self.gateway.sockets.revocation_epoch
        if scope["type"] == "websocket":
            if self.gateway.logs_in_inside(scope):
                return await self._log_in_inside(scope, receive, send)
        elif (response := await self._own_response(request, receive)) is not None:
            return response
        decision = await self._guarded(request, self.gateway.decide)
        if isinstance(decision, Allow):
            return _Entry(scope=scope, receive=receive, send=send, allow=decision, revocation_epoch=epoch)
        self._hint_at_extended_handshake(scope)
        return self._pages.response_to(request, decision)

    def _hint_at_extended_handshake(self, scope: Scope) -> None:
        """Warn once if a refused client wanted to log in inside its WebSocket, which is not configured."""
        if not self._hinted and HANDSHAKE_PROTOCOL in scope.get("subprotocols", ()):
            self._hinted = True
            logger.warning(
                "a WebSocket was refused whose client logs in inside it (subprotocol %s): if clients need that, add"
                " extended-handshake: true to the configuration",
                HANDSHAKE_PROTOCOL,
            )

    async def _own_response(self, request: AuthRequest, receive: Receive) -> Response | None:
        """Return the response to an HTTP request that the gateway answers itself; None if it does not."""
        if (preflight := self.gateway.preflight(request)) is not None:
            return Response(status=204, headers=preflight)
        if (file := self._files.get(request.path)) is not None:
            return file.answer(request)
        if "/;" not in request.path:
            return None
        if request.path.endswith(COOKIE_REQUEST) and self._serves_sockets(request):
            return Response(status=200)
        answer = await self._guarded(request, lambda each: self._endpoints.answer(each, receive))
        return answer if answer is None or isinstance(answer, Response) else self._pages.response_to(request, answer)

    def _cached_decision_beside_own(self, scope: Scope) -> Allow | None:
        """Return the cached decision on a request; None for what the gateway answers itself."""
        if self._forward_auth is not None and self._forward_auth.concerns(scope):
            return None
        own = scope["type"] == "http" and path_below_root(scope) in self._files
        return None if own else self.gateway.cached_decision(scope)

    async def _guarded(self, request: AuthRequest, decide: Callable[[AuthRequest], Awaitable[T]]) -> T | Unavailable:
        """Return what ``decide`` returns; Unavailable if it raises or the server stops meanwhile."""
        try:
            if not self._open:  # a server without lifespan
                await self._open_gateway()
            return await decide(request)
        except Exception:
            logger.exception("an unexpected error while deciding; the request is refused")
            return self.gateway.unavailable(request, "unexpected error")

    def _enter(self, entry: _Entry) -> Awaitable[None]:
        """Return the coroutine that runs the application."""
        allow = entry.allow
        scope = application_scope(entry.scope, allow.additions)
        if scope["type"] == "websocket":
            if allow.subprotocols:
                scope.update(without_credentials(scope, allow.subprotocols))
            if allow.subject is not None:
                socket = self._live_socket(scope, entry.receive, entry.send, allow)
                return self._live(scope, socket, entry.revocation_epoch, allow)
        receive, send = entry.receive, entry.send
        if allow.ends and scope["type"] == "http":
            stream = LiveStream(self._streams, receive, send, allow, entry.revocation_epoch)
            receive, send = stream.receive, stream.send
        elif allow.headers:
            send = adding_headers(send, allow.headers)
        return (allow.backend or self.app)(scope, receive, send)

    async def _log_in_inside(self, scope: Scope, receive: Receive, send: Send) -> Response | _Entry | None:
        """Hold the extended handshake; each request inside it is decided on like a plain one."""
        request = request_of(scope)
        route = self.gateway.route_for(request)
        if isinstance(route, Forbid):
            return response_to(route)
        if (refused := route.refuse_origin(request)) is not None:
            return response_to(refused)
        with self._pending_logins.place(request.remote_address) as allowed:
            if not allowed:
                reason = "too many WebSockets whose clients have not logged in"
                return response_to(self.gateway.unavailable(request, reason))
            return await self._hold_login(scope, receive, send, route.service.credential_headers)

    async def _hold_login(
        self, scope: Scope, receive: Receive, send: Send, credential_headers: frozenset[bytes]
    ) -> _Entry | None:
        if (await receive())["type"] != "websocket.connect":
            return None
        epoch = self.gateway.sockets.revocation_epoch

        async def decide(inner: Scope) -> Decision:
            nonlocal epoch
            request = request_of(inner)
            if all(name != IDENTITY_HEADER for name, _ in request.headers):  # else the login began with an earlier one
                epoch = self.gateway.sockets.revocation_epoch
            return await self._guarded(request, self._decide_inside)

        login = SocketLogin(scope.get("query_string", b""), receive, send)
        try:
            entered = await login.run(scope, decide, _status_and_headers, credential_headers)
        finally:
            await self.gateway.forget_challenges(login.unused_identities)
        if entered is None:
            return None
        inner_scope, allow = entered
        return _Entry(scope=inner_scope, receive=login.receive, send=login.send, allow=allow, revocation_epoch=epoch)

    async def _decide_inside(self, request: AuthRequest) -> Decision:
        """Decide on a request inside a WebSocket. It begins no session: the browser would not keep its cookie."""
        return await self.gateway.decide(request, _INSIDE)

    def _serves_sockets(self, request: AuthRequest) -> bool:
        """Return whether the Java client's request for cookies is for a path that accepts WebSockets."""
        path = request.path.removesuffix(COOKIE_REQUEST)
        if request.method != "GET" or ambiguity(path, request.raw_path) is not None:
            return False
        try:
            route = self.gateway.match(request.replace(protocol="websocket", path=path))
        except HeaderError:
            return False
        return route is not None and not route.service.refusal

    async def _live(self, scope: Scope, socket: LiveSocket, epoch: int, allow: Allow) -> None:
        """Run the application until the socket or its login ends."""
        app, checks = allow.backend or self.app, allow.checks
        del allow  # an open socket does not hold the decision
        self.gateway.sockets.add(socket, epoch)
        for check in checks:
            self.gateway.monitor.add(socket, check)
        if app is not self.app:
            scope[ON_END] = socket.on_end
        try:
            await app(scope, socket.receive, socket.send)
        except OSError:
            if not socket.ended:
                raise  # the application's own
        finally:
            self.gateway.sockets.discard(socket)
            for check in checks:
                self.gateway.monitor.discard(socket, check)
            await socket.wait_closed()

    def _live_socket(self, scope: Scope, receive: Receive, send: Send, allow: Allow) -> LiveSocket:
        """Return the authenticated socket, its timer set."""
        owner = SocketOwner(allow.service, allow.realm, allow.subject.name if allow.subject is not None else "")
        headers, renewal = allow.headers, None
        if allow.authorization_timeout is not None:
            renewal = self.gateway.reauthorizations.new_renewal(owner)
            headers = (*headers, (SOCKET_HEADER, renewal.name.encode("ascii")))
            scope[SCOPE_KEY] = replace(scope[SCOPE_KEY], socket=renewal.name)
        socket = LiveSocket(receive, send, owner, allow.revocation_keys, headers, renewal)
        expires = None if allow.expires is None else max(0.0, allow.expires - self.gateway.clock.time())
        socket.set_deadlines(allow.session_timeout, expires, allow.authorization_timeout)
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


async def _no_application(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for the application of a gateway without one: services have back ends, or other proxies have them."""
    if scope["type"] != "lifespan":
        await send_response(scope, receive, send, Response(status=404, body=b"Not Found\n"))


class _Lifespan:
    """Opens the gateway before the application starts and closes it after the application stopped."""

    def __init__(self, middleware: GatewayMiddleware, receive: Receive, send: Send) -> None:
        self._middleware = middleware
        self._receive = receive
        self._send = send
        self._asked = False
        self._failed = False

    async def run(self, scope: Scope) -> None:
        """Run the application's lifespan; the gateway's alone if the application has none."""
        try:
            await self._middleware.app(scope, self.receive, self.send)
        except Exception as error:
            if self._asked:
                raise
            if not _means_no_lifespan(error):
                self._failed = True
                message = f"the application failed to start: {type(error).__name__}: {error}"
                await self._receive()
                await self._send({"type": "lifespan.startup.failed", "message": message})
                raise
        if not self._asked:
            await self._alone()

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


def _means_no_lifespan(error: Exception) -> bool:
    """Return whether an application raised because it knows no lifespan, as the ASGI specification has it do.

    Such applications assert the scope's type, look up a key that the scope lacks, or name the type they do not know.
    Any other error is a failure to start, as it is without the gateway.
    """
    return isinstance(error, AssertionError | KeyError | NotImplementedError) or "lifespan" in str(error)


def _gateway_of(config: str | Path | Mapping[str, Any], connect_handler: ConnectHandler | None) -> Gateway:
    """Return the Gateway of a configuration.

    After ``add_middleware`` Starlette builds its middlewares when the server starts the lifespan. Servers take an
    exception there for an application without lifespan, go on, and answer every request with 500. So the Gateway of
    an invalid configuration is built all the same and fails to open, which ends the start.

    Raises:
        ConfigError: the configuration cannot be used, and Starlette does not build the middleware.
    """
    try:
        return load_config(config, connect_handler=connect_handler)
    except ConfigError as error:
        builder = sys._getframe(2).f_code.co_name  # whoever called GatewayMiddleware()
        if builder != "build_middleware_stack":
            raise
        return unusable_gateway(error)


async def send_response(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Send a response to an HTTP request, or refuse a WebSocket handshake with it.

    A server that cannot answer a handshake with a response closes the socket, which clients see as 403: sending a
    response that the server did not offer would hang the client.
    """
    prefix = "http.response"
    if scope["type"] == "websocket":
        if (await receive())["type"] != "websocket.connect":
            return None
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            return await send({"type": "websocket.close", "code": 1008})
        prefix = "websocket.http.response"
    headers = _message_headers(response)
    # granian cannot send two lines of one name in answer to a handshake
    lines = _joined(headers) if scope["type"] == "websocket" else headers
    await send({"type": f"{prefix}.start", "status": response.status, "headers": lines})
    body = b"" if scope.get("method") == "HEAD" else response.body
    return await send({"type": f"{prefix}.body", "body": body})


def _message_headers(response: Response) -> list[tuple[bytes, bytes]]:
    headers = [] if any(name == b"cache-control" for name, _ in response.headers) else [_NO_STORE]
    if response.body:
        headers.append((b"content-type", response.content_type.encode()))
    if response.status not in _BODILESS:
        headers.append((b"content-length", str(len(response.body)).encode()))
    return [*headers, *response.headers]


def _status_and_headers(refusal: Refusal) -> tuple[int, Headers, bytes]:
    response = response_to(refusal)
    return response.status, response.headers, response.body


def _joined(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers with lines of one name joined by a comma (RFC 9110 section 5.3)."""
    lines: dict[bytes, bytes] = {}
    for name, value in headers:
        lines[name] = lines[name] + b", " + value if name in lines else value
    return list(lines.items())
