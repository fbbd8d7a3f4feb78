"""Lists active sessions for the command line, straight from the shared store."""

from __future__ import annotations

import json
from dataclasses import dataclass

from asgi_gateway.errors import StateError
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, Listing, Partition
from asgi_gateway.sessions.cookies import idle_key, remembered_seconds, session_from_record

__all__ = ["SHORT", "WHOLE", "ListedSession", "ids_beginning", "list_sessions"]

SHORT = 12
"""Characters of an id that are shown. They open nothing; the whole id opens nothing either without a signing key."""
WHOLE = 32
"""Characters of a whole id."""
_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSession:
    """An active session.

    Args:
        id: the beginning of its id.
        realm: its realm's name.
        user: its user's name.
        begun: when it began, in seconds since the epoch.
        used: when it was last used, as far as the store was told; None in a realm without idle time.
        ends: when it ends if it is not used again, in seconds since the epoch.
    """

    id: str
    realm: str
    user: str
    begun: float
    used: float | None
    ends: float


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the list says of a session that may have ended since."""

    begun: float
    id: str
    realm: str
    user: str


async def list_sessions(
    state: ExpiringState, clock: Clock, *, realm: str | None = None, user: str | None = None, most: int
) -> tuple[list[ListedSession], bool]:
    """Return the active sessions, the youngest first.

    Args:
        state: the store of the sessions.
        clock: the time.
        realm: only this realm's.
        user: only this user's.
        most: the number of sessions at most.

    Returns:
        The sessions, and whether there may be more.

    Raises:
        StateError: cannot ask the store, or it belongs to one process.
    """
    wanted = [entry for entry in await _entries(state) if realm in (None, entry.realm) and user in (None, entry.user)]
    found: list[ListedSession] = []
    for entry in sorted(wanted, key=lambda each: (each.begun, each.id), reverse=True):
        session = await _active(state, clock, entry)
        if session is None:
            continue
        if len(found) == most:
            return found, True
        found.append(session)
    return found, False


async def ids_beginning(state: ExpiringState, beginning: str) -> list[str]:
    """Return the whole ids of the listed sessions that begin with a text.

    Raises:
        StateError: cannot ask the store, or it belongs to one process.
    """
    return [entry.id for entry in await _entries(state) if entry.id.startswith(beginning)]


async def _entries(state: ExpiringState) -> list[_Entry]:
    if not isinstance(state, Listing):
        raise StateError("this store cannot be listed from outside its process: choose sqlite or redis")
    entries = []
    for text in await state.listed(_MOST):
        identity, realm, user, begun = json.loads(text)
        entries.append(_Entry(float(begun), str(identity), str(realm), str(user)))
    return entries


async def _active(state: ExpiringState, clock: Clock, entry: _Entry) -> ListedSession | None:
    """Return a session with the times of its last use and its end; None if it has ended."""
    records, revocations = state.partition(Partition.SESSIONS), state.partition(Partition.REVOCATIONS)
    value = await records.get(RevocationKey("session", entry.id).key)
    session = session_from_record(entry.id, value) if value is not None else None
    now = clock.time()
    if session is None or session.until <= now:
        return None
    if (
        await revocations.get(RevocationKey("user", session.subject.name, entry.realm).key) or ""
    ) != session.generation:
        return None
    used, ends = None, session.until
    if session.idle is not None:
        left = await records.left(idle_key(entry.id)) if isinstance(records, Listing) else None
        if left is None:
            return None
        used = now - max(0.0, session.idle + remembered_seconds(session.idle) - left)
        ends = min(session.until, now + left)
    return ListedSession(
        id=entry.id[:SHORT], realm=entry.realm, user=entry.user, begun=entry.begun, used=used, ends=ends
    )
