"""Live sockets under real servers: authorized again, ended by revocation, opened with tickets, on every worker."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.integration.apps import USERS
from tests.integration.process import LOOPBACK, Process, free_port, running
from tests.integration.servers import APPS, ROOT, basic, connect

ALICE, BOB = basic("alice", "wonderland"), basic("bob", "builder")
CONFIG = f"""
security:
  {{state}}
  realms:
    - name: staff
      credential-cache: 30
      authentication:
        http-challenge-scheme: Application Basic
        authorization-timeout: {{authorization}}
        login-modules: [{{{{type: file, success: required, options: {{{{file: {USERS}}}}}}}}}]
    - name: tickets
      authentication:
        http-challenge-scheme: Application Token
        http-query-parameter: ticket
        websocket-subprotocol: bearer
        login-modules: [{{{{type: token, success: required, options: {{{{keyFile: keys, audience: live}}}}}}}}]
services:
  - {{{{name: public, accept: /pid}}}}
  - {{{{name: revoke, accept: /revoke}}}}
  - {{{{name: chat, accept: /chat, realm-name: staff}}}}
  - {{{{name: live, accept: /live, realm-name: tickets, ticket: {{{{realm-name: staff}}}}}}}}
"""
SQLITE = "state: {type: sqlite, options: {file: state.db}}"
GUNICORN = (
    "gunicorn",
    "--worker-class",
    "uvicorn_worker.UvicornWorker",
    "--graceful-timeout",
    "2",
    "--no-control-socket",
)
UVICORN = ("uvicorn", "--timeout-graceful-shutdown", "2")


@dataclass
class Site:
    """A server with some workers, and the sockets opened to it."""

    process: Process
    stack: ExitStack

    def post(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """One request on a connection of its own, which any worker may take."""
        return httpx.post(f"http://{LOOPBACK}:{self.process.port}{path}", headers=headers, trust_env=False, timeout=20)

    def open(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> tuple[ClientConnection, list[Any]]:
        """A WebSocket, and what its application says first."""
        socket = self.stack.enter_context(connect(self.process, path, additional_headers=headers, **more))
        return socket, json.loads(socket.recv(timeout=10))


@contextmanager
def site(
    directory: Path, workers: int, state: str = SQLITE, *, authorization: str = "1 hour", server: Any = GUNICORN
) -> Iterator[Site]:
    """The application of ``live_app`` behind the gateway."""
    (directory / "keys").write_text("k" * 32)
    (directory / "keys").chmod(0o600)
    config = directory / "gateway.yaml"
    config.write_text(CONFIG.format(state=state, authorization=authorization))
    port = free_port()
    bind = ("--bind", f"{LOOPBACK}:{port}") if server is GUNICORN else ("--port", str(port))
    command = [sys.executable, "-m", *server, *bind, "--workers", str(workers), f"{APPS}.live_app:app"]
    env = {"LIVE_CONFIG": str(config), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with (
        running(command, port=port, log=directory / f"log-{port}", cwd=directory, env=env) as process,
        ExitStack() as stack,
    ):
        yield Site(process, stack)


def closed(socket: ClientConnection, within: float = 5) -> tuple[int, str]:
    """Code and reason of a socket's close."""
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=within)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def is_open(socket: ClientConnection) -> bool:
    socket.send("still there")
    return socket.recv(timeout=5) == "still there"


@contextmanager
def sites(directory: Path, **more: Any) -> Iterator[tuple[Site, Site]]:
    """Two servers of two workers each with one state, so that what one is asked concerns the other's sockets."""
    with site(directory, 2, **more) as one, site(directory, 2, **more) as other:
        yield one, other


@pytest.mark.timing
def test_revoked_on_every_worker(tmp_path: Path) -> None:
    """All sockets of a revoked user end within 2 seconds, on every worker of both servers, and nobody else's."""
    with sites(tmp_path) as both:
        alices, bobs = ([each.open("/chat", who)[0] for each in both for _ in range(4)] for who in (ALICE, BOB))
        start = time.monotonic()
        assert both[0].post("/revoke/staff/alice").status_code == 200
        assert {closed(socket, 2) for socket in alices} == {(4004, "user revoked")}
        assert time.monotonic() - start < 2
        assert all(is_open(socket) for socket in bobs)


@pytest.mark.timing
def test_authorized_again_by_any_worker(tmp_path: Path) -> None:
    """Fresh credentials keep a socket open past its authorization's end, whoever is asked; another user's do not."""
    with sites(tmp_path, authorization="3 seconds") as (one, other):
        (kept, said), (lost, said_too) = one.open("/chat", ALICE), one.open("/chat", ALICE)
        start = time.monotonic()
        assert kept.response is not None
        name = kept.response.headers["gateway-socket"]
        assert said[2] == name
        assert other.post(f"/chat/;a/{name}").status_code == 401
        assert other.post(f"/chat/;a/{said_too[2]}", BOB).status_code == 403
        while (now := time.monotonic()) - start < 2:
            last = now
            assert other.post(f"/chat/;a/{name}", ALICE).status_code == 200
        assert closed(lost) == (4001, "authorization timeout")
        assert is_open(kept)
        assert closed(kept) == (4001, "authorization timeout")
        assert time.monotonic() - last > 2.9


def test_a_ticket_opens_one_socket_on_one_worker(tmp_path: Path) -> None:
    """Of many uses of one ticket, over all workers of two servers, in query and subprotocol, just one gets in."""
    with sites(tmp_path) as both:
        ticket = both[0].post("/live/;t", ALICE).json()["ticket"]
        opened, refused = [], list[int]()
        for turn in range(10):
            live = both[turn // 2 % 2]
            try:
                if turn % 2:
                    opened.append(live.open(f"/live?ticket={ticket}"))
                else:
                    opened.append(live.open("/live", subprotocols=[f"bearer.{ticket}", "chat"]))
            except InvalidStatus as error:
                refused.append(error.response.status_code)
        ((socket, said),) = opened
        assert refused == [403] * 9
        assert said[1] == "alice"
        assert said[3] == ["chat"]
        assert socket.subprotocol == "chat"
        assert both[1].post("/revoke/staff/alice").status_code == 200
        assert closed(socket, 2) == (4004, "user revoked")


def test_subprotocols_under_uvicorn(tmp_path: Path) -> None:
    """A token in the subprotocols lets in and is never sent back; a doubled one is refused before the application."""
    with site(tmp_path, 1, state="", server=UVICORN) as live:
        tickets = [live.post("/live/;t", ALICE).json()["ticket"] for _ in range(2)]
        assert live.post("/live/;t").status_code == 401
        socket, said = live.open("/live", subprotocols=[f"bearer.{tickets[0]}", "v1", "v2"])
        assert said[1:] == ["alice", "", ["v1", "v2"]]
        assert socket.response is not None
        assert socket.response.headers["sec-websocket-protocol"] == "v1"
        assert tickets[0] not in str(socket.response.headers)
        with pytest.raises(InvalidStatus) as caught:
            live.open("/live", subprotocols=[f"bearer.{tickets[1]}", f"bearer.{tickets[1]}"])
        assert caught.value.response.status_code == 403
        live.open("/live", subprotocols=[f"bearer.{tickets[1]}", "v1"])


@pytest.mark.parametrize("server", [GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])
def test_workers_that_share_nothing_do_not_start(server: Any, tmp_path: Path) -> None:
    """Started directly, two workers with the memory store and single-use tokens end with an error naming the hint."""
    said, end = "", time.monotonic() + 30
    try:
        with site(tmp_path, 2, state="", server=server) as live:
            while time.monotonic() < end and "several workers must share this" not in said:
                time.sleep(0.2)
                said = live.process.output()
    except RuntimeError as error:
        said = str(error)
    assert "realm tickets, login module token: used tokens: several workers must share this" in said
    assert "state: {type: sqlite" in said


def test_a_reload_of_one_worker(tmp_path: Path) -> None:
    """gunicorn's reload replaces the one worker of a memory store: the new one waits for the old, and serves."""
    with site(tmp_path, 1, state="") as live:
        url = f"http://{LOOPBACK}:{live.process.port}/pid"
        before = httpx.get(url, trust_env=False, timeout=10).text
        os.kill(live.process.popen.pid, signal.SIGHUP)
        after, end = before, time.monotonic() + 20
        while after == before and time.monotonic() < end:
            time.sleep(0.1)
            after = httpx.get(url, trust_env=False, timeout=10).text
        assert after != before
        assert "several workers" not in live.process.output()
