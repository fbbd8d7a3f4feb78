"""An SQLite file, and the one thread of this process that uses it.

All waiting calls are answered in one transaction, so that a burst costs one commit. Callers wait a bounded time,
however long the disk takes. This file knows nothing of what the calls do.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

from asgi_gateway.errors import StateError, StateFull, StateUnavailable

__all__ = ["Database"]

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]
Schedule: TypeAlias = Callable[..., object]

_APPLICATION_ID = 0x41474154
_OWNER = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
_MAX_BATCH = 256
_MAX_WAITING = 10_000
_RETRY = 0.001


class _Call:
    """Work for the thread, and its answer."""

    __slots__ = ("abandoned", "answer", "done", "schedule", "work", "writes")

    def __init__(self, work: Work[Any], writes: bool) -> None:
        self.work = work
        self.writes = writes
        self.answer: Any = None
        self.done = asyncio.Event()
        self.schedule: Schedule = asyncio.get_running_loop().call_soon_threadsafe
        self.abandoned = False


class Database:
    """An SQLite file that several processes share. Any event loop may use it.

    A process forked after the first use gets a connection of its own.

    Args:
        path: the file; created, for this user alone, if it is missing.
        prepare: makes the tables; called in a transaction of its own on each new connection.
        timeout: seconds after which a call gives up with StateUnavailable.
    """

    def __init__(self, path: Path, prepare: Work[None], timeout: float) -> None:
        self._path = path
        self._prepare = prepare
        self._timeout = timeout
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0

    async def call(self, work: Work[T], *, writes: bool = True) -> T:
        """Do work in a transaction, together with the work of other calls.

        Args:
            work: given the connection, in the thread. A StateError that it raises is its caller's answer; what it has
                changed stays changed.
            writes: whether it writes; work that only reads waits for no other process.

        Raises:
            StateUnavailable: the file cannot be used now, or the timeout is over. The work may still be done later.
            StateFull: the disk is full.
        """
        if self._thread is None or self._pid != os.getpid():
            self._start()
        if self._queue.qsize() >= _MAX_WAITING:
            raise StateUnavailable(f"{_MAX_WAITING} calls wait for {self._path} already")
        call = _Call(work, writes)
        self._queue.put(call)
        try:
            async with asyncio.timeout(self._timeout):
                await call.done.wait()
        except TimeoutError:
            raise StateUnavailable(f"{self._path} did not answer within {self._timeout:g} seconds") from None
        finally:
            call.abandoned = True
        if isinstance(call.answer, StateError):
            raise type(call.answer)(*call.answer.args)  # a new one: it may be the answer to several callers
        answer: T = call.answer
        return answer

    async def close(self) -> None:
        """Answer the waiting calls, then close the file. Wait for it for at most the timeout."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._queue.put(None)
            await asyncio.to_thread(thread.join, self._timeout)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._queue = SimpleQueue()  # after a fork, the parent's may be locked for ever
        self._thread = threading.Thread(target=self._serve, args=(self._queue,), name="sqlite-state", daemon=True)
        self._thread.start()

    def _serve(self, queue: SimpleQueue[_Call | None]) -> None:
        """Run the thread: answer calls, all that wait in one transaction, until None comes."""
        connection: sqlite3.Connection | None = None
        inode: tuple[int, int] | None = None
        going = True
        while going:
            calls = [queue.get()]
            with suppress(Empty):
                while len(calls) < _MAX_BATCH:
                    calls.append(queue.get_nowait())
            going = None not in calls
            batch = [call for call in calls if call is not None and not call.abandoned]
            if not batch:
                continue
            try:
                if connection is None:
                    connection, inode = self._connect()
                elif _inode(self._path) != inode:
                    raise OSError("the file was replaced or removed while it was in use")
                answers = self._answer(connection, batch)
            except StateUnavailable as error:  # locked: nothing was begun
                answers = [error] * len(batch)
            except (sqlite3.Error, OSError) as error:
                answers = [self._explained(error)] * len(batch)
                _close(connection)  # whatever state it is in, the next batch gets a new one
                connection = None
            _deliver(batch, answers)
        _close(connection)

    def _connect(self) -> tuple[sqlite3.Connection, tuple[int, int]]:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        inode = _inode(self._path)
        connection = sqlite3.connect(self._path, timeout=self._timeout / 2, isolation_level=None)
        try:
            owner, tables = connection.execute(_OWNER).fetchone()
            if tables and owner != _APPLICATION_ID:
                raise sqlite3.DatabaseError("it is another program's database")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA busy_timeout = 0")  # from here on _begin waits, in shorter steps
            self._begin(connection)
            self._prepare(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            _close(connection)
            raise
        return connection, inode

    def _answer(self, connection: sqlite3.Connection, batch: Sequence[_Call]) -> list[Any]:
        if any(call.writes for call in batch):
            self._begin(connection)
        else:
            connection.execute("BEGIN")
        answers: list[Any] = []
        for call in batch:
            try:
                answers.append(call.work(connection))
            except StateError as error:
                answers.append(error)
        connection.execute("COMMIT")
        return answers

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock. SQLite's own wait sleeps so long that a busy process starves this one."""
        end = time.monotonic() + self._timeout / 2
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() > end:
                    raise self._explained(error) from None
                time.sleep(_RETRY * random.random())  # noqa: S311 - no secret depends on it
            else:
                return

    def _explained(self, error: Exception) -> StateError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        kind = StateFull if code == sqlite3.SQLITE_FULL else StateUnavailable
        return kind(f"{self._path}: {error}")


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()


def _deliver(batch: Sequence[_Call], answers: Sequence[Any]) -> None:
    loops: dict[Schedule, list[_Call]] = {}
    for call, answer in zip(batch, answers, strict=True):
        call.answer = answer
        loops.setdefault(call.schedule, []).append(call)
    for schedule, calls in loops.items():
        with suppress(RuntimeError):  # a loop that is closed waits for nothing
            schedule(_wake, calls)


def _wake(calls: Sequence[_Call]) -> None:
    for call in calls:
        call.done.set()
