"""Ending logins before their time: a user's, a session's or a token's, on every worker and every host.

A revocation is written down first, where new requests look (ExpiringState), and announced second, in the shared store's
message log that every process follows; each then forgets what it remembers of the login and closes its sockets. With a
store of this process alone the announcement is a function call.

A process that may have missed an announcement forgets everything and closes every socket that depends on a login.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress

import sniffio

from asgi_gateway.errors import StateError, StateUnavailable
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.state_store import ExpiringState, Listing, MessageLog, PositionLost

__all__ = ["GENERATION_LIFE", "Revocations"]

logger = logging.getLogger("asgi_gateway.revocation")

GENERATION_LIFE = 400 * 86_400.0
"""Seconds that a user's or token's revocation is known: longer than any session or token of the gateway lives."""
_WAIT = 1.0
_RETRY = 0.5
_TRIES = 10


Handler = Callable[[RevocationKey | None], object]
"""Is told what ended; None: anything may have."""


class Revocations:
    """Revokes, and hears of what others revoked.

    Args:
        state: the gateway's ExpiringState; revocations reach other processes if it is a MessageLog, too.
    """

    def __init__(self, state: ExpiringState) -> None:
        self._state = state
        self._log = state if isinstance(state, MessageLog) else None
        self._unannounced: dict[str, None] = {}
        self._handlers: list[Handler] = []
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, handler: Handler) -> None:
        """Have a function told of every revocation, in the event loop; it must not wait."""
        self._handlers.append(handler)

    async def open(self) -> None:
        """Begin to follow the log.

        Raises:
            RuntimeError: the server's event loop is not asyncio's.
        """
        if self._log is not None and self._task is None:
            if sniffio.current_async_library() != "asyncio":
                raise RuntimeError("a store that is shared by several processes needs a server on asyncio")
            self._task = asyncio.create_task(self._follow(self._log), name="asgi-gateway-revocations")

    async def close(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def revoke(self, revocation: RevocationKey) -> bool:
        """End logins everywhere: new requests are refused at once, other processes hear of it within 2 seconds.

        Returns:
            False if it is a session that had ended already.

        Raises:
            StateError: it could not be written down, or not be announced; try again.
        """
        there = True
        if revocation.kind == "user":
            await self._renew(revocation.key)
        elif revocation.kind == "token":
            await self._state.put_if_absent(revocation.key, "revoked", GENERATION_LIFE)
        else:
            value = await self._state.get(revocation.key)
            there = value is not None and await self._state.remove(revocation.key, value)
        self._tell(revocation)
        if self._log is not None:
            message = json.dumps([revocation.kind, revocation.name, revocation.realm])
            self._unannounced[message] = None  # until it is; a session that is gone cannot be revoked a second time
            await self._log.append(message)
            self._unannounced.pop(message, None)
        if revocation.kind == "session" and isinstance(self._state, Listing):
            with suppress(StateError):  # what is listed and has no record has ended all the same
                await self._state.strike(revocation.name)
        return there

    async def _renew(self, key: str) -> None:
        """Give a key another value, whatever it had."""
        for _ in range(_TRIES):
            old = await self._state.get(key)
            if old is not None:
                await self._state.remove(key, old)
            if await self._state.put_if_absent(key, secrets.token_urlsafe(12), GENERATION_LIFE) is None:
                return
        raise StateUnavailable("a user is being revoked by too many at once")

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
                logger.warning("revocations cannot be heard of now: %s", error)
                await asyncio.sleep(_RETRY)
            else:
                for message in messages:
                    self._tell(_revocation(message))

    def _tell(self, revocation: RevocationKey | None) -> None:
        for handler in self._handlers:
            try:
                handler(revocation)
            except Exception:
                logger.exception("a revocation could not be carried out in full")


def _revocation(message: str) -> RevocationKey | None:
    """What a message says; None for one that nobody understands, such as a newer release's."""
    try:
        kind, name, realm = json.loads(message)
    except (ValueError, TypeError):
        return None
    known = kind in ("user", "session", "token") and isinstance(name, str) and isinstance(realm, str)
    return RevocationKey(kind, name, realm) if known else None
