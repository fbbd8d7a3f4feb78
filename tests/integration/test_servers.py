"""The gateway under every ASGI server: HTTP, the WebSocket handshake, and session timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import CLOSES_ONLY, COMMANDS, ask, basic, connect, serve

RIGHT = basic("alice", "wonderland")
WRONG = basic("alice", "looking-glass")


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("starlette_app:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        yield process


def test_first_requests_at_once(server: Process) -> None:
    """Concurrent first requests are all decided correctly, also on a server without lifespan."""
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, server, "/who", *RIGHT.items()) for _ in range(16)]
        assert {answer.result()[0] for answer in answers} == {200}


def test_http(server: Process) -> None:
    """Over HTTP wrong credentials get the challenge and right ones the application."""
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False) as client:
        for headers in ({}, WRONG):
            refused = client.get("/who", headers=headers)
            assert refused.status_code == 401
            assert refused.headers.get_list("www-authenticate") == ['Basic realm="demo", charset="UTF-8"']
        assert client.get("/who", headers=RIGHT).json()["name"] == "alice"


CONFUSING = (
    "/public/../who",
    "/public/%2e%2e/who",
    "/public/..%2fwho",
    "/public/..%5cwho",
    "/public/..;/who",
    "/public//../who",
    "//who",
    "/who/",
    "/%77ho",
    "/who;public",
    "/who%00",
    "/public%00/../who",
    "/WHO",
    "/publicity",
)


@pytest.mark.parametrize("target", CONFUSING)
def test_confusing_paths(server: Process, target: str) -> None:
    """A path that a server, the gateway and the application may read differently never reaches a protected page."""
    status, body = ask(server, target)
    assert 400 <= status < 500
    assert b"authenticated" not in body


@pytest.mark.parametrize("lines", [(RIGHT, RIGHT), (RIGHT, WRONG), (WRONG, RIGHT)], ids=["same", "wrong", "right"])
def test_doubled_credentials(server: Process, lines: tuple[dict[str, str], dict[str, str]]) -> None:
    """Two Authorization lines are refused in either order, also where the server joins them."""
    status, body = ask(server, "/who", *(line for headers in lines for line in headers.items()))
    assert 400 <= status < 500
    assert b"alice" not in body


@pytest.mark.parametrize("headers", [{}, WRONG], ids=["none", "wrong"])
def test_handshake_refused(server: Process, headers: dict[str, str]) -> None:
    """A handshake without right credentials gets 401 with the challenge, or 403 where a server can only close."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/echo", additional_headers=headers):
        pass
    response = refused.value.response
    if server.name in CLOSES_ONLY:
        assert response.status_code == 403
    else:
        assert response.status_code == 401
        assert response.headers.get_all("www-authenticate") == ['Basic realm="demo", charset="UTF-8"']


def test_handshake_with_two_challenges(server: Process) -> None:
    """Challenges of two schemes reach the client, and the server accepts the next socket."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/two"):
        pass
    if server.name not in CLOSES_ONLY:
        challenges = ", ".join(refused.value.response.headers.get_all("www-authenticate"))
        assert challenges == 'Application Token, Application Basic realm="two"'
    with connect(server, "/two", additional_headers=RIGHT) as socket:
        socket.send("still there")
        assert socket.recv(timeout=5) == "alice: still there"


def test_echo(server: Process) -> None:
    """With right credentials the socket opens and the application reads the user."""
    with connect(server, "/echo", additional_headers=RIGHT) as socket:
        for text in ("one", "zwei", "три"):
            socket.send(text)
            assert socket.recv(timeout=5) == f"alice: {text}"


def session_is_over(server: Process, closed: ConnectionClosed) -> bool:
    """Return whether the socket was closed with the code of a session timeout."""
    # daphne refuses to send 1008, and sends no reason with what it does send
    expected = (3000, "") if server.name == "daphne" else (1008, "session timeout")
    return closed.rcvd is not None and (closed.rcvd.code, closed.rcvd.reason) == expected


def test_session_timeout(server: Process) -> None:
    """A silent socket is closed with 1008 and a reason when its session times out."""
    with connect(server, "/brief", additional_headers=RIGHT) as socket:
        socket.send("in time")
        assert socket.recv(timeout=5) == "alice: in time"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert session_is_over(server, closed.value)


def test_session_timeout_of_a_sender(server: Process) -> None:
    """A session timeout reaches an application that only sends, after its earlier messages arrived."""
    with connect(server, "/brief/ticks", additional_headers=RIGHT) as socket:
        assert socket.recv(timeout=5) == "tick"
        with pytest.raises(ConnectionClosed) as closed:
            list(socket)
    assert session_is_over(server, closed.value)
