"""What the tests of forward-auth share: the page's texts, the gateway that is asked, the back end behind the proxy."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.typing import Origin

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.raw import exchange, head
from tests.integration.servers import serve

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "forward-auth.md"
MODULES = "class:tests.integration.apps.check_modules"
REALMS = f"""  realms:
    - name: steps
      authentication:
        http-challenge-scheme: [Negotiate, Basic]
        login-modules: [{{type: "{MODULES}.LastToken", success: required}}]
    - name: down
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{{type: "{MODULES}.Down", success: required}}]
"""
SERVICES = """services:
  - {name: steps, accept: /steps, realm-name: steps, identity-headers: {user: X-User}}
  - {name: down, accept: /down, realm-name: down}
"""
COMMAND = "asgi_gateway run gateway.yaml --port 8000"
JOE = "Authorization: Basic am9lOndlbGNvbWU=\r\n"
ANN = "Authorization: Basic YW5uOndlbGNvbWU=\r\n"
WRONG = "Authorization: Basic am9lOndyb25n\r\n"


def blocks(language: str) -> list[str]:
    """The page's code blocks of one language."""
    found = re.findall(r"^```(\S+).*?\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def configuration(kind: str) -> str:
    """The page's configuration of the gateway for a kind of proxy, with two realms and services more."""
    (text,) = blocks("yaml")
    assert blocks("sh") == [f"{COMMAND}\n".replace("_", "-", 1)]
    assert "kind: nginx" in text
    text = text.replace("kind: nginx", f"kind: {kind}")
    for own, more in (("  realms:\n", REALMS), ("services:\n", SERVICES)):
        assert text.count(own) == 1
        text = text.replace(own, more)
    return text


@contextmanager
def asked(folder: Path, kind: str) -> Iterator[Process]:
    """The gateway with the page's configuration for a kind of proxy."""
    (folder / "gateway.yaml").write_text(configuration(kind))
    (folder / "users.yaml").write_text((ROOT / "example_app" / "users.yaml").read_text())
    port = free_port()
    command = [sys.executable, "-m", *COMMAND.replace("8000", str(port)).split()]
    env = {"PYTHONPATH": str(ROOT)}
    with running(command, port=port, log=folder / "gateway.log", name="gateway", cwd=folder, env=env) as process:
        yield process


@contextmanager
def backend(folder: Path) -> Iterator[Process]:
    """The back end that tells what it was given."""
    with serve("told_app:app", log=folder / "backend.log", options=["--no-proxy-headers", "--no-server-header"]) as it:
        yield it


@dataclass(frozen=True, slots=True)
class Reply:
    """A response.

    Args:
        status: the status; 0 if there was none.
        headers: its header lines, names in lower case.
        body: its body.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def told(self) -> dict[str, Any]:
        """What the back end was given."""
        assert self.status == 200, (self.status, self.body)
        found: dict[str, Any] = json.loads(self.body)
        return found

    def passed(self, name: str) -> list[str]:
        """The values that the back end was given of a header, under every alias of its name."""
        folded = name.replace("_", "-").replace(".", "-")
        lines = self.told["headers"]
        return [value for key, value in lines if key.replace("_", "-").replace(".", "-").lower() == folded]


@dataclass(frozen=True, slots=True)
class Site:
    """A proxy that asks a gateway, as its clients see it.

    Args:
        proxy: the proxy.
        folder: where the gateway's log is.
        application: the port of the back end.
    """

    proxy: Process
    folder: Path
    application: int

    def ask(self, target: str, *lines: str, method: str = "GET", body: str = "") -> Reply:
        """Send a request to the byte, and return the response."""
        return reply(self.proxy, target, *lines, method=method, body=body)

    @property
    def last_event(self) -> dict[str, str]:
        """The last event of the audit log."""
        lines = (self.folder / "gateway.log").read_text().splitlines()
        found: dict[str, str] = json.loads([line for line in lines if line.startswith("{")][-1])
        return found

    def socket(self, target: str, origin: str, headers: dict[str, str]) -> dict[str, Any]:
        """Open a WebSocket, and return what the back end was given of its handshake."""
        address = (LOOPBACK, self.proxy.port)
        with socket.create_connection(address, timeout=10) as raw:
            url = f"ws://gateway.example{target}"
            with connect(url, sock=raw, origin=Origin(origin), additional_headers=headers, proxy=None) as connection:
                connection.send("hello")
                found: dict[str, Any] = json.loads(connection.recv(timeout=5))
                return found


def reply(server: Process, target: str, *lines: str, method: str = "GET", body: str = "") -> Reply:
    """Send a request to the byte, and return the response."""
    length = (f"Content-Length: {len(body)}\r\n",) if body else ()
    return reply_of(exchange(server, head(target, *lines, *length, method=method) + body.encode("latin-1")))


def reply_of(data: bytes) -> Reply:
    """The response that these bytes are."""
    start, _, rest = data.partition(b"\r\n\r\n")
    words = start.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip(" ")) for name, _, value in (line.partition(":") for line in words[1:])]
    if ("transfer-encoding", "chunked") in headers:
        rest = _joined(rest)
    status = words[0].split(" ")[1] if words[0] else "0"
    return Reply(int(status), headers, rest)


def _joined(chunks: bytes) -> bytes:
    """The body that is sent in chunks."""
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size, 16)
        body, chunks = body + rest[:length], rest[length + 2 :]
    return body
