"""Run ``asgi-gateway run``: uvicorn, with the gateway in front of an application."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

from asgi_gateway._runtime.single_worker import SHARED_STATE_HINT
from asgi_gateway.cli.application import import_application, is_behind
from asgi_gateway.cli.definitions import definitions
from asgi_gateway.cli.output import Output
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.redaction import MaskCredentials
from asgi_gateway.keystores import uvicorn_tls
from asgi_gateway.middleware import GatewayMiddleware

__all__ = ["application", "run"]

_CONFIG, _APP, _DEFINITIONS = "ASGI_GATEWAY_CONFIG", "ASGI_GATEWAY_APP", "ASGI_GATEWAY_DEFINITIONS"
_SERVER_LOGGERS = ("uvicorn.access", "uvicorn.error", "uvicorn.asgi")
_INCOMPLETE = "ASGI callable returned without completing handshake."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Check everything that can be checked, then serve until told to stop."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        output.error("uvicorn is not installed: pip install 'asgi-gateway[server]'")
        return 2
    properties = definitions(arguments)
    gateway = load_config(arguments.file, properties=properties)  # before any worker starts, to report errors once
    if arguments.workers > 1 and (needs := gateway.needs_shared_state()):
        raise ConfigError(
            Problem(
                f"{'; '.join(needs)}: several workers must share this, and the memory store is each worker's own",
                hint=SHARED_STATE_HINT,
            )
        )
    os.environ[_CONFIG] = str(arguments.file.absolute())
    os.environ[_APP] = arguments.app
    os.environ[_DEFINITIONS] = json.dumps(properties)
    application()  # reports an application that cannot be imported
    tls = _tls(gateway, arguments.tls)
    _check_address(arguments.host, arguments.port)
    uvicorn.run(
        "asgi_gateway.cli.run:application",
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        log_level=arguments.log_level,
        ws=_websocket_protocol(gateway),
        **tls,
    )
    return 0


def application() -> App:
    """Return the application that ``run`` serves, behind the gateway; called in each worker.

    Raises:
        ConfigError: the configuration cannot be used, or there is no such application.
    """
    _log_audit()
    properties = json.loads(os.environ.get(_DEFINITIONS, "{}"))
    gateway = load_config(os.environ[_CONFIG], properties=properties)
    app = import_application(os.environ[_APP])
    if is_behind(app, gateway):
        if properties:
            message = f"-D has no effect: {os.environ[_APP]} is behind a GatewayMiddleware that loads the configuration"
            raise ConfigError(Problem(message, hint="name the inner application"))
        logging.getLogger("asgi_gateway.run").info("%s is behind the gateway already; it is not wrapped again", app)
    else:
        app = GatewayMiddleware(app, gateway)
    names = {name for realm in gateway.realms for name in realm.reader.query_parameters}
    for logger in map(logging.getLogger, _SERVER_LOGGERS):
        logger.filters = [each for each in logger.filters if not isinstance(each, MaskCredentials | _RefusalFilter)]
        logger.addFilter(MaskCredentials(names))
        logger.addFilter(_RefusalFilter())
    # uvicorn lends this logger to its WebSocket library, which at DEBUG writes whole handshakes and messages to it
    server = logging.getLogger("uvicorn.error")
    server.setLevel(max(server.level, logging.INFO))
    return _MarkRefusals(app)


def _websocket_protocol(gateway: Gateway) -> Any:
    """Return uvicorn's ``ws``: a protocol of ours where clients log in inside a WebSocket."""
    if not gateway.extended_handshake:
        return "auto"
    from asgi_gateway.cli.websocket_protocol import GatewayWebSocketProtocol

    return GatewayWebSocketProtocol


def _tls(gateway: Gateway, host: str | None) -> dict[str, Any]:
    """Return uvicorn's arguments for TLS; none without ``--tls``.

    Raises:
        ConfigError: there is no keystore, or no usable key in it for the host.
    """
    if host is None:
        return {}
    if gateway.keystore is None:
        raise ConfigError(Problem("--tls needs a keystore", hint="add security/keystore to the configuration"))
    return uvicorn_tls(gateway.keystore, host, gateway.clock.time())


def _check_address(host: str, port: int) -> None:
    """Check that the server can listen at an address; uvicorn would end with a traceback or another exit code.

    Raises:
        ValueError: the host is unknown, or the port is in use or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ValueError(f"cannot listen on {host}: unknown host") from None
    errors = [error for family, _, _, _, address in found if (error := _bind_error(family, address)) is not None]
    for error in errors:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is in use by another process: choose another --port")
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ValueError(f"no permission to listen on port {port}: choose a --port of 1024 or more")
    if len(errors) == len(found):
        raise ValueError(f"cannot listen on {host}: {errors[0].strerror or errors[0]}")


def _bind_error(family: int, address: Any) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _log_audit() -> None:
    """Write audit events and warnings to standard error, one a line, unless the application configures logging."""
    logger = logging.getLogger("asgi_gateway")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


# ------------------------------------------------------------------------------------------------- refused WebSockets

_refused: ContextVar[bool] = ContextVar("refused", default=False)


class _MarkRefusals:
    """Notes for each WebSocket whether its handshake was answered with an HTTP response or a close."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return await self.app(scope, receive, send)

        async def sending(message: Message) -> None:
            if message["type"] in ("websocket.http.response.start", "websocket.close"):
                _refused.set(True)
            await send(message)

        return await self.app(scope, receive, sending)


class _RefusalFilter(logging.Filter):
    """Drops uvicorn's error about an incomplete handshake where the handshake was refused with a response."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.msg == _INCOMPLETE and _refused.get())
