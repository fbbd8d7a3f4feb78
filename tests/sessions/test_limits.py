"""How many sessions a user and a client can have, in every store that comes with the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.model import RevocationKey
from asgi_gateway.sessions.limits import SessionLimits, client_network
from asgi_gateway.sessions.listing import list_sessions
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from tests.helpers import ManualClock, OnePartState
from tests.sessions.limits_contract import LimitsContract, LimitsSite

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def limits(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[LimitsSite]:
    """A realm with sessions in an empty store."""
    clock = ManualClock(1_800_000_000.0)
    state = MemoryState(clock) if request.param == "memory" else SqliteState(tmp_path / "state.db", clock=clock)
    await state.open()
    yield LimitsSite(state, clock)
    await state.close()


class TestLimits(LimitsContract):
    """The memory and the SQLite store keep the limits of sessions."""


async def test_dead_sessions_are_no_surplus() -> None:
    """Sessions that timed out, were logged out or revoked end before any that is alive."""
    clock = ManualClock(1_800_000_000.0)
    state = MemoryState(clock)
    site = LimitsSite(state, clock, idle=100.0)
    revocations = Revocations(state)
    revocations.subscribe(site.sessions.invalidate)
    phone = await site.begin("joe", "192.0.2.1")
    for _ in range(2):
        await site.begin("joe", "192.0.2.1")
    clock.advance(60)
    assert await site.valid(phone)
    clock.advance(60)  # the other two were idle for too long
    assert await site.valid(phone)
    for _ in range(2):
        await site.begin("joe", "192.0.2.1")
        assert await site.valid(phone)
    second = await site.begin("joe", "198.51.100.7")
    session = await site.sessions.lookup(second, secure=True)
    assert session is not None
    await revocations.revoke(RevocationKey("session", session.id))
    for _ in range(2):
        await site.begin("joe", "198.51.100.7")
    assert await site.valid(phone)


async def test_the_list_names_no_ended_session(tmp_path: Path) -> None:
    """What the command line lists follows the limits."""
    clock = ManualClock(1_800_000_000.0)
    state = SqliteState(tmp_path / "state.db", clock=clock)
    site = LimitsSite(state, clock)
    for _ in range(9):
        await site.begin("joe", "192.0.2.1")
    found, _ = await list_sessions(state, clock, most=100)
    assert len(found) == 3
    await state.close()


async def test_a_list_that_nobody_can_change() -> None:
    """Where the list cannot be changed no session begins, and none ends."""

    class Stubborn(OnePartState):
        stubborn = False

        async def replace(self, key: str, old: str | None, new: str, ttl: float) -> bool:
            return not self.stubborn and await super().replace(key, old, new, ttl)

    clock = ManualClock(1_800_000_000.0)
    state = Stubborn(clock)
    site = LimitsSite(state, clock)
    cookies = [await site.begin("joe", "192.0.2.1") for _ in range(3)]
    state.stubborn = True
    with pytest.raises(StateUnavailable, match="at once"):
        await site.begin("joe", "192.0.2.1")
    assert [await site.valid(cookie) for cookie in cookies] == [True] * 3


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[1]]", '[["a", "b", "c"]]', "null", "["])
async def test_a_list_of_another_release(text: str) -> None:
    """A list that cannot be read is replaced, and sessions begin."""
    clock = ManualClock(1_800_000_000.0)
    state = OnePartState(clock)
    await state.put_if_absent('["sessions of", "demo", "joe"]', text, 600)
    site = LimitsSite(state, clock)
    cookies = [await site.begin("joe", "192.0.2.1") for _ in range(5)]
    assert [await site.valid(cookie) for cookie in cookies] == [False, False, True, True, True]


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0), (-1, 5)])
def test_bad_limits(wrong: tuple[int, int]) -> None:
    """A limit below 1 is an error."""

    async def alive(identity: str) -> bool:
        return True

    with pytest.raises(ValueError, match="at least 1"):
        SessionLimits(MemoryState(), alive, *wrong)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
        (None, ""),
    ],
)
def test_clients(address: str | None, client: str) -> None:
    """A client is an IPv4 address or an IPv6 network of 64 bits."""
    assert client_network(address) == client


async def test_workers_begin_at_once(limits: LimitsSite) -> None:
    """Forty logins of one user at once, at two workers, leave as many sessions as the limit."""
    other = LimitsSite(limits.state, limits.clock)
    cookies: list[bytes] = []

    async def begin(site: LimitsSite) -> None:
        cookies.append(await site.begin("joe", "192.0.2.1"))

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(begin, (limits, other)[number % 2])
    assert sum([await limits.valid(cookie) for cookie in cookies]) == 3


async def test_a_store_without_partitions() -> None:
    """A store of somebody's own, which has one bound for all, keeps the limits too."""
    clock = ManualClock(1_800_000_000.0)
    site = LimitsSite(OnePartState(clock), clock)
    cookies = [await site.begin("joe", "192.0.2.1") for _ in range(5)]
    assert sum([await site.valid(cookie) for cookie in cookies]) == 3
