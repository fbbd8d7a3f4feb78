"""Authenticating again for a live WebSocket: names, owners, and word between workers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.websockets.live import LiveSocket, LiveSockets, SocketOwner
from asgi_gateway.websockets.reauthorization import NAME_LENGTH, Reauthorizations
from tests.helpers import ManualClock, OnePartState

pytestmark = pytest.mark.anyio

JOE = SocketOwner("chat", "demo", "joe")


class SharedState(OnePartState):
    """A store that several workers share, as far as they can tell."""

    shared = True
    down = False

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        if self.down:
            raise StateUnavailable("down")
        return await super().put_if_absent(key, value, ttl)


class Worker:
    """One process's part."""

    def __init__(self, state: MemoryState, clock: ManualClock) -> None:
        self.sockets = LiveSockets()
        self.again = Reauthorizations(state, clock, self.sockets)

    def socket(self, owner: SocketOwner = JOE, seconds: float = 10) -> LiveSocket:
        async def nothing(*message: Any) -> Any:
            return {}

        socket = LiveSocket(nothing, nothing, owner, renewal=self.again.new_renewal(owner))
        socket.set_deadlines(None, None, seconds)
        self.sockets.add(socket)
        return socket


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def pair(clock: ManualClock) -> tuple[Worker, Worker, SharedState]:
    """Two workers that share a store."""
    state = SharedState(clock)
    workers = Worker(state, clock), Worker(state, clock)
    for worker in workers:
        await worker.again.open()
    return *workers, state


async def test_names_cannot_be_guessed(clock: ManualClock) -> None:
    """Names have 16 random bytes and a signature of as many characters, and no two are alike."""
    worker = Worker(MemoryState(clock), clock)
    names = {worker.again.new_renewal(JOE).name for _ in range(100)}
    assert len(names) == 100
    assert {len(name) for name in names} == {NAME_LENGTH}


async def test_in_this_process(clock: ManualClock) -> None:
    """Its owner authorizes a socket of this process; no other user, realm or service does, and it stays as it was."""
    worker = Worker(MemoryState(clock), clock)
    socket = worker.socket()
    until = socket.authorized_until
    for other in (
        SocketOwner("chat", "demo", "ann"),
        SocketOwner("chat", "other", "joe"),
        SocketOwner("news", "demo", "joe"),
    ):
        assert not await worker.again.authorize(socket.name, other, 1000)
    await asyncio.sleep(0)
    assert socket.authorized_until == until
    assert await worker.again.authorize(socket.name, JOE, 1000)
    await asyncio.sleep(0)
    assert until is not None
    assert socket.authorized_until is not None
    assert socket.authorized_until > until + 900
    assert not await worker.again.authorize("x" * NAME_LENGTH, JOE, 1000)
    socket.cancel_timer()


async def test_another_workers_socket(clock: ManualClock) -> None:
    """Word that another worker leaves is heard, counts from when it was left, and is never more than was given."""
    here, there, _ = await pair(clock)
    socket = here.socket()
    assert await here.again.granted_seconds(socket) == 0
    assert await there.again.authorize(socket.name, JOE, 100)
    clock.advance(30)
    assert await here.again.granted_seconds(socket) == pytest.approx(70)
    assert await there.again.authorize(socket.name, JOE, 100)
    assert await here.again.granted_seconds(socket) == pytest.approx(100)
    clock.advance(101)
    assert await here.again.granted_seconds(socket) == 0
    socket.cancel_timer()


async def test_another_workers_socket_of_another_user(clock: ManualClock) -> None:
    """A worker that does not have the socket can tell whose it is, and refuses everybody else."""
    here, there, _ = await pair(clock)
    socket = here.socket()
    assert not await there.again.authorize(socket.name, SocketOwner("chat", "demo", "ann"), 100)
    assert not await there.again.authorize(socket.name, SocketOwner("news", "demo", "joe"), 100)
    assert not await there.again.authorize(f"{socket.name[:-1]}~", JOE, 100)
    assert await here.again.granted_seconds(socket) == 0
    socket.cancel_timer()


async def test_a_clock_that_is_off_extends_nothing(clock: ManualClock) -> None:
    """If the clock of the worker that is asked is an hour ahead, no more than the limit is given; if behind, none."""
    state = SharedState(clock)
    ahead, behind = ManualClock(clock.now + 3600), ManualClock(clock.now - 3600)
    for other, expected in ((ahead, 100), (behind, 0)):
        here, there = Worker(state, clock), Worker(state, other)
        await here.again.open()
        socket = here.socket()
        assert await there.again.authorize(socket.name, JOE, 100)
        assert await here.again.granted_seconds(socket) == expected
        socket.cancel_timer()


async def test_a_store_that_was_emptied(clock: ManualClock) -> None:
    """After the store forgot the key, workers agree again, and sockets from before stay known."""
    here, there, state = await pair(clock)
    socket = here.socket()
    state._entries.by_key.clear()
    late = Worker(state, clock)
    await late.again.open()
    assert await there.again.authorize(socket.name, JOE, 100)
    socket.cancel_timer()


async def test_a_store_that_is_down(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A gateway starts while the store is down; a socket of its own is authorized, another worker's is an error."""
    state = SharedState(clock)
    state.down = True
    here, there = Worker(state, clock), Worker(state, clock)
    await here.again.open()
    assert "own worker only" in caplog.text
    socket = here.socket()
    assert await here.again.authorize(socket.name, JOE, 10)
    with pytest.raises(StateUnavailable):
        await there.again.authorize(socket.name, JOE, 10)
    socket.cancel_timer()


async def test_with_the_memory_store(clock: ManualClock) -> None:
    """Where workers share nothing, a socket of another one is not there."""
    here, there = Worker(MemoryState(clock), clock), Worker(MemoryState(clock), clock)
    socket = here.socket()
    assert not await there.again.authorize(socket.name, JOE, 10)
    assert await here.again.granted_seconds(socket) == 0
    socket.cancel_timer()
