"""The reference application as it stands, under the servers that its users will take."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.servers import ROOT, basic, connect, serve

JOE, ANN = ("joe", "welcome"), ("ann", "welcome")


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn-uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("example_app.app:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        yield process


@pytest.fixture
def client(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False) as client:
        yield client


def test_public_page(client: httpx.Client) -> None:
    """The first page is there for everybody."""
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "challenge"),
    [
        ("/basic", 'Basic realm="Demo (joe or ann, password welcome)", charset="UTF-8"'),
        ("/page/api/who", 'Application Basic realm="Demo page"'),
        ("/ticket", "Application Token"),
    ],
)
def test_challenges(client: httpx.Client, path: str, challenge: str) -> None:
    """Each realm asks in its own scheme."""
    response = client.get(path)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, challenge)


def test_users_and_roles(client: httpx.Client) -> None:
    """A user sees who they are; a page for administrators is for them alone."""
    assert client.get("/basic", auth=JOE).json()["user"] == "joe"
    assert client.get("/page/api/who", auth=JOE).json()["realm"] == "page"
    assert client.get("/basic", auth=("joe", "Welcome")).status_code == 401
    assert client.get("/admin", auth=JOE).status_code == 403
    assert "ADMINISTRATOR" in client.get("/admin", auth=ANN).json()["roles"]


@pytest.mark.parametrize("place", ["header", "query", "cookie", "authorization"])
def test_ticket_is_good_once(client: httpx.Client, place: str) -> None:
    """A ticket lets its holder in from each of its four places, the first time only."""
    ticket = client.post("/basic/ticket", auth=JOE).json()["ticket"]
    request = {
        "header": client.build_request("GET", "/ticket", headers={"X-Ticket": ticket}),
        "query": client.build_request("GET", "/ticket", params={"ticket": ticket}),
        "cookie": client.build_request("GET", "/ticket", headers={"Cookie": f"ticket={ticket}"}),
        "authorization": client.build_request("GET", "/ticket", headers={"Authorization": f"Token {ticket}"}),
    }[place]
    assert client.send(request).json()["user"] == "joe"
    assert client.send(request).status_code == 403


def test_session(client: httpx.Client) -> None:
    """A session needs no password until it is logged out; a copy of its cookie opens nothing then."""
    assert client.get("/session/who").status_code == 401
    assert client.get("/session/who", auth=JOE).json()["realm"] == "session"
    cookies = dict(client.cookies)
    assert client.get("/session/who").json()["user"] == "joe"
    assert client.post("/session/;o", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/session/who").status_code == 200
    assert client.post("/session/;o").status_code == 204
    assert dict(client.cookies) == {}
    client.cookies.update(cookies)
    assert client.get("/session/who").status_code == 401


def test_the_page_logs_out(server: Process, browser: Any) -> None:
    """In a browser the page logs in once, knows who it is without a password, and logs out with a button."""
    page = browser.new_page()
    page.goto(f"http://{LOOPBACK}:{server.port}/")
    page.get_by_label("Session user").fill("joe")
    page.get_by_label("Session password").fill("welcome")
    result = page.locator("#session-result")
    page.get_by_role("button", name="Log in", exact=True).click()
    result.get_by_text('"joe"').wait_for()
    page.reload()
    page.locator("#session-who").click()
    result.get_by_text('"joe"').wait_for()
    page.get_by_role("button", name="Log out").click()
    result.get_by_text("logged out").wait_for()
    page.locator("#session-who").click()
    result.get_by_text("401").wait_for()
    page.close()


def test_the_login_page(server: Process, browser: Any) -> None:
    """A link to a page of a session leads over the login page to it, and another one out again."""
    page = browser.new_context(java_script_enabled=False, locale="en").new_page()
    page.goto(f"http://{LOOPBACK}:{server.port}/")
    page.get_by_role("link", name="log in").click()
    page.get_by_label("User name").fill("joe")
    page.get_by_label("Password").fill("welcome")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text('"joe"').wait_for()
    page.goto(f"http://{LOOPBACK}:{server.port}/")
    page.get_by_role("link", name="log out").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Reference application").wait_for()
    page.get_by_role("link", name="log in").click()
    page.get_by_role("button", name="Sign in").wait_for()
    page.context.close()


def test_websockets(server: Process, client: httpx.Client) -> None:
    """Echo opens with a password or a ticket, and is refused without."""
    with pytest.raises(InvalidStatus) as refused, connect(server, "/echo"):
        pass
    assert refused.value.response.status_code == 401
    ticket = client.post("/basic/ticket", auth=JOE).json()["ticket"]
    for path, headers in (("/echo", basic(*JOE)), (f"/ticket/echo?ticket={ticket}", {})):
        with connect(server, path, additional_headers=headers) as socket:
            socket.send("hello")
            assert socket.recv(timeout=5) == "joe: hello"


def test_chat(server: Process) -> None:
    """What one says everybody hears."""
    with (
        connect(server, "/chat/socket", additional_headers=basic(*JOE)) as joe,
        connect(server, "/chat/socket", additional_headers=basic(*ANN)) as ann,
    ):
        ann.send("hello")
        assert {joe.recv(timeout=5), ann.recv(timeout=5)} == {"ann: hello"}


def test_runs_as_a_module(tmp_path: Path) -> None:
    """``python -m example_app`` says what to try next, and every address that it names answers."""
    port = free_port()
    command = [sys.executable, "-m", "example_app", "--port", str(port)]
    with running(command, port=port, log=tmp_path / "log", cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as process:
        addresses = set(re.findall(rf"http://{LOOPBACK}:{port}[^ \"?]*", process.output()))
        assert len(addresses) >= 5
        assert all(httpx.get(address, trust_env=False).status_code < 500 for address in addresses)
