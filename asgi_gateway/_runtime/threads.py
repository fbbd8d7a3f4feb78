"""Run blocking work in bounded pools of threads that never keep the process from ending.

``ThreadPools`` has two of them: ``blocking`` for calls that wait for others, ``cpu`` for calls that compute. They are
apart, so that password hashing never holds up what waits for a directory.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from asgi_gateway.errors import LoginUnavailable

__all__ = ["DaemonThreads", "ThreadPool", "ThreadPools"]

_NICENESS = 10
"""How far the threads stand back on Linux, where priority is each thread's own (setpriority(2), Notes)."""

T = TypeVar("T")

_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class DaemonThreads:
    """Start threads as they are needed, with an unbounded queue before them.

    Python waits at exit for every thread of a ``ThreadPoolExecutor``, so a silent directory would delay the server's
    stop. It does not wait for daemon threads.

    Args:
        most: the largest number of threads.
        name: the prefix of their names.
        low_priority: on Linux, lower their priority, so that password hashes on every processor leave the event loop
            its time. Not for threads that wait for others: on a busy machine they would hardly run.
    """

    def __init__(self, most: int, name: str, *, low_priority: bool = False) -> None:
        self._most = most
        self._name = name
        self._low_priority = low_priority
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Call a function in a thread."""
        future: Future[T] = Future()
        with self._lock:
            self._calls.put((future, function, args))
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name}_{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Cancel the calls that wait, and end each thread after its call. Nothing may be submitted afterwards."""
        with self._lock:
            try:
                while (call := self._calls.get_nowait()) is not None:
                    call[0].cancel()
            except Empty:
                pass
            for _ in range(self._started):
                self._calls.put(None)

    def _work(self) -> None:
        if self._low_priority and sys.platform == "linux":
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


class ThreadPool:
    """Run calls in at most ``threads`` threads, with at most ``waiting`` calls before them.

    A call that its caller gave up keeps its thread until it ends. So a silent back end holds at most ``threads``
    threads, and further callers get an error at once instead of a long wait.

    Args:
        threads: how many calls may run at once.
        waiting: how many more may wait.
        low_priority: see ``DaemonThreads``.
    """

    def __init__(self, threads: int, waiting: int, *, low_priority: bool = False) -> None:
        self._threads = threads
        self._bound = threads + waiting
        self._low_priority = low_priority
        self._workers: DaemonThreads | None = None
        self._futures: set[Future[Any]] = set()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread and wait for its result.

        Raises:
            LoginUnavailable: the queue is full, or the pool was closed before the call began.
        """
        if len(self._futures) >= self._bound:
            raise LoginUnavailable("too many logins at once: every thread is busy and the queue is full", retry_after=1)
        if self._workers is None:
            self._workers = DaemonThreads(self._threads, "asgi_gateway", low_priority=self._low_priority)
        future = self._workers.submit(function, *args)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        try:
            await _completion(future)
            return future.result()
        except (CancelledError, asyncio.CancelledError):
            if not future.cancelled() or _being_cancelled():
                raise
            raise LoginUnavailable("the gateway is closing", retry_after=1) from None
        finally:
            future.cancel()

    def close(self) -> None:
        """Cancel the calls that wait. The pool can be used again."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()


class ThreadPools:
    """Hold the gateway's two pools.

    Args:
        threads: how many blocking calls may run at once.
        waiting: how many more may wait, in each pool.
        cpu: how many computing calls may run at once; by default one for each processor. More would not be faster, and
            each argon2 hash under way holds 19 MiB.
    """

    def __init__(self, threads: int = 16, waiting: int = 256, *, cpu: int | None = None) -> None:
        self.blocking = ThreadPool(threads, waiting)
        self.cpu = ThreadPool(cpu or os.cpu_count() or 1, waiting, low_priority=True)

    def close(self) -> None:
        """Cancel the calls that wait. The pools can be used again."""
        self.blocking.close()
        self.cpu.close()


def _completion(future: Future[Any]) -> asyncio.Future[None]:
    """Return an asyncio future that completes when the concurrent future does.

    Unlike ``asyncio.wrap_future`` it carries neither result nor cancellation.
    """
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(partial(_wake, loop, woken))
    return woken


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None], done: Future[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed, so no task waits
        loop.call_soon_threadsafe(_set, woken)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # its waiter was cancelled meanwhile
        woken.set_result(None)


def _being_cancelled() -> bool:
    """Return whether the current task is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
