"""Threads for blocking work that never keep the process from ending."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

__all__ = ["DaemonThreads"]

_NICENESS = 10
"""How far the threads stand back on Linux, where priority is each thread's own (setpriority(2), Notes)."""

T = TypeVar("T")

_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class DaemonThreads:
    """Some threads, started as they are needed, and an unbounded queue before them.

    Python waits at its end for every thread of a ``ThreadPoolExecutor``, so that a directory which says nothing would
    hold up a server that was told to stop. It does not wait for these.

    Args:
        most: how many threads there may be.
        name: what their names begin with.
        gives_way: on Linux they give way to the event loop's thread, so that password hashes on every processor leave
            it its time. Not for threads that wait for others: a busy machine would hardly let them go on.
    """

    def __init__(self, most: int, name: str, *, gives_way: bool = False) -> None:
        self._most = most
        self._name = name
        self._gives_way = gives_way
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have a thread call a function."""
        future: Future[T] = Future()
        with self._lock:
            self._calls.put((future, function, args))
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name}_{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Cancel what waits, and let each thread end when its call does; nothing may be submitted any more."""
        with self._lock:
            try:
                while (call := self._calls.get_nowait()) is not None:
                    call[0].cancel()
            except Empty:
                pass
            for _ in range(self._started):
                self._calls.put(None)

    def _work(self) -> None:
        if self._gives_way and sys.platform == "linux":
            with suppress(OSError):  # a sandbox may forbid it
                thread = threading.get_native_id()
                niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
                os.setpriority(os.PRIO_PROCESS, thread, min(niceness, 19))
        while (call := self._calls.get()) is not None:
            _run(*call)
            del call  # or an idle thread would keep the last password
            self._idle.release()


def _run(future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*args)
    except BaseException as error:
        future.set_exception(error)
        del future, function, args  # the error's traceback holds this frame
    else:
        future.set_result(result)
