"""The users file is rewritten while clients ask."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.process import LOOPBACK, Process
from tests.integration.raw import UPGRADE, credentials, exchange, head, status_of
from tests.integration.servers import basic, serve

CLIENTS = 20
WITHIN = 2.0
"""Seconds until a change holds."""
HASH = "$argon2id$v=19$m=64,t=1,p=1$La1VaeEFq2Vu4hzOF1NzNg$stNL9l05JavHaKnTGLTUPnpe3+QQQJ4tvJgoqAjh+ZA"  # wonderland


def users(*names: str) -> str:
    return "users:\n" + "".join(f"  - {{name: {name}, password: {HASH!r}}}\n" for name in names)


def write(path: Path, text: str) -> None:
    """Replace the file as editors and deployments do: in one step."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    path = tmp_path / "users.yaml"
    path.write_text(users("alice", "bob", "carol"))
    with serve("faults:app", log=tmp_path / "log", env={"FAULTS_USERS": str(path)}) as process:
        yield process


class Clients:
    """Twenty clients that ask without a pause, with remembered, new, wrong and no credentials."""

    def __init__(self, server: Process) -> None:
        self.base = f"http://{LOOPBACK}:{server.port}"
        self.answers: Counter[tuple[str, int]] = Counter()
        self.latest: dict[str, int] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def ask(self, user: str) -> None:
        with httpx.Client(base_url=self.base, trust_env=False, timeout=10) as client:
            while not self._ended.is_set():
                password = "wrong" if user == "mallory" else "wonderland"
                status = client.get(
                    "/public" if user == "nobody" else "/who", headers=basic(user, password)
                ).status_code
                with self._lock:
                    self.answers[user, status] += 1
                    self.latest[user] = status
                time.sleep(0.05)

    @contextmanager
    def asking(self) -> Iterator[None]:
        names = ("alice", "bob", "carol", "mallory", "nobody")
        threads = [threading.Thread(target=self.ask, args=(names[i % len(names)],)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def until(self, condition: Callable[[], bool]) -> float:
        """Seconds until the condition is true."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + 10
            time.sleep(0.01)
        return time.monotonic() - began


@pytest.mark.timing
def test_reload_under_load(server: Process) -> None:
    """Through good, bad and missing files nobody ever gets a 5xx; a removed user is out soon, and a new one is in."""
    path, clients = server.log.parent / "users.yaml", Clients(server)
    unusable = "cannot be used; its last good version stays"
    with clients.asking():
        clients.until(lambda: len(clients.latest) == 5)
        write(path, users("alice", "bob", "carol") + "# the same again\n")
        clients.until(lambda: "changed and was read" in server.output() or unusable in server.output())
        write(path, "users: [{name: alice, password: [}]")
        clients.until(lambda: server.output().count(unusable) == 1)
        path.unlink()
        clients.until(lambda: server.output().count(unusable) == 2)
        time.sleep(1.5)  # the file is looked at again, and nothing more is said
        assert server.output().count(unusable) == 2
        assert set(clients.answers) == {
            *((name, 200) for name in ("alice", "bob", "carol", "nobody")),
            ("mallory", 401),
        }
        write(path, users("alice", "carol", "dave"))
        assert clients.until(lambda: clients.latest["bob"] == 401) < WITHIN
        assert clients.until(lambda: clients.latest["alice"] == clients.latest["carol"] == 200) < WITHIN
        write(path, users("alice"))
        assert clients.until(lambda: clients.latest["carol"] == 401) < WITHIN
        removed = head("/who/echo", UPGRADE, credentials("bob", "wonderland"))
        assert status_of(exchange(server, removed)) == 401
    assert not [key for key in clients.answers if key[1] not in (200, 401)]
    assert clients.answers["alice", 401] == clients.answers["nobody", 401] == clients.answers["mallory", 200] == 0
    assert "Traceback" not in server.output()
    assert HASH not in server.output()
