"""Several workers of one server that would have to share their state, and do not: found out when they start.

A gateway with the memory store that remembers used tokens must be its server's only worker. Each such gateway holds a
lock on a file that is named for the server's process (the worker's parent) and the configuration; a second worker of
the same server finds it taken. The system frees the lock however the process ends. What cannot be found out this way:
servers that were started one by one, other containers and hosts, and systems without ``flock``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import threading
from pathlib import Path

import anyio

from asgi_gateway.errors import ConfigError, Problem

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["PATIENCE", "SHARED_STATE_CURE", "SingleWorkerLock"]

logger = logging.getLogger("asgi_gateway.workers")

PATIENCE = 10.0
"""Seconds to wait for another worker to end, as the old one does when a server reloads."""
SHARED_STATE_CURE = (
    "give security a state element: state: {type: sqlite, options: {file: state.db}} for the workers of one host, "
    "state: {type: redis, options: {url: redis://…}} for several hosts; or run one worker"
)
_POLL = 0.1

_held: dict[Path, tuple[int, int]] = {}  # path: (file descriptor, how many gateways of this process hold it)
_lock = threading.Lock()


class SingleWorkerLock:
    """The claim to be a server's only worker with some configuration.

    Args:
        identity: what tells the configuration from others.
        directory: where lock files are; by default one of the user's own in the system's folder for temporary files.
    """

    def __init__(self, identity: str, directory: Path | None = None) -> None:
        self._identity = identity
        self._directory = directory
        self._path: Path | None = None

    async def claim(self, needs: list[str], patience: float = PATIENCE) -> None:
        """Become the only worker.

        Args:
            needs: what workers would have to share, for the message.
            patience: seconds to wait for another worker to end.

        Raises:
            ConfigError: another worker of the same server runs.
        """
        for attempt in range(max(1, round(patience / _POLL))):
            if self._claimed():
                return
            if attempt == 0:
                logger.warning("another worker of this server has the same configuration: waiting for it to end")
            await anyio.sleep(_POLL)
        message = f"{'; '.join(needs)}: several workers must share this, and the memory store is each worker's own"
        raise ConfigError(Problem(message, hint=SHARED_STATE_CURE))

    def release(self) -> None:
        """Let another worker be the only one."""
        path, self._path = self._path, None
        if path is not None:
            _give_back(path)

    def _claimed(self) -> bool:
        """Whether there is no other worker, as far as can be told."""
        if fcntl is None:
            return True
        try:
            path = self._file()
            if not _take(path):
                return False
        except OSError as error:
            logger.warning("whether other workers run cannot be told (%s); the memory store serves one only", error)
            return True
        self._path = path
        return True

    def _file(self) -> Path:
        directory = self._directory or Path(tempfile.gettempdir()) / f"asgi-gateway-{os.getuid()}"
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise PermissionError(f"{directory} is not this user's alone")
        name = hashlib.sha256(repr((os.getppid(), self._identity)).encode()).hexdigest()[:32]
        return directory / f"{name}.lock"


def _take(path: Path) -> bool:
    with _lock:
        if path in _held:  # a second gateway of this process is no second worker
            descriptor, count = _held[path]
            _held[path] = (descriptor, count + 1)
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
        _held[path] = (descriptor, 1)
        return True


def _give_back(path: Path) -> None:
    with _lock:
        descriptor, count = _held.pop(path)
        if count > 1:
            _held[path] = (descriptor, count - 1)
            return
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _forget() -> None:
    """In a forked child: the claims are its parent's."""
    for descriptor, _ in _held.values():
        os.close(descriptor)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_forget)
