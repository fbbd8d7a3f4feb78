"""Finds out at start whether several workers of one server use stores that each has for itself.

A gateway with the memory store that remembers used tokens must be its server's only worker. Each such gateway holds a
lock on a file; a second worker of the same server finds it locked. Workers of one server have one parent process, one
command line (``sys.argv``, which servers hand on to the workers they fork or spawn) and one configuration; the file is
named for the three. The system frees the lock however the process ends. This cannot find: servers that were started one
by one, other containers and hosts, and systems without ``flock``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from asgi_gateway.errors import ConfigError, Problem

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["SHARED_STATE_HINT", "TIMEOUT", "SingleWorkerLock"]

logger = logging.getLogger("asgi_gateway.workers")

TIMEOUT = 10.0
"""Seconds to wait for another worker to end, as the old one does when a server reloads."""
SHARED_STATE_HINT = (
    "give security a state element: state: {type: sqlite, options: {file: state.db}} for the workers of one host, "
    "state: {type: redis, options: {url: redis://…}} for several hosts; or run one worker"
)
_POLL = 0.1


@dataclass(slots=True)
class _Held:
    """A locked file of this process: its descriptor, and the number of gateways that hold it."""

    descriptor: int
    count: int = 1


_held: dict[Path, _Held] = {}
_held_lock = threading.Lock()


class SingleWorkerLock:
    """Lets one worker of a server use a configuration.

    Several gateways in one process share one lock.

    Args:
        identity: tells the configuration from others.
        directory: the directory for lock files; by default one of this user's in the system's directory for temporary
            files.
    """

    def __init__(self, identity: str, directory: Path | None = None) -> None:
        self._identity = identity
        self._directory = directory
        self._path: Path | None = None

    async def acquire(self, needs: list[str], timeout: float = TIMEOUT) -> None:  # noqa: ASYNC109 (not a cancellation)
        """Become the only worker.

        Args:
            needs: what workers would have to share, for the message.
            timeout: seconds to wait for another worker to end.

        Raises:
            ConfigError: another worker of the same server is running.
        """
        for attempt in range(max(1, round(timeout / _POLL))):
            if self._try_acquire():
                return
            if attempt == 0:
                logger.warning("another worker of this server has the same configuration: waiting for it to end")
            await asyncio.sleep(_POLL)
        message = f"{'; '.join(needs)}: several workers must share this, and the memory store is each worker's own"
        raise ConfigError(Problem(message, hint=SHARED_STATE_HINT))

    def release(self) -> None:
        """Let another worker acquire the lock. Do nothing if it is not held."""
        path, self._path = self._path, None
        if path is not None:
            _unlock(path)

    def _try_acquire(self) -> bool:
        """Return False if another worker holds the lock; True also where this cannot be checked."""
        if fcntl is None:
            return True
        try:
            path = self._file()
            if not _lock(path):
                return False
        except OSError as error:
            logger.warning("cannot check for other workers (%s); the memory store serves one worker only", error)
            return True
        self._path = path
        return True

    def _file(self) -> Path:
        directory = self._directory or Path(tempfile.gettempdir()) / f"asgi-gateway-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"{directory} is not this user's alone")
        server = repr((os.getppid(), sys.argv, self._identity))
        name = hashlib.sha256(server.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return directory / f"{name}.lock"


def _lock(path: Path) -> bool:
    """Lock a file; return False if another process has locked it."""
    with _held_lock:
        if (held := _held.get(path)) is not None:
            held.count += 1
            return True
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino != path.stat().st_ino:
                raise FileNotFoundError  # its last holder removed it in between
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        _held[path] = _Held(descriptor)
        return True


def _unlock(path: Path) -> None:
    """Give back one hold on a locked file; the last one removes the file."""
    with _held_lock:
        held = _held[path]
        held.count -= 1
        if held.count == 0:
            del _held[path]
            path.unlink(missing_ok=True)
            os.close(held.descriptor)


def _after_fork() -> None:
    """Drop the locks in a forked child: they are its parent's."""
    for held in _held.values():
        os.close(held.descriptor)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_after_fork)
