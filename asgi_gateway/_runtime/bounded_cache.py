"""A cache with a bound, for entries whose keys clients choose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

K = TypeVar("K")
V = TypeVar("V")

_NEVER = float("inf")


def _no_time() -> float:
    return 0.0


class BoundedCache(Generic[K, V]):
    """Holds at most ``bound`` entries; each may have a time to live.

    Eviction rule: each put removes expired entries from the old end, and at the bound the entry that was put longest
    ago. Reading an entry does not make it younger; putting it again does. An expired entry is never returned.

    Any thread may use it. ``get`` takes no lock: it reads one entry of a dict.

    Args:
        bound: the number of entries held at most, 1 or more.
        ttl: seconds that an entry lives unless ``put`` says otherwise; None for entries without an end. At 0 or less
            nothing is ever stored.
        monotonic: the clock's ``monotonic``. Without it entries cannot have a time to live.

    Raises:
        ValueError: ``bound`` is less than 1, or ``ttl`` is given without ``monotonic``.
    """

    __slots__ = ("_bound", "_entries", "_lock", "_monotonic", "_ttl", "generation")

    def __init__(self, bound: int, *, ttl: float | None = None, monotonic: Callable[[], float] | None = None) -> None:
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        if ttl is not None and monotonic is None:
            raise ValueError("a cache with a time to live needs a clock")
        self._bound = bound
        self._ttl = ttl
        self._monotonic = monotonic or _no_time
        self._entries: dict[K, tuple[float, V]] = {}  # key: (end in monotonic seconds, value), oldest first
        self._lock = threading.Lock()
        self.generation = 0
        """The number of calls of ``clear`` and ``remove_where`` so far; see ``put``."""

    def __len__(self) -> int:
        """Return the number of entries held, expired ones that were not removed yet included."""
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value of a key; None if it is missing or expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        return value if until is _NEVER or self._monotonic() < until else None

    def put(self, key: K, value: V, *, ttl: float | None = None, generation: int | None = None) -> None:
        """Store a value as the youngest entry.

        Args:
            key: the key.
            value: the value.
            ttl: seconds that it lives; by default the cache's. At 0 or less nothing is stored.
            generation: what ``generation`` was when the caller began to compute the value. If entries were removed
                since then, the value may rest on old data, and nothing is stored.

        Raises:
            ValueError: ``ttl`` is given, and the cache has no clock.
        """
        if ttl is not None and self._monotonic is _no_time:
            raise ValueError("a time to live needs a clock")
        ttl = self._ttl if ttl is None else ttl
        if ttl is not None and ttl <= 0:
            return
        now = self._monotonic()
        with self._lock:
            if generation is not None and generation != self.generation:
                return
            self._entries.pop(key, None)  # so that it becomes the youngest
            self._make_space(now)
            self._entries[key] = (_NEVER if ttl is None else now + ttl, value)

    def pop(self, key: K) -> V | None:
        """Remove a key. Return its value; None if it was missing or expired."""
        with self._lock:
            entry = self._entries.pop(key, None)
        return None if entry is None or self._monotonic() >= entry[0] else entry[1]

    def remove_where(self, condition: Callable[[V], bool]) -> None:
        """Remove every entry whose value meets a condition."""
        with self._lock:
            self.generation += 1
            for key in [key for key, (_, value) in self._entries.items() if condition(value)]:
                del self._entries[key]

    def clear(self) -> None:
        """Remove every entry."""
        with self._lock:
            self.generation += 1
            self._entries.clear()

    def _make_space(self, now: float) -> None:
        """Remove expired entries from the old end, and at the bound the oldest."""
        entries = self._entries
        while entries:
            oldest = next(iter(entries))
            if len(entries) < self._bound and now < entries[oldest][0]:
                return
            del entries[oldest]
