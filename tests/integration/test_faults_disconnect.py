"""Clients that go away while their login is under way.

No server in COMMANDS cancels a request because its client has gone, so the login runs to its end; what matters is that
nothing is left of it then, and that the application, where it is entered at all, learns that nobody is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.process import Process
from tests.integration.raw import UPGRADE, connected, credentials, exchange, head, held, status_of
from tests.integration.servers import ask, basic, serve

SERVERS = ("uvicorn", "uvicorn-wsproto")
KEPT = ("threads", "tasks", "files")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serve("faults:app", request.param, log=tmp_path_factory.mktemp(request.param) / "log") as process:
        # every thread that there can be is started first, so that they do not look like a leak later
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: ask(process, "/slow", *basic("blocking", "0.2").items()), range(16)))
        yield process
        assert "Traceback" not in process.output()


def until(server: Process, condition: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """What the server holds once the condition is true of it."""
    end = time.monotonic() + 10
    while not condition(now := held(server)):
        assert time.monotonic() < end, now
        time.sleep(0.02)
    return now


def settled(server: Process, before: dict[str, int]) -> dict[str, int]:
    """What the server holds once no login is pending and nothing is there that was not there before."""
    return until(server, lambda now: now["pending"] == 0 and all(now[key] <= before[key] + 2 for key in KEPT))


@pytest.mark.parametrize("upgrade", ["", UPGRADE], ids=["http", "websocket"])
@pytest.mark.parametrize("user", ["joe", "blocking", "refused"])
def test_gone_in_mid_login(server: Process, user: str, upgrade: str) -> None:
    """Of twenty clients that leave in mid-login nothing is left: no thread, task, socket or pending login."""
    before = settled(server, held(server))
    data = head("/slow/echo", upgrade, credentials(user, "0.3"))
    for _ in range(20):
        with connected(server, data):
            pass
    until(server, lambda now: now["asked"] == before["asked"] + 20)
    after = settled(server, before)
    entered = after["entered"] - before["entered"]
    if user == "refused":
        assert after["aborted"] == before["aborted"] + 20
        assert entered == 0
    else:
        assert entered <= 20
    if upgrade:
        until(server, lambda now: now["left"] == before["left"] + entered)
    assert ask(server, "/slow", *basic("joe", "0").items()) == (200, b'{"who":"joe"}')
    assert status_of(exchange(server, head("/slow/echo", UPGRADE, credentials("joe", "0")))) == 101


def test_gone_in_mid_head(server: Process) -> None:
    """Clients that never end their request's head are never asked about, and leave nothing once they are gone."""
    before = settled(server, held(server))
    for length in (10, 40, 80):
        with connected(server, head("/slow", UPGRADE, credentials("joe", "0"))[:length]):
            assert ask(server, "/who", *basic("alice", "wonderland").items())[0] == 200
    assert settled(server, before)["asked"] == before["asked"]
