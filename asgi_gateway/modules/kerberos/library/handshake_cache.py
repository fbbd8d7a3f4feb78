"""Keep handshakes that need another leg, from one request to the next.

An unfinished handshake grants nothing: the client that continues it must still authenticate with a token of its own.
The key is the connection (the client's address and port), since RFC 4559 continues a handshake on its connection, and
since the connection leads the next request to the same process.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from asgi_gateway.plugins.clock import Clock

__all__ = ["HandshakeCache"]

T = TypeVar("T")
Connection = tuple[str, int]


class HandshakeCache(Generic[T]):
    """A cache of at most one handshake for each connection; each is taken out once, within ``ttl`` seconds.

    A full cache drops the oldest handshake: an attacker would need ``limit`` connections within one round trip to drop
    another client's. If it refused new ones, ``limit`` connections could lock everyone out for ``ttl`` seconds.

    Args:
        clock: the source of time.
        ttl: seconds that a handshake is kept.
        limit: the number of handshakes that are kept.
    """

    def __init__(self, clock: Clock, ttl: float = 30.0, limit: int = 1000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._limit = limit
        self._waiting: dict[Connection, tuple[float, T]] = {}  # the oldest first, since all have the same ttl

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Connection, handshake: T) -> None:
        """Add a handshake, in place of an older one of the same connection."""
        now = self._clock.monotonic()
        self._waiting.pop(connection, None)
        while self._waiting:
            oldest = next(iter(self._waiting))
            if len(self._waiting) < self._limit and self._waiting[oldest][0] > now:
                break
            del self._waiting[oldest]
        self._waiting[connection] = (now + self._ttl, handshake)

    def take(self, connection: Connection) -> T | None:
        """Remove and return a connection's handshake; None if it has none or it expired."""
        expires, handshake = self._waiting.pop(connection, (0.0, None))
        return handshake if expires > self._clock.monotonic() else None

    def clear(self) -> None:
        """Remove all handshakes."""
        self._waiting.clear()
