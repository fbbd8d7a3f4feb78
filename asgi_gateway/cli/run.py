"""``asgi-gateway run``: uvicorn, with the gateway in front of an application."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from typing import Any

from asgi_gateway._runtime.single_worker import SHARED_STATE_HINT
from asgi_gateway.cli.output import Output
from asgi_gateway.config import load_config
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.http.redaction import MaskCredentials
from asgi_gateway.keystores import uvicorn_tls
from asgi_gateway.middleware import GatewayMiddleware

__all__ = ["application", "run"]

_CONFIG, _APP = "ASGI_GATEWAY_CONFIG", "ASGI_GATEWAY_APP"
_SERVER_LOGGERS = ("uvicorn.access", "uvicorn.error", "uvicorn.asgi")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Check everything that can be checked, then serve until told to stop."""
    try:
        import uvicorn
    except ModuleNotFoundError:
        output.error("uvicorn is not installed: pip install 'asgi-gateway[server]'")
        return 2
    if arguments.workers < 1:
        raise ValueError("at least one worker is needed")
    gateway = load_config(arguments.file)  # here, so that a bad file is told before any worker starts
    if arguments.workers > 1 and (needs := gateway.needs_shared_state()):
        raise ConfigError(
            Problem(
                f"{'; '.join(needs)}: several workers must share this, and the memory store is each worker's own",
                hint=SHARED_STATE_HINT,
            )
        )
    os.environ[_CONFIG] = str(arguments.file.absolute())
    os.environ[_APP] = arguments.app
    application()  # the same for an application that cannot be imported
    uvicorn.run(
        "asgi_gateway.cli.run:application",
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        log_level=arguments.log_level,
        ws=_websocket_protocol(gateway),
        **_tls(gateway, arguments.tls),
    )
    return 0


def _websocket_protocol(gateway: Gateway) -> Any:
    """Return uvicorn's ``ws``: a protocol of ours where clients log in inside a WebSocket."""
    if not gateway.extended_handshake:
        return "auto"
    from asgi_gateway.cli.websocket_protocol import GatewayWebSocketProtocol

    return GatewayWebSocketProtocol


def _tls(gateway: Gateway, host: str | None) -> dict[str, Any]:
    """uvicorn's arguments for TLS; none without ``--tls``.

    Raises:
        ConfigError: there is no keystore, or no usable key in it for the host.
    """
    if host is None:
        return {}
    if gateway.keystore is None:
        raise ConfigError(Problem("--tls needs a keystore", hint="add security/keystore to the configuration"))
    return uvicorn_tls(gateway.keystore, host, gateway.clock.time())


def application() -> GatewayMiddleware:
    """The application that ``run`` was told to serve, behind the gateway; called in each worker.

    Raises:
        ConfigError: the configuration cannot be used, or there is no such application.
    """
    _log_audit()
    app = GatewayMiddleware(_import(os.environ[_APP]), os.environ[_CONFIG])
    names = {name for realm in app.gateway.realms for name in realm.reader.query_parameters}
    for logger in map(logging.getLogger, _SERVER_LOGGERS):
        logger.filters = [each for each in logger.filters if not isinstance(each, MaskCredentials)]
        logger.addFilter(MaskCredentials(names))
    # uvicorn lends this logger to its WebSocket library, which at DEBUG writes whole handshakes and messages to it
    server = logging.getLogger("uvicorn.error")
    server.setLevel(max(server.level, logging.INFO))
    return app


def _import(target: str) -> Any:
    module, colon, attribute = target.partition(":")
    if not colon or not module or not attribute:
        raise ConfigError(Problem(f"{target!r} names no application", hint="write module:app"))
    try:
        app: Any = importlib.import_module(module)
        for part in attribute.split("."):
            app = getattr(app, part)
    except ModuleNotFoundError as error:
        raise ConfigError(Problem(f"{target}: no Python module named {error.name}")) from None
    except AttributeError as error:
        raise ConfigError(Problem(f"{target}: {error}")) from None
    return app


def _log_audit() -> None:
    """Audit events and warnings go to standard error, one a line, unless the application set logging up itself."""
    logger = logging.getLogger("asgi_gateway")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
