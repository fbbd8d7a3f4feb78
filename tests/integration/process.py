"""Real servers of the tests: started on a free loopback port, stopped by process id, their output kept for failures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"

_given_out: set[int] = set()
live: list[Process] = []
"""The processes that run now; a failing test's report shows their logs."""


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on; never the same one twice in a run."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in _given_out:
            _given_out.add(port)
            return port


def answers(port: int) -> bool:
    """Whether something accepts TCP connections on the loopback port."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


@dataclass(frozen=True, slots=True)
class Process:
    """A server that a test started.

    Args:
        name: what failure reports call it.
        popen: the child, leader of a session of its own.
        port: the loopback port it listens on.
        log: the file that takes its standard output and standard error.
    """

    name: str
    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    def output(self) -> str:
        """What the server has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_until_ready(self, timeout: float) -> None:
        """Return once the port answers.

        Args:
            timeout: seconds.

        Raises:
            RuntimeError: the server ended, or did not answer in time; the message holds its output.
        """
        end = time.monotonic() + timeout
        while not answers(self.port):
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode}:\n{self.output()}")
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not answer on port {self.port}:\n{self.output()}")
            time.sleep(0.02)

    def stop(self, timeout: float = 10.0) -> None:
        """Ask the server to end, and after ``timeout`` seconds end it and its own children."""
        self.popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout)
        with suppress(ProcessLookupError):  # the session is the server's own: nobody else is in it
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(timeout)


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    port: int,
    log: Path,
    name: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 20.0,
    pass_fds: Sequence[int] = (),
) -> Iterator[Process]:
    """Run a server in the foreground for as long as the ``with`` block lasts.

    Args:
        command: program and arguments; the program must not put itself into the background.
        port: the loopback port that it will listen on.
        log: file for its output.
        name: what failure reports call it; the program's name by default.
        env: variables added to this process's environment.
        cwd: its working directory.
        timeout: seconds until its port must answer.
        pass_fds: file descriptors that it inherits.

    Raises:
        RuntimeError: it did not start.
    """
    words = [str(word) for word in command]
    with log.open("wb") as out:
        popen = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    process = Process(name or Path(words[0]).name, popen, port, log)
    live.append(process)
    try:
        process.wait_until_ready(timeout)
        yield process
    finally:
        live.remove(process)
        process.stop()
