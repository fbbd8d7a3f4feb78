"""The ASGI servers, each started as its users start it."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

from tests.integration.process import LOOPBACK, Process, free_port, running

ROOT = Path(__file__).parents[2]
APPS = "tests.integration.apps"

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "{app}", "--port", "{port}", "--timeout-graceful-shutdown", "2"),
    "uvicorn-no-lifespan": ("uvicorn", "{app}", "--port", "{port}", "--lifespan", "off", "--http", "h11"),
    "uvicorn-websockets": ("uvicorn", "{app}", "--port", "{port}", "--ws", "websockets"),
    "uvicorn-wsproto": ("uvicorn", "{app}", "--port", "{port}", "--ws", "wsproto"),
    "hypercorn": ("hypercorn", "{app}", "--bind", LOOPBACK + ":{port}", "--graceful-timeout", "2"),
    "granian": ("granian", "{app}", "--port", "{port}", "--interface", "asgi"),
    "daphne": ("daphne", "{app}", "--port", "{port}"),
    "gunicorn-uvicorn": (
        *("gunicorn", "{app}", "--bind", LOOPBACK + ":{port}", "--graceful-timeout", "2", "--no-control-socket"),
        *("--worker-class", "uvicorn_worker.UvicornWorker"),
    ),
    "gunicorn-asgi": (
        *("gunicorn", "{app}", "--bind", LOOPBACK + ":{port}", "--graceful-timeout", "2", "--no-control-socket"),
        *("--worker-class", "asgi"),
    ),
}
"""Arguments after ``python -m``. ``uvicorn`` alone takes websockets' sans-I/O implementation."""

CLOSES_ONLY = frozenset({"daphne", "gunicorn-asgi"})
"""Those that cannot answer a handshake with a response of the application's: closing before accept gives 403."""


@contextmanager
def serve(
    app: str,
    server: str = "uvicorn",
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Process]:
    """Run an ASGI application under a server on a free loopback port.

    Args:
        app: ``module:attribute``; a name without dots is a module of ``tests/integration/apps``.
        server: one of COMMANDS.
        log: file for the server's output.
        env: variables for the server's process.
        options: further arguments of the server.

    Raises:
        RuntimeError: the server did not start; the message holds its output.
    """
    if "." not in app:
        app = f"{APPS}.{app}"
    port = free_port()
    words = [word.format(app=app, port=port) for word in (*COMMANDS[server], *options)]
    command = [sys.executable, "-m", *words]
    variables = {**(env or {}), "PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=log, name=server, cwd=log.parent, env=variables) as process:
        yield process


def connect(server: Process, path: str, **options: Any) -> ClientConnection:
    """A WebSocket to a path of the server; ``options`` are those of ``websockets.sync.client.connect``."""
    url = f"ws://{LOOPBACK}:{server.port}{path}"
    found: ClientConnection = connect_websocket(url, proxy=None, open_timeout=10, **options)
    return found


def ask(server: Process, target: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
    """GET a request target just as it is written, with header lines just as they are given, and return status and body.

    HTTP libraries would normalise the one and merge the other.
    """
    connection = HTTPConnection(LOOPBACK, server.port, timeout=10)
    try:
        connection.putrequest("GET", target)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def basic(name: str, password: str) -> dict[str, str]:
    """The header that carries a user name and a password."""
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}
