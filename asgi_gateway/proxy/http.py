"""Pass HTTP requests on to back ends, and their responses back: the type ``http.proxy``.

Both bodies are streamed: a piece is read when the other side has taken the one before. Nothing is decoded or changed in
them. A request is sent once. Only GET, HEAD and OPTIONS without a body are repeated, once, where the connection was
lost before a response; and every request, where no connection was made, with the next back end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from asgi_gateway.client import MutualAuthenticationError
from asgi_gateway.model import AuthRequest, Headers
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.framing import BodyTooLarge, RequestBody, RequestFraming, drain, request_framing
from asgi_gateway.proxy.http_client import (
    BackendClient,
    BackendResponse,
    CannotConnect,
    ConnectionBroken,
    InvalidHead,
)
from asgi_gateway.proxy.login import BackendChallenge, BackendCredentials, BackendLogin
from asgi_gateway.proxy.mapping import MappedPath, PathMapping
from asgi_gateway.proxy.outgoing import OutgoingRequest, RequestRefused
from asgi_gateway.proxy.rewriting import InvalidResponse, ResponseHeaders
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.proxy.slots import Slots, SlotUnavailable
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.proxy.watch import Interruption, RequestWatch, Watches
from asgi_gateway.services.backend import Backend, Receive, Scope, Send
from asgi_gateway.services.identity import SCOPE_KEY
from asgi_gateway.telemetry.audit import Audit

__all__ = ["BackendFailed", "HTTPProxy", "TransferBroken"]

logger = logging.getLogger("asgi_gateway.proxy")

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]{1,40}")
_UNREAD = RequestFraming(None)
_REFUSED_METHODS = {"CONNECT": "tunnels are not opened", "TRACE": "it would show what the gateway adds"}
_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS"))
_BODILESS = (204, 304)
_WHOLE_BYTES = 65_536
"""Bodies up to this length are sent as one, if they were received as one, and kept to be sent again after a 401."""
_AUTHENTICATES_CONNECTION = re.compile(rb"(?:\A|[\s,])(?:ntlm|nego2|negotiate|kerberos)(?:[\s,]|\Z)", re.IGNORECASE)
_TEXTS = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    417: b"Expectation Failed",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    508: b"Loop Detected",
}


class BackendFailed(Exception):
    """There is no response of a back end that could be passed on.

    Args:
        status: what the client gets: 502, 503 or 504.
        reason: why, for the log.
        backend: the back end's URL.
        connected: whether a connection was made, so that the request may have been sent.
    """

    def __init__(self, status: int, reason: str, backend: str, *, connected: bool = True) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.backend = backend
        self.connected = connected


class TransferBroken(ConnectionError):
    """The back end ended in the middle of its response: the server has to cut the client's off."""


class HTTPProxy(Backend):
    """Passes HTTP requests on to back ends.

    Args:
        settings: what the service says of its back ends.
        outgoing: writes the requests' headers.
        targets: the back ends.
        login: answers their 401s; None to pass them on.
        audit: takes events.
    """

    def __init__(
        self,
        settings: ProxySettings,
        outgoing: OutgoingRequest,
        targets: Targets,
        *,
        login: BackendLogin | None = None,
        audit: Audit,
    ) -> None:
        self.settings = settings
        self.outgoing = outgoing
        self.targets = targets
        self.login = login if login is not None and login.attempts else None
        self.mapping = PathMapping(settings.accepts)
        self.responses = ResponseHeaders(settings)
        self.description = f"http.proxy to {', '.join(map(str, targets.connects))}"
        self.watches = Watches()
        self._opened = False
        self._audit = audit
        self._login = login
        self._clients = {each: BackendClient(settings, each) for each in targets.connects}
        self._slots = {each: Slots(settings.max_connections) for each in targets.connects}

    async def open(self) -> None:
        """Make the pools of connections. Nothing is connected yet."""
        self._opened = True
        for client in self._clients.values():
            client.open()
        if self._login is not None:
            await self._login.open()

    async def close(self) -> None:
        """Close every connection."""
        self._opened = False
        self.watches.close()
        for client in self._clients.values():
            await client.close()
        if self._login is not None:
            await self._login.close()

    async def check(self) -> list[str]:
        """Return the back ends to which no connection can be made, and what the login lacks."""
        found = []
        for connect in self.targets.connects:
            try:
                async with asyncio.timeout(self.settings.timeouts.connect):
                    await _try(connect, self.settings.tls)
            except (OSError, TimeoutError) as error:
                found.append(f"cannot connect to {connect}: {_text(error)}")
        return found + (await self._login.check() if self._login is not None else [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on.

        Raises:
            TransferBroken: the back end ended in the middle of its response.
        """
        if not self._opened:  # a server without lifespan
            await self.open()
        exchange = _Exchange(self, scope, receive, send)
        try:
            await exchange.run()
        except RequestRefused as refused:
            self._audit.event("denial", _request_of(scope), service=self.settings.service, reason=refused.reason)
            await exchange.refuse(refused.status)
        except BackendFailed as failure:
            self._unavailable(scope, failure.backend, failure.reason)
            await exchange.refuse(failure.status)

    def client(self, connect: ConnectURL) -> BackendClient:
        """Return the connections to a back end."""
        return self._clients[connect]

    @property
    def in_use(self) -> int:
        """How many requests are with back ends now."""
        return sum(slots.used for slots in self._slots.values())

    async def take_slot(self, connect: ConnectURL, *, wait: bool) -> Slots | None:
        """Take a slot of a back end.

        Args:
            connect: the back end.
            wait: whether to wait for one.

        Returns:
            what the slot is given back to; None if none is free.

        Raises:
            BackendFailed: none became free in time.
        """
        slots = self._slots[connect]
        if slots.take():
            return slots
        if not wait:
            return None
        try:
            await slots.wait(self.settings.timeouts.connect)
        except SlotUnavailable as error:
            raise BackendFailed(503, str(error), str(connect)) from None
        return slots

    def broken(self, scope: Scope, connect: ConnectURL, error: BaseException) -> TransferBroken:
        """Note that a response was cut off, and return the error that makes the server cut off the client's."""
        reason = f"the response ended too early: {_text(error)}"
        self._unavailable(scope, str(connect), reason)
        return TransferBroken(f"{connect}: {reason}")

    def _unavailable(self, scope: Scope, backend: str, reason: str) -> None:
        fields = {"service": self.settings.service, "backend": backend, "reason": f"back end {backend}: {reason}"}
        self._audit.event("unavailable", _request_of(scope), **fields)


class _Exchange:
    """One request and its response."""

    __slots__ = (
        "_body",
        "_framing",
        "_mapped",
        "_method",
        "_own_client",
        "_proxy",
        "_receive",
        "_received",
        "_scope",
        "_send",
        "_slots",
        "_watch",
    )

    def __init__(self, proxy: HTTPProxy, scope: Scope, receive: Receive, send: Send) -> None:
        self._proxy = proxy
        self._scope = scope
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._framing = _UNREAD
        self._body: RequestBody | bytes | None = None
        self._mapped = MappedPath("", "")
        self._slots: Slots | None = None
        self._own_client: BackendClient | None = None
        """Holds the connection that credentials authenticate: further legs go on it, and no other request does."""
        self._received: Headers | None = None
        """The response's headers that pass, where the gateway sent credentials; None for all of them."""
        self._watch: RequestWatch | None = None

    async def run(self) -> None:
        """Pass the request on and its response back.

        Raises:
            RequestRefused: the request cannot be passed on.
            BackendFailed: there is no response.
            TransferBroken: the response was cut off.
        """
        self._check()
        watch = self._watch = RequestWatch(self._receive, self._proxy.settings.timeouts, self._proxy.watches)
        connect: ConnectURL | None = None
        response: BackendResponse | None = None
        try:
            await self._read_body(watch)
            connect, response = await self._response()
            await self._pass_back(connect, response)
            if not isinstance(self._body, RequestBody) or self._body.sent:
                response = None  # its connection was put back
        except _Gone:
            if response is None:
                with suppress(OSError):  # the server may only take the body for malformed
                    await self.refuse(400)
        except asyncio.CancelledError:
            if (interruption := watch.interrupted()) is None:
                raise
            if interruption != "gone":
                raise self._too_slow(interruption, connect) from None
        finally:
            watch.stop()
            if response is not None:
                response.close()
            if self._slots is not None:
                self._slots.free()
                self._slots = None
            await self._close_own_client()

    async def _close_own_client(self) -> None:
        client, self._own_client = self._own_client, None
        if client is not None:
            await client.close()

    def _too_slow(self, interruption: Interruption, connect: ConnectURL | None) -> Exception:
        """Return what the request ends with, whose response may be passed on already."""
        reason = "no response in time" if interruption == "late" else "it does not take the request's body"
        if connect is None:
            return BackendFailed(504, reason, self._backends())
        return self._proxy.broken(self._scope, connect, TimeoutError(reason))

    async def refuse(self, status: int) -> None:
        """Answer in place of the back end. What is left of the request's body is read, or the connection closed."""
        body = _TEXTS.get(status, b"")
        complete = self._body.complete if isinstance(self._body, RequestBody) else isinstance(self._body, bytes)
        left = not complete and self._framing.stated
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if left:
            headers.append((b"connection", b"close"))
        if status == 405:
            headers.append((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if self._method == "HEAD" else body
        if left:  # so that the client reads the answer before the connection is reset
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            if not self._framing.waits:
                await drain(self._receive)
            body = b""
        await self._send({"type": "http.response.body", "body": body})

    # --------------------------------------------------------------------------------------------------------- request

    def _check(self) -> None:
        method = self._method
        if method in _REFUSED_METHODS:
            raise RequestRefused(405, f"{method} is refused: {_REFUSED_METHODS[method]}")
        if _METHOD.fullmatch(method) is None:
            raise RequestRefused(400, "the method is invalid")
        self._framing = request_framing(self._scope)
        limit, length = self._proxy.settings.max_body, self._framing.length
        if limit is not None and length is not None and length > limit:
            raise RequestRefused(413, "the request's body is longer than max-body")
        try:
            self._mapped = self._proxy.mapping.split(self._scope)
        except ValueError as error:
            raise RequestRefused(400, str(error)) from None

    async def _read_body(self, watch: RequestWatch) -> None:
        """Read the first piece of the body, if there is one and the client does not wait to be asked for it.

        Raises:
            _Gone: the client left.
        """
        if self._framing.length == 0:
            watch.request_sent()
            return
        first: dict[str, Any] | None = None
        if not self._framing.waits:
            first = dict(await self._receive())
            if first["type"] != "http.request":
                raise _Gone
            piece = first.get("body", b"")
            if not first.get("more_body", False) and len(piece) <= _WHOLE_BYTES:
                self._take_whole(piece)
                watch.request_sent()
                return
        self._body = RequestBody(
            self._receive,
            first,
            length=self._framing.length,
            limit=self._proxy.settings.max_body,
            keep=_WHOLE_BYTES if self._proxy.login is not None else 0,
            watch=watch,
        )

    def _take_whole(self, body: bytes) -> None:
        limit = self._proxy.settings.max_body
        if limit is not None and len(body) > limit:
            raise RequestRefused(413, "the request's body is longer than max-body")
        self._body = body
        if self._framing.length not in (None, len(body)):
            raise _Gone

    # -------------------------------------------------------------------------------------------------------- response

    async def _response(self) -> tuple[ConnectURL, BackendResponse]:
        """Return the response of the first back end to which a connection can be made."""
        proxy = self._proxy
        candidates = proxy.targets.candidates()
        failure: BackendFailed | None = None
        for index, connect in enumerate(candidates):
            self._slots = await proxy.take_slot(connect, wait=index == len(candidates) - 1)
            if self._slots is None:
                continue
            try:
                response = await self._ask(connect)
            except BackendFailed as error:
                if error.connected:
                    raise
                failure = error
                proxy.targets.failed(connect)
                self._slots.free()
                self._slots = None
                await self._close_own_client()
                continue
            proxy.targets.answered(connect)
            return connect, response
        raise failure or BackendFailed(503, "all connections are in use", self._backends())

    async def _ask(self, connect: ConnectURL) -> BackendResponse:
        """Send the request, and again with credentials where the back end asks for them."""
        login = self._proxy.login
        headers = self._proxy.outgoing.headers(self._scope, connect)
        target = self._mapped.target(connect, self._proxy.outgoing.query(self._scope.get("query_string", b"")))
        if login is None or any(name == b"authorization" for name, _ in headers):  # of the client's own: it answers
            return await self._request(connect, target, headers, None)
        url = f"{'https' if connect.tls else 'http'}://{connect.authority}{target.partition('?')[0]}"
        credentials = login.first(url)
        response = await self._request(connect, target, headers, credentials)
        context = self._scope.get(SCOPE_KEY)
        attempt = 1
        while response.status == 401 and attempt <= login.attempts and self._can_repeat():
            challenge = BackendChallenge(
                url=url,
                headers=_lower(response.raw_headers),
                subject=getattr(context, "subject", None),
                authorization=next((value for name, value in self._scope["headers"] if name == b"authorization"), None),
                attempt=attempt,
                previous=credentials,
            )
            try:
                answer = await login.answer(challenge)
            except BaseException:
                response.close()
                raise
            if answer is None:
                break
            if credentials is not None and credentials.connection_bound and answer.connection_bound:
                await response.read_rest()
            else:
                response.close()
            credentials, attempt = answer, attempt + 1
            if isinstance(self._body, RequestBody):
                self._body = self._body.again or b""
            response = await self._request(connect, target, headers, credentials)
        if credentials is not None:
            try:
                self._received = login.finish(credentials, response.status, _lower(response.raw_headers))
            except MutualAuthenticationError as error:
                response.close()
                raise BackendFailed(502, str(error), str(connect)) from None
        return response

    def _can_repeat(self) -> bool:
        return not isinstance(self._body, RequestBody) or (self._body.sent and self._body.again is not None)

    async def _request(
        self,
        connect: ConnectURL,
        target: str,
        headers: Sequence[tuple[bytes, bytes]],
        credentials: BackendCredentials | None,
    ) -> BackendResponse:
        """Send the request once, or twice where that is safe.

        Raises:
            BackendFailed: there is no response.
        """
        if credentials is not None:
            own = dict(credentials.headers)
            headers = [*(header for header in headers if header[0] not in own), *credentials.headers]
        data: Any = self._body or None
        if isinstance(data, RequestBody):
            if self._framing.length is not None:
                headers = [*headers, (b"content-length", b"%d" % self._framing.length)]
            data = data.pieces()
        if self._watch is not None:
            self._watch.sending_again()
        try:
            response = await self._send_once_or_twice(self._client(connect, credentials), target, headers, data)
        except (CannotConnect, ConnectionBroken, InvalidHead, TimeoutError, ValueError) as error:
            raise self._failure(connect, error) from error
        if self._watch is not None:
            self._watch.answered()
        if self._leaves_traces(headers, credentials, response):
            response.use_no_longer()
        return response

    def _client(self, connect: ConnectURL, credentials: BackendCredentials | None) -> BackendClient:
        if credentials is None or not credentials.connection_bound:
            return self._proxy.client(connect)
        if self._own_client is None:
            self._own_client = BackendClient(self._proxy.settings, connect)
            self._own_client.open()
        return self._own_client

    async def _send_once_or_twice(
        self, client: BackendClient, target: str, headers: Sequence[tuple[bytes, bytes]], data: Any
    ) -> BackendResponse:
        connected = None if self._watch is None else self._watch.connected
        try:
            return await client.send(self._method, target, headers, data, connected)
        except ConnectionBroken:
            if data is not None or self._method not in _REPEATABLE or client is self._own_client:
                raise
        return await client.send(self._method, target, headers, None, connected)

    def _leaves_traces(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        credentials: BackendCredentials | None,
        response: BackendResponse,
    ) -> bool:
        """Return whether no other request may use the connection.

        It may be authenticated as somebody, or be about to be. Or the response came before the request was all sent.
        """
        if isinstance(self._body, RequestBody) and not self._body.sent:
            return True
        if credentials is not None and credentials.connection_bound:
            return False  # of a client of its own, for further legs
        values = [value for name, value in headers if name == b"authorization"]
        values += [value for name, value in response.raw_headers if name.lower() == b"www-authenticate"]
        return any(_AUTHENTICATES_CONNECTION.search(value) for value in values)

    def _failure(self, connect: ConnectURL, error: Exception) -> Exception:
        """Return what a request ends with that got no response."""
        if isinstance(self._body, RequestBody) and self._body.error is not None:
            if isinstance(self._body.error, BodyTooLarge):
                return RequestRefused(413, "the request's body is longer than max-body")
            return _Gone()
        connected = not isinstance(error, CannotConnect)
        status = 504 if isinstance(error, TimeoutError) else 502
        if not connected:
            reason = "cannot connect"
        elif status == 504:
            reason = "no response in time"
        elif isinstance(error, InvalidHead):
            reason = f"invalid response: {error}"
        else:
            reason = "the connection was lost"
        if not isinstance(error, TimeoutError | InvalidHead):
            reason = f"{reason}: {_text(error)}"
        return BackendFailed(status, reason, str(connect), connected=connected)

    async def _pass_back(self, connect: ConnectURL, response: BackendResponse) -> None:
        """Send the response to the client."""
        status, proxy = response.status, self._proxy
        if not 200 <= status <= 599:
            response.use_no_longer()
            response.close()
            raise BackendFailed(502, f"invalid response: status {status}", str(connect))
        host = ""
        if proxy.settings.preserve_host:
            host = next((value.decode("latin-1") for name, value in self._scope["headers"] if name == b"host"), "")
        try:
            received = response.raw_headers if self._received is None else self._received
            headers = proxy.responses.write(received, status, connect, self._mapped, host)
        except InvalidResponse as error:
            response.use_no_longer()
            response.close()
            raise BackendFailed(502, f"invalid response: {error}", str(connect)) from None
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if self._method == "HEAD" or status in _BODILESS:
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._pass_body(connect, response)

    async def _pass_body(self, connect: ConnectURL, response: BackendResponse) -> None:
        content, watch, send = response.content, self._watch, self._send
        if not content.is_eof():
            response.limit_idle(self._proxy.settings.timeouts.idle)
        while True:
            try:
                data = await content.readany()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                response.close()
                raise self._proxy.broken(self._scope, connect, error) from None
            if not data or content.at_eof():
                await send({"type": "http.response.body", "body": data})
                return
            if watch is not None:
                watch.response_piece(sending=True)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            if watch is not None:
                watch.response_piece(sending=False)

    def _backends(self) -> str:
        return ", ".join(map(str, self._proxy.targets.connects))


class _Gone(Exception):
    """The client left."""


async def _try(connect: ConnectURL, tls: ssl.SSLContext | None) -> None:
    """Make a connection to a back end and close it."""
    context = tls if connect.tls else None
    name = connect.host if connect.tls else None
    if connect.unix is not None:
        _, writer = await asyncio.open_unix_connection(connect.unix, ssl=context, server_hostname=name)
    else:
        _, writer = await asyncio.open_connection(connect.host, connect.port, ssl=context, server_hostname=name)
    writer.close()
    await writer.wait_closed()


def _lower(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower(), value) for name, value in headers)


def _request_of(scope: Scope) -> AuthRequest:
    client = scope.get("client")
    return AuthRequest(
        "http",
        scope["method"],
        scope["path"],
        headers=scope["headers"],
        remote_address=client[0] if client else None,
        scheme=scope.get("scheme", ""),
    )


def _text(error: BaseException) -> str:
    """Return an error's text in one line, its class's name if it has none."""
    if isinstance(error, CannotConnect) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return " ".join(str(error).split()) or type(error).__name__
