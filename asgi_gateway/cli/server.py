"""Run uvicorn with several sockets, each port with TLS of its own or without.

uvicorn has one TLS setting for all of its sockets. So its sockets are plain here, and the protocol of a connection
begins TLS itself where its port uses it. uvicorn's own server and supervisor of worker processes stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess

from asgi_gateway.cli.http_protocol import GatewayHTTPProtocol
from asgi_gateway.keystores import PortTLS

__all__ = ["ServerConfig", "serve"]

_HANDSHAKE_TIME = 30.0
"""Seconds within which a client completes the TLS handshake."""

logger = logging.getLogger("asgi_gateway.run")


def serve(config: ServerConfig, sockets: Sequence[socket.socket]) -> int:
    """Serve until told to stop, in this process or in ``config.workers`` of them.

    Returns:
        the exit code: 0, or uvicorn's 3 where the application did not start.
    """
    bound = list(sockets)
    for each in bound:
        each.set_inheritable(True)
    if config.workers > 1:
        Multiprocess(config, sockets=bound).run()
        return 0
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run(sockets=bound)
    return 0 if server.started else STARTUP_FAILURE


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, with TLS by port. It is pickled for worker processes; TLS contexts are made in each.

    Args:
        app: the import string of a factory.
        tls: how TLS contexts are made, by the ports that use TLS.
        options: uvicorn's own arguments.
    """

    def __init__(self, app: str, *, tls: Mapping[int, PortTLS], **options: Any) -> None:
        super().__init__(
            app,
            factory=True,
            http=connection_protocol,  # type: ignore[arg-type]  # called like the class it stands for
            proxy_headers=False,  # security/trusted-proxies decides whose headers count
            server_header=False,  # back ends name themselves
            date_header=False,  # back ends date their responses; the application of run dates the others
            **options,
        )
        self.tls = dict(tls)
        self.tls_contexts: dict[int, ssl.SSLContext] = {}

    def load(self) -> None:
        """Load the application, as uvicorn does, and make the TLS contexts."""
        super().load()
        self.tls_contexts = {port: make() for port, make in self.tls.items()}


def connection_protocol(
    config: ServerConfig,
    server_state: ServerState,
    app_state: dict[str, Any],
    _loop: asyncio.AbstractEventLoop | None = None,
) -> asyncio.Protocol:
    """Return the protocol of a new connection."""
    http = GatewayHTTPProtocol(config, server_state, app_state, _loop)
    return StartTLS(http, config.tls_contexts, server_state) if config.tls_contexts else http


class StartTLS(asyncio.Protocol):
    """Begins TLS on connections to the ports that use it, and hands the connection over to another protocol.

    Args:
        protocol: what the connection is handed over to.
        contexts: TLS contexts by port.
        server_state: uvicorn's, which stops its connections.
    """

    def __init__(
        self, protocol: asyncio.Protocol, contexts: Mapping[int, ssl.SSLContext], server_state: ServerState
    ) -> None:
        self._protocol = protocol
        self._contexts = contexts
        self._connections: set[Any] = server_state.connections
        self._early: list[bytes] = []
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP and Unix sockets
        name = transport.get_extra_info("sockname")
        context = self._contexts.get(name[1]) if isinstance(name, tuple) else None
        if context is None:
            return self._hand_over(transport)
        transport.pause_reading()  # start_tls resumes it
        self._connections.add(self)
        self._handshake = asyncio.get_running_loop().create_task(self._start(transport, context))
        return None

    async def _start(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            encrypted = await loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_TIME
            )
        except (OSError, asyncio.CancelledError):  # no TLS, a client that left or was too slow, or the server stops
            transport.abort()
            return
        finally:
            self._connections.discard(self)
        if encrypted is None or encrypted.is_closing():
            transport.abort()
        else:
            self._hand_over(encrypted)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(transport)
        for data in self._early:
            self._protocol.data_received(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Keep what came right behind the handshake, before the connection is handed over."""
        self._early.append(data)

    def shutdown(self) -> None:
        """Give the handshake up; called when the server stops."""
        if self._handshake is not None:
            self._handshake.cancel()
