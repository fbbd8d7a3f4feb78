"""ExpiringState for one process: a dict, and a heap that knows what expires next.

There is no background task: each put clears away a few expired entries, always more than it adds, so the work per call
is small and the memory follows the load. The monotonic clock decides; setting the system's clock revives nothing.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from pathlib import Path
from threading import Lock

from pydantic import Field

from asgi_gateway.errors import StateFull
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.option_types import ModuleOptions
from asgi_gateway.plugins.state_store import StateStore, check_ttl

__all__ = ["MemoryOptions", "MemoryState"]

_PURGED_PER_PUT = 4
_SLACK = 64


class MemoryOptions(ModuleOptions):
    """Options of the store ``memory``.

    Args:
        max_entries: (``max-entries``) how many entries are held at most.
    """

    max_entries: int = Field(default=250_000, ge=1, alias="max-entries")


class MemoryState(StateStore):
    """ExpiringState in this process's memory; any thread and any event loop of the process may use it.

    Args:
        clock: where time comes from.
        max_entries: how many entries are held at most; one takes about 300 bytes plus its key and value. When as many
            are alive, further ones are refused with StateFull, since dropping one early would allow a replay.

    Raises:
        ValueError: ``max_entries`` is less than 1.
    """

    shared = False
    Options = MemoryOptions

    @classmethod
    def configured(cls, options: MemoryOptions, directory: Path, clock: Clock) -> MemoryState:
        return cls(clock, max_entries=options.max_entries)

    def __init__(self, clock: Clock | None = None, *, max_entries: int = 250_000) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, not {max_entries}")
        self._monotonic = (clock or SystemClock()).monotonic
        self._max_entries = max_entries
        self._entries: dict[str, tuple[float, str]] = {}  # key: (when it expires, value)
        self._expiries: list[tuple[float, str]] = []  # a heap; has records of what was removed, too
        self._lock = Lock()

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        now = self._monotonic()
        with self._lock:
            entries, expiries = self._entries, self._expiries
            if expiries and expiries[0][0] <= now:
                self._purge(now)
            entry = entries.get(key)
            if entry is None:
                if len(entries) >= self._max_entries:
                    raise StateFull(f"the memory store holds {self._max_entries} entries, its bound")
            elif entry[0] > now:
                return entry[1]
            expires = now + ttl
            entries[key] = (expires, value)
            heappush(expiries, (expires, key))
            return None

    async def get(self, key: str) -> str | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > self._monotonic() else None

    async def remove(self, key: str, value: str) -> bool:
        now = self._monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] <= now or entry[1] != value:
                return False
            del self._entries[key]
            self._tidy()
            return True

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        now = self._monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] <= now or entry[1] != value:
                return False
            if now + ttl > entry[0]:
                self._entries[key] = (now + ttl, value)
                heappush(self._expiries, (now + ttl, key))
                self._tidy()
            return True

    @property
    def held(self) -> int:
        """How many entries are held, those included that expired and were not cleared away yet."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"MemoryState({len(self._entries)} of {self._max_entries} entries)"

    def _tidy(self) -> None:
        """Clear the heap of records that mean nothing, once they are half of it: as many calls paid for this pass."""
        if len(self._expiries) > 2 * len(self._entries) + _SLACK:
            self._expiries[:] = [(expires, key) for key, (expires, _) in self._entries.items()]
            heapify(self._expiries)

    def _purge(self, now: float) -> None:
        """Clear away a few expired entries; if the store is full, as many as it takes to have room again."""
        entries, expiries = self._entries, self._expiries
        left = _PURGED_PER_PUT
        while expiries and expiries[0][0] <= now and (left > 0 or len(entries) >= self._max_entries):
            left -= 1
            expires, key = heappop(expiries)
            entry = entries.get(key)
            if entry is not None and entry[0] == expires:  # else removed, put anew or extended
                del entries[key]
