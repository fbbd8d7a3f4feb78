"""The replay check: a token is used once on all workers, and not at all after it was revoked."""

from __future__ import annotations

import anyio
import pytest

from asgi_gateway.errors import LoginFailed, LoginUnavailable, Replayed, StateFull, StateUnavailable
from asgi_gateway.plugins.replay import CLOCK_MARGIN, ReplayGuard
from asgi_gateway.stores.memory import MemoryState
from tests.helpers import EmptyState, ManualClock

pytestmark = pytest.mark.anyio


async def test_once() -> None:
    """The second use of a token is refused, another token is not."""
    guard = ReplayGuard(MemoryState(ManualClock()))
    await guard.use("a", 60, "a token of alice@HOME")
    await guard.use("b", 60)
    with pytest.raises(Replayed, match="replay: a token of alice@HOME was used before"):
        await guard.use("a", 60, "a token of alice@HOME")


@pytest.mark.parametrize(("life", "margin"), [(600.0, 60.0), (60.0, CLOCK_MARGIN), (-5.0, CLOCK_MARGIN), (0.0, 1.0)])
async def test_remembered_long_enough(life: float, margin: float) -> None:
    """A token is remembered for its life and the margin for clocks; a life that is over counts as none."""
    clock = ManualClock()
    guard = ReplayGuard(MemoryState(clock), margin)
    await guard.use("a", life)
    clock.advance(max(life, 0) + margin - 0.5)
    with pytest.raises(Replayed):
        await guard.use("a", life)
    clock.advance(1)
    await guard.use("a", life)


async def test_fifty_at_once() -> None:
    """Of fifty equal tokens at once on two workers, exactly one gets in."""
    state = MemoryState(ManualClock())
    guards = [ReplayGuard(state), ReplayGuard(state)]
    outcomes: list[bool] = []

    async def use(guard: ReplayGuard) -> None:
        try:
            await guard.use("a", 300)
        except Replayed:
            outcomes.append(False)
        else:
            outcomes.append(True)

    async with anyio.create_task_group() as group:
        for index in range(50):
            group.start_soon(use, guards[index % 2])
    assert sorted(outcomes) == [False] * 49 + [True]


async def test_revoked() -> None:
    """A revoked token is refused as revoked, whether it is for one use or many."""
    state = MemoryState(ManualClock())
    guard = ReplayGuard(state)
    await state.put_if_absent("a", "revoked", 60)
    with pytest.raises(LoginFailed, match="was revoked") as caught:
        await guard.use("a", 60)
    assert not isinstance(caught.value, Replayed)
    with pytest.raises(LoginFailed, match="was revoked"):
        await guard.check_revoked("a")
    await guard.check_revoked("b")
    assert await guard.state_of("b") is None


@pytest.mark.parametrize("error", [StateUnavailable("down"), StateFull("full")])
async def test_store_down(error: Exception) -> None:
    """A store that cannot answer refuses the login as unavailable, never as granted or wrong."""

    class Down(EmptyState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            raise error

        async def get(self, key: str) -> str | None:
            raise error

    guard = ReplayGuard(Down())
    with pytest.raises(LoginUnavailable, match="cannot check for token replay"):
        await guard.use("a", 60)
    with pytest.raises(LoginUnavailable, match="cannot check for revocation"):
        await guard.check_revoked("a")
