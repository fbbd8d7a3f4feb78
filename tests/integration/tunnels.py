"""Back ends for tests of proxies, in threads: WebSocket servers, and TCP servers that speak a little STOMP or VNC."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import serve

Speak = Callable[[socket.socket], None]


@contextmanager
def gateway(directory: Path, config: str, server: str = "uvicorn", *options: str) -> Iterator[Process]:
    """The gateway under an ASGI server, without an application.

    Args:
        directory: for the configuration and the log.
        config: the configuration; XML if it begins with ``<``.
        server: the ASGI server.
        *options: further arguments of the server.
    """
    file = directory / ("gateway.xml" if config.lstrip().startswith("<") else "gateway.yaml")
    file.write_text(config)
    env = {"PROXY_CONFIG": str(file)}
    with serve("proxy_app:app", server, log=directory / f"{server}.log", env=env, options=options) as process:
        yield process


@contextmanager
def tcp_server(speak: Speak) -> Iterator[int]:
    """A TCP server; its port.

    Args:
        speak: called for each connection in a thread of its own; the connection is closed afterwards.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                speak(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

    with Server((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def tls_server(speak: Speak, context: ssl.SSLContext) -> Iterator[int]:
    """A TCP server over TLS; its port.

    Args:
        speak: called for each connection whose handshake succeeded.
        context: with the server's certificate.
    """

    def handshake(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
            speak(encrypted)

    with tcp_server(handshake) as port:
        yield port


@contextmanager
def websocket_server(handle: Callable[[ServerConnection], None], **options: object) -> Iterator[int]:
    """A WebSocket server; its port."""
    with serve_websockets(handle, LOOPBACK, 0, **options) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def echo(connection: socket.socket) -> None:
    """Send everything back."""
    while data := connection.recv(65_536):
        connection.sendall(data)


def stomp(connection: socket.socket) -> None:
    """Answer CONNECT and SEND as a STOMP 1.2 broker does, as far as one client needs it."""
    frames = b""
    while data := connection.recv(65_536):
        frames += data
        while b"\0" in frames:
            frame, _, frames = frames.partition(b"\0")
            command, _, rest = frame.lstrip(b"\r\n").partition(b"\n")
            if command in (b"CONNECT", b"STOMP"):
                connection.sendall(b"CONNECTED\nversion:1.2\n\n\0")
            elif command == b"SEND":
                connection.sendall(b"MESSAGE\ndestination:/queue/a\n\n" + rest.partition(b"\n\n")[2] + b"\0")
            elif command == b"DISCONNECT":
                connection.sendall(b"RECEIPT\nreceipt-id:1\n\n\0")
                return


def greet(greeting: bytes) -> Speak:
    """Greet first, as VNC and AMQP servers do, then send everything back."""

    def speak(connection: socket.socket) -> None:
        connection.sendall(greeting)
        echo(connection)

    return speak
