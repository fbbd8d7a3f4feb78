"""Run uvicorn with several sockets, each port with TLS of its own or without."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from asgi_gateway.cli.http_protocol import GatewayHTTPProtocol
from asgi_gateway.cli.workers import Workers
from asgi_gateway.keystores import PortTLS

__all__ = ["GatewayServer", "ServerConfig", "serve"]

_HANDSHAKE_TIME = 30.0
"""Seconds within which a client completes the TLS handshake."""


def serve(config: ServerConfig, sockets: Sequence[socket.socket]) -> int:
    """Serve until told to stop, in this process or in ``config.workers`` of them.

    Returns:
        the exit code: 0, or uvicorn's 3 where the application did not start.
    """
    if config.workers > 1:
        return Workers(_work, (config, list(sockets)), config.workers, failure=STARTUP_FAILURE).run()
    server = GatewayServer(config)
    before = signal.signal(signal.SIGTERM, _stop)  # uvicorn raises the signal again after it has shut down
    try:
        with suppress(KeyboardInterrupt, _Stopped):
            server.run(sockets=list(sockets))
            return 0 if server.started else STARTUP_FAILURE
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


class _Stopped(BaseException):
    """The process was told to end."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _work(config: ServerConfig, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve in a worker process."""
    config.configure_logging()
    with suppress(KeyboardInterrupt):
        GatewayServer(config, ready).run(sockets=sockets)


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
            http=GatewayHTTPProtocol,
            proxy_headers=False,  # security/trusted-proxies decides whose headers count
            server_header=False,  # it would tell what software this is
            **options,
        )
        self.tls = dict(tls)
        self.tls_contexts: dict[int, ssl.SSLContext] = {}

    def load(self) -> None:
        """Load the application, as uvicorn does, and make the TLS contexts."""
        super().load()
        self.tls_contexts = {port: make() for port, make in self.tls.items()}


class GatewayServer(uvicorn.Server):
    """uvicorn's server, which has one TLS setting for all sockets, with one for each port.

    Args:
        config: the configuration.
        ready: called when it serves.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and listen: uvicorn does on the plain sockets, and this on those with TLS."""
        found = [(each, self._tls_context(each)) for each in sockets or ()]
        await super().startup([each for each, context in found if context is None])
        for each, context in found:
            if context is not None:
                self.servers.append(await self._listen(each, context))
        self._ready()

    async def _listen(self, bound: socket.socket, context: ssl.SSLContext) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._protocol,
            sock=bound,
            ssl=context,
            backlog=self.config.backlog,
            ssl_handshake_timeout=_HANDSHAKE_TIME,
        )

    def _tls_context(self, bound: socket.socket) -> ssl.SSLContext | None:
        name = bound.getsockname()
        return None if isinstance(name, str) else self.config.tls_contexts.get(name[1])

    def _protocol(self) -> asyncio.Protocol:
        return GatewayHTTPProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )
