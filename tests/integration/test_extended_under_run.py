"""The extended handshake under ``asgi-gateway run``: uncompressed, and bounded until the login has succeeded."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.servers import ROOT, basic

pytestmark = pytest.mark.integration

LOGIN = f"Authorization: {basic('joe', 'open-sesame')['Authorization']}"


@pytest.fixture(scope="module", params=["yaml", "xml"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The reference application behind a configuration of our own, and behind one of the original."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    config = folder / f"gateway.{request.param}"
    if request.param == "yaml":
        module = {"type": "file", "success": "required", "options": {"file": "users.yaml"}}
        authentication = {"http-challenge-scheme": "Application Basic", "login-modules": [module]}
        security = {"realms": [{"name": "demo", "authentication": authentication}]}
        config.write_text(json.dumps({"extended-handshake": True, "security": security}))
    else:
        config.write_text(
            '<gateway-config xmlns="http://xmlns.kaazing.org/2014/09/gateway"><security><realm><name>demo</name>'
            "<authentication><http-challenge-scheme>Application Basic</http-challenge-scheme><login-modules>"
            "<login-module><type>file</type><success>required</success><options><file>users.yaml</file></options>"
            "</login-module></login-modules></authentication></realm></security></gateway-config>"
        )
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "asgi_gateway", "run", str(config), "example_app.app:api"]
    with running([*command, "--port", str(port)], port=port, log=folder / "log", cwd=ROOT) as process:
        yield process


def opened(server: Process, *protocols: str, headers: Mapping[str, str] | None = None) -> ClientConnection:
    """Open a WebSocket to the application."""
    url, offers = f"ws://{LOOPBACK}:{server.port}/echo", [Subprotocol(each) for each in protocols]
    return connect(url, subprotocols=offers or None, proxy=None, max_size=None, additional_headers=headers)


def ask(socket: ClientConnection, *lines: str) -> str:
    socket.send("\r\n".join(["GET /echo HTTP/1.1", "Sec-WebSocket-Protocol: ", *lines, "", ""]))
    response = socket.recv(timeout=5)
    assert isinstance(response, bytes)
    assert socket.recv(timeout=5) == b""
    return response.decode()


def extensions(socket: ClientConnection) -> str | None:
    assert socket.response is not None
    return socket.response.headers.get("Sec-WebSocket-Extensions")


def test_no_compression(server: Process) -> None:
    """A socket that will hold a login negotiates no compression, wherever the protocol is in the list; others do."""
    for protocols in (("x-kaazing-handshake",), ("x-kaazing-handshake", "chat"), ("chat", "x-kaazing-handshake")):
        with opened(server, *protocols) as socket:
            assert extensions(socket) is None
    with opened(server, headers=basic("joe", "open-sesame")) as socket:
        assert "permessage-deflate" in (extensions(socket) or "")
        socket.send("x" * 100_000)
        assert socket.recv(timeout=5) == "joe: " + "x" * 100_000


def answers(socket: ClientConnection, message: str) -> list[object]:
    """Send a message. Return what the server answers until it closes the socket."""
    heard: list[object] = []
    with suppress(ConnectionClosed):
        socket.send(message)
        while True:
            heard.append(socket.recv(timeout=5))
    return heard


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1, 70_000, 5_000_000])
def test_messages_before_the_login(server: Process, size: int) -> None:
    """What is longer than a login may be is refused without being collected."""
    with opened(server, "x-kaazing-handshake") as socket:
        heard = answers(socket, "x" * size)
        assert heard == ([b"HTTP/1.1 400 Bad Request\r\n\r\n", b""] if size <= 64 * 1024 + 1 else [])
        assert socket.close_code in ((1008,) if heard else (1009, 1006))


def test_messages_after_the_login(server: Process) -> None:
    """After the login messages are as long as the server allows, and the application's own 101 changes nothing."""
    with opened(server, "x-kaazing-handshake") as socket:
        assert ask(socket).startswith("HTTP/1.1 401 ")
        assert ask(socket, LOGIN).startswith("HTTP/1.1 101 ")
        for size in (10, 200_000, 2_000_000):
            socket.send("x" * size)
            assert socket.recv(timeout=10) == "joe: " + "x" * size


def test_sockets_without_a_login(server: Process) -> None:
    """Of one address 32 are held; further ones are refused, and get in when the others leave."""
    with ExitStack() as stack:
        held = [stack.enter_context(opened(server, "x-kaazing-handshake")) for _ in range(32)]
        with pytest.raises(InvalidStatus) as refused, opened(server, "x-kaazing-handshake"):
            pass
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers
        plain = stack.enter_context(opened(server, headers=basic("joe", "open-sesame")))
        plain.send("hi")  # a login of another kind goes on
        assert plain.recv(timeout=5) == "joe: hi"
        assert ask(held[0], LOGIN).startswith("HTTP/1.1 101 ")
        with opened(server, "x-kaazing-handshake") as socket:
            assert ask(socket, LOGIN).startswith("HTTP/1.1 101 ")


def _memory(pid: int) -> int:
    """The resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory(server: Process) -> None:
    """Anonymous sockets that claim to send compressed messages grow the server by less than 20 MB."""
    bomb = zlib.compress(b"\0" * 300_000_000, 9)[2:-4]
    assert len(bomb) > 290_000
    before = _memory(server.popen.pid)
    for _ in range(20):
        with opened(server, "x-kaazing-handshake") as socket:
            # what a client with the extension would send: the first reserved bit set
            length = len(bomb).to_bytes(8, "big")
            frame = bytes([0xC2, 0xFF]) + length + b"\0\0\0\0" + bomb
            socket.socket.sendall(frame)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=5)
    assert _memory(server.popen.pid) - before < 20_000_000
