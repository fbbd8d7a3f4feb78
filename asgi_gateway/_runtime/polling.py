"""Poll files for changes: a thread that calls back, and a value that is read again when its files change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import anyio.to_thread

from asgi_gateway.errors import ConfigError

__all__ = ["FilePoller", "PolledFile", "Version", "fingerprint"]

T = TypeVar("T")

Version: TypeAlias = tuple[tuple[int, ...], ...]
"""What distinguishes one version of some files from another; an empty part for a missing file."""

POLL_SECONDS = 1.0
"""Seconds between two checks of a file."""
_READ_ATTEMPTS = 5


def fingerprint(paths: Iterable[Path | None]) -> Version:
    """Return the current version of some files; None in place of a path is a file that is not used."""
    return tuple(() if path is None else _fingerprint(path) for path in paths)


class FilePoller:
    """Calls a function at regular intervals, in a thread of its own.

    It is a thread and not a task because it belongs to no task group, works under every event loop, and reading files
    blocks.

    Args:
        name: the file, for the thread's name and the log.
        callback: called at each interval; what it raises is logged.
        seconds: the interval.
        logger: where errors go.
    """

    def __init__(self, name: str, callback: Callable[[], object], seconds: float, logger: logging.Logger) -> None:
        self._name = name
        self._callback = callback
        self._seconds = seconds
        self._logger = logger
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name=f"watch {self._name}", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Stop the thread, and wait until a running call has returned."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopped.set()
            await anyio.to_thread.run_sync(thread.join)

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._callback()
            except Exception:
                self._logger.exception("cannot check %s for changes", self._name)


class PolledFile(Generic[T]):
    """A value that is read from files, and read again when they change.

    A new version that cannot be used changes nothing: the last good version stays, and the log says so once. This
    holds for unforeseen errors, too.

    Args:
        paths: the files; the first names the value in the log. None is a file that is not used.
        read: reads the files; raises ConfigError if they cannot be used.
        monotonic: the clock, in seconds.
        logger: where changes and errors go.
        changed: called with each new value, in the thread that read it.
        seconds: the least interval between two checks.

    Raises:
        ConfigError: (``__init__``) the files cannot be used.
    """

    def __init__(
        self,
        paths: Sequence[Path | None],
        read: Callable[[], T],
        *,
        monotonic: Callable[[], float],
        logger: logging.Logger,
        changed: Callable[[T], None] = lambda value: None,
        seconds: float = POLL_SECONDS,
    ) -> None:
        self._paths = tuple(paths)
        self._file = next(path for path in paths if path is not None)
        self._read_files = read
        self._monotonic = monotonic
        self._logger = logger
        self._changed = changed
        self._seconds = seconds
        self._lock = threading.Lock()
        self._poller = FilePoller(self._file.name, lambda: self.reload(), seconds, logger)
        self._checked = monotonic()
        self._value, self._version = self._read()

    def start(self) -> None:
        """Check for changes in the background, for values that hold without anyone calling ``current``."""
        self._poller.start()

    async def stop(self) -> None:
        """Stop the background checks."""
        await self._poller.stop()

    def current(self) -> T:
        """Return the value; read the files first if the interval has passed and they changed. May block."""
        if self.is_due:
            self._checked = self._monotonic()  # first, so that other threads do not wait for this one to read
            self.reload()
        return self._value

    @property
    def is_due(self) -> bool:
        """Whether ``current`` would check the files."""
        return self._monotonic() - self._checked >= self._seconds

    @property
    def value(self) -> T:
        """The last value that was read; never blocks."""
        return self._value

    def reload(self) -> bool:
        """Read the files again if they changed. Blocks; may be called from any thread.

        Returns:
            True if there is a new value; False if nothing changed or the new version cannot be used.
        """
        with self._lock:
            seen = fingerprint(self._paths)
            if seen == self._version:
                return False
            try:
                self._value, self._version = self._read()
            except Exception as error:
                self._version = seen  # each version is logged once
                # the text of an unforeseen error may quote the file
                reason = str(error) if isinstance(error, ConfigError) else type(error).__name__
                message = "%s changed and cannot be used; its last good version stays:\n%s"
                self._logger.error(message, self._file, reason)
                return False
            value = self._value
        self._changed(value)
        return True

    def write(self, change: Callable[[], int]) -> None:
        """Replace the first file by a version of this process's own, which is not reported as a change. Blocks.

        A change by another process at the same time is left for the next check to report.

        Args:
            change: replaces the file and returns the new file's inode number.

        Raises:
            ConfigError: the new version cannot be used.
        """
        with self._lock:
            is_seen = fingerprint(self._paths) == self._version
            inode = change()
            version = fingerprint(self._paths)
            if is_seen and version[0][-1:] == (inode,):
                value = self._read_files()
                if fingerprint(self._paths) == version:
                    self._value, self._version = value, version

    def _read(self) -> tuple[T, Version]:
        for _ in range(_READ_ATTEMPTS):
            before = fingerprint(self._paths)
            try:
                value = self._read_files()
            except ConfigError:
                if fingerprint(self._paths) == before:
                    raise
                continue  # the file is being written
            if fingerprint(self._paths) == before:
                return value, before
        raise ConfigError(f"{self._file} changes faster than it can be read")


def _fingerprint(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
