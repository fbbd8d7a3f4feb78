"""Send requests to back ends with aiohttp, on kept connections that serve one service.

aiohttp was the fastest of the HTTP clients for asyncio that stream both ways. What it leaves open is closed here:

1. A kept connection is checked before it is used again: one that was closed, or on which anything was received since
   its last response, is closed.
2. aiohttp's ClientSession is left out: it repeats requests on its own, keeps cookies, follows redirects, reads the
   environment, and takes time. What it is made of is used: connector, request and response.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.settings import ProxySettings

__all__ = ["ON_CONNECTED", "BackendClient", "BackendResponse", "ConnectionBroken"]

_KEPT_SECONDS = 4.0
"""How long a connection is kept unused: less than what servers usually keep one, so that few are closed in use."""
_RESOLVED_SECONDS = 5
"""How long the address of a name is kept."""
_REST_BYTES = 65_536
_REST_SECONDS = 5.0
"""How much of a 401's body is read, and for how long."""
_BUFFER = 2**17
_MAX_FIELD = 32_768
_MAX_HEADERS = 256
_NO_AUTOMATIC_HEADERS: CIMultiDict[None] = CIMultiDict({"Content-Type": None})


ON_CONNECTED: ContextVar[Callable[[], None] | None] = ContextVar("asgi_gateway.on_connected", default=None)
"""Called when a request has a connection, in the task that sends it."""


class ConnectionBroken(aiohttp.ClientError):
    """The connection was lost before a response."""


class BackendResponse(aiohttp.ClientResponse):
    """A response whose connection can be taken out of use."""

    _handler: ResponseHandler | None = None

    async def start(self, connection: Connection) -> BackendResponse:
        """Read the response's head.

        Raises:
            ConnectionBroken: the connection was lost before it.
        """
        self._handler = connection.protocol
        if (connected := ON_CONNECTED.get()) is not None:
            connected()
        try:
            await super().start(connection)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise ConnectionBroken(str(error)) from error
        return self

    def use_no_longer(self) -> None:
        """Let no other request use the connection, which may have been put back already."""
        handler = self._handler
        if handler is not None:
            handler.force_close()
            if self.connection is None:
                handler.close()

    async def read_rest(self) -> None:
        """Read the body, so that the connection can be used again; close the connection if it is too long or slow."""
        try:
            async with asyncio.timeout(_REST_SECONDS):
                length = 0
                while data := await self.content.readany():
                    length += len(data)
                    if length > _REST_BYTES:
                        break
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        if self.content.at_eof():
            self.release()
        else:
            self.close()

    def limit_idle(self, seconds: float) -> None:
        """Set the time that may pass without a byte of the body, from now on."""
        if self.connection is not None and self._handler is not None:
            self._handler.read_timeout = seconds
            self._handler.start_timeout()


class _Request(aiohttp.ClientRequest):
    """A request with the given headers, and none that aiohttp adds on its own."""

    def update_auto_headers(self, skip_auto_headers: Any) -> None:
        self._skip_auto_headers = _NO_AUTOMATIC_HEADERS


class _CheckedConnections(aiohttp.BaseConnector):
    """Hands on a kept connection only if nothing was received on it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:  # noqa: ASYNC109 - aiohttp's own
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            if handler is None or handler not in self._used:
                if handler is not None:
                    self._used.add(handler)
                return connection
            if _is_quiet(handler):
                return connection
            connection.close()


class _TCPConnector(_CheckedConnections, aiohttp.TCPConnector):
    pass


class _UnixConnector(_CheckedConnections, aiohttp.UnixConnector):
    pass


def _is_quiet(handler: ResponseHandler) -> bool:
    """Return whether a kept connection has nothing to read: no rest of an answer, and no end."""
    transport = handler.transport
    if handler.should_close or transport is None:
        return False
    socket = transport.get_extra_info("socket")
    if socket is None:
        return True
    waiting = select.poll()
    try:
        waiting.register(socket.fileno(), select.POLLIN)
    except (OSError, ValueError):
        return False
    return not waiting.poll(0)


class BackendClient:
    """The connections of one service to one back end.

    Args:
        settings: what the service says of its back ends.
        connect: the back end.
    """

    def __init__(self, settings: ProxySettings, connect: ConnectURL) -> None:
        self._settings = settings
        self._connect = connect
        self._origin = f"{'https' if connect.tls else 'http'}://{connect.authority}"
        times = settings.timeouts
        self._timeout = aiohttp.ClientTimeout(total=None, connect=times.connect, sock_connect=times.connect)
        self._connections: aiohttp.BaseConnector | None = None

    def open(self) -> None:
        """Make the pool, unless it is there. Must be called in the event loop."""
        if self._connections is None:
            self._connections = self._connector()

    async def close(self) -> None:
        """Close every connection."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def send(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | AsyncIterator[bytes] | None
    ) -> BackendResponse:
        """Send a request and return the response, whose body is not read yet.

        Args:
            method: the method.
            target: path and query.
            headers: the headers, without those of the body's framing besides Content-Length.
            body: the body; None for none.

        Raises:
            aiohttp.ClientError: there is no response.
            TimeoutError: no connection could be made in time.
        """
        if self._connections is None:
            raise aiohttp.ClientConnectionError("the connections to back ends are closed")
        request = _Request(
            method,
            URL(self._origin + target, encoded=True),
            headers=headers,
            data=body,
            loop=asyncio.get_running_loop(),
            response_class=BackendResponse,
        )
        try:
            connection = await self._connections.connect(request, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        try:
            return await self._exchange(request, connection, method)
        except BaseException:
            connection.close()
            raise

    @staticmethod
    async def _exchange(request: aiohttp.ClientRequest, connection: Connection, method: str) -> BackendResponse:
        handler = connection.protocol
        if handler is None:
            raise ConnectionBroken("the connection was closed")
        handler.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_BUFFER,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
            max_headers=_MAX_HEADERS,
        )
        response = await request.send(connection)
        if not isinstance(response, BackendResponse):
            raise TypeError("aiohttp made a response of another class")
        try:
            return await response.start(connection)
        except BaseException:
            response.close()
            raise

    def _connector(self) -> aiohttp.BaseConnector:
        if self._connect.unix is not None:
            return _UnixConnector(path=self._connect.unix, limit=0, keepalive_timeout=_KEPT_SECONDS)
        return _TCPConnector(
            ssl=self._settings.tls or True,
            limit=0,  # requests wait for a place before, where it is known whether they wait or connect
            keepalive_timeout=_KEPT_SECONDS,
            resolver=aiohttp.ThreadedResolver(),
            ttl_dns_cache=_RESOLVED_SECONDS,
        )

    def resolve_again(self) -> None:
        """Forget the addresses of the back end's name."""
        if isinstance(self._connections, aiohttp.TCPConnector):
            self._connections.clear_dns_cache()
