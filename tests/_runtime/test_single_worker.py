"""Several workers of one server with the memory store: found out when they start."""

from __future__ import annotations

import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

from asgi_gateway._runtime.single_worker import SingleWorkerLock
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
    worker = SingleWorkerLock(sys.argv[1], Path(sys.argv[2]))
    try:
        await worker.claim(["used tokens"], patience=float(sys.argv[3]))
    except ConfigError as error:
        print(error, flush=True)
        return
    print("alone", flush=True)
    sys.stdin.readline()
anyio.run(main)
"""


class Other:
    """Another process, a child of this one, that claims the same."""

    def __init__(self, identity: str, directory: Path, patience: float = 0.2) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, identity, str(directory), str(patience)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def said(self) -> str:
        """What it says of its claim."""
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
    """The claim ends with its process, however that ended."""
    first = Other("gateway.yaml", directory)
    assert first.said == "alone\n"
    first.end(kill=True)
    second = Other("gateway.yaml", directory)
    assert second.said == "alone\n"
    second.end()


async def test_two_gateways_of_one_process(directory: Path) -> None:
    """Within one process a second gateway is no second worker; the claim lasts until both let go."""
    first, second = SingleWorkerLock("x", directory), SingleWorkerLock("x", directory)
    await first.claim(NEEDS, patience=0)
    await second.claim(NEEDS, patience=0)
    first.release()
    first.release()
    assert len(list(directory.iterdir())) == 1
    second.release()
    assert list(directory.iterdir()) == []


def test_a_worker_that_ends_in_time(directory: Path) -> None:
    """A reloading server's new worker waits for the old one."""
    first = Other("gateway.yaml", directory)
    assert first.said == "alone\n"
    second = Other("gateway.yaml", directory, patience=30)
    first.end()
    assert second.said == "alone\n"
    second.end()


async def test_where_nothing_can_be_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that others may write into, or that cannot be made, is a warning: one worker must be able to start."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    for directory in (folder, tmp_path / "no" / "such"):
        caplog.clear()
        await SingleWorkerLock("x", directory).claim(NEEDS, patience=0)
        assert "cannot be told" in caplog.text


async def test_the_message_tells_what_and_what_to_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused claim is a ConfigError that names what is needed and the state element."""
    monkeypatch.setattr("asgi_gateway._runtime.single_worker._take", lambda path: False)
    with pytest.raises(ConfigError, match="login module token: used tokens") as caught:
        await SingleWorkerLock("x", directory).claim(NEEDS, patience=0.1)
    assert "state element" in caught.value.problems[0].hint


async def test_a_look_beside_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that needs sharing claims to be the only worker when it serves, and only then."""
    world = World()
    gateway = world.gateway(service("a", "/", world.realm(tokens(replay_protected=True))))
    claimed: list[list[str]] = []

    async def claim(self: SingleWorkerLock, needs: list[str]) -> None:
        claimed.append(needs)

    monkeypatch.setattr(SingleWorkerLock, "claim", claim)
    await gateway.open(serving=False)
    await gateway.close()
    assert claimed == []
    await gateway.open()
    await gateway.close()
    assert claimed == [["realm demo, login module module0: used tokens"]]
