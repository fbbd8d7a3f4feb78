"""SIGTERM while logins are under way and sockets are open."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.process import Process
from tests.integration.raw import UPGRADE, credentials, exchange, head, held, status_of
from tests.integration.servers import basic, connect, serve

GRACE = 2.0
"""Seconds that the servers are given to end (COMMANDS)."""
SERVERS = ("uvicorn", "gunicorn-uvicorn")
RIGHT = basic("alice", "wonderland")


def begin(server: Process, pool: ThreadPoolExecutor, seconds: float) -> dict[str, Future[bytes]]:
    """Have logins under way that take so long."""
    requests = {
        "http": head("/slow", credentials("joe", str(seconds))),
        "blocking": head("/slow", credentials("blocking", str(seconds))),
        "websocket": head("/slow/echo", UPGRADE, credentials("joe", str(seconds))),
    }
    pending = {name: pool.submit(exchange, server, request, 20.0) for name, request in requests.items()}
    end = time.monotonic() + 10
    while held(server)["pending"] < len(requests):
        assert time.monotonic() < end
        time.sleep(0.02)
    return pending


def terminate(server: Process) -> float:
    """Tell the server to stop, and say how many seconds that took."""
    began = time.monotonic()
    server.popen.terminate()
    server.popen.wait(20)
    return time.monotonic() - began


@pytest.mark.timing
@pytest.mark.parametrize("name", SERVERS)
def test_logins_that_end_in_time(name: str, tmp_path: Path) -> None:
    """Logins that end within the grace time are answered, sockets are told 1012, and nothing is amiss in the log."""
    with serve("faults:app", name, log=tmp_path / "log") as server, ThreadPoolExecutor() as pool, ExitStack() as stack:
        sockets = [stack.enter_context(connect(server, "/who/echo", additional_headers=RIGHT)) for _ in range(5)]
        pending = begin(server, pool, 0.5)
        assert terminate(server) < GRACE + 2
        for socket in sockets:
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in (1001, 1012)
        assert [status_of(pending[each].result()) for each in ("http", "blocking")] == [200, 200]
        assert status_of(pending["websocket"].result()) != 101
        assert "Traceback" not in server.output()
        assert "never awaited" not in server.output()


@pytest.mark.timing
@pytest.mark.parametrize("name", ["uvicorn", "hypercorn"])
def test_logins_that_do_not(name: str, tmp_path: Path) -> None:
    """Logins that take longer than the grace time do not hold up the server, also if they hold a thread."""
    with serve("faults:app", name, log=tmp_path / "log") as server, ThreadPoolExecutor() as pool:
        pending = begin(server, pool, 20)
        assert terminate(server) < GRACE + 3
        assert not {status_of(each.result()) for each in pending.values()} & {101, 200}
        if name == "uvicorn":  # which cancels: three logins, three aborts
            assert server.output().count("aborted: ") == len(pending)
