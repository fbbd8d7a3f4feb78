"""Looking at files every so often, for modules whose remembered logins must end when their files change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import anyio.to_thread

__all__ = ["FilePoller", "Version", "fingerprint"]

Version: TypeAlias = tuple[tuple[int, ...], ...]
"""What tells one version of some files from another; an empty part for a file that is not there."""


def fingerprint(paths: Iterable[Path | None]) -> Version:
    """The version of some files as they are now; None stands for a file that is not used."""
    return tuple(() if path is None else _fingerprint(path) for path in paths)


class FilePoller:
    """Calls a function every second or so, in a thread of its own.

    A thread, not a task: it belongs to no task group, works under every event loop, and reading files blocks anyway.

    Args:
        name: what is watched, for the thread and the log.
        look: called each time; what it raises is logged.
        seconds: between two calls.
        logger: where errors go.
    """

    def __init__(self, name: str, look: Callable[[], object], seconds: float, logger: logging.Logger) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._logger = logger
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; once begun, nothing changes."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name=f"watch {self._name}", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """End, and wait until a call that is under way is through."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopped.set()
            await anyio.to_thread.run_sync(thread.join)

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._look()
            except Exception:
                self._logger.exception("%s could not be looked at", self._name)


def _fingerprint(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
