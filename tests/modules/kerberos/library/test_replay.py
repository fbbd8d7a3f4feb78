"""A token lets its bearer in once."""

from __future__ import annotations

import anyio
import pytest

from asgi_gateway.errors import Replayed, StateError, StateUnavailable
from asgi_gateway.modules.kerberos.library.replay import ReplayGuard
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import EmptyState, ManualClock

pytestmark = pytest.mark.anyio


async def test_once() -> None:
    """The second use of a token is refused, another token is not."""
    guard = ReplayGuard(MemoryState(ManualClock()), 300)
    await guard.refuse_replay("a", "alice@HOME")
    await guard.refuse_replay("b", "alice@HOME")
    with pytest.raises(Replayed):
        await guard.refuse_replay("a", "alice@HOME")


async def test_remembered_long_enough() -> None:
    """A token is remembered for as long as the library could accept it: twice the clock skew, and some more."""
    clock = ManualClock()
    guard = ReplayGuard(MemoryState(clock), 300)
    await guard.refuse_replay("a", "alice@HOME")
    clock.advance(601)
    with pytest.raises(Replayed):
        await guard.refuse_replay("a", "alice@HOME")
    clock.advance(60)
    await guard.refuse_replay("a", "alice@HOME")


async def test_fifty_at_once() -> None:
    """Of fifty equal tokens at once on two workers, exactly one gets in."""
    state = MemoryState(ManualClock())
    guards = [ReplayGuard(state, 300), ReplayGuard(state, 300)]
    outcomes: list[bool] = []

    async def use(guard: ReplayGuard) -> None:
        try:
            await guard.refuse_replay("a", "alice@HOME")
        except Replayed:
            outcomes.append(False)
        else:
            outcomes.append(True)

    async with anyio.create_task_group() as group:
        for index in range(50):
            group.start_soon(use, guards[index % 2])
    assert sorted(outcomes) == [False] * 49 + [True]


async def test_store_down() -> None:
    """A store that cannot tell lets nobody in."""

    class Down(EmptyState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            raise StateUnavailable("down")

    with pytest.raises(StateError):
        await ReplayGuard(Down(), 300).refuse_replay("a", "alice@HOME")
