"""Authenticating again for a WebSocket that stays open (``authorization-timeout``), at any worker.

A socket's name is random, and signed for its service, realm and user with a key that the workers share through
ExpiringState: each worker can check whether a user who has just logged in may extend the socket. If the socket belongs
to another worker, the new authorization is stored in ExpiringState, where that worker looks when the old one ends.
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
from asgi_gateway.plugins.state_store import ExpiringState, Partition
from asgi_gateway.websockets.live import LiveSocket, LiveSockets, SocketOwner, SocketRenewal

__all__ = ["NAME_LENGTH", "Reauthorizations"]

logger = logging.getLogger("asgi_gateway.reauthorization")

_RANDOM = 22  # characters: 16 bytes
NAME_LENGTH = 2 * _RANDOM
"""Characters of a socket's name."""
_KEY = json.dumps(["socket names"])
_KEY_LIFE = 400 * 86_400.0
_ON_ITS_WAY = 0.2
"""Seconds that an authorization may take from the worker that was asked to the store."""


class Reauthorizations:
    """Names sockets, and extends their authorization.

    Args:
        state: where workers leave authorizations for each other, if it is shared.
        clock: the source of time.
        sockets: the sockets of this process.
    """

    def __init__(self, state: ExpiringState, clock: Clock, sockets: LiveSockets) -> None:
        self._state = state.partition(Partition.SOCKETS)
        self._shared = state.shared
        self._clock = clock
        self._sockets = sockets
        self._own_key = secrets.token_hex(32)
        self._agreed = False

    async def open(self) -> None:
        """Agree with the other workers on a key. Names that were made before are valid in this process only."""
        try:
            await self._agree()
        except StateError as error:
            logger.warning("sockets can be authorized again by their own worker only: %s", error)

    def new_renewal(self, owner: SocketOwner) -> SocketRenewal:
        """Return a new name for a socket, and how to ask for what other workers stored under it."""
        random = secrets.token_urlsafe(16)
        return SocketRenewal(random + self._signature(random, owner), self.granted_seconds)

    async def authorize(self, name: str, owner: SocketOwner, seconds: float) -> bool:
        """Extend a socket's authorization.

        Args:
            name: the socket's name, as the client sent it.
            owner: who authenticated, and where.
            seconds: seconds from now for which the client is authorized.

        Returns:
            Whether the socket is the owner's. A socket of another worker may have been closed already.

        Raises:
            StateError: cannot ask the store for the socket's worker.
        """
        socket = self._sockets.by_name(name)
        if socket is not None:
            if socket.owner != owner or socket.ended:
                return False
            socket.loop.call_soon_threadsafe(socket.extend_authorization, seconds)
            return True
        if not self._shared or not await self._is_owners(name, owner):
            return False
        await self._store(_key(name), json.dumps([self._clock.time() + seconds, seconds]), seconds)
        return True

    async def granted_seconds(self, socket: LiveSocket) -> float:
        """Return the seconds by which another worker extended this socket's authorization; 0 if none did."""
        if not self._shared:
            return 0.0
        await self._agree()
        value = await self._state.get(_key(socket.name))
        if value is None:
            await asyncio.sleep(_ON_ITS_WAY)
            value = await self._state.get(_key(socket.name))
        if value is None:
            return 0.0
        until, seconds = json.loads(value)
        # Never more than was granted: the other host's clock may be ahead.
        return max(0.0, min(float(until) - self._clock.time(), float(seconds)))

    async def _store(self, key: str, value: str, seconds: float) -> None:
        old = await self._state.get(key)
        await self._state.replace(key, old, value, seconds)  # if another worker was quicker, its value is as good

    async def _is_owners(self, name: str, owner: SocketOwner) -> bool:
        """Return whether a name was made for an owner, by any worker."""
        await self._agree()
        if self._is_signed_for(name, owner):
            return True
        self._agreed = False  # the store may have been emptied, and another key agreed upon
        await self._agree()
        return self._is_signed_for(name, owner)

    async def _agree(self) -> None:
        """Take over the key of all workers: the first worker stores its own."""
        if self._agreed or not self._shared:
            return
        stored = await self._state.put_if_absent(_KEY, self._own_key, _KEY_LIFE)
        self._own_key = self._own_key if stored is None else stored
        self._agreed = True

    def _is_signed_for(self, name: str, owner: SocketOwner) -> bool:
        random, signature = name[:_RANDOM], name[_RANDOM:]
        return hmac.compare_digest(signature.encode(), self._signature(random, owner).encode())

    def _signature(self, random: str, owner: SocketOwner) -> str:
        text = json.dumps([random, owner.service, owner.realm, owner.user])
        digest = hmac.digest(self._own_key.encode(), text.encode(), hashlib.sha256)
        return digest.hex()[:_RANDOM]


def _key(name: str) -> str:
    return json.dumps(["socket authorized", name])
