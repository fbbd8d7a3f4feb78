"""Handshakes that need another leg, kept between two requests.

Such a handshake holds no rights: whoever goes on with it must still prove, with a token of their own, who they are. It
is kept for the connection it began on (the client's address and port), since that is where RFC 4559 lets it go on and
what leads the next request to this process.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from asgi_gateway.plugins.clock import Clock

__all__ = ["PendingHandshakes"]

T = TypeVar("T")
Connection = tuple[str, int]


class PendingHandshakes(Generic[T]):
    """At most one handshake for each connection, to be taken out once, within a short time.

    When it is full, the oldest goes: to push out a handshake before its next leg, someone would need ``limit``
    connections within one round trip; were new ones refused, ``limit`` connections would lock all out for ``ttl``.

    Args:
        clock: where time comes from.
        ttl: seconds that a handshake may wait.
        limit: how many may wait.
    """

    def __init__(self, clock: Clock, ttl: float = 30.0, limit: int = 1000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._limit = limit
        self._waiting: dict[Connection, tuple[float, T]] = {}  # the oldest first, since all live equally long

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Connection, handshake: T) -> None:
        """Keep a handshake, in place of an older one of the same connection."""
        now = self._clock.monotonic()
        self._waiting.pop(connection, None)
        while self._waiting:
            oldest = next(iter(self._waiting))
            if len(self._waiting) < self._limit and self._waiting[oldest][0] > now:
                break
            del self._waiting[oldest]
        self._waiting[connection] = (now + self._ttl, handshake)

    def take(self, connection: Connection) -> T | None:
        """Take a connection's handshake out; None if it has none, or it waited too long."""
        expires, handshake = self._waiting.pop(connection, (0.0, None))
        return handshake if expires > self._clock.monotonic() else None

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
