"""Applications of five frameworks behind the gateway under uvicorn, in each way that the documentation shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import basic, connect, serve

FRAMEWORKS = ("starlette", "fastapi", "fastapi_added", "litestar", "quart", "quart_inside", "django")
ALICE = ("alice", "wonderland")
BOB = ("bob", "builder")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp(request.param) / "log"
    with serve(f"{request.param}_app:app", log=log) as process:
        yield process


def get(server: Process, path: str, auth: tuple[str, str] | None = None) -> httpx.Response:
    return httpx.get(f"http://{LOOPBACK}:{server.port}{path}", auth=auth, trust_env=False)


def who(server: Process, path: str, auth: tuple[str, str] | None = None) -> dict[str, Any]:
    response = get(server, path, auth)
    assert response.status_code == 200, response.text
    seen: dict[str, Any] = response.json()
    return seen


def test_sees_user_and_roles(server: Process) -> None:
    """The application reads the user and all roles, inherited ones included, by its framework's own means."""
    assert who(server, "/who", ALICE) == {
        "authenticated": True,
        "name": "alice",
        "roles": ["ADMINISTRATOR", "USER", "authenticated"],
    }
    assert who(server, "/who", BOB) == {"authenticated": True, "name": "bob", "roles": ["USER", "authenticated"]}


def test_public_has_no_user(server: Process) -> None:
    """A public path reaches the application, credentials or not, with a user who is not authenticated."""
    for auth in (None, ALICE):
        assert who(server, "/public", auth) == {"authenticated": False, "name": "", "roles": []}


@pytest.mark.parametrize("auth", [None, ("alice", "wrong"), ("nobody", "wonderland"), ("alice", "")])
@pytest.mark.parametrize("path", ["/who", "/admin", "/locked", "/echo"])
def test_challenges(server: Process, path: str, auth: tuple[str, str] | None) -> None:
    """Without right credentials the answer is 401 with the realm's challenge, and the application is not entered."""
    response = get(server, path, auth)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Basic realm="demo", charset="UTF-8"'


def test_gateway_requires_roles(server: Process) -> None:
    """A service that requires a role lets its holder in and answers every other user with 403."""
    assert get(server, "/locked", ALICE).status_code == 200
    assert get(server, "/locked", BOB).status_code == 403


def test_application_requires_roles(server: Process) -> None:
    """The framework's own means can require a role that the gateway established."""
    assert get(server, "/admin", ALICE).json() == {"name": "alice"}
    assert get(server, "/admin", BOB).status_code == 403


def test_outside_every_service(server: Process) -> None:
    """A path of no service is refused even with right credentials."""
    assert get(server, "/elsewhere", ALICE).status_code == 403


def test_websocket(server: Process) -> None:
    """A WebSocket is refused without credentials and echoes under the user's name with them."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/echo"):
        pass
    assert refused.value.response.status_code == 401
    if server.log.parent.name.startswith("django"):
        return  # Django itself serves no WebSockets: there is nothing to let the user in to
    with connect(server, "/echo", additional_headers=basic(*ALICE)) as socket:
        socket.send("hello")
        assert socket.recv(timeout=5) == "alice: hello"
