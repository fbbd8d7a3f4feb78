"""Remember which credentials a back end refused, so that they are not sent with every request.

A back end counts wrong passwords and locks the account. So credentials that it refused rest for a while. New ones, of a
file that changed, are other credentials and are sent at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.client.urls import origin

__all__ = ["Refusals"]

_REST_SECONDS = 60.0
_MAX_REST_SECONDS = 900.0
_WAIT_SECONDS = 5.0
"""How long a request waits for another one that tries the same credentials first."""
_PROVEN_REFUSALS = 3
"""After how many refusals in a row credentials rest that were accepted before: other places may want other users."""
_MAX_KNOWN = 1000


@dataclass(slots=True)
class _State:
    """What is known of some credentials at one back end."""

    accepted: bool = False
    refused: int = 0
    rests_until: float = 0.0
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Unset while a request tries them."""

    def __post_init__(self) -> None:
        self.tried.set()

    @property
    def trusted(self) -> bool:
        return self.accepted and self.refused < _PROVEN_REFUSALS


class Refusals:
    """Decides whether credentials may be sent to a back end now. Used in one event loop.

    Credentials that were never accepted are tried by one request at a time. When they are refused, they rest for a
    minute; each further refusal doubles that, up to 15 minutes.

    Args:
        monotonic: the clock's ``monotonic``.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._states: BoundedCache[tuple[object, bytes], _State] = BoundedCache(_MAX_KNOWN)

    async def may_send(self, url: str, authorization: str) -> bool:
        """Return whether credentials may be sent. ``settle`` has to be told what came of it.

        Args:
            url: the URL that is requested.
            authorization: the value of the Authorization header.
        """
        state = self._state(url, authorization)
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while not state.trusted and not state.tried.is_set():
                    await state.tried.wait()
        except TimeoutError:
            pass  # the other request's back end is slow
        if self._monotonic() < state.rests_until:
            return False
        if not state.trusted:
            state.tried.clear()
        return True

    def settle(self, url: str, authorization: str, status: int) -> bool:
        """Take notice of the response to credentials.

        Args:
            url: the URL that was requested.
            authorization: the value of the Authorization header.
            status: the response's status. Errors of the back end say nothing of the credentials.

        Returns:
            Whether the credentials rest now.
        """
        state = self._state(url, authorization)
        if status == 401:
            state.refused += 1
            if not state.trusted:
                doubled = state.refused - (_PROVEN_REFUSALS if state.accepted else 1)
                rest = min(_REST_SECONDS * 2 ** min(doubled, 10), _MAX_REST_SECONDS)
                state.rests_until = self._monotonic() + rest
        elif status < 500:
            state.accepted, state.refused = True, 0
        state.tried.set()
        return self._monotonic() < state.rests_until

    def _state(self, url: str, authorization: str) -> _State:
        key = (origin(url), sha256(authorization.encode()).digest())
        state = self._states.get(key)
        if state is None:
            state = _State()
            self._states.put(key, state)
        return state
