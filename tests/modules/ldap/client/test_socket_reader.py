"""Waiting for a socket in the event loop, on a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import anyio
import pytest

from asgi_gateway.modules.ldap.client.socket_reader import SocketReader

pytestmark = pytest.mark.anyio

BACKENDS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


class Wire:
    """Two ends of a connection; a step that takes lines in at one of them."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.steps = 0
        self.taken = b""

    def step(self) -> bool | None:
        """Whole once a line has ended."""
        self.steps += 1
        try:
            self.taken += self.near.recv(100)
        except BlockingIOError:
            return None
        return True if self.taken.endswith(b"\n") else None

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


@BACKENDS
async def test_answers(anyio_backend: str, wire: Wire) -> None:
    """An answer is whole when its last part has come, one after the other on the same socket."""
    ready = SocketReader(wire.near.fileno())
    for _ in range(3):
        wire.taken = b""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ready.until, wire.step, 5)
            for part in (b"one ", b"answer\n"):
                await anyio.sleep(0.01)
                assert wire.taken != b"one answer\n"
                wire.far.send(part)
        assert wire.taken == b"one answer\n"
    ready.leave()


@pytest.mark.timing
@BACKENDS
@pytest.mark.parametrize("seconds", [0.02, 0.25])
async def test_time_is_up(anyio_backend: str, wire: Wire, seconds: float) -> None:
    """Nothing, or half an answer, is an error when the time is up, not earlier and not much later."""
    ready = SocketReader(wire.near.fileno())
    for sent in (b"", b"half"):
        wire.far.send(sent)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await ready.until(wire.step, seconds)
        assert seconds * 0.9 < time.monotonic() - start < seconds + 0.2
    ready.leave()


@BACKENDS
async def test_a_step_that_wants_another_turn(anyio_backend: str, wire: Wire) -> None:
    """A step that stopped before the end is called again though nothing more comes, and others have turns between."""
    ready, turns = SocketReader(wire.near.fileno()), list[str]()

    def step() -> bool:
        if not turns:
            wire.near.recv(1)
        turns.append("step")
        return len([turn for turn in turns if turn == "step"]) == 5

    async def other() -> None:
        while "step" not in turns:
            await anyio.sleep(0)
        for _ in range(3):
            turns.append("other")
            await anyio.sleep(0)

    wire.far.send(b"x")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await ready.until(step, 5)
    last = len(turns) - 1 - turns[::-1].index("step")
    assert turns.index("other") < last
    assert turns.count("step") == 5
    ready.leave()


@pytest.mark.timing
@BACKENDS
async def test_it_looks_though_the_socket_shows_nothing(anyio_backend: str, wire: Wire) -> None:
    """What TLS holds back shows on no socket, so a step is called now and then without being called for."""
    ready, start = SocketReader(wire.near.fileno()), time.monotonic()
    await ready.until(lambda: time.monotonic() - start > 0.15, 5)
    assert 0.15 < time.monotonic() - start < 1
    ready.leave()


@BACKENDS
async def test_what_a_step_raises(anyio_backend: str, wire: Wire) -> None:
    """An error ends the wait, and the socket may be closed at once: its number can be another's."""
    ready = SocketReader(wire.near.fileno())

    def step() -> bool:
        wire.near.close()
        raise ConnectionError("gone")

    wire.far.send(b"x")
    with pytest.raises(ConnectionError, match="gone"):
        await ready.until(step, 5)
    other = Wire()
    try:
        again = SocketReader(other.near.fileno())
        other.far.send(b"answer\n")
        await again.until(other.step, 5)
        again.leave()
    finally:
        other.close()
    ready.leave()


@BACKENDS
async def test_a_wait_that_is_given_up(anyio_backend: str, wire: Wire) -> None:
    """After a wait that was cancelled the next one works, and what came late is its own."""
    ready = SocketReader(wire.near.fileno())
    with anyio.move_on_after(0.02) as scope:
        await ready.until(wire.step, 5)
    assert scope.cancelled_caught
    wire.far.send(b"late\n")
    await ready.until(wire.step, 5)
    assert wire.taken == b"late\n"
    ready.leave()


async def test_a_socket_that_stirs_unasked(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the server ends while it is idle is looked at once, and does not keep the loop busy."""
    looks, original = [], SocketReader._ready

    def counted(self: SocketReader) -> None:
        looks.append(self)
        original(self)

    monkeypatch.setattr(SocketReader, "_ready", counted)
    ready = SocketReader(wire.near.fileno())
    wire.far.send(b"first\n")
    await ready.until(wire.step, 5)
    looks.clear()
    wire.far.send(b"unasked\n")
    await anyio.sleep(0.15)
    assert len(looks) == 1
    await ready.until(wire.step, 5)  # it is watched again
    assert wire.taken == b"first\nunasked\n"
    ready.leave()


def test_another_loop(wire: Wire) -> None:
    """A socket can be waited for in one loop after the other, as tests of applications have it."""
    ready = SocketReader(wire.near.fileno())
    for number in range(3):
        wire.far.send(b"%d\n" % number)
        asyncio.run(ready.until(wire.step, 5))
    assert wire.taken == b"0\n1\n2\n"
    ready.leave()


async def test_a_loop_that_watches_no_sockets(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asyncio's loop cannot watch sockets, as Windows' cannot by default, waiting works by other means."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    waited = []

    async def wait_readable(fileno: int) -> None:
        waited.append(fileno)
        await anyio.sleep(0.01)

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    monkeypatch.setattr(anyio, "wait_readable", wait_readable)
    ready = SocketReader(wire.near.fileno())
    wire.far.send(b"answer\n")
    await ready.until(wire.step, 5)
    assert waited
