"""The sessions that stand, for people: read from the shared store, beside the servers that use it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from asgi_gateway.errors import StateError
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, Listing
from asgi_gateway.sessions.cookies import Session, idle_key, recheck, session_of

__all__ = ["SHORT", "WHOLE", "ListedSession", "ids_beginning", "list_sessions"]

SHORT = 12
"""Characters of an id that are shown. They open nothing; the whole id opens nothing either without a signing key."""
WHOLE = 32
"""Characters of a whole id."""
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session that stands.

    Args:
        id: the beginning of its id.
        realm: its realm's name.
        user: its user's name.
        begun: when, in seconds since the epoch.
        used: when it was last used, as far as the store was told; None in a realm without idle time.
        ends: when it ends if nobody uses it, in seconds since the epoch.
    """

    id: str
    realm: str
    user: str
    begun: float
    used: float | None
    ends: float


async def list_sessions(
    state: ExpiringState, clock: Clock, *, realm: str | None = None, user: str | None = None, most: int
) -> tuple[list[ListedSession], bool]:
    """The sessions that stand, the youngest first.

    Args:
        state: where they are kept.
        clock: the time.
        realm: only this realm's.
        user: only this user's.
        most: how many at most.

    Returns:
        the sessions, and whether there may be more.

    Raises:
        StateError: the store cannot be asked, or is one process's own.
    """
    wanted = [
        (begun, identity, its_realm, its_user)
        for identity, its_realm, its_user, begun in await _listed(state)
        if realm in (None, its_realm) and user in (None, its_user)
    ]
    found: list[ListedSession] = []
    for begun, identity, its_realm, its_user in sorted(wanted, reverse=True):
        standing = await _standing(state, clock, identity, its_realm)
        if standing is None:
            continue
        if len(found) == most:
            return found, True
        found.append(ListedSession(identity[:SHORT], its_realm, its_user, begun, *standing))
    return found, False


async def ids_beginning(state: ExpiringState, beginning: str) -> list[str]:
    """The whole ids of the listed sessions that begin so.

    Raises:
        StateError: the store cannot be asked, or is one process's own.
    """
    return [identity for identity, *_ in await _listed(state) if identity.startswith(beginning)]


async def _listed(state: ExpiringState) -> list[tuple[str, str, str, float]]:
    if not isinstance(state, Listing):
        raise StateError("this store cannot be listed from outside its process: choose sqlite or redis")
    listed = []
    for text in await state.listed(_MOST):
        identity, realm, user, begun = json.loads(text)
        listed.append((str(identity), str(realm), str(user), float(begun)))
    return listed


async def _standing(state: ExpiringState, clock: Clock, identity: str, realm: str) -> tuple[float | None, float] | None:
    """When a session was last used, and when it ends; None if it has ended."""
    value = await state.get(RevocationKey("session", identity).key)
    session = session_of(identity, value) if value is not None else None
    if session is None or session.until <= clock.time():
        return None
    if (await state.get(RevocationKey("user", session.subject.name, realm).key) or "") != session.generation:
        return None
    return await _idle(state, clock, session)


async def _idle(state: ExpiringState, clock: Clock, session: Session) -> tuple[float | None, float] | None:
    if session.idle is None:
        return None, session.until
    assert isinstance(state, Listing)
    left = await state.left(idle_key(session.id))
    if left is None:
        return None
    now = clock.time()
    return now - max(0.0, session.idle + recheck(session.idle) - left), min(session.until, now + left)
