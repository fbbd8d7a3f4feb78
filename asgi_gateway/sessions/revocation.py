"""Revoke logins before they expire: a user's, a session's or a token's, on every worker and every host.

A revocation is stored first, where new requests look (ExpiringState). Then it is announced in the shared store's
message log, which every process follows. Each process then forgets what it remembers of the login, and closes its
sockets. With a store of this process alone the announcement is a function call.

A process that may have missed an announcement forgets all logins, and closes every socket that depends on a login.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress

from asgi_gateway.errors import StateError, StateUnavailable
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.state_store import ExpiringState, Listing, MessageLog, Partition, PositionLost
from asgi_gateway.telemetry.outages import Outages

__all__ = ["GENERATION_LIFE", "Revocations"]

logger = logging.getLogger("asgi_gateway.revocation")

GENERATION_LIFE = 400 * 86_400.0
"""Seconds that the revocation of a user or token is stored: longer than any session or token of the gateway lives."""
_WAIT = 1.0
_RETRY = 0.5
_ATTEMPTS = 10


Handler = Callable[[RevocationKey | None], object]
"""Is called with what was revoked; None if revocations may have been missed."""


class Revocations:
    """Revokes logins, and follows the revocations of other processes.

    Args:
        state: the gateway's ExpiringState; revocations reach other processes if it is a MessageLog, too.
    """

    def __init__(self, state: ExpiringState) -> None:
        self._state = state
        self._records = state.partition(Partition.SESSIONS)
        self._revocations = state.partition(Partition.REVOCATIONS)
        self._log = state if isinstance(state, MessageLog) else None
        self._unannounced: dict[str, None] = {}
        self._handlers: list[Handler] = []
        self._outages = Outages(logger=logger)
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, handler: Handler) -> None:
        """Call a function for every revocation, in the event loop; it must not block."""
        self._handlers.append(handler)

    async def open(self) -> None:
        """Begin to follow the log."""
        if self._log is not None and self._task is None:
            self._task = asyncio.create_task(self._follow(self._log), name="asgi-gateway-revocations")

    async def close(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def revoke(self, revocation: RevocationKey) -> bool:
        """Revoke logins everywhere: new requests are refused at once, other processes follow within 2 seconds.

        Returns:
            False if it is a session that had ended already.

        Raises:
            StateError: the revocation could not be stored, or not be announced; try again.
        """
        existed = True
        if revocation.kind == "user":
            await self._renew(revocation.key)
        elif revocation.kind == "token":
            await self._revocations.put_if_absent(revocation.key, "revoked", GENERATION_LIFE)
        else:
            value = await self._records.get(revocation.key)
            existed = value is not None and await self._records.remove(revocation.key, value)
        self._tell(revocation)
        if self._log is not None:
            message = json.dumps([revocation.kind, revocation.name, revocation.realm])
            self._unannounced[message] = None  # until it is: a session that is removed cannot be revoked a second time
            await self._log.append(message)
            self._unannounced.pop(message, None)
        if revocation.kind == "session" and isinstance(self._state, Listing):
            with suppress(StateError):  # a listed session without a record has ended all the same
                await self._state.strike(revocation.name)
        return existed

    async def _renew(self, key: str) -> None:
        """Give a key a new value, whatever value it has."""
        for _ in range(_ATTEMPTS):
            old = await self._revocations.get(key)
            if await self._revocations.replace(key, old, secrets.token_urlsafe(12), GENERATION_LIFE):
                return
        raise StateUnavailable("too many revocations of one user at once")

    async def _follow(self, log: MessageLog) -> None:
        position: str | None = None
        while True:
            try:
                for message in list(self._unannounced):
                    await log.append(message)
                    self._unannounced.pop(message, None)
                position, messages = await log.follow(position, _WAIT)
            except PositionLost as error:
                logger.warning("revocations may have been missed, all logins are checked anew: %s", error)
                position = None
                self._tell(None)
            except StateError as error:
                self._outages.report(str(error), "revocations of other workers")
                await asyncio.sleep(_RETRY)
            else:
                for message in messages:
                    self._tell(_revocation(message))

    def _tell(self, revocation: RevocationKey | None) -> None:
        for handler in self._handlers:
            try:
                handler(revocation)
            except Exception:
                logger.exception("a revocation was not carried out in full")


def _revocation(message: str) -> RevocationKey | None:
    """Return the revocation of a message; None for one that cannot be read, such as a newer release's."""
    try:
        kind, name, realm = json.loads(message)
    except (ValueError, TypeError):
        return None
    known = kind in ("user", "session", "token") and isinstance(name, str) and isinstance(realm, str)
    return RevocationKey(kind, name, realm) if known else None
