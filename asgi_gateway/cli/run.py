"""Run ``asgi-gateway run``: uvicorn, with the gateway in front of an application, of back ends, or of both."""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from asgi_gateway._runtime.single_worker import SHARED_STATE_HINT
from asgi_gateway.cli.application import import_application, is_behind
from asgi_gateway.cli.definitions import definitions
from asgi_gateway.cli.listening import bind_listeners, bind_port, bind_unix, describe
from asgi_gateway.cli.output import Output
from asgi_gateway.config import build, load_config, read
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.redaction import MaskCredentials
from asgi_gateway.keystores import KeyStore, PortTLS, port_tls
from asgi_gateway.middleware import GatewayMiddleware

__all__ = ["application", "run"]

_CONFIG, _APP, _DEFINITIONS = "ASGI_GATEWAY_CONFIG", "ASGI_GATEWAY_APP", "ASGI_GATEWAY_DEFINITIONS"
_BY_PORT = "ASGI_GATEWAY_BY_PORT"
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8000
_FORWARDED = "FORWARDED_ALLOW_IPS"
"""The variable in which uvicorn has proxies listed."""
_SERVER_LOGGERS = ("uvicorn.access", "uvicorn.error", "uvicorn.asgi")
_INCOMPLETE = "ASGI callable returned without completing handshake."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger("asgi_gateway.run")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Check everything that can be checked, then serve until told to stop."""
    try:
        from asgi_gateway.cli.server import ServerConfig, serve
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "httptools"):
            raise
        output.error(f"{error.name} is not installed: pip install 'asgi-gateway[server]'")
        return 2
    _check_arguments(arguments)
    properties = definitions(arguments)
    by_port = arguments.port is None and arguments.uds is None
    loaded = read(arguments.file, properties=properties, by_port=by_port)
    gateway = build(loaded)  # before any worker starts, to report errors once
    if arguments.workers > 1 and (needs := gateway.needs_shared_state()):
        raise ConfigError(
            Problem(
                f"{'; '.join(needs)}: several workers must share this, and the memory store is each worker's own",
                hint=SHARED_STATE_HINT,
            )
        )
    if arguments.app is None:
        _check_backends(gateway, loaded)
    os.environ[_CONFIG] = str(arguments.file.absolute())
    os.environ[_APP] = arguments.app or ""
    os.environ[_DEFINITIONS] = json.dumps(properties)
    os.environ[_BY_PORT] = "1" if by_port else ""
    application()  # reports an application that cannot be imported
    with _bound(arguments, gateway) as bound:
        _log_start(gateway, bound)
        config = ServerConfig(
            "asgi_gateway.cli.run:application",
            tls=bound.tls,
            workers=arguments.workers,
            log_level=arguments.log_level,
            ws=_websocket_protocol(gateway),
        )
        return serve(config, bound.sockets)


def application() -> App:
    """Return the application that ``run`` serves, behind the gateway; called in each worker.

    Raises:
        ConfigError: the configuration cannot be used, or there is no such application.
    """
    _log_audit()
    properties = json.loads(os.environ.get(_DEFINITIONS, "{}"))
    gateway = load_config(os.environ[_CONFIG], properties=properties, by_port=bool(os.environ.get(_BY_PORT)))
    app = import_application(os.environ[_APP]) if os.environ.get(_APP) else None
    if app is not None and is_behind(app, gateway):
        _check_inner_gateway(gateway, properties)
        logger.info("%s is behind the gateway already; it is not wrapped again", app)
    else:
        app = GatewayMiddleware(app, gateway)
    names = {name for realm in gateway.realms for name in realm.reader.query_parameters}
    for server_logger in map(logging.getLogger, _SERVER_LOGGERS):
        filters = [each for each in server_logger.filters if not isinstance(each, MaskCredentials | _RefusalFilter)]
        server_logger.filters = filters
        server_logger.addFilter(MaskCredentials(names))
        server_logger.addFilter(_RefusalFilter())
    # uvicorn lends this logger to its WebSocket library, which at DEBUG writes whole handshakes and messages to it
    server = logging.getLogger("uvicorn.error")
    server.setLevel(max(server.level, logging.INFO))
    return _MarkRefusals(app)


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Check options against each other.

    Raises:
        ValueError: two of them exclude each other.
    """
    if arguments.uds is not None:
        for option, value in (("--host", arguments.host), ("--port", arguments.port), ("--tls", arguments.tls)):
            if value is not None:
                raise ValueError(f"{option} has no meaning with --uds: leave one of them out")


def _check_backends(gateway: Gateway, loaded: LoadedConfig) -> None:
    """Check that every service has a back end of its own, since there is no application.

    Raises:
        ConfigError: some have none; each is named with its position.
    """
    if not (names := gateway.services_of_application):
        return
    hint = "give it a type and connect, or name the application: asgi-gateway run FILE module:app"
    problems = [
        loaded.problem(("services", index), f"no application for the service {service.name or service.accept[0]!r}")
        for index, service in enumerate(loaded.config.services or ())
        if not service.kind and not service.refusal and (service.name or next(iter(service.accept), "")) in names
    ]
    if not problems:  # a file without services, whose one realm protects everything
        problems = [loaded.problem((), "no application, and no service with a back end")]
    raise ConfigError([replace(problem, hint=hint) for problem in problems])


def _check_inner_gateway(gateway: Gateway, properties: dict[str, str]) -> None:
    """Check that an application's own GatewayMiddleware means the same as the command line.

    Raises:
        ConfigError: it does not know what the command line says.
    """
    target = os.environ[_APP]
    hint = "name the inner application"
    if properties:
        message = f"-D has no effect: {target} is behind a GatewayMiddleware that loads the configuration"
        raise ConfigError(Problem(message, hint=hint))
    if os.environ.get(_BY_PORT) and len({listener.port for listener in gateway.listeners}) > 1:
        message = f"{target} is behind a GatewayMiddleware, which does not tell services apart by their port"
        raise ConfigError(Problem(message, hint=f"{hint}, or run with --port"))


def _websocket_protocol(gateway: Gateway) -> Any:
    """Return uvicorn's ``ws``: a protocol of ours where clients log in inside a WebSocket."""
    if not gateway.extended_handshake:
        return "auto"
    from asgi_gateway.cli.websocket_protocol import GatewayWebSocketProtocol

    return GatewayWebSocketProtocol


# ----------------------------------------------------------------------------------------------------- where it listens


@dataclass(frozen=True, slots=True)
class _Bound:
    """Bound sockets, and how TLS is made on those ports that use it."""

    sockets: list[socket.socket]
    tls: dict[int, PortTLS]


@contextmanager
def _bound(arguments: argparse.Namespace, gateway: Gateway) -> Iterator[_Bound]:
    """Bind what the command line says, else what the accept URLs say; closed when the ``with`` block ends.

    Raises:
        ConfigError, ValueError: it cannot be bound, or there is no certificate for a port with TLS.
    """
    if arguments.uds is not None:
        with bind_unix(arguments.uds) as sockets:
            yield _Bound(sockets, {})
    elif arguments.port is None and gateway.listeners:
        if arguments.tls is not None:
            raise ValueError("--tls goes with --port: without it the accept URLs say which ports use TLS")
        listeners = gateway.listeners
        if arguments.host is not None:
            listeners = tuple(replace(each, host=arguments.host) for each in listeners)
        tls = _tls_of_listeners(gateway)
        with bind_listeners(listeners) as sockets:
            yield _Bound(sockets, tls)
    else:
        tls_of_host = None if arguments.tls is None else _tls_of_host(gateway, arguments.tls)
        port = _DEFAULT_PORT if arguments.port is None else arguments.port
        with bind_port(arguments.host or _DEFAULT_HOST, port) as sockets:
            ports = {each.getsockname()[1] for each in sockets}
            yield _Bound(sockets, {} if tls_of_host is None else dict.fromkeys(ports, tls_of_host))


def _tls_of_listeners(gateway: Gateway) -> dict[int, PortTLS]:
    """Return how TLS is made on each port of the accept URLs that uses it."""
    hosts: dict[int, list[str]] = {}
    for listener in gateway.listeners:
        if listener.tls:
            hosts.setdefault(listener.port, []).extend(listener.names)
    now = gateway.clock.time()
    return {port: port_tls(_keystore(gateway), list(dict.fromkeys(names)), now) for port, names in hosts.items()}


def _tls_of_host(gateway: Gateway, host: str) -> PortTLS:
    """Return how TLS is made for ``--tls``: with the certificate for that host alone."""
    tls = PortTLS(certificates=(_keystore(gateway).server_identity(host, gateway.clock.time()).server_tls(),))
    tls()  # a key that OpenSSL refuses must stop the start here, with its name, and not in a worker process
    return tls


def _keystore(gateway: Gateway) -> KeyStore:
    if gateway.keystore is None:
        raise ConfigError(Problem("TLS needs a keystore", hint="add security/keystore to the configuration"))
    return gateway.keystore


def _log_start(gateway: Gateway, bound: _Bound) -> None:
    """Log where the gateway listens, and what is behind each service."""
    for warning in dict.fromkeys(warning for tls in bound.tls.values() for warning in tls.warnings):
        logger.warning("%s", warning)
    if _FORWARDED in os.environ and not gateway.trusted_proxies:
        logger.warning("%s has no effect (hint: add security/trusted-proxies with the proxy's address)", _FORWARDED)
    logger.info("listening on %s", ", ".join(describe(bound.sockets, bound.tls)))
    others = "the application" if os.environ.get(_APP) else "decisions for other proxies"
    for service in gateway.services:
        places = dict.fromkeys(
            f"{'' if mount.port is None else f'port {mount.port} '}{mount.path or '/'}" for mount in service.mounts
        )
        behind = service.backend.description if service.backend is not None else others
        logger.info("service %s (%s): %s", service.name, ", ".join(places), service.refusal or behind)


# -------------------------------------------------------------------------------------------------------------- logging


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
