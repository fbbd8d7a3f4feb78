"""Check that the logins behind sessions, WebSockets and long responses still hold, without their passwords."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.authentication.chain import Chain
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.errors import LoginUnavailable, StateError
from asgi_gateway.model import LoginCheck, Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.telemetry.outages import Outages

__all__ = ["LoginRechecks"]

_CHECKED = 10_000
"""Sessions of which a worker remembers that their logins were checked."""


class LoginRechecks:
    """Checks the logins of one realm by the modules that granted them.

    Args:
        realm: the realm's name.
        chain: the realm's chain.
        interval: seconds between two checks of a login; 0 for no checks.
        clock: the time.
    """

    def __init__(self, realm: str, chain: Chain, interval: float, clock: Clock) -> None:
        self._realm = realm
        self._chain = chain
        self._interval = interval
        self._clock = clock
        self._outages = Outages(clock)
        self._checked: BoundedCache[str, bool] = BoundedCache(_CHECKED, ttl=interval, monotonic=clock.monotonic)

    def clear(self) -> None:
        """Have every login checked at its next use. May be called from any thread."""
        self._checked.clear()

    def checks_of(self, result: AuthenticationResult) -> tuple[LoginCheck, ...]:
        """Return how a login is checked while it lives; nothing if no module can check it."""
        if not (result.recheck_data and self._interval):
            return ()
        data = result.recheck_data
        holds = partial(self.holds, result.subject, data)
        user = result.subject.name
        return (LoginCheck(realm=self._realm, user=user, data=data, interval=self._interval, holds=holds),)

    async def session_holds(self, result: AuthenticationResult) -> bool:
        """Return whether the login of a session holds, by a check that is not older than the interval."""
        identity = next((key.name for key in result.revocation_keys if key.kind == "session"), None)
        if identity is None or not (result.recheck_data and self._interval) or self._checked.get(identity):
            return True
        generation = self._checked.generation
        answer = await self._check(result.subject, result.recheck_data)
        if answer:  # unless data changed meanwhile
            self._checked.put(identity, True, generation=generation)
        if answer is None:  # the login itself was the check, and the last one
            return self._clock.time() - result.began < self._interval
        return answer

    async def holds(self, subject: Subject, recheck_data: Mapping[str, Any]) -> bool:
        """Return whether a login still holds, by the modules that granted it.

        A module that cannot check a login of its own, such as a directory without a bind account, ends it. A back end
        that cannot be asked ends none.
        """
        return bool(await self._check(subject, recheck_data))

    async def _check(self, subject: Subject, recheck_data: Mapping[str, Any]) -> bool | None:
        """Return whether a login still holds; None if no module says that it does not, and some cannot tell."""
        outcome: bool | None = True
        for index, data in recheck_data.items():
            entry = self._chain.entries[int(index)] if int(index) < len(self._chain.entries) else None
            if entry is None:
                return False  # the chain was changed since
            try:
                async with asyncio.timeout(entry.time_limit):
                    answer = await entry.module.recheck(subject, data)
                if answer is None:
                    outcome = None
                elif not answer:
                    return False
            except (LoginUnavailable, StateError, TimeoutError) as error:
                self._outages.report(f"cannot check logins with {entry.name}: {error}", f"realm {self._realm}")
        return outcome
