"""No credential of any place in the whole output of a server that writes all it can."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.process import Process, free_port, running
from tests.integration.raw import UPGRADE, exchange, head, status_of
from tests.integration.servers import ROOT, connect

CONFIG = """\
security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        http-header: X-Key
        http-query-parameter: ticket
        http-cookie: pass
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""
GOOD, BAD = "canary-good-password", "canary-wrong-password"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "users.yaml").write_text(f"users: [{{name: canary-joe, password: {GOOD}}}]")
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(tmp_path / "gateway.yaml")]
    command += ["example_app.app:api", "--port", str(port), "--log-level", "debug"]
    with running(command, port=port, log=tmp_path / "log", cwd=ROOT) as process:
        yield process


def encoded(password: str) -> str:
    return b64encode(f"canary-joe:{password}".encode()).decode()


def places(path: str, secret: str, *lines: str) -> list[bytes]:
    """Requests with a secret in each place that there is, and in some where none belongs."""
    return [
        head(path, f"Authorization: Basic {secret}\r\n", *lines),
        head(path, f"Authorization: {secret}\r\n", *lines),
        head(path, f"Authorization: Bearer {secret}\r\n", *lines),
        head(path, f"Authorization: Basic {secret}\r\n" * 2, *lines),
        head(path, f"X-Key: {secret}\r\n", *lines),
        head(path, f"Cookie: pass={secret}\r\n", *lines),
        head(path, f"Cookie: pass={secret}; pass={secret}\r\n", *lines),
        head(f"{path}?ticket={quote(secret)}&page=7", *lines),
        head(f"{path}?page=7&ticket={secret}&ticket={secret}", *lines),
        head(f"{path}?t%69cket={secret}", *lines),
        *(head(f"{path}?ticket=x{mark}{secret}&page=7", *lines) for mark in "\"#';?\\|<{"),
        head(f"{path}?page=7#&ticket={secret}", *lines),
        head(path, f"Authorization: Basic {secret}\xff\r\n", *lines),
        head(path, f"Origin: https://evil.example\r\nAuthorization: Basic {secret}\r\n", *lines),
    ]


def test_canary(server: Process) -> None:
    """Neither right nor wrong credentials appear in anything that ``asgi-gateway run`` writes, also at level debug."""
    for password in (GOOD, BAD):
        for path, lines in (("/basic", ()), ("/echo", (UPGRADE,)), ("/nowhere", ())):
            for request in places(path, encoded(password), *lines):
                assert status_of(exchange(server, request)) < 500
    with connect(server, f"/echo?ticket={encoded(GOOD)}") as socket:
        socket.send("canary-message")
        assert socket.recv(timeout=5) == "canary-joe: canary-message"
    server.stop()
    output = server.output()
    assert '"outcome": "success"' in output
    assert "ticket=***" in output
    for secret in (GOOD, BAD, encoded(GOOD), encoded(BAD), quote(encoded(GOOD)), "canary-message"):
        assert secret.rstrip("=")[:-2] not in output
    assert "$argon2" not in output
