"""The extended handshake under every ASGI server: a minimal client in the manner of the original's, and our own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from asgi_gateway.client import BasicChallengeHandler, PasswordAuthentication
from asgi_gateway.client import connect as connect_in_loop
from asgi_gateway.client.sync import connect as connect_in_thread
from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import COMMANDS, basic, connect, serve

MARKER = b"\xef\x83\xbfN"
RIGHT = basic("alice", "wonderland")["Authorization"]


SERVERS = [name for name in COMMANDS if name != "daphne"]
"""daphne 4.2 drops empty messages, and with them the end of every response inside the socket."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("starlette_app:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        yield process


def opened(server: Process, path: str = "/echo", query: str = "?.kl=Y") -> ClientConnection:
    return connect(server, path + query, subprotocols=["x-kaazing-handshake", "chat"])


def ask(socket: ClientConnection, *lines: str, text: bool = True) -> str:
    """Send one request head as the original's clients do, as text or binary; the response's head."""
    head = ["GET /echo HTTP/1.1", "Sec-WebSocket-Protocol: ", "Sec-WebSocket-Extensions: x-kaazing-ping-pong", *lines]
    message = "\r\n".join([*head, "", ""])
    socket.send(message if text else message.encode())
    response = socket.recv(timeout=5)
    assert isinstance(response, bytes)
    assert socket.recv(timeout=5) == b""
    return response.decode()


@pytest.mark.parametrize("text", [True, False], ids=["JavaScript", "Java"])
def test_login_and_echo(server: Process, text: bool) -> None:
    """A client of the original's kind is challenged, answers, is let in and echoes."""
    with opened(server) as socket:
        assert socket.subprotocol == "x-kaazing-handshake"
        assert socket.recv(timeout=5) == MARKER
        challenge = ask(socket, text=text)
        assert challenge.startswith(
            'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="demo", charset="UTF-8"\r\n'
        )
        assert ask(socket, "Authorization: Basic d3Jvbmc6d3Jvbmc=", text=text).startswith("HTTP/1.1 401 ")
        assert ask(socket, f"Authorization: {RIGHT}", text=text).startswith("HTTP/1.1 101 ")
        assert socket.recv(timeout=5) == MARKER
        for message in ("one", "zwei", "три"):
            socket.send(message)
            assert socket.recv(timeout=5) == f"alice: {message}"


def test_without_marker(server: Process) -> None:
    """A client that did not ask for the marker gets none."""
    with opened(server, query="") as socket:
        assert ask(socket, f"Authorization: {RIGHT}").startswith("HTTP/1.1 101 ")
        socket.send("hi")
        assert socket.recv(timeout=5) == "alice: hi"


def test_refusal_closes(server: Process) -> None:
    """After 403 inside the socket the server closes it."""
    with opened(server, query="") as socket:
        assert ask(socket, f"Authorization: {RIGHT}", f"Authorization: {RIGHT}").startswith("HTTP/1.1 403 ")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_session_timeout(server: Process) -> None:
    """A socket opened this way is closed when its session's time is over."""
    with opened(server, "/brief", "") as socket:
        assert ask(socket, f"Authorization: {RIGHT}").startswith("HTTP/1.1 101 ")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)


def test_java_cookie_request(server: Process) -> None:
    """The Java client's question for cookies gets 200 and an empty body."""
    answer = httpx.get(f"http://{LOOPBACK}:{server.port}/echo/;e/cookies?.krn=0.123&.kl=Y", trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"
    assert "transfer-encoding" not in answer.headers
    assert "set-cookie" not in answer.headers


def handler(*passwords: str) -> BasicChallengeHandler:
    left = iter(passwords)

    def login(request: object) -> PasswordAuthentication | None:
        password = next(left, None)
        return PasswordAuthentication("alice", password) if password else None

    return BasicChallengeHandler(login)


def test_our_client_in_a_thread(server: Process) -> None:
    """Our client without a loop logs in after a wrong password, or learns the status of the refusal."""
    uri = f"ws://{LOOPBACK}:{server.port}/echo"
    with connect_in_thread(uri, handler=handler("wrong", "wonderland"), extended=True, proxy=None) as socket:
        assert socket.subprotocol is None
        socket.send("hi")
        assert socket.recv(timeout=5) == "alice: hi"
    with pytest.raises(InvalidStatus) as refused:
        connect_in_thread(uri, handler=handler("wrong"), extended=True, proxy=None)
    assert refused.value.response.status_code == 401


@pytest.mark.anyio
async def test_our_client_in_a_loop(server: Process) -> None:
    """Our asyncio client does the same."""
    uri = f"ws://{LOOPBACK}:{server.port}/echo?a=b"
    async with connect_in_loop(uri, handler=handler("wrong", "wonderland"), extended=True, proxy=None) as socket:
        await socket.send("hi")
        assert await socket.recv() == "alice: hi"
    with pytest.raises(InvalidStatus) as refused:
        await connect_in_loop(uri, handler=handler("a", "b", "c", "d"), extended=True, proxy=None)
    assert refused.value.response.status_code == 401
