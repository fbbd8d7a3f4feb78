"""The thread that talks to SQLite: bounded waiting, faults of the file, cancelled callers."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from asgi_gateway.errors import StateFull, StateUnavailable
from asgi_gateway.stores.sqlite import database as module
from asgi_gateway.stores.sqlite.database import Database

pytestmark = pytest.mark.anyio

TIMEOUT = 0.4

Make: TypeAlias = Callable[..., Database]


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS data (x)")


def _insert(connection: sqlite3.Connection) -> int:
    connection.execute("INSERT INTO data VALUES (1)")
    return _count(connection)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM data").fetchone()
    return int(count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "state.db"


@pytest.fixture
async def database(path: Path, anyio_backend: str) -> AsyncIterator[Database]:
    """A database with one table."""
    database = Database(path, _prepare, TIMEOUT)
    yield database
    await database.close()


@pytest.mark.timing
async def test_locked_by_a_neighbour(database: Database, path: Path) -> None:
    """While another process holds the lock, writers get StateUnavailable in time and readers are answered."""
    assert await database.call(_insert) == 1
    neighbour = sqlite3.connect(path, isolation_level=None)
    neighbour.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(StateUnavailable, match="locked"):
        await database.call(_insert)
    assert time.monotonic() - begun < 2 * TIMEOUT
    assert await database.call(_count, writes=False) == 1
    neighbour.execute("ROLLBACK")
    neighbour.close()
    assert await database.call(_insert) == 2


async def test_disk_that_hangs(database: Database) -> None:
    """While the thread hangs, every call ends in time with StateUnavailable; what was given up is not done later."""
    release = threading.Event()
    outcomes: list[str] = []

    async def call(work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            await database.call(work)
        except StateUnavailable as error:
            outcomes.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(call, lambda connection: release.wait(20))
        await anyio.sleep(0.05)
        group.start_soon(call, _insert)
    assert len(outcomes) == 2
    assert all("did not answer within 0.4 seconds" in outcome for outcome in outcomes)
    release.set()
    assert await database.call(_count) == 0


async def test_too_many_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls beyond the bound of those that may wait are refused at once."""
    monkeypatch.setattr(module, "_MAX_WAITING", 3)
    entered, release = threading.Event(), threading.Event()
    refused = []

    def hold(connection: sqlite3.Connection) -> None:
        entered.set()
        release.wait(20)

    async def call() -> None:
        try:
            await database.call(_insert)
        except StateUnavailable as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(database.call, hold)
        assert await anyio.to_thread.run_sync(entered.wait, 10)
        for _ in range(10):
            group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert len(refused) == 7
        release.set()
    assert "3 calls wait" in refused[0]


async def test_full_disk(path: Path) -> None:
    """A full disk is StateFull, and what is there can still be read."""

    def small(connection: sqlite3.Connection) -> None:
        _prepare(connection)
        connection.execute("PRAGMA max_page_count = 4")

    database = Database(path, small, TIMEOUT)
    big = "INSERT INTO data VALUES (zeroblob(3000))"
    assert await database.call(lambda connection: connection.execute(big).rowcount) == 1
    with pytest.raises(StateFull):
        await database.call(lambda connection: [connection.execute(big) for _ in range(10)])
    assert await database.call(_count) == 1
    await database.close()


async def test_read_only(path: Path) -> None:
    """A file that cannot be written is StateUnavailable."""

    def read_only(connection: sqlite3.Connection) -> None:
        _prepare(connection)
        connection.execute("PRAGMA query_only = 1")

    database = Database(path, read_only, TIMEOUT)
    with pytest.raises(StateUnavailable, match="readonly"):
        await database.call(_insert)
    await database.close()


@pytest.mark.parametrize("replaced", [True, False])
async def test_file_taken_away(database: Database, path: Path, replaced: bool) -> None:
    """A file that was removed or replaced is noticed, refused once, and the file of that name is used from then on."""
    assert await database.call(_insert) == 1
    for file in path.parent.iterdir():
        file.unlink()
    if replaced:
        path.touch()
    with pytest.raises(StateUnavailable, match=r"replaced|No such file"):
        await database.call(_insert)
    assert await database.call(_insert) == 1
    assert path.stat().st_size > 0


async def test_file_is_slow_to_unlock(path: Path) -> None:
    """A new worker waits for a neighbour's lock, and is refused in time if it stays."""
    neighbour = sqlite3.connect(path, isolation_level=None)
    neighbour.execute("PRAGMA journal_mode = WAL")
    neighbour.execute("BEGIN IMMEDIATE")
    database = Database(path, _prepare, TIMEOUT)
    with pytest.raises(StateUnavailable, match="locked"):
        await database.call(_insert)
    neighbour.execute("ROLLBACK")
    neighbour.close()
    assert await database.call(_insert) == 1
    await database.close()


async def test_one_call_of_a_batch_is_refused(database: Database) -> None:
    """A refusal of one call is that caller's alone; the others of its transaction are done."""
    outcomes: list[object] = []

    def refuse(connection: sqlite3.Connection) -> None:
        raise StateFull("no")

    async def call(work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            outcomes.append(await database.call(work))
        except StateFull as error:
            outcomes.append(str(error))

    async with anyio.create_task_group() as group:
        for work in (_insert, refuse, _insert):
            group.start_soon(call, work)
    assert sorted(map(str, outcomes)) == ["1", "2", "no"]


async def test_cancelled_caller(database: Database) -> None:
    """A caller that goes away disturbs nobody, and the next one gets its own answer."""
    for _ in range(20):
        with anyio.move_on_after(0):
            await database.call(lambda connection: "somebody else's")
        assert await database.call(lambda connection: "mine") == "mine"


async def test_more_than_a_batch(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst larger than a transaction may be is done in several."""
    monkeypatch.setattr(module, "_MAX_BATCH", 7)

    async def call() -> None:
        await database.call(_insert)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(call)
    assert await database.call(_count) == 50


async def test_broken_file(database: Database, path: Path) -> None:
    """A file that somebody overwrites while it is in use is refused, and stays refused until it is put right."""
    assert await database.call(_insert) == 1
    for file in path.parent.iterdir():
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.write(b"\xaa" * size)
    for _ in range(3):
        with pytest.raises(StateUnavailable):
            await database.call(_insert)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StateUnavailable):  # noqa: PT012 - the first call may notice, or the one before it has
        await database.call(_insert)
        raise StateUnavailable
    assert await database.call(_insert) >= 1


async def test_burst_is_one_transaction(database: Database) -> None:
    """A hundred calls at once are far fewer transactions than calls."""
    begun: list[str] = []

    async def call(work: Callable[[sqlite3.Connection], object]) -> None:
        await database.call(work)

    await database.call(lambda connection: connection.set_trace_callback(begun.append))
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(call, _insert)
    assert await database.call(_count) == 100
    assert begun.count("COMMIT") < 20
