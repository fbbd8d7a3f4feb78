"""TCP servers that behave badly on purpose: silent, or cutting connections in mid-answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.integration.process import LOOPBACK


class Neighbour:
    """A TCP server on loopback that does what a handler says with each connection.

    Args:
        handler: called in a thread of its own with each accepted socket; None: say nothing, for ever.
    """

    def __init__(self, handler: Callable[[socket.socket], None] | None = None) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._handler = handler
        self._sockets: list[socket.socket] = []

    def url(self, base: str, *, tls: bool = False) -> str:
        """An LDAP URL of this server."""
        return f"{'ldaps' if tls else 'ldap'}://{LOOPBACK}:{self.port}/{base}"

    def __enter__(self) -> Neighbour:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            if self._handler is not None:
                threading.Thread(target=self._guarded, args=(sock,), daemon=True).start()

    def _guarded(self, sock: socket.socket) -> None:
        assert self._handler is not None
        with contextlib.suppress(OSError):
            self._handler(sock)


def cutting(port: int, answer_bytes: int) -> Callable[[socket.socket], None]:
    """A handler that relays to a port and cuts the connection after so many bytes of answers."""

    def relay(client: socket.socket) -> None:
        with socket.create_connection((LOOPBACK, port)) as server, client:
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            left = answer_bytes
            while left > 0 and (data := server.recv(65536)):
                client.sendall(data[:left])
                left -= len(data)
            client.shutdown(socket.SHUT_RDWR)

    return relay


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes from one socket to another, until either ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
