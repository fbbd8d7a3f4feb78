"""Several workers of one server with the memory store: found out when they start."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway._runtime.single_worker import SingleWorkerLock
from asgi_gateway.config.build import _identity
from asgi_gateway.config.load import load
from asgi_gateway.errors import ConfigError
from tests.gateways import World, service, tokens

pytestmark = pytest.mark.anyio

NEEDS = ["realm demo, login module token: used tokens"]
OTHER = """
import sys
from pathlib import Path
import anyio
from asgi_gateway.errors import ConfigError
from asgi_gateway._runtime.single_worker import SingleWorkerLock
from tests.gateways import World, service, tokens
async def main():
    identity, directory, timeout, *sys.argv = sys.argv[1:]
    worker = SingleWorkerLock(identity, Path(directory))
    try:
        await worker.acquire(["used tokens"], timeout=float(timeout))
    except ConfigError as error:
        print(error, flush=True)
        return
    print("alone", flush=True)
    sys.stdin.readline()
anyio.run(main)
"""


class Other:
    """Another process, a child of this one, that acquires the lock; ``arguments`` are its command line."""

    def __init__(self, identity: str, directory: Path, timeout: float = 0.2, arguments: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, identity, str(directory), str(timeout), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def said(self) -> str:
        """What it says of the lock."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate("\n", timeout=20)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """For lock files."""
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    return folder


def test_two_workers_of_one_server(directory: Path) -> None:
    """A second child of one parent with the same configuration is told what to choose; another one is free."""
    first = Other("gateway.yaml", directory)
    try:
        assert first.said == "alone\n"
        second, other = Other("gateway.yaml", directory), Other("other.yaml", directory)
        assert "used tokens: several workers must share this" in second.said
        assert "state: {type: sqlite" in second.said
        assert "redis" in second.said
        assert other.said == "alone\n"
        other.end()
        second.end()
    finally:
        first.end()


def test_a_killed_worker_leaves_nothing(directory: Path) -> None:
    """The lock ends with its process, however that ended."""
    first = Other("gateway.yaml", directory)
    assert first.said == "alone\n"
    first.end(kill=True)
    second = Other("gateway.yaml", directory)
    assert second.said == "alone\n"
    second.end()


async def test_two_gateways_of_one_process(directory: Path) -> None:
    """Within one process a second gateway is no second worker; the lock lasts until both release it."""
    first, second = SingleWorkerLock("x", directory), SingleWorkerLock("x", directory)
    await first.acquire(NEEDS, timeout=0)
    await second.acquire(NEEDS, timeout=0)
    first.release()
    first.release()
    assert len(list(directory.iterdir())) == 1
    second.release()
    assert list(directory.iterdir()) == []


def test_a_worker_that_ends_in_time(directory: Path) -> None:
    """A reloading server's new worker waits for the old one."""
    first = Other("gateway.yaml", directory)
    assert first.said == "alone\n"
    second = Other("gateway.yaml", directory, timeout=30)
    first.end()
    assert second.said == "alone\n"
    second.end()


async def test_where_other_workers_cannot_be_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that others may write into, or that cannot be made, is a warning: one worker must be able to start."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    for directory in (folder, tmp_path / "no" / "such"):
        caplog.clear()
        await SingleWorkerLock("x", directory).acquire(NEEDS, timeout=0)
        assert "cannot check for other workers" in caplog.text


async def test_the_message_tells_what_and_what_to_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that cannot be acquired is a ConfigError that names what is needed and the state element."""
    monkeypatch.setattr("asgi_gateway._runtime.single_worker._lock", lambda path: False)
    with pytest.raises(ConfigError, match="login module token: used tokens") as caught:
        await SingleWorkerLock("x", directory).acquire(NEEDS, timeout=0.1)
    assert "state element" in caught.value.problems[0].hint


async def test_a_look_beside_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that needs sharing acquires the lock when it serves, and only then."""
    world = World()
    gateway = world.gateway(service("a", "/", world.realm(tokens(replay_protected=True))))
    acquired: list[list[str]] = []

    async def acquire(self: SingleWorkerLock, needs: list[str]) -> None:
        acquired.append(needs)

    monkeypatch.setattr(SingleWorkerLock, "acquire", acquire)
    await gateway.open(serving=False)
    await gateway.close()
    assert acquired == []
    await gateway.open()
    await gateway.close()
    assert acquired == [["realm demo, login module module0: used tokens"]]


@pytest.mark.parametrize(
    "others",
    [
        [("app.yaml", "serve", "main:app", "--port", "8002")],
        [("app.yaml", "serve", "admin:app", "--port", "8001")],
        [("app.yaml",), ("app.yaml", "serve"), ("app.yaml", "serve", "main:app --port 8001")],
        [("second.yaml", "serve", "main:app", "--port", "8001")],
    ],
)
def test_applications_of_one_parent_are_apart(directory: Path, others: list[tuple[str, ...]]) -> None:
    """Applications that one parent starts with other command lines or configurations are no workers of one server."""
    started = [Other("app.yaml", directory, arguments=("serve", "main:app", "--port", "8001"))]
    try:
        started += [Other(name, directory, arguments=tuple(arguments)) for name, *arguments in others]
        assert [each.said for each in started] == ["alone\n"] * len(started)
        worker = Other("app.yaml", directory, arguments=("serve", "main:app", "--port", "8001"))
        started.append(worker)
        assert "several workers must share this" in worker.said
    finally:
        for each in started:
            each.end()


def test_configurations_of_one_directory_are_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mappings with other content are other configurations though directory and service names agree; options and the
    content of a file do not count.
    """
    monkeypatch.chdir(tmp_path)

    def mapping(realm: str = "demo", accept: str = "/", name: str = "joe") -> dict[str, Any]:
        module = {"type": "grant", "success": "required", "options": {"name": name}}
        authentication = {"http-challenge-scheme": "Basic", "login-modules": [module]}
        return {
            "security": {"realms": [{"name": realm, "authentication": authentication}]},
            "services": [{"name": "a", "accept": [accept], "realm-name": realm}],
        }

    def identity(source: dict[str, Any] | Path) -> str:
        return _identity(load(source))

    assert identity(mapping()) == identity(mapping(name="ann"))
    assert len({identity(each) for each in (mapping(), mapping("other"), mapping(accept="/a"))}) == 3
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(mapping()))
    before = identity(file)
    file.write_text(json.dumps(mapping("other")))
    assert identity(file) == before != identity(mapping())
