"""Django with Channels: its AuthMiddlewareStack, which sets an attribute of the scope's user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.process import Process
from tests.integration.servers import ask, basic, connect, serve

ALICE = basic("alice", "wonderland")


@pytest.fixture(scope="module", params=["uvicorn", "daphne", "hypercorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp(request.param) / "log"
    with serve("channels_app:app", request.param, log=log) as process:
        yield process


@pytest.mark.parametrize(
    ("path", "headers", "name"), [("/public", {}, "nobody"), ("/public", ALICE, "nobody"), ("/echo", ALICE, "alice")]
)
def test_marks_of_a_middleware(server: Process, path: str, headers: dict[str, str], name: str) -> None:
    """Public and protected WebSockets open, and what one connection sets on its user is not on another's."""
    for _ in range(3):
        with connect(server, path, additional_headers=headers) as socket:
            assert socket.recv(timeout=5) == f"{name}, unmarked"
            socket.send("hello")
            assert socket.recv(timeout=5) == "hello"


def test_refused(server: Process) -> None:
    """A protected WebSocket without credentials does not open."""
    with pytest.raises(InvalidStatus), connect(server, "/echo"):
        pass


def test_http_beside(server: Process) -> None:
    """The application's HTTP half reads the user."""
    assert ask(server, "/who", *ALICE.items()) == (200, b'{"name": "alice"}')
    assert ask(server, "/who")[0] == 401
