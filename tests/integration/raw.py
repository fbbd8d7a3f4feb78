"""HTTP to the byte: what the tests of hostile clients send, and what they read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import ask, basic

HOST = "Host: gateway.example\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def credentials(name: str, password: str) -> str:
    """The header line that carries a user name and a password."""
    return f"Authorization: {basic(name, password)['Authorization']}\r\n"


def head(target: str, *lines: str, method: str = "GET", version: str = "HTTP/1.1", host: str = HOST) -> bytes:
    """A request's bytes, just as they are given; characters are bytes (Latin-1)."""
    return f"{method} {target} {version}\r\n{host}{''.join(lines)}\r\n".encode("latin-1")


@contextmanager
def connected(server: Process, data: bytes, timeout: float = 10.0) -> Iterator[socket.socket]:
    """A TCP connection over which these bytes were sent."""
    with socket.create_connection((LOOPBACK, server.port), timeout=timeout) as connection:
        with suppress(ConnectionError):  # a server may have refused before it read all
            connection.sendall(data)
        yield connection


def exchange(server: Process, data: bytes, timeout: float = 10.0) -> bytes:
    """Send bytes over a connection of their own, and return the first response's bytes as far as its end is known.

    Args:
        server: where to.
        data: what to send.
        timeout: seconds until the server must have begun to answer.
    """
    received = b""
    with connected(server, data, timeout) as connection, suppress(ConnectionError):
        while not _complete(received, data.startswith(b"HEAD ")) and (more := connection.recv(65536)):
            received += more
    return received


def status_of(response: bytes) -> int:
    """The status of a response; 0 if the server closed the connection without one."""
    words = response.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def held(server: Process) -> dict[str, int]:
    """What the application ``faults`` says that its process holds."""
    status, body = ask(server, "/public/debug")
    assert status == 200
    counts: dict[str, int] = json.loads(body)
    return counts


def _complete(response: bytes, without_body: bool) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return False
    if without_body or response.startswith(b"HTTP/1.1 101"):
        return True
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    fields = {name.lower(): value.strip() for name, _, value in lines}
    if b"content-length" in fields:
        return len(body) >= int(fields[b"content-length"])
    return fields.get(b"transfer-encoding") == b"chunked" and body.endswith(b"0\r\n\r\n")
