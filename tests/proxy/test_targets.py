"""The choice among several back ends, and the slots of each."""

from __future__ import annotations

import asyncio

import pytest

from asgi_gateway.proxy.connect import ConnectURL, parse_connect
from asgi_gateway.proxy.slots import Slots, SlotUnavailable
from asgi_gateway.proxy.targets import DEAD_SECONDS, Targets
from tests.helpers import ManualClock

A, B, C = (parse_connect(f"http://{name}:9000") for name in "abc")


def targets(*connects: ConnectURL) -> tuple[Targets, ManualClock]:
    clock = ManualClock()
    return Targets(connects, clock.monotonic), clock


def test_in_turn() -> None:
    """Each request begins with the next back end, and has the others after it."""
    found, _ = targets(A, B, C)
    assert [found.candidates() for _ in range(4)] == [(A, B, C), (B, C, A), (C, A, B), (A, B, C)]


def test_dead_one_is_passed_over() -> None:
    """A back end that failed is passed over for a while; then one request tries it."""
    found, clock = targets(A, B)
    found.failed(A)
    assert {found.candidates() for _ in range(3)} == {(B,)}
    clock.advance(DEAD_SECONDS)
    tries = [found.candidates() for _ in range(4)]
    assert sum(A in each for each in tries) == 1
    found.answered(A)
    assert found.candidates() in ((A, B), (B, A))


def test_all_dead() -> None:
    """With all back ends dead, the one that failed longest ago is tried."""
    found, _ = targets(A, B)
    found.failed(B)
    found.failed(A)
    assert found.candidates() == (B,)
    found.failed(B)
    assert found.candidates() == (A,)


def test_only_one() -> None:
    """A single back end is tried whatever happened."""
    found, _ = targets(A)
    found.failed(A)
    assert found.candidates() == (A,)


def test_none() -> None:
    """There is always a back end."""
    with pytest.raises(ValueError, match="needs a back end"):
        targets()


@pytest.mark.anyio
async def test_slots_in_order() -> None:
    """Slots are handed over in the order in which they were asked for."""
    slots = Slots(2)
    assert slots.take()
    assert slots.take()
    assert not slots.take()
    order: list[int] = []

    async def ask(number: int) -> None:
        await slots.wait(5)
        order.append(number)

    waiting = [asyncio.create_task(ask(number)) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(SlotUnavailable, match="too many requests wait"):
        await slots.wait(5)
    slots.free()
    slots.free()
    await asyncio.gather(*waiting)
    assert order == [0, 1]
    slots.free()
    slots.free()
    assert slots.used == 0


@pytest.mark.anyio
async def test_slot_of_a_request_that_left() -> None:
    """A request that is cancelled in the moment in which it gets a slot gives it back."""
    slots = Slots(1)
    assert slots.take()
    waiting = asyncio.create_task(slots.wait(5))
    await asyncio.sleep(0)
    slots.free()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.used == 0


@pytest.mark.anyio
async def test_slot_that_does_not_come() -> None:
    """Waiting ends."""
    slots = Slots(1)
    slots.take()
    with pytest.raises(SlotUnavailable, match="all 1 connections"):
        await slots.wait(0.01)
    slots.free()
    assert slots.used == 0
