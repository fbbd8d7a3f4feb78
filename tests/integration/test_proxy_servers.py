"""Proxied WebSockets under every ASGI server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import ServerConnection

from tests.integration.process import Process, free_port
from tests.integration.servers import CLOSES_ONLY, COMMANDS, connect
from tests.integration.tunnels import echo, gateway, tcp_server, websocket_server

CONFIG = """
services:
  - {{name: tunnel, accept: /tunnel, connect: "tcp://127.0.0.1:{tcp}"}}
  - {{name: socket, accept: /socket, connect: "ws://127.0.0.1:{websocket}/app"}}
  - {{name: down, accept: /down, connect: "tcp://127.0.0.1:{down}"}}
"""


def app(websocket: ServerConnection) -> None:
    """Echo; close where told to."""
    for message in websocket:
        if message == "close":
            websocket.close(4321, "as told")
            return
        websocket.send(message)


@pytest.fixture(scope="module")
def config() -> Iterator[str]:
    with tcp_server(echo) as tcp, websocket_server(app, subprotocols=["chat"]) as websocket:
        yield CONFIG.format(tcp=tcp, websocket=websocket, down=free_port())


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with gateway(tmp_path_factory.mktemp(request.param), config, request.param) as process:
        yield process


def test_tunnel(server: Process) -> None:
    """Bytes pass both ways, and a subprotocol is accepted."""
    with connect(server, "/tunnel/x", subprotocols=["binary"]) as client:
        assert client.subprotocol == "binary"
        client.send(b"\x00\xff")
        assert client.recv(timeout=5) == b"\x00\xff"
        client.send("text")
        assert client.recv(timeout=5) == b"text"


def test_socket(server: Process) -> None:
    """Messages, subprotocols and close codes pass; reasons too, where the server sends any."""
    with connect(server, "/socket/room", subprotocols=["other", "chat"]) as client:
        assert client.subprotocol == "chat"
        for message in ("text", b"\x00\xff"):
            client.send(message)
            assert client.recv(timeout=5) == message
        client.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4321
        assert closed.value.rcvd.reason == ("" if server.name == "daphne" else "as told")


def test_refusal(server: Process) -> None:
    """A back end that is down refuses the handshake with a response, where the server can send one."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/down"):
        pass
    assert refused.value.response.status_code == (403 if server.name in CLOSES_ONLY else 502)
