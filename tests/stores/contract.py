"""What every ExpiringState promises, as one class of tests that each store's own tests derive from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asgi_gateway.errors import StateFull
from asgi_gateway.plugins.state_store import MAX_TTL, ExpiringState, MessageLog, Partition, PositionLost
from tests.helpers import ManualClock

AWKWARD = [
    "",
    " ",
    "a b",
    "a:b",
    "a\r\nb",
    "a\x00b",
    "ключ",
    "\U0001f511",
    "*",
    "{a}",
    "x" * 100_000,
    "é",
    "e\u0301",
    "\ud800",
]
"""Strings that a careless store mixes up, cuts short or refuses."""


class Harness(Protocol):
    """A store under test, and a way to let time pass without waiting for it."""

    state: ExpiringState

    async def advance(self, seconds: float) -> None:
        """Make every entry so many seconds older."""


@dataclass
class ClockHarness:
    """A store whose time is a manual clock."""

    state: ExpiringState
    clock: ManualClock

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.anyio
class StoreContract:
    """The tests; a deriving class gives the fixture ``harness``, an opened and empty store."""

    async def test_first_put_stores(self, harness: Harness) -> None:
        """The first put of a key returns None, and its value can be read."""
        assert await harness.state.put_if_absent("key", "value", 60) is None
        assert await harness.state.get("key") == "value"

    async def test_second_put_changes_nothing(self, harness: Harness) -> None:
        """A put of a key that is there returns the value that is there and leaves value and expiry alone."""
        await harness.state.put_if_absent("key", "first", 60)
        assert await harness.state.put_if_absent("key", "second", 600) == "first"
        assert await harness.state.get("key") == "first"
        await harness.advance(61)
        assert await harness.state.get("key") is None

    async def test_missing_key(self, harness: Harness) -> None:
        """A key that was never put reads as None and cannot be removed."""
        assert await harness.state.get("key") is None
        assert await harness.state.remove("key", "value") is False

    async def test_entry_lives_as_long_as_asked(self, harness: Harness) -> None:
        """An entry is there until its time to live has passed, and not after it."""
        await harness.state.put_if_absent("key", "value", 60)
        await harness.advance(59)
        assert await harness.state.get("key") == "value"
        assert await harness.state.put_if_absent("key", "other", 60) == "value"
        await harness.advance(1.5)
        assert await harness.state.get("key") is None
        assert await harness.state.remove("key", "value") is False
        assert await harness.state.put_if_absent("key", "other", 60) is None
        assert await harness.state.get("key") == "other"

    async def test_remove_only_that_value(self, harness: Harness) -> None:
        """A remove takes the entry away if it holds just that value, once, and makes room for another."""
        await harness.state.put_if_absent("key", "value", 60)
        assert await harness.state.remove("key", "valuE") is False
        assert await harness.state.get("key") == "value"
        assert await harness.state.remove("key", "value") is True
        assert await harness.state.remove("key", "value") is False
        assert await harness.state.get("key") is None
        assert await harness.state.put_if_absent("key", "again", 60) is None
        assert await harness.state.get("key") == "again"

    async def test_extend(self, harness: Harness) -> None:
        """An extended entry lives as long as was asked for last, and no shorter than was asked for first."""
        await harness.state.put_if_absent("key", "value", 60)
        assert await harness.state.extend("key", "value", 5) is True
        await harness.advance(50)
        assert await harness.state.extend("key", "value", 60) is True
        await harness.advance(55)
        assert await harness.state.get("key") == "value"
        assert await harness.state.put_if_absent("key", "other", 60) == "value"
        await harness.advance(6)
        assert await harness.state.get("key") is None

    async def test_extend_only_that_value(self, harness: Harness) -> None:
        """An entry that is not there, is removed, expired or holds another value is not extended, nor made."""
        assert await harness.state.extend("key", "value", 60) is False
        await harness.state.put_if_absent("key", "value", 60)
        assert await harness.state.extend("key", "other", 600) is False
        await harness.advance(61)
        assert await harness.state.extend("key", "value", 60) is False
        await harness.state.put_if_absent("key", "value", 60)
        await harness.state.remove("key", "value")
        assert await harness.state.extend("key", "value", 60) is False
        assert await harness.state.get("key") is None
        with pytest.raises(ValueError, match="ttl"):
            await harness.state.extend("key", "value", 0)

    async def test_replace(self, harness: Harness) -> None:
        """An entry is replaced only if it holds just that value, or is absent where that was asked for."""
        state = harness.state
        assert await state.replace("key", "value", "new", 60) is False
        assert await state.get("key") is None
        assert await state.replace("key", None, "first", 60) is True
        assert await state.replace("key", None, "second", 60) is False
        assert await state.replace("key", "other", "second", 60) is False
        assert await state.get("key") == "first"
        assert await state.replace("key", "first", "second", 100) is True
        await harness.advance(61)
        assert await state.get("key") == "second"
        await harness.advance(40)
        assert await state.replace("key", "second", "third", 60) is False
        assert await state.replace("key", None, "third", 60) is True
        for old in (None, "third"):
            with pytest.raises(ValueError, match="ttl"):
                await state.replace("key", old, "fourth", 0)
        assert await state.get("key") == "third"

    async def test_no_replacement_is_lost(self, harness: Harness) -> None:
        """Ten callers that count up one entry at once come to the sum, whatever they find in between."""

        async def count_up() -> None:
            done = 0
            while done < 5:
                old = await harness.state.get("count")
                done += await harness.state.replace("count", old, str(int(old or 0) + 1), 60)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(count_up)
        assert await harness.state.get("count") == "50"

    async def test_awkward_strings(self, harness: Harness) -> None:
        """Any two different strings are different keys, and any string comes back as the value it was."""
        for text in AWKWARD:
            assert await harness.state.put_if_absent(text, text, 60) is None, repr(text[:10])
        for text in AWKWARD:
            assert await harness.state.get(text) == text
            assert await harness.state.remove(text, text) is True

    @pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, -math.inf, MAX_TTL * 2])
    async def test_bad_ttl(self, harness: Harness, ttl: float) -> None:
        """A time to live that is no positive number of seconds, or absurd, is refused and stores nothing."""
        with pytest.raises(ValueError, match="ttl must be greater than 0"):
            await harness.state.put_if_absent("key", "value", ttl)
        assert await harness.state.get("key") is None

    async def test_longest_ttl(self, harness: Harness) -> None:
        """The longest time to live that is allowed works."""
        assert await harness.state.put_if_absent("key", "value", MAX_TTL) is None
        assert await harness.state.get("key") == "value"

    async def test_one_winner_among_many_puts(self, harness: Harness) -> None:
        """Fifty puts of one key at once: exactly one stores, and all others are told its value."""
        answers: dict[str, str | None] = {}

        async def put(name: str) -> None:
            answers[name] = await harness.state.put_if_absent("nonce", name, 60)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(put, str(number))
        winners = [name for name, answer in answers.items() if answer is None]
        assert len(winners) == 1
        assert set(answers.values()) == {None, winners[0]}

    async def test_one_winner_among_many_removes(self, harness: Harness) -> None:
        """Fifty removes of one entry at once: exactly one is told that it did it."""
        await harness.state.put_if_absent("identity", "value", 60)
        answers: list[bool] = []

        async def remove() -> None:
            answers.append(await harness.state.remove("identity", "value"))

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(remove)
        assert sorted(answers) == [False] * 49 + [True]

    async def test_repr_shows_no_data(self, harness: Harness) -> None:
        """The store's repr shows neither keys nor values."""
        await harness.state.put_if_absent("the-key", "the-secret", 60)
        assert "the-key" not in repr(harness.state)
        assert "the-secret" not in repr(harness.state)

    async def test_closed_twice(self, harness: Harness) -> None:
        """A store can be closed, closed again, opened again and used."""
        await harness.state.close()
        await harness.state.close()
        await harness.state.open()
        assert await harness.state.put_if_absent("key", "value", 60) is None


@pytest.mark.anyio
class BoundContract:
    """The tests of a store that counts its entries; a deriving class gives ``bounded``, one that holds ten."""

    async def test_full_store_refuses(self, bounded: Harness) -> None:
        """A full store refuses new keys, keeps all it has, and still answers for keys that are there."""
        for number in range(10):
            await bounded.state.put_if_absent(f"key{number}", "value", 60)
        with pytest.raises(StateFull):
            await bounded.state.put_if_absent("one more", "value", 60)
        assert await bounded.state.put_if_absent("key0", "other", 60) == "value"
        for number in range(10):
            assert await bounded.state.get(f"key{number}") == "value"

    async def test_room_after_expiry(self, bounded: Harness) -> None:
        """A full store takes new keys as soon as one entry has expired."""
        await bounded.state.put_if_absent("short", "value", 10)
        for number in range(9):
            await bounded.state.put_if_absent(f"key{number}", "value", 60)
        await bounded.advance(11)
        assert await bounded.state.put_if_absent("new", "value", 60) is None
        with pytest.raises(StateFull):
            await bounded.state.put_if_absent("one more", "value", 60)

    async def test_room_after_remove(self, bounded: Harness) -> None:
        """A full store takes a new key after one was removed."""
        for number in range(10):
            await bounded.state.put_if_absent(f"key{number}", "value", 60)
        await bounded.state.remove("key3", "value")
        assert await bounded.state.put_if_absent("new", "value", 60) is None

    async def test_full_of_expired_entries(self, bounded: Harness) -> None:
        """Put and remove without end, with lives of any length, never fill a store for good."""
        for number in range(200):
            await bounded.state.put_if_absent(f"key{number}", "value", 1000 + number % 7)
            assert await bounded.state.remove(f"key{number}", "value")
        for number in range(200):
            await bounded.state.put_if_absent(f"key{number}", "value", 1)
            await bounded.advance(2)

    async def test_full_store_has_partitions(self, bounded: Harness) -> None:
        """While the store is full, every partition takes entries; revocations until their reserve is used up."""
        for number in range(10):
            await bounded.state.put_if_absent(f"key{number}", "value", 60)
        for kind in Partition:
            assert await bounded.state.partition(kind).put_if_absent("new", "value", 60) is None
        revocations = bounded.state.partition(Partition.REVOCATIONS)
        for number in range(15):
            assert await revocations.put_if_absent(f"revoked{number}", "value", 60) is None
        with pytest.raises(StateFull):
            await revocations.put_if_absent("one more", "value", 60)
        with pytest.raises(StateFull):
            await bounded.state.put_if_absent("one more", "value", 60)
        for number in range(10):
            assert await bounded.state.get(f"key{number}") == "value"

    async def test_a_full_store_replaces(self, bounded: Harness) -> None:
        """In a full store an entry can be replaced, and a failed attempt leaves it."""
        for number in range(10):
            await bounded.state.put_if_absent(f"key{number}", "value", 60)
        assert await bounded.state.replace("key3", "value", "new", 60) is True
        assert await bounded.state.replace("key4", "other", "new", 60) is False
        with pytest.raises(StateFull):
            await bounded.state.replace("one more", None, "new", 60)
        assert [await bounded.state.get(f"key{number}") for number in (3, 4)] == ["new", "value"]


EVICTING = (Partition.SESSIONS, Partition.CHALLENGES, Partition.SOCKETS)


@pytest.mark.anyio
class PartitionContract:
    """The tests of a store's partitions; a deriving class gives ``bounded``, a store whose partitions hold ten."""

    @pytest.mark.parametrize("kind", EVICTING)
    async def test_first_to_expire_is_removed(self, bounded: Harness, kind: Partition) -> None:
        """A partition at its bound removes the entries that would expire first, one for each new one."""
        part = bounded.state.partition(kind)
        for number in range(25):
            assert await part.put_if_absent(f"key{number}", "value", 60 + number) is None
            await bounded.advance(0.01)
        found = [number for number in range(25) if await part.get(f"key{number}") is not None]
        assert found == list(range(15, 25))

    @pytest.mark.parametrize("kind", EVICTING)
    async def test_a_partition_leaves_the_store_alone(self, bounded: Harness, kind: Partition) -> None:
        """A flood of one kind removes nothing of the store or of another kind, and keeps nothing out of them."""
        others = [bounded.state, *(bounded.state.partition(other) for other in EVICTING if other is not kind)]
        for state in others:
            for number in range(4):
                await state.put_if_absent(f"key{number}", "value", 1)
        for number in range(50):
            assert await bounded.state.partition(kind).put_if_absent(f"flood{number}", "value", 600) is None
        for state in others:
            assert [await state.get(f"key{number}") for number in range(4)] == ["value"] * 4
            assert await state.put_if_absent("new", "value", 60) is None
            assert await state.put_if_absent("new", "other", 60) == "value"

    async def test_keys_of_partitions(self, bounded: Harness) -> None:
        """A key means another entry in each partition, but for revocations, which have the keys of the store."""
        for state in (bounded.state, *(bounded.state.partition(kind) for kind in EVICTING)):
            assert await state.put_if_absent("key", "value", 60) is None
        revocations = bounded.state.partition(Partition.REVOCATIONS)
        assert await revocations.get("key") == "value"
        assert await revocations.remove("key", "value") is True
        assert await bounded.state.get("key") is None
        assert await bounded.state.partition(Partition.SESSIONS).get("key") == "value"

    async def test_what_counts_is_alive(self, bounded: Harness) -> None:
        """Expired and removed entries do not count towards a partition's bound."""
        part = bounded.state.partition(Partition.SESSIONS)
        for number in range(5):
            await part.put_if_absent(f"short{number}", "value", 10)
        for number in range(5):
            await part.put_if_absent(f"removed{number}", "value", 100)
        await bounded.advance(11)
        for number in range(5):
            assert await part.remove(f"removed{number}", "value")
        for number in range(10):
            await part.put_if_absent(f"key{number}", "value", 60 + number)
        assert [await part.get(f"key{number}") for number in range(10)] == ["value"] * 10

    async def test_extended_and_replaced_entries_are_removed_later(self, bounded: Harness) -> None:
        """An entry that was extended or replaced goes by its new life."""
        part = bounded.state.partition(Partition.SESSIONS)
        for number in range(10):
            await part.put_if_absent(f"key{number}", "value", 60 + number)
        assert await part.extend("key0", "value", 600)
        assert await part.replace("key1", "value", "new", 600)
        for number in range(8):
            await part.put_if_absent(f"new{number}", "value", 300)
        assert [await part.get(f"key{number}") for number in range(10)] == ["value", "new", *[None] * 8]

    async def test_a_partition_is_as_shared_as_its_store(self, bounded: Harness) -> None:
        """Whoever asks for a partition gets the same entries."""
        for kind in Partition:
            await bounded.state.partition(kind).put_if_absent(f"{kind}", "value", 60)
            assert await bounded.state.partition(kind).get(f"{kind}") == "value"
            assert "value" not in repr(bounded.state.partition(kind))


@pytest.mark.anyio
class LogContract:
    """The tests of a store's message log; a deriving class gives ``logs``, two stores that share one."""

    async def test_everybody_gets_everything(self, logs: tuple[MessageLog, MessageLog]) -> None:
        """Each follower is given every message once, in order, its own included, and none from before it began."""
        one, other = logs
        await one.append("before")
        positions = [(await log.follow(None, 0))[0] for log in logs]
        for number in range(5):
            await logs[number % 2].append(f"messäge {number}")
        for log, position in zip(logs, positions, strict=True):
            position, messages = await log.follow(position, 1)
            assert messages == [f"messäge {number}" for number in range(5)]
            assert await log.follow(position, 0.01) == (position, [])
        await other.append("after")
        assert (await one.follow(positions[0], 1))[1][-1] == "after"

    async def test_follower_is_woken(self, logs: tuple[MessageLog, MessageLog]) -> None:
        """A follower that waits gets a message as soon as it is appended, also the first one ever."""
        one, other = logs
        position, _ = await one.follow(None, 0)
        found: list[str] = []

        async def wait() -> None:
            found.extend((await one.follow(position, 5))[1])

        with anyio.fail_after(2):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.sleep(0.05)
                await other.append("now")
        assert found == ["now"]

    async def test_follower_keeps_nobody_waiting(self, logs: tuple[MessageLog, MessageLog]) -> None:
        """While a follower waits, the same store appends and answers."""
        one, _ = logs
        position, _ = await one.follow(None, 0)
        async with anyio.create_task_group() as group:
            group.start_soon(one.follow, position, 5)
            await anyio.sleep(0.02)
            with anyio.fail_after(1):
                await one.append("now")

    async def test_messages_may_have_been_missed(self, logs: tuple[MessageLog, MessageLog], small_log: None) -> None:
        """A follower that fell behind further than the log reaches is told so, and can begin again."""
        one, other = logs
        await other.append("first")
        position, _ = await one.follow(None, 0)
        for number in range(500):
            await other.append(f"{number}")
        with pytest.raises(PositionLost):
            await one.follow(position, 0.01)
        position, messages = await one.follow(None, 0)
        assert messages == []
        await other.append("last")
        assert (await one.follow(position, 1))[1] == ["last"]


Make = Callable[[], AbstractAsyncContextManager[Harness]]


def model_test(make: Make, examples: int = 60) -> Any:  # noqa: C901 - one state machine, its rules nested
    """A test case that compares the store with the simplest model there is, over random histories.

    Args:
        make: gives an opened and empty store.
        examples: how many histories to try.
    """
    keys, values = st.sampled_from("abc"), st.sampled_from(["1", "2", ""])
    whole_seconds = st.integers(1, 20)  # the model and the store never look at the very moment of expiry
    prefixes = count()

    class Model(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.context = make()
            self.harness = self.runner.run(self.context.__aenter__())
            self.prefix = f"{next(prefixes)}:"
            self.now = 0.0
            self.entries: dict[str, tuple[str, float]] = {}

        def teardown(self) -> None:
            self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()

        def expected(self, key: str) -> str | None:
            value, expires = self.entries.get(key, ("", 0))
            return value if expires > self.now else None

        @rule(key=keys, value=values, ttl=whole_seconds)
        def put(self, key: str, value: str, ttl: int) -> None:
            expected = self.expected(key)
            assert self.runner.run(self.harness.state.put_if_absent(self.prefix + key, value, ttl)) == expected
            if expected is None:
                self.entries[key] = value, self.now + ttl

        @rule(key=keys, value=values)
        def remove(self, key: str, value: str) -> None:
            holds = self.expected(key) == value
            assert self.runner.run(self.harness.state.remove(self.prefix + key, value)) is holds
            if holds:
                del self.entries[key]

        @rule(key=keys, value=values, ttl=whole_seconds)
        def extend(self, key: str, value: str, ttl: int) -> None:
            holds = self.expected(key) == value
            assert self.runner.run(self.harness.state.extend(self.prefix + key, value, ttl)) is holds
            if holds:
                self.entries[key] = value, max(self.entries[key][1], self.now + ttl)

        @rule(seconds=whole_seconds)
        def advance(self, seconds: int) -> None:
            self.now += seconds - 0.5
            self.runner.run(self.harness.advance(seconds - 0.5))

        @invariant()
        def reads_agree(self) -> None:
            for key in "abc":
                assert self.runner.run(self.harness.state.get(self.prefix + key)) == self.expected(key)

    test_case: Any = Model.TestCase
    test_case.settings = settings(max_examples=examples, stateful_step_count=20, deadline=None)
    return test_case
