"""Threads that never keep the process from ending."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future

import pytest

from asgi_gateway._runtime.threads import DaemonThreads


class Secret:
    """Something that must not outlive its use."""


def test_results_and_errors() -> None:
    """A call's result and its exception come back."""
    threads = DaemonThreads(2, "t")
    assert threads.submit(int, "7").result(5) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        threads.submit(int, "x").result(5)
    threads.close()


def test_bound_and_reuse() -> None:
    """No more threads than allowed are started, and none where one is idle."""
    threads = DaemonThreads(2, "bounded")
    gate, names = threading.Event(), []

    def work() -> None:
        names.append(threading.current_thread().name)
        gate.wait(5)

    calls = [threads.submit(work) for _ in range(5)]
    gate.set()
    for call in calls:
        call.result(5)
    assert set(names) == {"bounded_1", "bounded_2"}
    threads.close()

    single = DaemonThreads(5, "single")
    for _ in range(3):
        single.submit(int).result(5)
        assert single._idle.acquire(timeout=5)  # the thread is idle only a moment after its result is there
        single._idle.release()
    assert single._started == 1
    single.close()


def test_close_cancels_what_waits() -> None:
    """Closing cancels what no thread has begun; what runs ends in its own time, and its thread with it."""
    threads = DaemonThreads(1, "closing")
    entered, gate = threading.Event(), threading.Event()

    def work() -> threading.Thread:
        entered.set()
        gate.wait(5)
        return threading.current_thread()

    running = threads.submit(work)
    assert entered.wait(5)
    waiting: Future[int] = threads.submit(int)
    threads.close()
    assert waiting.cancelled()
    gate.set()
    thread = running.result(5)
    thread.join(5)
    assert not thread.is_alive()


def test_nothing_is_kept() -> None:
    """An idle thread keeps neither the function nor the arguments of its last call, also if that failed."""
    threads = DaemonThreads(1, "forgetful")
    for function in (id, int):
        secret = Secret()
        gone = threading.Event()
        weakref.finalize(secret, gone.set)
        future = threads.submit(function, secret)
        future.exception(5)
        del secret, future
        assert gone.wait(5)
    threads.close()


def test_the_process_ends() -> None:
    """A process ends although a thread still waits for a back end that says nothing."""
    program = (
        "import threading; from asgi_gateway._runtime.threads import DaemonThreads; entered = threading.Event()\n"
        "def silent(): entered.set(); threading.Event().wait()\n"
        "DaemonThreads(1, 't').submit(silent); entered.wait()"
    )
    subprocess.run([sys.executable, "-c", program], timeout=20, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_priority() -> None:
    """Threads for computing give way to the others of the process, whose own priority stays what it was."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    threads = DaemonThreads(1, "nice", low_priority=True)
    assert threads.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result(5) == min(
        before + 10, 19
    )
    waiting = DaemonThreads(1, "waits")
    assert waiting.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result(5) == before
    waiting.close()
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    threads.close()
