"""TCP tunnels under real servers, with real clients."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from asgi_gateway.client import BasicChallengeHandler, PasswordAuthentication
from asgi_gateway.client import connect as connect_in_loop
from tests.integration.apps import USERS
from tests.integration.process import LOOPBACK, Process, free_port
from tests.integration.servers import basic, connect
from tests.integration.tunnels import echo, gateway, stomp, tcp_server

ALICE = basic("alice", "wonderland")
CONFIG = """
extended-handshake: true
security:
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Application Basic
        authorization-mode: recycle
        login-modules: [{{type: file, success: required, options: {{file: {users}}}}}]
services:
  - {{name: open, accept: /open, connect: "tcp://127.0.0.1:{echo}"}}
  - {{name: stomp, accept: /stomp, connect: "tcp://127.0.0.1:{stomp}", message-type: text, realm-name: staff}}
  - {{name: files, accept: /files, connect: "tcp://127.0.0.1:{echo}", realm-name: staff}}
  - {{name: page, accept: /page, type: echo, realm-name: staff}}
  - {{name: down, accept: /down, connect: "tcp://127.0.0.1:{down}"}}
"""


class Ends:
    """A back end that notes what its connections end with."""

    def __init__(self) -> None:
        self.open = 0
        self.changed = threading.Condition()

    def __call__(self, connection: socket.socket) -> None:
        with self.changed:
            self.open += 1
            self.changed.notify_all()
        try:
            echo(connection)
        finally:
            with self.changed:
                self.open -= 1
                self.changed.notify_all()

    def wait(self, number: int, seconds: float = 10.0) -> None:
        """Wait until so many connections are open."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.open == number, seconds), self.open


ends = Ends()


@pytest.fixture(scope="module")
def back_ends() -> Iterator[dict[str, object]]:
    with tcp_server(ends) as echoing, tcp_server(stomp) as broker:
        yield {"echo": echoing, "stomp": broker, "down": free_port(), "users": USERS}


@pytest.fixture(scope="module")
def server(back_ends: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with gateway(tmp_path_factory.mktemp("tcp"), CONFIG.format(**back_ends)) as process:
        yield process


def test_stomp_after_a_login(server: Process) -> None:
    """A STOMP client logs in with its handshake, gets its subprotocol, and its frames come and go as text."""
    with pytest.raises(InvalidStatus) as refused:
        connect(server, "/stomp", subprotocols=["v12.stomp"])
    assert refused.value.response.status_code == 401
    with connect(server, "/stomp", subprotocols=["v12.stomp", "v11.stomp"], additional_headers=ALICE) as client:
        assert client.subprotocol == "v12.stomp"
        client.send("CONNECT\naccept-version:1.2\n\n\0")
        assert client.recv(timeout=5) == "CONNECTED\nversion:1.2\n\n\0"
        client.send("SEND\ndestination:/queue/a\n\ngr\u00fc\u00dfe\0")
        assert client.recv(timeout=5) == "MESSAGE\ndestination:/queue/a\n\ngr\u00fc\u00dfe\0"
        client.send("DISCONNECT\nreceipt:1\n\n\0")
        assert client.recv(timeout=5) == "RECEIPT\nreceipt-id:1\n\n\0"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


def test_login_inside_the_socket(server: Process) -> None:
    """A client that logs in inside its WebSocket, as the original's do, is joined to the back end afterwards."""

    async def run() -> None:
        handler = BasicChallengeHandler(lambda request: PasswordAuthentication("alice", "wonderland"))
        url = f"ws://{LOOPBACK}:{server.port}/stomp"
        async with connect_in_loop(
            url, handler=handler, extended=True, proxy=None, subprotocols=["v12.stomp"]
        ) as client:
            await client.send("CONNECT\naccept-version:1.2\n\n\0")
            assert await client.recv() == "CONNECTED\nversion:1.2\n\n\0"

    asyncio.run(run())


def test_no_back_end_after_a_login_inside_the_socket(server: Process) -> None:
    """Inside a WebSocket a back end that is down is a response too."""
    with connect(server, "/down", subprotocols=["x-kaazing-handshake"]) as client:
        client.send("GET /down HTTP/1.1\r\n\r\n")
        head = client.recv(timeout=5)
        assert isinstance(head, bytes)
        assert head.startswith(b"HTTP/1.1 502 ")


def test_logging_out_ends_the_tunnel(server: Process) -> None:
    """When the session behind a tunnel is logged out, client and back end are closed at once."""
    ends.wait(0)
    url = f"http://{LOOPBACK}:{server.port}/page"
    cookie = {"Cookie": httpx.get(url, headers=ALICE, trust_env=False).headers["set-cookie"].partition(";")[0]}
    with connect(server, "/files", additional_headers=cookie) as client:
        client.send("hi")
        assert client.recv(timeout=5) == b"hi"
        ends.wait(1)
        assert httpx.post(f"{url}/;o", headers=cookie, trust_env=False).status_code == 204
        ends.wait(0, 2)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4003


def test_http_request_is_refused(server: Process) -> None:
    """A service of tunnels answers no HTTP requests."""
    assert httpx.get(f"http://{LOOPBACK}:{server.port}/open", trust_env=False).status_code in (403, 404)


def test_large_transfer_both_ways(server: Process) -> None:
    """40 MB through an echo arrive unchanged while both directions are busy."""
    block = os.urandom(400_000)
    with connect(server, "/open", max_size=None) as client:

        def send() -> None:
            for _ in range(100):
                client.send(block)

        sender = threading.Thread(target=send)
        sender.start()
        found = bytearray()
        while len(found) < 40_000_000:
            data = client.recv(timeout=10)
            assert isinstance(data, bytes)
            found += data
        sender.join()
    assert found == block * 100


def test_many_clients_vanish(server: Process) -> None:
    """200 clients that vanish in mid-transfer leave no connection to the back end and no descriptor."""
    ends.wait(0)
    descriptors = Path(f"/proc/{server.popen.pid}/fd")
    before = len(list(descriptors.iterdir()))
    clients = [connect(server, "/open", compression=None, legacy=True) for _ in range(200)]
    ends.wait(200)
    for client in clients:
        client.send(b"x" * 200_000)
    for client in clients:
        client.socket.shutdown(socket.SHUT_RDWR)
        client.socket.close()
    ends.wait(0, 30)
    assert len(list(descriptors.iterdir())) <= before + 2
