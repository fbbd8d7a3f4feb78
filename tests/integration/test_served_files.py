"""Files served by ``asgi-gateway run``: large ones, clients that leave, a login that ends, requests written by hand."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.raw import connected, exchange, head, status_of

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SIZE = 1_000_000_000
"""The length of a sparse file, in bytes: more than sockets buffer."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway that serves a folder with a large file at ``/``."""
    home = tmp_path_factory.mktemp("served")
    (home / "web" / "docs").mkdir(parents=True)
    (home / "web" / "docs" / "index.html").write_text("docs")
    (home / "web" / "small.txt").write_text("small")
    with (home / "web" / "large.bin").open("wb") as file:
        file.truncate(SIZE)
    (home / "secret.txt").write_text("secret")
    port = free_port()
    properties = {"directory": "/", "welcome-file": "index.html"}
    service = {"accept": f"http://localhost:{port}/", "type": "directory", "properties": properties}
    (home / "gateway.yaml").write_text(json.dumps({"services": [service]}))
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", "gateway.yaml"]
    environment = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=home / "log", name="asgi-gateway", cwd=home, env=environment) as process:
        yield process


def descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.popen.pid}/fd"))


def memory(process: Process) -> int:
    """The server's resident memory in bytes."""
    return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_large_file_takes_no_memory(server: Process) -> None:
    """A file of a gigabyte arrives whole, and the server's memory does not grow with it."""
    received = 0
    with httpx.Client(trust_env=False, timeout=60) as client:
        client.get(f"http://{LOOPBACK}:{server.port}/small.txt")
        before = memory(server)
        with client.stream("GET", f"http://{LOOPBACK}:{server.port}/large.bin") as answer:
            assert answer.headers["content-length"] == str(SIZE)
            for piece in answer.iter_raw():
                received += len(piece)
    assert received == SIZE
    assert memory(server) - before < 30_000_000


def test_clients_that_leave(server: Process) -> None:
    """Two hundred clients that leave in mid-transfer leave neither a connection nor an open file behind."""
    exchange(server, head("/small.txt"))
    before = descriptors(server)
    for _ in range(4):
        clients = [socket.create_connection((LOOPBACK, server.port), timeout=10) for _ in range(50)]
        for client in clients:
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()
    end = time.monotonic() + 20
    while descriptors(server) > before and time.monotonic() < end:
        exchange(server, head("/small.txt"))
    assert descriptors(server) <= before
    assert "Traceback" not in server.output()


@pytest.mark.parametrize(
    "target",
    [
        b"/../secret.txt",
        b"/docs/../../secret.txt",
        b"/%2e%2e/secret.txt",
        b"/..%2fsecret.txt",
        b"/..%5csecret.txt",
        b"/%252e%252e/secret.txt",
        b"/docs/%2e%2e/%2e%2e/secret.txt",
        b"/..;/secret.txt",
        b"//secret.txt",
        b"/\\..\\secret.txt",
        b"/%00/../secret.txt",
        b"/secret.txt%00.html",
        b"/%c0%ae%c0%ae/secret.txt",
        b"/%ef%bc%8e%ef%bc%8e/secret.txt",
        b"http://localhost/../secret.txt",
        b"file:///etc/passwd",
        b"/docs//..//..//secret.txt",
    ],
)
def test_paths_written_by_hand(server: Process, target: bytes) -> None:
    """No way to write a path leads out of the folder, and none is a redirect to another site."""
    found = exchange(server, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status_of(found) in (400, 403, 404)
    assert b"secret\n" not in found
    assert b"root:" not in found
    assert b"location" not in found.lower()


def test_a_redirect_stays_on_the_site(server: Process) -> None:
    """The redirect to the slash names a path only, whatever Host and forwarding headers say."""
    lies = ("X-Forwarded-Host: evil.example\r\n", "Forwarded: host=evil.example\r\n")
    found = exchange(server, head("/docs?a=1", *lies, host="Host: evil.example\r\n"))
    assert status_of(found) == 302
    assert b"\r\nlocation: /docs/?a=1\r\n" in found.lower()
    assert b"evil" not in found


def test_a_body_is_never_a_request(server: Process) -> None:
    """The body of a refused request is not taken for the next request of the connection."""
    inner = head("/docs/", "Connection: close\r\n")
    outer = head("/small.txt", f"Content-Length: {len(inner)}\r\n", "Connection: close\r\n", method="POST")
    with connected(server, outer + inner) as client:
        found = b"".join(iter(lambda: client.recv(65_536), b""))
    assert status_of(found) == 405
    assert found.count(b"HTTP/1.1 ") == 1


def test_many_ranges(server: Process) -> None:
    """Thousands of ranges of a large file are answered at once, as one whole file or as an error."""
    ranges = ",".join(f"{n}-" for n in range(5000))
    with connected(server, head("/large.bin", f"Range: bytes={ranges}\r\n"), timeout=5) as client:
        assert status_of(client.recv(100)) in (200, 400, 431)
