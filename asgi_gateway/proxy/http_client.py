"""Send HTTP/1.1 requests to back ends on kept connections, each pool of one service and one back end.

aiohttp's own client session costs more per request than all else that the gateway does. So only its connection protocol
is used, which parses responses, hands on their bodies with back-pressure, and limits the time without a byte. What goes
around it is here, and is no more than a proxy needs:

1. A kept connection is checked before it is used again: one that was closed, or on which anything was received since
   its last response, is closed.
2. A request is sent once. The caller decides whether it may be repeated.
3. Nothing is read from the environment, no cookie is kept, no redirect is followed, no body is decompressed. Names are
   resolved for every new connection.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter

from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.settings import ProxySettings

__all__ = ["BackendClient", "BackendResponse", "CannotConnect", "ConnectTimeout", "ConnectionBroken", "InvalidHead"]

_KEPT_SECONDS = 4.0
"""How long a connection is kept unused: less than what servers usually keep one, so that few are closed in use."""
_PARSING: dict[str, Any] = {
    "read_until_eof": True,
    "auto_decompress": False,
    "read_bufsize": 2**17,
    "max_line_size": 32_768,
    "max_field_size": 32_768,
    "max_headers": 256,
}
_REST_BYTES = 65_536
_REST_SECONDS = 5.0
"""How much of a 401's body is read, and for how long."""
_MAX_INTERIM = 16
"""The most 1xx responses before a final one."""
_BODILESS_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "DELETE"))
"""Methods whose requests say nothing of a body they do not have; others say ``Content-Length: 0``."""


class CannotConnect(Exception):
    """No connection was made."""


class ConnectTimeout(CannotConnect, TimeoutError):
    """No connection was made in time."""


class ConnectionBroken(Exception):
    """The connection was lost before a response."""


class InvalidHead(Exception):
    """What the back end sent is no HTTP/1.1 response."""


class _Connection(ResponseHandler):
    """A connection to a back end.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.kept_until = 0.0
        self._received = b""
        self._poll: select.poll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        socket = transport.get_extra_info("socket")
        if socket is not None:
            self._poll = select.poll()
            self._poll.register(socket.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._received = data
        super().data_received(data)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        super().set_exception(exc, *cause)
        payload = self._payload
        invalid = isinstance(exc, HttpProcessingError)
        if invalid and payload is not None and not payload.is_eof() and payload.exception() is None:
            # aiohttp tells no reader of a body that its framing is invalid; its own text shows the body
            payload.set_exception(aiohttp.ClientPayloadError("the body's framing is invalid"))

    def before_garbage(self) -> tuple[RawResponseMessage, StreamReader] | None:
        """Return the response that was received whole, if what made the connection invalid came behind it.

        Some servers send a body where none may be, as to HEAD. The connection is closed then.
        """
        head, end, rest = self._received.partition(b"\r\n\r\n")
        alone = ResponseHandler(self._loop)
        alone.set_response_params(**_PARSING, skip_payload=self._skip_payload)
        alone.data_received(head + end)
        if alone.exception() is not None or not alone._buffer:
            return None
        (message, content), _ = alone._buffer[0]
        if not content.is_eof():
            alone.data_received(rest)
        return (message, content) if content.is_eof() else None

    def is_quiet(self) -> bool:
        """Return whether a kept connection has nothing to read: no rest of an answer, and no end."""
        transport = self.transport
        if self.should_close or transport is None or transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)


class BackendResponse:
    """The response of a back end: its head, and its body, which is read by ``content``.

    Args:
        client: where the connection came from.
        connection: the connection.
        message: the head.
        content: the body.
        writing: writes the request's body.
    """

    __slots__ = ("_client", "_connection", "_handler", "_writing", "content", "raw_headers", "status")

    def __init__(
        self,
        client: BackendClient,
        connection: _Connection,
        message: RawResponseMessage,
        content: StreamReader,
        writing: asyncio.Task[None] | None,
    ) -> None:
        self.status: int = message.code
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self.content = content
        self._client = client
        self._connection: _Connection | None = connection
        """The connection until it is given back."""
        self._handler = connection
        self._writing = writing
        content.on_eof(self._complete)

    def use_no_longer(self) -> None:
        """Let no other request use the connection, which may have been given back already."""
        self._handler.force_close()
        if self._connection is None:
            self._handler.close()

    def limit_idle(self, seconds: float) -> None:
        """Set the time that may pass without a byte of the body, from now on."""
        if self._connection is not None:
            self._connection.read_timeout = seconds
            self._connection.start_timeout()

    async def read_rest(self) -> None:
        """Read the body, so that the connection can be used again; close the connection if it is too long or slow."""
        length = 0
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while length <= _REST_BYTES and (data := await self.content.readany()):
                    length += len(data)
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        self.close()

    def close(self) -> None:
        """Close the connection, unless the response was received whole."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._stop_writing()
            connection.close()

    def _complete(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._writing is not None and not self._writing.done():
                self._stop_writing()
                connection.force_close()
            self._client.keep(connection)

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()


class BackendClient:
    """The connections of one service to one back end. Used in one event loop.

    Args:
        settings: what the service says of its back ends.
        connect: the back end.
    """

    def __init__(self, settings: ProxySettings, connect: ConnectURL) -> None:
        self._timeouts = settings.timeouts
        self._tls = settings.tls if connect.tls else None
        self._connect = connect
        self._kept: deque[_Connection] = deque()
        self._open = False
        self._sweeping: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Allow connections."""
        self._open = True

    async def close(self) -> None:
        """Close every connection that is not in use, and those in use after their response."""
        self._open = False
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        while self._kept:
            self._kept.pop().close()

    async def send(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes] | None,
        on_connected: Callable[[], None] | None = None,
    ) -> BackendResponse:
        """Send a request and return the response, whose body is not read yet.

        Args:
            method: the method.
            target: path and query.
            headers: the headers; those of the body's framing only for a stream whose length is known.
            body: the body; a stream without Content-Length is sent in chunks. None for none.
            on_connected: is called when the request has a connection.

        Raises:
            CannotConnect: no connection was made.
            ConnectionBroken: it was lost before the response.
            InvalidHead: what came is no response.
            ValueError: the request cannot be written.
        """
        connection = self._take()
        if connection is None:
            connection = await self._new()
        if on_connected is not None:
            on_connected()
        writing: asyncio.Task[None] | None = None
        try:
            connection.set_response_params(**_PARSING, skip_payload=method == "HEAD")
            writing = self._write(connection, method, target, headers, body)
            message, content = await self._head(connection)
        except BaseException:
            if writing is not None:
                writing.cancel()
            connection.close()
            raise
        return BackendResponse(self, connection, message, content, writing)

    def keep(self, connection: _Connection) -> None:
        """Keep a connection for the next request, if it may have one."""
        if connection.should_close or not self._open:
            connection.close()
            return
        connection.kept_until = monotonic() + _KEPT_SECONDS
        self._kept.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._sweep)

    def _take(self) -> _Connection | None:
        """Return the connection that was used last, if it can be used again."""
        while self._kept:
            connection = self._kept.pop()
            if connection.is_quiet() and connection.kept_until > monotonic():
                return connection
            connection.close()
        return None

    def _sweep(self) -> None:
        """Close connections that were not used for too long; the first is the oldest."""
        now = monotonic()
        while self._kept and self._kept[0].kept_until <= now:
            self._kept.popleft().close()
        self._sweeping = None
        if self._kept:
            later = self._kept[0].kept_until - now
            self._sweeping = asyncio.get_running_loop().call_later(later, self._sweep)

    async def _new(self) -> _Connection:
        if not self._open:
            raise CannotConnect("the gateway is stopping")
        loop, connect, tls = asyncio.get_running_loop(), self._connect, self._tls
        name = connect.host if tls is not None else None

        def make() -> _Connection:
            return _Connection(loop)

        try:
            async with asyncio.timeout(self._timeouts.connect):
                if connect.unix is not None:
                    _, made = await loop.create_unix_connection(make, connect.unix, ssl=tls, server_hostname=name)
                else:
                    _, made = await loop.create_connection(
                        make, connect.host, connect.port, ssl=tls, server_hostname=name
                    )
        except TimeoutError:
            raise ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise CannotConnect(str(error) or type(error).__name__) from error
        return made

    def _write(
        self,
        connection: _Connection,
        method: str,
        target: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes] | None,
    ) -> asyncio.Task[None] | None:
        """Write the request; a stream in a task, which is returned."""
        lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
        lines += [b": ".join(header) for header in headers]
        stream = None
        if isinstance(body, bytes):
            lines.append(b"content-length: %d" % len(body))
        elif body is not None:
            stream = body
            known = any(line.startswith(b"content-length:") for line in lines)
            if not known:
                lines.append(b"transfer-encoding: chunked")
        elif method not in _BODILESS_METHODS:
            lines.append(b"content-length: 0")
        head = b"\r\n".join((*lines, b"", b""))
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
            raise ValueError("a header or the target has a control character")
        transport = connection.transport
        if transport is None:
            raise ConnectionBroken("the connection was closed")
        transport.write(head + body if isinstance(body, bytes) else head)
        if stream is None:
            return None
        return asyncio.create_task(_write_stream(connection, stream, chunked=not known))

    @staticmethod
    async def _head(connection: _Connection) -> tuple[RawResponseMessage, StreamReader]:
        try:
            for _ in range(_MAX_INTERIM + 1):
                message, content = await connection.read()
                if not 100 <= message.code <= 199 or message.code == 101:
                    return message, content
        except HttpProcessingError as error:
            found = connection.before_garbage()
            if found is not None:
                return found
            raise InvalidHead(error.message.partition("\n")[0].rstrip(":")) from error  # what follows is the response's
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp's own text may hold the headers that were received
            reason = str(error) if isinstance(error, OSError) else "it was closed before a response"
            raise ConnectionBroken(reason or type(error).__name__) from error
        raise InvalidHead("too many interim responses")


async def _write_stream(connection: _Connection, stream: AsyncIterator[bytes], *, chunked: bool) -> None:
    """Write a request's body; a body that fails breaks the request off."""
    writer = StreamWriter(connection, asyncio.get_running_loop())
    if chunked:
        writer.enable_chunking()
    try:
        async for piece in stream:
            await writer.write(piece)
        await writer.write_eof()
    except asyncio.CancelledError:
        raise
    except Exception as error:
        connection.set_exception(aiohttp.ClientConnectionError("the request's body could not be sent"), error)
