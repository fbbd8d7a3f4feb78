"""ExpiringState for several workers of one host: an SQLite file in WAL mode, no daemon.

Time is the host's monotonic clock, which all processes share: setting the system's clock neither revives nor extends
anything. Each writing transaction notes how far that clock has come. After a restart of the host the lives of all
entries go on from there: the time that the host was down is added to them, never taken away.
"""

# ruff: noqa: S608 - the names of tables are constants of this file

from __future__ import annotations

import asyncio
import copy
import os
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from asgi_gateway.errors import StateFull
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.option_types import ModuleOptions, parse_duration
from asgi_gateway.plugins.state_store import (
    Listing,
    MessageLog,
    Partition,
    PositionLost,
    StateStore,
    check_ttl,
    hashed,
)
from asgi_gateway.stores.sqlite.database import Database

__all__ = ["SqliteOptions", "SqliteState"]

_PURGED_PER_PUT = 4
_MESSAGES = 10_000
_POLL = 0.25  # seconds between two looks for messages
_CLOCK_TOLERANCE = 1.0  # seconds; another process may have read the clock after us and written before
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EVICTING = (Partition.SESSIONS, Partition.CHALLENGES, Partition.SOCKETS)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the file: the table of its entries, and the bound that puts keep.

    Args:
        table: the table's name.
        evicts: whether the entry that would expire first is removed at the bound, instead of refusing a new one.
        bound: the number of entries at most.
    """

    table: str
    evicts: bool
    bound: int

    @property
    def held(self) -> str:
        """The SQL of the number of entries."""
        return "SELECT held FROM host" if self.table == "entries" else self._of_partition("SELECT held FROM partitions")

    @property
    def change_held(self) -> str:
        """The SQL that adds a parameter to the number of entries."""
        if self.table == "entries":
            return "UPDATE host SET held = held + ?"
        return self._of_partition("UPDATE partitions SET held = held + ?")

    def _of_partition(self, statement: str) -> str:
        return f"{statement} WHERE name = '{self.table}'"


_ENTRY_TABLES = ("entries", *(kind.value for kind in _EVICTING))
_SCHEMA = (
    *(
        f"CREATE TABLE IF NOT EXISTS {table}"
        " (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID"
        for table in _ENTRY_TABLES
    ),
    *(f"CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires)" for table in _ENTRY_TABLES),
    "CREATE TABLE IF NOT EXISTS partitions (name TEXT PRIMARY KEY, held INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS host"
    " (id INTEGER PRIMARY KEY CHECK (id = 0), boot TEXT NOT NULL, seen REAL NOT NULL, held INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS messages"
    " (id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, text TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS listed"
    " (name BLOB PRIMARY KEY, namespace TEXT NOT NULL, text BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS listed_expires ON listed (expires)",
)


class SqliteOptions(ModuleOptions):
    """Options of the store ``sqlite``.

    Args:
        file: the file; created if it is missing.
        namespace: keeps the entries of several gateways in one file apart.
        max_entries: (``max-entries``) the number of entries that the file, and each partition, holds at most.
        timeout: how long a call may take.
    """

    file: Path
    namespace: str = ""
    max_entries: int = Field(default=1_000_000, ge=1, alias="max-entries")
    timeout: Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=60)] = 2.0


class SqliteState(StateStore, MessageLog, Listing):
    """ExpiringState in an SQLite file that all workers of a host open.

    Any event loop may use it, and a process forked after ``open`` gets a connection of its own.

    Args:
        path: the file; created, for this user alone, if it is missing. Its directory must exist and be on a disk of
            this host, not on a network file system.
        namespace: keeps the entries of several gateways in one file apart.
        clock: the source of time; its monotonic clock must be the same for all processes.
        max_entries: the number of entries that the file, and each of its partitions, holds at most. At the bound the
            store itself refuses further entries with StateFull, since to remove one early would allow a replay.
        timeout: seconds after which a call gives up with StateUnavailable.
        boot_id: names the host's present run; by default the kernel's. Where the kernel has none (not Linux), a restart
            is noticed by the monotonic clock's having gone back.

    Raises:
        ValueError: ``max_entries`` or ``timeout`` is out of range.
    """

    shared = True
    Options = SqliteOptions

    @classmethod
    def configured(cls, options: SqliteOptions, directory: Path, clock: Clock) -> SqliteState:
        return cls(
            directory / options.file.expanduser(),
            namespace=options.namespace,
            clock=clock,
            max_entries=options.max_entries,
            timeout=options.timeout,
        )

    def __init__(
        self,
        path: str | Path,
        *,
        namespace: str = "",
        clock: Clock | None = None,
        max_entries: int = 1_000_000,
        timeout: float = 2.0,
        boot_id: str | None = None,
    ) -> None:
        if max_entries < 1 or not 0 < timeout <= 60:
            raise ValueError("max_entries must be at least 1, timeout more than 0 and at most 60 seconds")
        self._path = Path(path).absolute()
        self._namespace = namespace
        self._monotonic = (clock or SystemClock()).monotonic
        self._part = _Part("entries", False, max_entries)
        self._boot_id = _boot_id() if boot_id is None else boot_id
        self._database = Database(self._path, self._prepare, timeout)

    @property
    def identity(self) -> str:
        return f"sqlite {self._path} {self._namespace}"

    def partition(self, kind: Partition) -> SqliteState:
        part = copy.copy(self)
        if kind is Partition.REVOCATIONS:
            part._part = _Part("entries", False, self._part.bound + max(16, self._part.bound // 10))
        else:
            part._part = _Part(kind.value, True, self._part.bound)
        return part

    async def open(self) -> None:
        """Open the file, and create it if it is missing.

        Raises:
            StateUnavailable: it cannot be opened and written, or is another program's.
        """
        await self._database.call(lambda connection: None)

    async def close(self) -> None:
        await self._database.close()

    def exists(self) -> bool:
        return self._path.exists()

    def problems(self) -> list[str]:
        directory = self._path.parent
        if not directory.is_dir():
            return [f"{self._path}: the directory does not exist"]
        if self._path.exists() and not self._path.is_file():
            return [f"{self._path}: not a regular file"]
        found = []
        if not os.access(directory, os.W_OK | os.X_OK):
            found.append(f"{self._path}: no permission to write into the directory")
        if self._path.exists() and not os.access(self._path, os.R_OK | os.W_OK):
            found.append(f"{self._path}: no permission to read and write the file")
        return found

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        present = await self._database.call(partial(self._put, hashed(self._namespace, key), _bytes(value), ttl))
        return None if present is None else _text(present)

    async def get(self, key: str) -> str | None:
        value = await self._database.call(partial(self._get, hashed(self._namespace, key)), writes=False)
        return None if value is None else _text(value)

    async def remove(self, key: str, value: str) -> bool:
        return await self._database.call(partial(self._remove, hashed(self._namespace, key), _bytes(value)))

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        return await self._database.call(partial(self._extend, hashed(self._namespace, key), _bytes(value), ttl))

    async def replace(self, key: str, old: str | None, new: str, ttl: float) -> bool:
        if old is None:
            return await self.put_if_absent(key, new, ttl) is None
        check_ttl(ttl)
        name = hashed(self._namespace, key)
        return await self._database.call(partial(self._replace, name, _bytes(old), _bytes(new), ttl))

    async def append(self, message: str) -> None:
        await self._database.call(partial(self._append, message))

    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        end = time.monotonic() + wait
        while True:
            found = await self._database.call(partial(self._after, position), writes=False)
            if position is None or found[1] or time.monotonic() >= end:
                return found
            await asyncio.sleep(min(_POLL, wait))

    async def enlist(self, name: str, text: str, ttl: float) -> None:
        check_ttl(ttl)
        await self._database.call(partial(self._enlist, hashed(self._namespace, name), _bytes(text), ttl))

    async def strike(self, name: str) -> None:
        await self._database.call(partial(self._strike, hashed(self._namespace, name)))

    async def listed(self, most: int) -> list[str]:
        query = "SELECT text FROM listed WHERE namespace = ? AND expires > ? LIMIT ?"
        values = (self._namespace, self._monotonic(), most)
        rows = await self._database.call(lambda connection: connection.execute(query, values).fetchall(), writes=False)
        return [_text(text) for (text,) in rows]

    async def left(self, key: str) -> float | None:
        query = f"SELECT expires - ? FROM {self._part.table} WHERE key = ? AND expires > ?"
        now = self._monotonic()
        values = (now, hashed(self._namespace, key), now)
        row = await self._database.call(lambda connection: connection.execute(query, values).fetchone(), writes=False)
        return None if row is None else float(row[0])

    def __repr__(self) -> str:
        return f"SqliteState({str(self._path)!r})"

    # What follows runs in the database's thread, in a transaction.

    def _put(self, key: bytes, value: bytes, ttl: float, connection: sqlite3.Connection) -> bytes | None:
        part, now = self._part, self._monotonic()
        query = f"SELECT value FROM {part.table} WHERE key = ? AND expires > ?"
        row = connection.execute(query, (key, now)).fetchone()
        if row is not None:
            present: bytes = row[0]
            return present
        purged = connection.execute(
            f"DELETE FROM {part.table} WHERE key = ? OR key IN"
            f" (SELECT key FROM {part.table} WHERE expires <= ? ORDER BY expires LIMIT ?)",
            (key, now, _PURGED_PER_PUT),
        ).rowcount
        held = connection.execute(part.held).fetchone()[0] - purged
        surplus = held + 1 - part.bound
        if surplus > 0 and part.evicts:
            surplus -= (removed := self._remove_first(surplus, connection))
            purged += removed
        full = surplus > 0
        if not full:
            connection.execute(f"INSERT INTO {part.table} VALUES (?, ?, ?)", (key, value, now + ttl))
        connection.execute(part.change_held, ((not full) - purged,))
        connection.execute("UPDATE host SET seen = max(seen, ?)", (now,))
        if full:
            raise StateFull(f"{self._path} holds {part.bound} entries, its bound")
        return None

    def _remove_first(self, number: int, connection: sqlite3.Connection) -> int:
        """Remove the entries that would expire first. Return their number."""
        table = self._part.table
        statement = f"DELETE FROM {table} WHERE key IN (SELECT key FROM {table} ORDER BY expires LIMIT ?)"
        return connection.execute(statement, (number,)).rowcount

    def _get(self, key: bytes, connection: sqlite3.Connection) -> bytes | None:
        query = f"SELECT value FROM {self._part.table} WHERE key = ? AND expires > ?"
        row = connection.execute(query, (key, self._monotonic())).fetchone()
        return None if row is None else row[0]

    def _remove(self, key: bytes, value: bytes, connection: sqlite3.Connection) -> bool:
        statement = f"DELETE FROM {self._part.table} WHERE key = ? AND value = ? AND expires > ?"
        removed = connection.execute(statement, (key, value, self._monotonic())).rowcount == 1
        if removed:
            connection.execute(self._part.change_held, (-1,))
        return removed

    def _extend(self, key: bytes, value: bytes, ttl: float, connection: sqlite3.Connection) -> bool:
        now = self._monotonic()
        statement = (
            f"UPDATE {self._part.table} SET expires = max(expires, ?) WHERE key = ? AND value = ? AND expires > ?"
        )
        return connection.execute(statement, (now + ttl, key, value, now)).rowcount == 1

    def _replace(self, key: bytes, old: bytes, new: bytes, ttl: float, connection: sqlite3.Connection) -> bool:
        now = self._monotonic()
        statement = f"UPDATE {self._part.table} SET value = ?, expires = ? WHERE key = ? AND value = ? AND expires > ?"
        return connection.execute(statement, (new, now + ttl, key, old, now)).rowcount == 1

    def _enlist(self, name: bytes, text: bytes, ttl: float, connection: sqlite3.Connection) -> None:
        now = self._monotonic()
        connection.execute(
            "DELETE FROM listed WHERE name IN (SELECT name FROM listed WHERE expires <= ? ORDER BY expires LIMIT ?)",
            (now, _PURGED_PER_PUT),
        )
        row = (name, self._namespace, text, now + ttl)
        connection.execute("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?)", row)

    def _strike(self, name: bytes, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM listed WHERE name = ?", (name,))

    def _append(self, message: str, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO messages (namespace, text) VALUES (?, ?)", (self._namespace, message))
        connection.execute("DELETE FROM messages WHERE id <= last_insert_rowid() - ?", (_MESSAGES,))

    def _after(self, position: str | None, connection: sqlite3.Connection) -> tuple[str, list[str]]:
        first, last = connection.execute("SELECT min(id), max(id) FROM messages").fetchone()
        if position is None:
            return str(last or 0), []
        begin = int(position)
        if begin > (last or 0) or (first is not None and first > begin + 1):
            raise PositionLost(f"{self._path} no longer has what followed message {begin}")
        query = "SELECT text FROM messages WHERE id > ? AND namespace = ? ORDER BY id"
        return str(last or 0), [text for (text,) in connection.execute(query, (begin, self._namespace))]

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables; after a restart of the host, move all expiries to its new monotonic clock."""
        for statement in _SCHEMA:
            connection.execute(statement)
        now = self._monotonic()
        connection.execute("INSERT OR IGNORE INTO host VALUES (0, ?, ?, 0)", (self._boot_id, now))
        connection.executemany("INSERT OR IGNORE INTO partitions VALUES (?, 0)", [(kind.value,) for kind in _EVICTING])
        boot_id, seen = connection.execute("SELECT boot, seen FROM host").fetchone()
        if boot_id != self._boot_id or now < seen - _CLOCK_TOLERANCE:
            for table in (*_ENTRY_TABLES, "listed"):
                connection.execute(f"DELETE FROM {table} WHERE expires <= ?", (seen,))
                connection.execute(f"UPDATE {table} SET expires = expires - ? + ?", (seen, now))
            connection.execute(
                "UPDATE host SET boot = ?, seen = ?, held = (SELECT count(*) FROM entries)", (self._boot_id, now)
            )
            for kind in _EVICTING:
                count = f"(SELECT count(*) FROM {kind.value})"
                connection.execute(f"UPDATE partitions SET held = {count} WHERE name = ?", (kind.value,))


def _boot_id() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
