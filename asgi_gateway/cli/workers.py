"""Run worker processes: start those that end by themselves anew, replace them on SIGHUP, end them on SIGTERM.

uvicorn has a supervisor too, which runs uvicorn's own server alone; the workers here run one with several kinds of
sockets.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

__all__ = ["Workers"]

_SHORTEST_LIFE = 1.0
"""Seconds between two starts of a worker that keeps ending."""
_TIME_TO_START = 60.0
"""Seconds within which a new worker serves, else the old one goes on."""

logger = logging.getLogger("asgi_gateway.run")
_spawn = multiprocessing.get_context("spawn")
multiprocessing.allow_connection_pickling()  # sockets, too


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A worker process.

    Args:
        process: the process.
        started: when it was started, by the monotonic clock.
        serves: readable once it serves.
    """

    process: SpawnProcess
    started: float
    serves: Connection


class Workers:
    """Runs a function in several processes until a signal ends them all.

    Args:
        target: the function; its last argument is to be called once it serves.
        arguments: its other arguments, which are pickled.
        number: how many processes.
        failure: the exit code of a worker that cannot start, which ends all.
    """

    def __init__(self, target: Callable[..., None], arguments: Sequence[Any], number: int, *, failure: int) -> None:
        self._target = target
        self._arguments = tuple(arguments)
        self._number = number
        self._failure = failure
        self._workers: list[_Worker] = []
        self._stopping = False
        self._replacing = False

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or a worker that cannot start.

        Returns:
            the exit code: 0, or that of the worker.
        """
        with self._signals() as wakeup:
            try:
                self._workers = [self._start() for _ in range(self._number)]
                code = 0
                while not self._stopping and not code:
                    connection.wait([wakeup, *(each.process.sentinel for each in self._workers)])
                    with suppress(BlockingIOError):
                        wakeup.recv(4096)
                    code = self._renew_ended()
                    if self._replacing and not self._stopping and not code:
                        self._replacing = False
                        self._replace(wakeup)
                return code
            finally:
                for each in self._workers:
                    each.process.terminate()
                for each in self._workers:
                    each.process.join()

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Handle signals; gives a socket that is readable after each one."""
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_signal)
            descriptor = signal.set_wakeup_fd(writer.fileno())
            try:
                yield reader
            finally:
                signal.set_wakeup_fd(descriptor)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._replacing = True
        else:
            self._stopping = True

    def _start(self) -> _Worker:
        serves, ready = _spawn.Pipe(duplex=False)
        process = _spawn.Process(target=_run, args=(self._target, self._arguments, ready))
        process.start()
        ready.close()
        return _Worker(process, time.monotonic(), serves)

    def _renew_ended(self) -> int:
        """Start workers that ended anew; returns the exit code of one that cannot start, else 0."""
        for index, worker in enumerate(self._workers):
            if self._stopping or worker.process.exitcode is None:
                continue
            code = worker.process.exitcode
            if code == self._failure:
                logger.error("worker process %s cannot start; stopping", worker.process.pid)
                return code
            logger.warning("worker process %s ended with %s; starting another one", worker.process.pid, code)
            time.sleep(max(0.0, worker.started + _SHORTEST_LIFE - time.monotonic()))
            worker.serves.close()
            self._workers[index] = self._start()
        return 0

    def _replace(self, wakeup: socket.socket) -> None:
        """Replace each worker by a new one, which serves before the old one ends; the old ones stay if it does not."""
        for index, old in enumerate(self._workers):
            new = self._start()
            waited = connection.wait([new.serves, new.process.sentinel, wakeup], _TIME_TO_START)
            if new.serves not in waited or not _told(new.serves):
                logger.error("worker process %s does not serve; process %s goes on", new.process.pid, old.process.pid)
                new.process.terminate()
                new.process.join()
                return
            old.process.terminate()
            old.process.join()
            old.serves.close()
            self._workers[index] = new


def _told(serves: Connection) -> bool:
    """Return whether a worker said that it serves; its end of the pipe is closed where it ended instead."""
    try:
        return bool(serves.recv())
    except EOFError:
        return False


def _run(target: Callable[..., None], arguments: tuple[Any, ...], ready: Connection) -> None:
    """Run in the worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(*arguments, lambda: ready.send(True))


def _end_with_parent() -> None:
    """End this worker, as it ends on SIGTERM, when its parent is gone: else it would keep the ports."""
    if (parent := multiprocessing.parent_process()) is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
