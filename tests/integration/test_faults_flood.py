"""A flood of wrong passwords, each of which costs the server a hash."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from tests.integration.process import LOOPBACK, Process
from tests.integration.raw import held
from tests.integration.servers import ROOT, ask, basic, serve

RIGHT = basic("alice", "wonderland")
CONNECTIONS = 350
"""More than the pool's threads and its queue hold."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """A server whose hashes cost some milliseconds each: enough to keep all processors busy."""
    users = tmp_path / "users.yaml"
    stored = PasswordHasher(time_cost=1, memory_cost=19 * 1024, parallelism=1).hash("wonderland")
    users.write_text(f"users: [{{name: alice, password: {stored!r}}}]")
    with serve("faults:app", log=tmp_path / "log", env={"FAULTS_USERS": str(users)}) as process:
        yield process


@contextmanager
def flood(server: Process) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.integration.flood", str(server.port), str(CONNECTIONS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        yield process


def latency(client: httpx.Client, path: str) -> float:
    """Seconds that one request takes."""
    began = time.perf_counter()
    assert client.get(path, headers=RIGHT).status_code == 200
    return time.perf_counter() - began


@pytest.mark.timing
def test_flood(server: Process) -> None:
    """Under a flood remembered credentials and public requests stay fast, too much is 503, and wrong stays wrong."""
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False, timeout=30) as client:
        calm = {path: statistics.median(latency(client, path) for _ in range(50)) for path in ("/who", "/public")}
        before = held(server)
        slow = []
        for _ in range(3):  # a machine with other work to do is slow in some tries, a server that waits in every one
            latency(client, "/who")  # remembered anew
            with flood(server) as process:
                while held(server)["tasks"] < before["tasks"] + 50:  # until it has come
                    assert process.poll() is None
                times = {path: [latency(client, path) for _ in range(20)] for path in calm}
                output, _ = process.communicate(timeout=60)
            answers = json.loads(output)
            assert set(answers) == {"401", "503"}
            slow = [path for path in calm if statistics.median(times[path]) > max(20 * calm[path], 0.1)]
            if not slow:
                break
        assert slow == []
    began = time.monotonic()
    assert ask(server, "/who", *basic("alice", "wonderland ").items())[0] == 401  # a check of its own, at once
    assert ask(server, "/who", *RIGHT.items())[0] == 200
    assert time.monotonic() - began < 5
    after = held(server)
    assert after["threads"] <= before["threads"] + 16
    assert after["tasks"] <= before["tasks"] + 2
    assert after["files"] <= before["files"] + 5
    assert "Traceback" not in server.output()
