"""Bounds how many sessions one user, and one client of a user, can have. The oldest ones end.

A client that keeps no cookies begins a session with each login that is not cached. Without a bound it would fill the
store. The sessions of a user are listed in one entry of ExpiringState, which is changed by compare-and-replace, so that
no worker overwrites what another one wrote.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from asgi_gateway.errors import StateUnavailable
from asgi_gateway.plugins.state_store import ExpiringState

__all__ = ["PER_CLIENT", "PER_USER", "SessionLimits", "client_network"]

PER_USER = 200
"""Sessions that a user has at most, unless the realm says otherwise."""
PER_CLIENT = 20
"""Sessions that a user has at one client at most, unless the realm says otherwise."""
_ATTEMPTS = 100
_IPV6_NETWORK = 64
"""The prefix length of the IPv6 networks that one customer is given at least (RFC 6177)."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A session on a user's list: its id, and the client that began it."""

    id: str
    client: str


class SessionLimits:
    """Keeps the list of each user's sessions, and finds those that have to end.

    Args:
        state: keeps the lists; the partition of sessions.
        is_alive: returns whether the session with an id is still valid.
        per_user: the number of sessions of one user at most.
        per_client: the number of sessions of one user at one client at most.

    Raises:
        ValueError: a number is less than 1.
    """

    def __init__(
        self, state: ExpiringState, is_alive: Callable[[str], Awaitable[bool]], per_user: int, per_client: int
    ) -> None:
        if per_user < 1 or per_client < 1:
            raise ValueError("sessions per user and per client must be at least 1")
        self._state = state
        self._is_alive = is_alive
        self._per_user = per_user
        self._per_client = per_client

    async def add(self, user: tuple[str, str], identity: str, client: str, ttl: float) -> list[str]:
        """Add a new session to its user's list.

        Args:
            user: the realm's and the user's name.
            identity: the session's id.
            client: the client's address, as ``client_network`` returns it.
            ttl: seconds that the list is kept at least: the longest life of the user's sessions.

        Returns:
            The ids of the sessions that have to end, the oldest first.

        Raises:
            StateError: the list could not be changed. The session must not begin.
        """
        key = json.dumps(["sessions of", *user])
        for _ in range(_ATTEMPTS):
            old = await self._state.get(key)
            listed = [*_parse(old), _Listed(identity, client)]
            kept = await self._within_limits(listed)
            new = json.dumps([[each.id, each.client] for each in kept])
            if await self._state.replace(key, old, new, ttl):
                return [each.id for each in listed if each not in kept]
        raise StateUnavailable("too many logins of one user at once")

    async def _within_limits(self, listed: list[_Listed]) -> list[_Listed]:
        """Return the sessions that stay. Sessions that have ended by themselves go before any that is alive."""
        kept = listed
        while surplus := self._surplus(kept):
            *earlier, _ = surplus
            alive = await asyncio.gather(*(self._is_alive(each.id) for each in earlier))
            ended = [each for each, is_alive in zip(earlier, alive, strict=True) if not is_alive] or surplus[:1]
            kept = [each for each in kept if each not in ended]
        return kept

    def _surplus(self, listed: Sequence[_Listed]) -> list[_Listed]:
        """Return the sessions of which the first has to end; empty if the limits are kept."""
        of_client = [each for each in listed if each.client == listed[-1].client]
        if len(of_client) > self._per_client:
            return of_client
        return list(listed) if len(listed) > self._per_user else []


def client_network(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or an IPv6 network of 64 bits; empty if it is unknown."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def _parse(text: str | None) -> list[_Listed]:
    """Return the sessions of an entry; none if another release wrote it in a way that cannot be read."""
    try:
        return [_Listed(str(identity), str(client)) for identity, client in json.loads(text or "[]")]
    except (ValueError, TypeError):
        return []
