"""The memory store: the contract, its bounds in work and space, and threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from asgi_gateway.stores.memory import MemoryState
from tests.helpers import ManualClock
from tests.stores.contract import BoundContract, ClockHarness, PartitionContract, StoreContract, model_test

pytestmark = pytest.mark.anyio


@pytest.fixture
def harness() -> ClockHarness:
    """An empty memory store."""
    clock = ManualClock()
    return ClockHarness(MemoryState(clock), clock)


@pytest.fixture
def bounded() -> ClockHarness:
    """An empty memory store that holds ten entries."""
    clock = ManualClock()
    return ClockHarness(MemoryState(clock, max_entries=10), clock)


class TestContract(StoreContract):
    """The memory store keeps the contract."""


class TestBound(BoundContract):
    """The memory store keeps its bound."""


class TestPartitions(PartitionContract):
    """The memory store's partitions keep the contract."""


@asynccontextmanager
async def _made() -> AsyncIterator[ClockHarness]:
    clock = ManualClock()
    yield ClockHarness(MemoryState(clock, max_entries=3), clock)


TestModel = model_test(_made)


def test_not_shared() -> None:
    """The memory store says that other processes do not see its data."""
    assert MemoryState.shared is False


def test_bad_bound() -> None:
    """A store that could hold nothing is refused."""
    with pytest.raises(ValueError, match="max_entries"):
        MemoryState(max_entries=0)


async def test_expired_entries_go_away() -> None:
    """A thousand expired entries are cleared away a few at a time by the puts that follow, without a long pause."""
    clock = ManualClock()
    state = MemoryState(clock)
    for number in range(1000):
        await state.put_if_absent(f"old{number}", "value", 10)
    clock.advance(11)
    await state.put_if_absent("new", "value", 60)
    assert 990 < len(state._entries.by_key) < 1000
    for number in range(400):
        await state.put_if_absent(f"new{number}", "value", 60)
    assert len(state._entries.by_key) == 401


async def test_records_of_removed_entries_go_away() -> None:
    """Putting and removing for ever takes no more memory, however long the entries would have lived."""
    state = MemoryState(ManualClock())
    await state.put_if_absent("stays", "value", 5_000)
    for number in range(1000):
        await state.put_if_absent(f"key{number}", "value", 10_000)
        await state.remove(f"key{number}", "value")
        assert len(state._entries._expiries) < 100
    assert await state.get("stays") == "value"


async def test_put_again_before_its_record_is_cleared_away() -> None:
    """An entry that took the place of an expired one keeps its own life."""
    clock = ManualClock()
    state = MemoryState(clock)
    for number in range(20):
        await state.put_if_absent(f"key{number}", "old", 10)
    clock.advance(11)
    await state.put_if_absent("key19", "new", 60)
    for number in range(20):
        await state.put_if_absent(f"other{number}", "value", 60)
    assert await state.get("key19") == "new"


async def test_setting_the_clock_changes_nothing() -> None:
    """The system's clock an hour forward or back neither ends an entry nor keeps it alive."""

    class Stepping(ManualClock):
        offset = 0.0

        def time(self) -> float:
            return self.now + self.offset

    clock = Stepping()
    state = MemoryState(clock)
    await state.put_if_absent("key", "value", 60)
    for clock.offset in (3600, -3600):
        assert await state.get("key") == "value"
    clock.advance(61)
    assert await state.get("key") is None


def test_threads_with_loops_of_their_own() -> None:
    """Eight threads, each with its own event loop, put the same 2,000 keys: each key has exactly one winner."""
    state = MemoryState()

    async def put_all() -> int:
        return sum([await state.put_if_absent(f"key{number}", "value", 60) is None for number in range(2000)])

    with ThreadPoolExecutor(8) as pool:
        wins = list(pool.map(lambda _: asyncio.run(put_all()), range(8)))
    assert sum(wins) == 2000
    assert len(state._entries.by_key) == 2000
