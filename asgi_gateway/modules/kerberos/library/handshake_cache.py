"""Keep handshakes that need another leg, from one request to the next.

An unfinished handshake grants nothing: the client that continues it must still authenticate with a token of its own.
The key is the connection (the client's address and port), since RFC 4559 continues a handshake on its connection, and
since the connection leads the next request to the same process.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from asgi_gateway._runtime.bounded_cache import BoundedCache
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
        self._waiting: BoundedCache[Connection, T] = BoundedCache(limit, ttl=ttl, monotonic=clock.monotonic)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Connection, handshake: T) -> None:
        """Add a handshake, in place of an older one of the same connection."""
        self._waiting.put(connection, handshake)

    def take(self, connection: Connection) -> T | None:
        """Remove and return a connection's handshake; None if it has none or it expired."""
        return self._waiting.pop(connection)

    def clear(self) -> None:
        """Remove all handshakes."""
        self._waiting.clear()
