"""Clients that keep no cookies: what they begin is bounded, and keeps nobody else from logging in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, Challenge, Grant, RevocationKey
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.schemes import ApplicationTokenScheme
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from tests.gateways import World, basic, request, service, tokens, users
from tests.helpers import ManualClock

pytestmark = pytest.mark.anyio

BOUND = 40
"""Entries that the store holds: fewer than the logins of each test."""


class Site:
    """A gateway with a realm that recycles every login, one whose tokens are used once, and both on one service."""

    def __init__(self, state: ExpiringState, clock: ManualClock) -> None:
        self.world = World(clock, state=state)
        self.state = state
        self.used = 0
        roles = {f"user{number}": "R" for number in range(100)}

        async def once(attempt: object) -> Grant | None:
            self.used += 1
            assert await state.put_if_absent(f"nonce {self.used}", "used", 600) is None
            return Grant.user("user0", ["R"])

        self.kept: Realm = self.world.realm(users(**roles), recycle=(state, [b"k" * 32]), cache_ttl=0)
        token = self.world.realm(tokens(once), name="token", schemes=[ApplicationTokenScheme()], cache_ttl=0)
        second = self.world.realm(users(**roles), name="second", cache_ttl=0)
        self.gateway: Gateway = self.world.gateway(
            service("kept", "/kept", self.kept),
            service("token", "/token", token),
            service("both", "/both", self.kept, second),
        )

    async def log_in(self, user: str, client: str, path: str = "/kept") -> Allow | Challenge:
        decision = await self.gateway.decide(request(path, basic(user), remote_address=client))
        assert isinstance(decision, Allow | Challenge), decision
        return decision

    async def use_token(self) -> bool:
        decision = await self.gateway.decide(request("/token", (b"authorization", b"Token good")))
        return isinstance(decision, Allow)


@pytest.fixture(params=["memory", "sqlite"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Site]:
    clock = ManualClock(1_800_000_000.0)
    if request.param == "memory":
        state: ExpiringState = MemoryState(clock, max_entries=BOUND)
    else:
        state = SqliteState(tmp_path / "state.db", clock=clock, max_entries=BOUND)
    await state.open()
    yield Site(state, clock)
    await state.close()


async def test_one_client(site: Site) -> None:
    """A client that logs in with each request gets in each time, and single-use logins go on."""
    for _ in range(3 * BOUND):
        decision = await site.log_in("user0", "192.0.2.1")
        assert b"set-cookie" in dict(decision.headers)
    assert [await site.use_token() for _ in range(BOUND // 2)] == [True] * (BOUND // 2)


async def test_many_clients(site: Site) -> None:
    """More users and addresses than the store has entries keep nobody out, and the youngest session is good."""
    for number in range(3 * BOUND):
        decision = await site.log_in(f"user{number % 100}", f"192.0.2.{number}")
        assert b"set-cookie" in dict(decision.headers)
        cookie = (b"cookie", dict(decision.headers)[b"set-cookie"].partition(b";")[0])
        assert isinstance(await site.gateway.decide(request("/kept", cookie)), Allow)
    assert await site.use_token()


async def test_a_full_store(site: Site) -> None:
    """Where used tokens fill the store, further tokens are refused; sessions, second factors and revocations go on."""
    assert [await site.use_token() for _ in range(BOUND)] == [True] * BOUND
    decision = await site.gateway.decide(request("/token", (b"authorization", b"Token good")))
    assert not isinstance(decision, Allow)
    assert b"set-cookie" in dict((await site.log_in("user1", "192.0.2.1")).headers)
    challenge = await site.log_in("user1", "192.0.2.1", "/both")
    assert isinstance(challenge, Challenge)
    assert b"sec-challenge-identity" in dict(challenge.headers)
    await site.gateway.revocations.revoke(RevocationKey("user", "user1", "demo"))
    for number in range(BOUND):
        assert await site.state.get(f"nonce {number + 1}") == "used"


async def test_logins_half_done(site: Site) -> None:
    """Logins that never give their second factor keep out neither tokens nor sessions."""
    for number in range(3 * BOUND):
        assert isinstance(await site.log_in("user0", f"192.0.2.{number}", "/both"), Challenge)
    assert await site.use_token()
    assert b"set-cookie" in dict((await site.log_in("user1", "192.0.2.1")).headers)
