"""ExpiringState for several workers of one host: an SQLite file in WAL mode, no daemon.

Time is the host's monotonic clock, which all processes share: setting the system's clock neither revives nor extends
anything. Each writing transaction notes how far that clock has come. After a restart of the host the lives of all
entries go on from there: the time that the host was down is added to them, never taken away.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from pydantic import BeforeValidator, Field

from asgi_gateway.errors import StateFull
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.option_types import ModuleOptions, parse_duration
from asgi_gateway.plugins.state_store import Listing, MessageLog, PositionLost, StateStore, check_ttl, hashed
from asgi_gateway.stores.sqlite.database import Database

__all__ = ["SqliteOptions", "SqliteState"]

_PURGED_PER_PUT = 4
_MESSAGES = 10_000
_POLL = 0.25  # seconds between two looks for messages
_CLOCK_TOLERANCE = 1.0  # seconds; another process may have read the clock after us and written before
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entries"
    " (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS entries_expires ON entries (expires)",
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
        file: the file; created if it is not there.
        namespace: keeps apart what several gateways put into one file.
        max_entries: (``max-entries``) how many entries the file holds at most.
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
        path: the file; created, for this user alone, if it is not there. Its directory must be there and be on a disk
            of this host, not on a network file system.
        namespace: keeps apart what several gateways put into one file.
        clock: where time comes from; its monotonic clock must be the same for all processes.
        max_entries: how many entries the file holds at most; further ones are refused with StateFull, since dropping
            one early would allow a replay.
        timeout: seconds after which a call gives up with StateUnavailable.
        boot_id: what names the host's present run; by default the kernel says. Where it does not (not Linux), a restart
            is noticed by the monotonic clock's having gone back.

    Raises:
        ValueError: ``max_entries`` or ``timeout`` makes no sense.
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
        self._max_entries = max_entries
        self._boot_id = _boot_id() if boot_id is None else boot_id
        self._database = Database(self._path, self._prepare, timeout)

    async def open(self) -> None:
        """Open the file, and create it if need be.

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
        there = await self._database.call(partial(self._put, hashed(self._namespace, key), _bytes(value), ttl))
        return None if there is None else _text(there)

    async def get(self, key: str) -> str | None:
        there = await self._database.call(partial(self._get, hashed(self._namespace, key)), writes=False)
        return None if there is None else _text(there)

    async def remove(self, key: str, value: str) -> bool:
        return await self._database.call(partial(self._remove, hashed(self._namespace, key), _bytes(value)))

    async def extend(self, key: str, value: str, ttl: float) -> bool:
        check_ttl(ttl)
        return await self._database.call(partial(self._extend, hashed(self._namespace, key), _bytes(value), ttl))

    async def append(self, message: str) -> None:
        await self._database.call(partial(self._append, message))

    async def follow(self, position: str | None, wait: float) -> tuple[str, list[str]]:
        end = time.monotonic() + wait
        while True:
            found = await self._database.call(partial(self._after, position), writes=False)
            if position is None or found[1] or time.monotonic() >= end:
                return found
            await anyio.sleep(min(_POLL, wait))

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
        query = "SELECT expires - ? FROM entries WHERE key = ? AND expires > ?"
        now = self._monotonic()
        values = (now, hashed(self._namespace, key), now)
        row = await self._database.call(lambda connection: connection.execute(query, values).fetchone(), writes=False)
        return None if row is None else float(row[0])

    def __repr__(self) -> str:
        return f"SqliteState({str(self._path)!r})"

    # What follows runs in the database's thread, in a transaction.

    def _put(self, key: bytes, value: bytes, ttl: float, connection: sqlite3.Connection) -> bytes | None:
        now = self._monotonic()
        row = connection.execute("SELECT value FROM entries WHERE key = ? AND expires > ?", (key, now)).fetchone()
        if row is not None:
            there: bytes = row[0]
            return there
        purged = connection.execute(
            "DELETE FROM entries WHERE key = ? OR key IN"
            " (SELECT key FROM entries WHERE expires <= ? ORDER BY expires LIMIT ?)",
            (key, now, _PURGED_PER_PUT),
        ).rowcount
        (held,) = connection.execute("SELECT held FROM host").fetchone()
        full = held - purged >= self._max_entries
        if not full:
            connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (key, value, now + ttl))
        connection.execute("UPDATE host SET held = ?, seen = max(seen, ?)", (held - purged + (not full), now))
        if full:
            raise StateFull(f"{self._path} holds {self._max_entries} entries, its bound")
        return None

    def _get(self, key: bytes, connection: sqlite3.Connection) -> bytes | None:
        query = "SELECT value FROM entries WHERE key = ? AND expires > ?"
        row = connection.execute(query, (key, self._monotonic())).fetchone()
        return None if row is None else row[0]

    def _remove(self, key: bytes, value: bytes, connection: sqlite3.Connection) -> bool:
        statement = "DELETE FROM entries WHERE key = ? AND value = ? AND expires > ?"
        removed = connection.execute(statement, (key, value, self._monotonic())).rowcount == 1
        if removed:
            connection.execute("UPDATE host SET held = held - 1")
        return removed

    def _extend(self, key: bytes, value: bytes, ttl: float, connection: sqlite3.Connection) -> bool:
        now = self._monotonic()
        statement = "UPDATE entries SET expires = max(expires, ?) WHERE key = ? AND value = ? AND expires > ?"
        return connection.execute(statement, (now + ttl, key, value, now)).rowcount == 1

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
        boot_id, seen = connection.execute("SELECT boot, seen FROM host").fetchone()
        if boot_id != self._boot_id or now < seen - _CLOCK_TOLERANCE:
            for table in ("entries", "listed"):
                connection.execute(f"DELETE FROM {table} WHERE expires <= ?", (seen,))  # noqa: S608
                connection.execute(f"UPDATE {table} SET expires = expires - ? + ?", (seen, now))  # noqa: S608
            connection.execute(
                "UPDATE host SET boot = ?, seen = ?, held = (SELECT count(*) FROM entries)", (self._boot_id, now)
            )


def _boot_id() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
