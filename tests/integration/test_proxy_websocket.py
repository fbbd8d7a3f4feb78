"""WebSockets to WebSocket back ends under real servers, with real clients."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import ServerConnection
from websockets.typing import Subprotocol

from asgi_gateway.client import BasicChallengeHandler, PasswordAuthentication
from asgi_gateway.client import connect as connect_in_loop
from tests.integration.apps import USERS
from tests.integration.process import LOOPBACK, Process, free_port
from tests.integration.servers import basic, connect
from tests.integration.tunnels import gateway, websocket_server

ALICE = basic("alice", "wonderland")
CONFIG = """
extended-handshake: true
security:
  session-cookie: gw
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Application Basic
        authorization-mode: recycle
        login-modules: [{{type: file, success: required, options: {{file: {users}}}}}]
services:
  - {{name: open, accept: /open, identity-headers: &names {{user: X-User}}, connect: "ws://127.0.0.1:{port}/app"}}
  - {{name: half, accept: /half, type: http.proxy, connect: "http://127.0.0.1:{port}/app"}}
  - {{name: chat, accept: /chat, connect: "ws://127.0.0.1:{port}", realm-name: staff, identity-headers: *names}}
  - {{name: page, accept: /page, type: echo, realm-name: staff}}
  - {{name: down, accept: /down, connect: "ws://127.0.0.1:{down}"}}
"""

ended: list[tuple[int | None, str | None]] = []
ends = threading.Condition()


def app(websocket: ServerConnection) -> None:
    """Say what was asked for, then echo; note how each WebSocket ended."""
    request = websocket.request
    assert request is not None
    if "flood" in request.path:
        with suppress(ConnectionClosed):
            for _ in range(100):
                websocket.send(b"x" * 10_000)
    elif "ask" in request.path:
        websocket.send(f"{request.path} {request.headers.get('X-User')} {request.headers.get('Authorization')}")
    with suppress(ConnectionClosed):
        for message in websocket:
            websocket.send(message)
    with ends:
        ended.append((websocket.close_code, websocket.close_reason))
        ends.notify_all()


def choose(websocket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose ``chat`` where it is offered."""
    return next((each for each in offered if each == "chat"), None)


def wait_ended(expected: tuple[int, str], number: int = 1, seconds: float = 10.0) -> None:
    """Wait until so many WebSockets have ended as expected at the back end."""
    with ends:
        assert ends.wait_for(lambda: ended.count(expected) >= number, seconds), ended


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    with ends:
        ended.clear()


@pytest.fixture(scope="module")
def values() -> Iterator[dict[str, object]]:
    with websocket_server(app, select_subprotocol=choose, max_size=None) as port:
        yield {"port": port, "down": free_port(), "users": USERS}


@pytest.fixture(scope="module")
def server(values: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with gateway(tmp_path_factory.mktemp("websocket"), CONFIG.format(**values)) as process:
        yield process


def test_refusal(server: Process) -> None:
    """A back end that is down refuses the handshake."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/down"):
        pass
    assert refused.value.response.status_code == 502


def test_client_closes(server: Process) -> None:
    """A client's close code and reason reach the back end; of a client that vanished it is 1001, at once."""
    with connect(server, "/open") as client:
        client.close(3456, "enough")
    wait_ended((3456, "enough"))
    with connect(server, "/open") as client:
        client.socket.close()
        wait_ended((1001, ""), seconds=2)


def test_who_the_user_is(server: Process) -> None:
    """A protected service tells the back end who the user is, and no credential of the user's."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/chat"):
        pass
    assert refused.value.response.status_code == 401
    with connect(server, "/chat/ask?x=1", additional_headers={**ALICE, "X_User": "admin", "x-user": "root"}) as client:
        assert client.recv(timeout=5) == "/ask?x=1 alice None"


def test_http_proxy_passes_websockets(server: Process) -> None:
    """An http.proxy passes WebSockets on to its http back end."""
    with connect(server, "/half/ask%20it?a=%2F") as client:
        assert client.recv(timeout=5) == "/app/ask%20it?a=%2F None None"


def test_login_inside_the_socket(server: Process) -> None:
    """A client that logs in inside its WebSocket, as the original's do, is joined to the back end afterwards."""

    async def run() -> None:
        handler = BasicChallengeHandler(lambda request: PasswordAuthentication("alice", "wonderland"))
        url = f"ws://{LOOPBACK}:{server.port}/chat/ask"
        async with connect_in_loop(url, handler=handler, extended=True, proxy=None, subprotocols=["chat"]) as client:
            assert await client.recv() == "/ask alice None"
            await client.send("x")
            assert await client.recv() == "x"

    asyncio.run(run())


def test_logging_out_ends_the_websocket(server: Process) -> None:
    """When the session behind a WebSocket is logged out, client and back end are closed at once."""
    url = f"http://{LOOPBACK}:{server.port}/page"
    cookie = {"Cookie": httpx.get(url, headers=ALICE, trust_env=False).headers["set-cookie"].partition(";")[0]}
    with connect(server, "/chat", additional_headers=cookie) as client:
        client.send("hi")
        assert client.recv(timeout=5) == "hi"
        assert httpx.post(f"{url}/;o", headers=cookie, trust_env=False).status_code == 204
        wait_ended((4003, "session ended"), seconds=2)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4003


def test_many_clients_vanish(server: Process) -> None:
    """200 clients that vanish in mid-transfer leave no connection to the back end and no descriptor."""
    descriptors = Path(f"/proc/{server.popen.pid}/fd")
    before = len(list(descriptors.iterdir()))
    clients = [connect(server, "/open/flood", compression=None, legacy=True) for _ in range(200)]
    for client in clients:
        client.recv(timeout=10)
    for client in clients:
        client.socket.shutdown(socket.SHUT_RDWR)
        client.socket.close()
    wait_ended((1001, ""), 200, 30)
    end = time.monotonic() + 10
    while len(list(descriptors.iterdir())) > before + 2:
        assert time.monotonic() < end
        time.sleep(0.05)
