"""Authenticating again for a WebSocket that stays open (``authorization-timeout``), from whichever worker is asked.

A socket's name is random, and signed for its service, realm and user with a key that the workers share through
ExpiringState: any of them can tell whether somebody who has just logged in may speak for it. If the socket is another
worker's, the new authorization is left in ExpiringState, where that worker looks when the old one ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets

from asgi_gateway.errors import StateError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.websockets.live import LiveSocket, LiveSockets, Owner

__all__ = ["NAME_LENGTH", "Reauthorizations"]

logger = logging.getLogger("asgi_gateway.reauthorization")

_RANDOM = 22  # characters: 16 bytes
NAME_LENGTH = 2 * _RANDOM
_KEY = json.dumps(["socket names"])
_KEY_LIFE = 400 * 86_400.0
_REPLACING = 0.2
"""Seconds within which one authorization is replaced by another in the store."""


class Reauthorizations:
    """Names sockets, and lets them live longer.

    Args:
        state: where workers leave word for each other, if it is shared.
        clock: where time comes from.
        sockets: the sockets of this process.
    """

    def __init__(self, state: ExpiringState, clock: Clock, sockets: LiveSockets) -> None:
        self._state = state
        self._clock = clock
        self._sockets = sockets
        self._own_key = secrets.token_hex(32)
        self._agreed = False

    async def open(self) -> None:
        """Agree with the other workers on a key. Sockets that are named before that only this process knows."""
        try:
            await self._agree()
        except StateError as error:
            logger.warning("sockets can be authorized again by their own worker only: %s", error)

    def new_name(self, owner: Owner) -> str:
        """A name for a new socket."""
        random = secrets.token_urlsafe(16)
        return random + self._signature(random, owner)

    async def authorize(self, name: str, owner: Owner, seconds: float) -> bool:
        """Somebody authenticated again.

        Args:
            name: the socket's name, as the client said it.
            owner: who authenticated, and where.
            seconds: for how long.

        Returns:
            whether the socket is theirs. A socket of another worker may have been closed already.

        Raises:
            StateError: the socket's worker cannot be told.
        """
        socket = self._sockets.named(name)
        if socket is not None:
            if socket.owner != owner or socket.ended:
                return False
            socket.loop.call_soon_threadsafe(socket.authorize, seconds)
            return True
        if not self._state.shared or not await self._is_owners(name, owner):
            return False
        await self._leave_word(_key(name), json.dumps([self._clock.time() + seconds, seconds]), seconds)
        return True

    async def renewal(self, socket: LiveSocket) -> float:
        """How many seconds longer a socket of this process is authorized, by word of another worker; 0 for none."""
        if not self._state.shared:
            return 0.0
        await self._agree()
        value = await self._state.get(_key(socket.name))
        if value is None:
            await asyncio.sleep(_REPLACING)
            value = await self._state.get(_key(socket.name))
        if value is None:
            return 0.0
        until, seconds = json.loads(value)
        # never more than was given: the other host's clock may be ahead
        return max(0.0, min(float(until) - self._clock.time(), float(seconds)))

    async def _leave_word(self, key: str, value: str, seconds: float) -> None:
        old = await self._state.get(key)
        if old is not None:
            await self._state.remove(key, old)
        await self._state.put_if_absent(key, value, seconds)  # if another was quicker, its word is as good

    async def _is_owners(self, name: str, owner: Owner) -> bool:
        """Whether a name was made for an owner, by any worker."""
        await self._agree()
        if self._signed_for(name, owner):
            return True
        self._agreed = False  # the store may have been emptied, and another key agreed upon
        await self._agree()
        return self._signed_for(name, owner)

    async def _agree(self) -> None:
        """Have the key that all workers have: the first that comes puts its own."""
        if self._agreed or not self._state.shared:
            return
        there = await self._state.put_if_absent(_KEY, self._own_key, _KEY_LIFE)
        self._own_key = self._own_key if there is None else there
        self._agreed = True

    def _signed_for(self, name: str, owner: Owner) -> bool:
        random, signature = name[:_RANDOM], name[_RANDOM:]
        return hmac.compare_digest(signature.encode(), self._signature(random, owner).encode())

    def _signature(self, random: str, owner: Owner) -> str:
        text = json.dumps([random, owner.service, owner.realm, owner.user])
        digest = hmac.digest(self._own_key.encode(), text.encode(), hashlib.sha256)
        return digest.hex()[:_RANDOM]


def _key(name: str) -> str:
    return json.dumps(["socket authorized", name])
