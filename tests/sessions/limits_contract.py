"""What every store must keep of the limits of sessions, as one class of tests that each store's tests derive from."""

from __future__ import annotations

import pytest

from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.sessions.cookies import Session, Sessions, SessionSettings


class LimitsSite:
    """A realm with sessions: five for a user, three for one at one client."""

    def __init__(self, state: ExpiringState, clock: Clock, idle: float | None = None) -> None:
        self.state = state
        self.clock = clock
        self.settings = SessionSettings(
            realm="demo", keys=[b"k" * 32], life=3600.0, idle=idle, per_user=5, per_client=3
        )
        self.sessions: Sessions[Session] = Sessions(self.settings, state, clock, lambda session, left: session)

    async def begin(self, user: str, client: str | None) -> bytes:
        """Log in from an address. Return the cookie."""
        subject = Subject((UserPrincipal(user),))
        return (await self.sessions.begin(subject, secure=True, client=client)).partition(b";")[0]

    async def valid(self, cookie: bytes) -> bool:
        """Return whether a cookie is good at a worker that remembers nothing."""
        fresh: Sessions[Session] = Sessions(self.settings, self.state, self.clock, lambda session, left: session)
        return await fresh.load(cookie, secure=True) is not None


@pytest.mark.anyio
class LimitsContract:
    """The tests; a deriving class gives the fixture ``limits``, a site with an empty store."""

    async def test_of_one_client(self, limits: LimitsSite) -> None:
        """The oldest sessions of a user at a client end, and none at other clients or of other users."""
        phone = await limits.begin("joe", "198.51.100.7")
        other = await limits.begin("ann", "192.0.2.1")
        cookies = [await limits.begin("joe", "192.0.2.1") for _ in range(30)]
        assert [await limits.valid(cookie) for cookie in cookies] == [False] * 27 + [True] * 3
        assert await limits.valid(phone)
        assert await limits.valid(other)

    async def test_of_one_user(self, limits: LimitsSite) -> None:
        """The oldest sessions of a user end, whatever clients they are at."""
        cookies = [await limits.begin("joe", f"192.0.2.{number}") for number in range(12)]
        assert [await limits.valid(cookie) for cookie in cookies] == [False] * 7 + [True] * 5

    async def test_networks(self, limits: LimitsSite) -> None:
        """Addresses of one IPv6 network are one client."""
        cookies = [await limits.begin("joe", f"2001:db8::{number}") for number in range(1, 6)]
        assert [await limits.valid(cookie) for cookie in cookies] == [False] * 2 + [True] * 3

    async def test_clients_without_an_address(self, limits: LimitsSite) -> None:
        """Where the server reports no address, a user's clients are one."""
        cookies = [await limits.begin("joe", None) for _ in range(5)]
        assert [await limits.valid(cookie) for cookie in cookies] == [False] * 2 + [True] * 3

    async def test_an_ended_session_is_not_remembered(self, limits: LimitsSite) -> None:
        """The worker that ends a session no longer lets it in."""
        first = await limits.begin("joe", "192.0.2.1")
        assert await limits.sessions.load(first, secure=True) is not None
        for _ in range(3):
            await limits.begin("joe", "192.0.2.1")
        assert limits.sessions.peek([(b"cookie", first)], secure=True) is None
        assert await limits.sessions.load(first, secure=True) is None
