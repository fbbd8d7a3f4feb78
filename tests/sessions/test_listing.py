"""Listing sessions beside the servers that use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asgi_gateway.errors import StateError
from asgi_gateway.model import RevocationKey, Subject, UserPrincipal
from asgi_gateway.sessions.cookies import Session, Sessions, SessionSettings
from asgi_gateway.sessions.listing import SHORT, WHOLE, ids_beginning, list_sessions
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState
from tests.helpers import ManualClock

pytestmark = pytest.mark.anyio


class Site:
    """Two realms with sessions that share a store: ``idle`` ends after 100 seconds without a request."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(1_800_000_000.0)
        self.state = SqliteState(path / "state.db", clock=self.clock)
        self.realms = {
            name: Sessions[Session](
                SessionSettings(realm=name, keys=[b"k" * 32], life=1000, idle=idle),
                self.state,
                self.clock,
                lambda session, left: session,
            )
            for name, idle in (("idle", 100.0), ("plain", None))
        }

    async def begin(self, realm: str, user: str) -> bytes:
        """Log in; the cookie."""
        subject = Subject((UserPrincipal(user),))
        return (await self.realms[realm].begin(subject, secure=False)).partition(b";")[0]

    async def users(self, **more: str) -> list[tuple[str, str]]:
        """Realms and users that are listed."""
        found, _ = await list_sessions(self.state, self.clock, most=100, **more)
        return [(each.realm, each.user) for each in found]


@pytest.fixture
async def site(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    yield made
    await made.state.close()


async def test_what_is_told(site: Site) -> None:
    """Realm, user, begin, last use as far as known, end, and the beginning of the id; nothing of the cookie."""
    cookie = await site.begin("idle", "joe")
    site.clock.advance(50)
    await site.realms["idle"].load(cookie, secure=False)
    await site.begin("plain", "ann")
    site.clock.advance(10)
    (ann, joe), more = await list_sessions(site.state, site.clock, most=10)
    assert more is False
    began = 1_800_000_000.0
    assert (joe.realm, joe.user, joe.begun) == ("idle", "joe", began)
    assert joe.used == pytest.approx(began + 50)
    assert joe.ends == pytest.approx(began + 50 + 110)
    assert (ann.realm, ann.user, ann.begun, ann.used, ann.ends) == ("plain", "ann", began + 50, None, began + 1050)
    assert len(joe.id) == SHORT
    (whole,) = await ids_beginning(site.state, joe.id)
    assert len(whole) == WHOLE
    assert whole not in repr(joe)


async def test_filters(site: Site) -> None:
    """A realm's, a user's, both; no more than asked for, the youngest first, and it is said that there are more."""
    for realm, user in (("idle", "joe"), ("plain", "joe"), ("idle", "ann")):
        await site.begin(realm, user)
        site.clock.advance(1)
    assert await site.users(realm="idle") == [("idle", "ann"), ("idle", "joe")]
    assert await site.users(user="joe") == [("plain", "joe"), ("idle", "joe")]
    assert await site.users(user="joe", realm="idle") == [("idle", "joe")]
    assert await site.users(user="nobody") == []
    found, more = await list_sessions(site.state, site.clock, most=2)
    assert ([each.user for each in found], more) == (["ann", "joe"], True)
    assert (await list_sessions(site.state, site.clock, most=3))[1] is False


async def test_what_has_ended_is_not_listed(site: Site) -> None:
    """A session that was revoked, whose user was, that was idle for too long or is over is not listed."""
    await site.begin("plain", "joe")
    await site.begin("plain", "ann")
    await site.begin("idle", "eve")
    revocations = Revocations(site.state)
    (joe,) = [each for each in (await list_sessions(site.state, site.clock, most=9))[0] if each.user == "joe"]
    (whole,) = await ids_beginning(site.state, joe.id)
    assert await revocations.revoke(RevocationKey("session", whole))
    assert await ids_beginning(site.state, joe.id) == []
    await revocations.revoke(RevocationKey("user", "ann", "plain"))
    assert await site.users() == [("idle", "eve")]
    site.clock.advance(111)
    assert await site.users() == []
    await site.begin("plain", "ann")
    assert await site.users() == [("plain", "ann")]
    site.clock.advance(1001)
    assert await site.users() == []


async def test_store_of_one_process() -> None:
    """A memory store cannot be listed, and the error says what can."""
    with pytest.raises(StateError, match="choose sqlite or redis"):
        await list_sessions(MemoryState(), ManualClock(), most=1)
