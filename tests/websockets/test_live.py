"""The registry of live sockets, and the timers of each."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.model import RevocationKey
from asgi_gateway.websockets.closable import ConnectionEnded
from asgi_gateway.websockets.live import CloseReason, LiveSocket, LiveSockets, SocketOwner, SocketRenewal
from tests.gateways import Server

pytestmark = pytest.mark.anyio

JOE, ANN = RevocationKey("user", "joe", "demo"), RevocationKey("user", "ann", "demo")
SESSION, TOKEN = RevocationKey("session", "s1"), RevocationKey("token", "t1")
OWNER = SocketOwner("chat", "demo", "joe")

Ask = Callable[[LiveSocket], Awaitable[float]]


class Clocked:
    """The running loop, its time moved by hand: what is due runs at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.ahead = 0.0
        time = self.loop.time
        monkeypatch.setattr(self.loop, "time", lambda: time() + self.ahead)

    async def advance(self, seconds: float) -> None:
        self.ahead += seconds
        for _ in range(4):
            await asyncio.sleep(0)


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> Callable[[float], Any]:
    """Moves the loop's time; made on first use, inside the loop."""
    made: list[Clocked] = []

    async def move(seconds: float) -> None:
        if not made:
            made.append(Clocked(monkeypatch))
        await made[0].advance(seconds)

    return move


async def never(socket: LiveSocket) -> float:
    """No other worker extended the authorization."""
    return 0.0


class Wire(Server):
    """A socket and what its server was told."""

    def __init__(
        self, *revocation_keys: RevocationKey, name: str = "", headers: Any = (), ask: Ask | None = None
    ) -> None:
        super().__init__()
        renewal = SocketRenewal(name, ask or never) if name or ask else None
        self.socket = LiveSocket(self.receive, self.send, OWNER, revocation_keys, headers, renewal)

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason of the close, if there was one."""
        return (self.sent[-1]["code"], self.sent[-1]["reason"]) if self.sent else None


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


def test_every_end_can_be_told_apart() -> None:
    """No two ends have the same code or reason, and every code may be sent by an application (RFC 6455)."""
    assert len({end.code for end in CloseReason}) == len({end.reason for end in CloseReason}) == len(CloseReason)
    assert all(end.code == 1008 or 4000 <= end.code < 5000 for end in CloseReason)
    assert (CloseReason.SESSION_TIMEOUT.code, CloseReason.SESSION_TIMEOUT.reason) == (1008, "session timeout")


async def test_only_the_sockets_concerned_end() -> None:
    """A revocation ends all of its sockets and no other; sockets may share what ends them."""
    sockets = LiveSockets()
    wires = [Wire(JOE), Wire(JOE, SESSION), Wire(ANN, SESSION), Wire(ANN)]
    for wire in wires:
        sockets.add(wire.socket)
    assert sockets.end(JOE) == 2
    await settle()
    assert [wire.closed for wire in wires] == [(4004, "user revoked"), (4004, "user revoked"), None, None]
    assert sockets.end(SESSION) == 2
    await settle()
    assert wires[2].closed == (4003, "session ended")
    assert wires[3].closed is None
    assert sockets.end(RevocationKey("user", "nobody", "demo")) == 0


async def test_nothing_is_glued_together() -> None:
    """Names cannot be chosen so that one revocation stands for another."""
    sockets = LiveSockets()
    wires = [
        Wire(RevocationKey("user", "a", "b:c")),
        Wire(RevocationKey("user", "a:b", "c")),
        Wire(RevocationKey("session", "a", "b:c")),
    ]
    for wire in wires:
        sockets.add(wire.socket)
    sockets.end(RevocationKey("user", "a", "b:c"))
    await settle()
    assert [wire.closed is not None for wire in wires] == [True, False, False]


async def test_nothing_is_kept_of_a_socket_that_went() -> None:
    """After discarding, neither login nor name is known, in whatever order sockets go."""
    sockets = LiveSockets()
    wires = [Wire(JOE, SESSION, name=f"n{index}") for index in range(3)]
    for wire in wires:
        sockets.add(wire.socket)
    for wire in (wires[1], wires[0], wires[2]):
        assert sockets.by_name(wire.socket.name) is wire.socket
        sockets.discard(wire.socket)
        assert sockets.by_name(wire.socket.name) is None
    assert len(sockets) == 0
    assert not sockets._by_key


async def test_a_token(anyio_backend: str) -> None:
    """The sockets that a revoked token opened end, too."""
    sockets, wire = LiveSockets(), Wire(JOE, TOKEN)
    sockets.add(wire.socket)
    sockets.end(TOKEN)
    await settle()
    assert wire.closed == (4005, "token revoked")


async def test_end_from_another_thread() -> None:
    """The listener of a broadcast may run in any thread."""
    sockets, wire = LiveSockets(), Wire(JOE)
    sockets.add(wire.socket)
    thread = threading.Thread(target=sockets.end, args=(JOE,))
    thread.start()
    thread.join()
    await settle()
    assert wire.closed == (4004, "user revoked")


async def test_ended_while_its_login_was_looked_at() -> None:
    """What is ended between a login's beginning and its socket's ends the socket, too; what others were is not."""
    sockets = LiveSockets()
    since = sockets.revocation_epoch
    sockets.end(JOE)
    joe, ann = Wire(JOE), Wire(ANN)
    sockets.add(joe.socket, since)
    sockets.add(ann.socket, since)
    late = Wire(JOE)
    sockets.add(late.socket, sockets.revocation_epoch)
    await settle()
    assert [wire.closed for wire in (joe, ann, late)] == [(4004, "user revoked"), None, None]


async def test_more_was_ended_than_is_remembered() -> None:
    """A login that took so long that endings are forgotten does not stand."""
    sockets, wire = LiveSockets(), Wire(JOE)
    since = sockets.revocation_epoch
    for index in range(2000):
        sockets.end(RevocationKey("session", str(index)))
    sockets.add(wire.socket, since)
    await settle()
    assert wire.closed == (4006, "log in again")


async def test_all_end() -> None:
    """When something may have been missed, every socket ends once, and so does one whose login is under way."""
    sockets, wires = LiveSockets(), [Wire(JOE, SESSION), Wire(ANN)]
    since = sockets.revocation_epoch
    for wire in wires:
        sockets.add(wire.socket)
    assert sockets.end(None) == 2
    late = Wire(ANN)
    sockets.add(late.socket, since)
    await settle()
    assert [wire.closed for wire in (*wires, late)] == [(4006, "log in again")] * 3
    assert [len(wire.sent) for wire in wires] == [1, 1]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((5, None, None), (1008, "session timeout")),
        ((5, 4, None), (4002, "token expired")),
        ((4, 5, None), (1008, "session timeout")),
        ((5, 6, 3), (4001, "authorization timeout")),
        ((4, 4, None), (4002, "token expired")),
    ],
)
async def test_the_smallest_limit_holds(advance: Any, limits: Any, expected: tuple[int, str]) -> None:
    """A socket ends at the smallest of its limits, not before, and says which it was."""
    await advance(0)
    wire = Wire(JOE)
    wire.socket.set_deadlines(*limits)
    smallest = min(limit for limit in limits if limit is not None)
    await advance(smallest - 0.5)
    assert wire.closed is None
    await advance(1)
    assert wire.closed == expected
    with pytest.raises(ConnectionEnded):
        await wire.socket.send({"type": "websocket.send", "text": "x"})


async def test_a_new_login_extends_the_authorization_alone(advance: Any) -> None:
    """Authenticating again moves the authorization's end, never the session's."""
    await advance(0)
    wire = Wire(JOE)
    wire.socket.set_deadlines(10, None, 4)
    await advance(3)
    wire.socket.extend_authorization(4)
    await advance(2)
    assert wire.closed is None
    wire.socket.extend_authorization(1000)
    await advance(6)
    assert wire.closed == (1008, "session timeout")


async def test_word_from_elsewhere(advance: Any) -> None:
    """When its authorization ends a socket asks whether another worker extended it: no word, or no answer, ends it."""
    await advance(0)
    answers = [4.0, 0.0]

    async def renewal(socket: LiveSocket) -> float:
        return answers.pop(0)

    async def broken(socket: LiveSocket) -> float:
        raise StateUnavailable("down")

    extended, refused = Wire(JOE, ask=renewal), Wire(JOE, ask=broken)
    for wire in (extended, refused):
        wire.socket.set_deadlines(None, None, 4)
    await advance(4.5)
    assert extended.closed is None
    assert refused.closed == (4001, "authorization timeout")
    await advance(4.5)
    assert extended.closed == (4001, "authorization timeout")
    assert answers == []


async def test_finished_sockets_leave_no_timer(advance: Any) -> None:
    """Once the application is through there is no timer, though somebody is just being asked."""
    await advance(0)

    async def forever(socket: LiveSocket) -> float:
        await asyncio.Event().wait()
        return 9.0

    wire = Wire(JOE, ask=forever)
    wire.socket.set_deadlines(None, None, 1)
    await advance(2)
    await wire.socket.wait_closed()
    await advance(100)
    assert wire.closed is None


@pytest.mark.parametrize("how", ["cancel_timer", "end", "wait_closed"])
async def test_nothing_is_kept_of_a_timer(how: str) -> None:
    """A socket whose timer is cancelled, or that is closed or waited for, keeps no timer."""
    wire = Wire(JOE)
    wire.socket.set_deadlines(1000, None, None)
    timer = wire.socket._timer
    done = getattr(wire.socket, how)(*["over"] * (how == "end"))
    if done is not None:
        await done
    assert timer is not None
    assert timer.cancelled()
    await wire.socket.wait_closed()


async def test_headers_of_the_handshake() -> None:
    """The gateway's headers are in the answer to the handshake and in nothing else."""
    wire = Wire(JOE, headers=((b"x-a", b"1"),))
    await wire.socket.send({"type": "websocket.accept", "headers": [(b"x-b", b"2")]})
    await wire.socket.send({"type": "websocket.send", "text": "x"})
    assert wire.sent[0]["headers"] == [(b"x-b", b"2"), (b"x-a", b"1")]
    assert wire.sent[1] == {"type": "websocket.send", "text": "x"}


async def test_memory_of_a_timer() -> None:
    """A timer takes at most 300 bytes."""
    wires = [Wire(JOE) for _ in range(2000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for wire in wires:
        wire.socket.set_deadlines(3600, None, None)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for wire in wires:
        wire.socket.cancel_timer()
    assert grown / len(wires) <= 300
