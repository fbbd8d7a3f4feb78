"""ExpiringState for one process: a dict, and a heap that knows which entry expires next.

There is no background task: each put removes a few expired entries, always more than it adds, so the work per call is
small and the memory follows the load. Expiry follows the monotonic clock; setting the system's clock revives no entry.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from pathlib import Path
from threading import Lock

from pydantic import Field

from asgi_gateway.errors import StateFull
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.option_types import ModuleOptions
from asgi_gateway.plugins.state_store import ExpiringState, Partition, StateStore, check_ttl

__all__ = ["MemoryOptions", "MemoryState"]

_PURGED_PER_PUT = 4
_SLACK = 64


class MemoryOptions(ModuleOptions):
    """Options of the store ``memory``.

    Args:
        max_entries: (``max-entries``) the number of entries that the store, and each partition, holds at most.
    """

    max_entries: int = Field(default=250_000, ge=1, alias="max-entries")


class _Entries:
    """Entries with one bound, used by any thread.

    Args:
        monotonic: the clock's ``monotonic``.
        evicts: whether the entry that would expire first is removed at the bound, instead of refusing a new one.
    """

    __slots__ = ("_evicts", "_expiries", "_monotonic", "by_key", "lock")

    def __init__(self, monotonic: Callable[[], float], *, evicts: bool = False) -> None:
        self.by_key: dict[str, tuple[float, str]] = {}  # key: (when it expires, value)
        self.lock = Lock()
        self._expiries: list[tuple[float, str]] = []  # a heap; also has records of entries that were removed
        self._monotonic = monotonic
        self._evicts = evicts

    def get(self, key: str) -> str | None:
        entry = self.by_key.get(key)
        return entry[1] if entry is not None and entry[0] > self._monotonic() else None

    def put_if_absent(self, key: str, value: str, ttl: float, bound: int) -> str | None:
        now = self._monotonic()
        with self.lock:
            if self._expiries and self._expiries[0][0] <= now:
                self._purge(now, bound)
            entry = self.by_key.get(key)
            if entry is not None and entry[0] > now:
                return entry[1]
            if entry is None and len(self.by_key) >= bound:
                if not self._evicts:
                    raise StateFull(f"the memory store holds {bound} entries, its bound")
                self._evict(bound)
            self._store(key, value, now + ttl)
            return None

    def remove(self, key: str, value: str) -> bool:
        with self.lock:
            if self.get(key) != value:
                return False
            del self.by_key[key]
            self._tidy()
            return True

    def extend(self, key: str, value: str, ttl: float) -> bool:
        expires = self._monotonic() + ttl
        with self.lock:
            if self.get(key) != value:
                return False
            if expires > self.by_key[key][0]:
                self._store(key, value, expires)
                self._tidy()
            return True

    def replace(self, key: str, old: str, new: str, ttl: float) -> bool:
        expires = self._monotonic() + ttl
        with self.lock:
            if self.get(key) != old:
                return False
            self._store(key, new, expires)
            self._tidy()
            return True

    def _store(self, key: str, value: str, expires: float) -> None:
        self.by_key[key] = (expires, value)
        heappush(self._expiries, (expires, key))

    def _tidy(self) -> None:
        """Clear the heap of meaningless records, once they are half of it: as many calls paid for this pass."""
        if len(self._expiries) > 2 * len(self.by_key) + _SLACK:
            self._expiries[:] = [(expires, key) for key, (expires, _) in self.by_key.items()]
            heapify(self._expiries)

    def _purge(self, now: float, bound: int) -> None:
        """Remove a few expired entries; at the bound, as many as it takes to fall below it."""
        left = _PURGED_PER_PUT
        while self._expiries and self._expiries[0][0] <= now and (left > 0 or len(self.by_key) >= bound):
            left -= 1
            self._drop_first()

    def _evict(self, bound: int) -> None:
        """Remove the entries that would expire first, until there are fewer than the bound."""
        while self._expiries and len(self.by_key) >= bound:
            self._drop_first()

    def _drop_first(self) -> None:
        expires, key = heappop(self._expiries)
        entry = self.by_key.get(key)
        if entry is not None and entry[0] == expires:  # else it was removed, put anew or extended
            del self.by_key[key]


class _MemoryPart(ExpiringState):
    """A part of a memory store: entries, and the bound that puts keep."""

    def __init__(self, entries: _Entries, bound: int) -> None:
        self._entries = entries
        self._bound = bound

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        return self._entries.put_if_absent(key, value, ttl, self._bound)

    async def get(self, key: str) -> str | None:
        return self._entries.get(key)

    async def remove(self, key: str, value: str) -> bool:
        return self._entries.remove(key, value)

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        return self._entries.extend(key, value, ttl)

    async def replace(self, key: str, old: str | None, new: str, ttl: float) -> bool:
        check_ttl(ttl)
        if old is None:
            return self._entries.put_if_absent(key, new, ttl, self._bound) is None
        return self._entries.replace(key, old, new, ttl)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._entries.by_key)} of {self._bound} entries)"


class MemoryState(_MemoryPart, StateStore):
    """ExpiringState in this process's memory; any thread and any event loop of the process may use it.

    Args:
        clock: the source of time.
        max_entries: the number of entries that the store, and each of its partitions, holds at most; an entry takes
            about 300 bytes plus its key and value. At the bound the store itself refuses further entries with
            StateFull, since to remove one early would allow a replay.

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
        monotonic = (clock or SystemClock()).monotonic
        super().__init__(_Entries(monotonic), max_entries)
        self._partitions = {
            kind: _MemoryPart(_Entries(monotonic, evicts=True), max_entries)
            for kind in (Partition.SESSIONS, Partition.CHALLENGES, Partition.SOCKETS)
        }
        reserve = max(16, max_entries // 10)
        self._partitions[Partition.REVOCATIONS] = _MemoryPart(self._entries, max_entries + reserve)

    def partition(self, kind: Partition) -> ExpiringState:
        return self._partitions[kind]
