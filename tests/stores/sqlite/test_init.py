"""The SQLite store: the contract, several processes, clocks and restarts."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.plugins.state_store import PositionLost
from asgi_gateway.stores import sqlite
from asgi_gateway.stores.sqlite import SqliteState
from tests.helpers import ManualClock
from tests.stores.contract import BoundContract, ClockHarness, LogContract, PartitionContract, StoreContract, model_test
from tests.stores.listing_contract import ListingContract

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _made(directory: Path, max_entries: int = 1000) -> AsyncIterator[ClockHarness]:
    clock = ManualClock()
    state = SqliteState(directory / "state.db", clock=clock, max_entries=max_entries)
    await state.open()
    try:
        yield ClockHarness(state, clock)
    finally:
        await state.close()


@asynccontextmanager
async def _made_somewhere() -> AsyncIterator[ClockHarness]:
    with TemporaryDirectory() as directory:
        async with _made(Path(directory), max_entries=3) as harness:
            yield harness


@pytest.fixture
async def harness(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ClockHarness]:
    """An empty SQLite store."""
    async with _made(tmp_path) as harness:
        yield harness


@pytest.fixture
async def bounded(tmp_path: Path, anyio_backend: str) -> AsyncIterator[ClockHarness]:
    """An empty SQLite store that holds ten entries."""
    async with _made(tmp_path, max_entries=10) as harness:
        yield harness


class TestContract(StoreContract):
    """The SQLite store keeps the contract."""


class TestBound(BoundContract):
    """The SQLite store keeps its bound."""


class TestPartitions(PartitionContract):
    """The SQLite store's partitions keep the contract."""


@pytest.fixture
async def logs(tmp_path: Path, anyio_backend: str) -> AsyncIterator[tuple[SqliteState, SqliteState]]:
    """Two stores on one file, and a third that must not disturb them."""
    one, other, foreign = (SqliteState(tmp_path / "state.db", namespace=name) for name in ("n", "n", "foreign"))
    await foreign.append("foreign")
    yield one, other
    for state in (one, other, foreign):
        await state.close()


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that reaches back ten messages."""
    monkeypatch.setattr(sqlite, "_MESSAGES", 10)


class TestListing(ListingContract):
    """The SQLite store's list keeps the contract."""


class TestLog(LogContract):
    """The SQLite store's message log keeps the contract."""


async def test_log_was_emptied(tmp_path: Path) -> None:
    """A follower whose file was replaced is told that messages may be missing."""
    state = SqliteState(tmp_path / "state.db")
    await state.append("one")
    position, _ = await state.follow(None, 0)
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(StateUnavailable):
        await state.follow(position, 0)
    with pytest.raises(PositionLost):
        await state.follow(position, 0)
    await state.close()


TestModel = model_test(_made_somewhere, examples=25)


@pytest.mark.parametrize("wrong", [{"max_entries": 0}, {"timeout": 0}, {"timeout": 61}])
def test_bad_arguments(wrong: dict[str, float]) -> None:
    """A bound or a timeout that makes no sense is refused."""
    with pytest.raises(ValueError, match="max_entries must be at least 1"):
        SqliteState("state.db", **wrong)  # type: ignore[arg-type]


def test_shared() -> None:
    """The SQLite store says that other processes see its data."""
    assert SqliteState.shared is True


async def test_namespaces(tmp_path: Path) -> None:
    """Two namespaces of one file do not see each other's keys."""
    one, other = (SqliteState(tmp_path / "state.db", namespace=name) for name in ("one", "other"))
    assert await one.put_if_absent("key", "value", 60) is None
    assert await other.get("key") is None
    assert await other.put_if_absent("key", "value", 60) is None
    await one.close()
    await other.close()


async def test_nothing_readable_in_keys(tmp_path: Path) -> None:
    """The file belongs to this user alone, and holds keys as hashes only."""
    state = SqliteState(tmp_path / "state.db")
    await state.put_if_absent("nonce-of-a-token", "value", 60)
    await state.close()
    for file in tmp_path.iterdir():
        assert b"nonce-of-a-token" not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_data_outlives_the_process(tmp_path: Path) -> None:
    """An entry is there after the store was closed and another one opened the file."""
    clock = ManualClock()
    state = SqliteState(tmp_path / "state.db", clock=clock)
    await state.put_if_absent("key", "value", 60)
    await state.close()
    clock.advance(50)
    again = SqliteState(tmp_path / "state.db", clock=clock)
    assert await again.put_if_absent("key", "other", 60) == "value"
    clock.advance(11)
    assert await again.get("key") is None
    await again.close()


async def test_setting_the_clock_changes_nothing(tmp_path: Path) -> None:
    """The system's clock an hour forward or back neither ends an entry nor keeps it alive, in any process."""

    class Stepping(ManualClock):
        offset = 0.0

        def time(self) -> float:
            return self.now + self.offset

    clock, neighbour = Stepping(), Stepping(offset := 1000.0)
    assert offset == clock.now
    one, other = (SqliteState(tmp_path / "state.db", clock=each) for each in (clock, neighbour))
    await one.put_if_absent("key", "value", 60)
    for clock.offset in (3600, -3600):
        assert await one.get("key") == await other.get("key") == "value"
    for each in (clock, neighbour):
        each.advance(61)
    assert await one.get("key") is await other.get("key") is None
    await one.close()
    await other.close()


@pytest.mark.parametrize("boot_id", ["second", "first"])
async def test_restart_of_the_host(tmp_path: Path, boot_id: str) -> None:
    """After a restart, told by the kernel or by the clock alone, what had expired stays so and the rest lives on."""
    before = SqliteState(tmp_path / "state.db", clock=(clock := ManualClock(50_000.0)), boot_id="first", max_entries=2)
    await before.put_if_absent("gone", "value", 10)
    clock.advance(11)
    await before.enlist("alive", "listed", 60)
    await before.put_if_absent("alive", "value", 60)
    await before.close()
    after = SqliteState(tmp_path / "state.db", clock=(clock := ManualClock(7.0)), boot_id=boot_id, max_entries=2)
    assert await after.get("gone") is None
    assert await after.get("alive") == "value"
    assert await after.put_if_absent("new", "value", 60) is None
    clock.advance(59)
    assert await after.get("alive") == "value"
    assert await after.listed(10) == ["listed"]
    clock.advance(2)
    assert await after.get("alive") is None
    assert await after.listed(10) == []
    await after.close()


async def test_system_that_names_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not name the host's present run, the store works all the same."""
    monkeypatch.setattr(sqlite, "_BOOT_ID", tmp_path / "missing")
    state = SqliteState(tmp_path / "state.db")
    assert await state.put_if_absent("key", "value", 60) is None
    assert await state.get("key") == "value"
    await state.close()


async def test_same_run_of_the_host(tmp_path: Path) -> None:
    """A worker that opens the file while others use it moves no expiry."""
    clock = ManualClock()
    one = SqliteState(tmp_path / "state.db", clock=clock, boot_id="first")
    await one.put_if_absent("key", "value", 60)
    clock.advance(30)
    other = SqliteState(tmp_path / "state.db", clock=clock, boot_id="first")
    await other.open()
    clock.advance(31)
    assert await one.get("key") is None
    await one.close()
    await other.close()


async def test_no_directory(tmp_path: Path) -> None:
    """A file that cannot be created is an error at open, which names it."""
    with pytest.raises(StateUnavailable, match=r"missing/state\.db"):
        await SqliteState(tmp_path / "missing" / "state.db").open()


async def test_file_of_another_program(tmp_path: Path) -> None:
    """Another program's database and a file that is none are refused and left as they are."""
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE entries (key)")
    foreign.close()
    (tmp_path / "text.db").write_text("no database " * 1000)
    for name, reason in (("foreign.db", "another program"), ("text.db", "not a database")):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(StateUnavailable, match=reason):
            await SqliteState(tmp_path / name).open()
        assert (tmp_path / name).read_bytes() == before


async def test_other_event_loops(tmp_path: Path) -> None:
    """Event loops of other threads may use the same store."""
    state = SqliteState(tmp_path / "state.db")
    assert await state.put_if_absent("nonce", "value", 60) is None

    async def put() -> str | None:
        return await state.put_if_absent("nonce", "other", 60)

    assert await asyncio.to_thread(asyncio.run, put()) == "value"
    await state.close()


_MANY_PROCESSES = """
import asyncio, sys
from asgi_gateway.stores import sqlite
from asgi_gateway.plugins.state_store import PositionLost
from asgi_gateway.stores.sqlite import SqliteState

async def main():
    state = SqliteState(sys.argv[1])
    await state.open()
    print("ready", flush=True)
    sys.stdin.readline()
    answers = await asyncio.gather(*(state.put_if_absent(f"nonce{n % 50}", "v", 60) for n in range(500)))
    await state.close()
    print(answers.count(None))

asyncio.run(main())
"""


def test_one_winner_among_processes(tmp_path: Path) -> None:
    """Four processes create the file at once and put the same fifty keys ten times each: fifty puts succeed."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY_PROCESSES, tmp_path / "state.db"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=30)[0]) for worker in workers) == 50


_FORK = """
import asyncio, os, sys
from asgi_gateway.stores import sqlite
from asgi_gateway.plugins.state_store import PositionLost
from asgi_gateway.stores.sqlite import SqliteState

state = SqliteState(sys.argv[1])

async def put(value):
    return await state.put_if_absent("nonce", value, 60)

assert asyncio.run(put("parent")) is None
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(put("child")) == "parent" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(put("again")) == "parent"
asyncio.run(state.close())
"""


def test_fork(tmp_path: Path) -> None:
    """A forked child uses the store with a connection of its own, and the parent goes on with its."""
    subprocess.run([sys.executable, "-c", _FORK, tmp_path / "state.db"], check=True, timeout=30)
