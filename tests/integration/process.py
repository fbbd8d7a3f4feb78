"""Real servers of the tests: started on a free loopback port, stopped by process id, their output kept for failures."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"

_FIRST_PORT = 10_240
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

live: list[Process] = []
"""The processes that run now; a failing test's report shows their logs."""


def worker_ports(worker: int, workers: int, end: int) -> range:
    """The ports that one of pytest-xdist's workers may give to servers; those of two workers are disjoint.

    Args:
        worker: its number, from 0.
        workers: how many there are.
        end: the first port that the system gives to clients by itself; ranges end below it.
    """
    share = (end - _FIRST_PORT) // workers
    return range(_FIRST_PORT + worker * share, _FIRST_PORT + (worker + 1) * share)


def _ports() -> Iterator[int]:
    """Return this process's ports, from a random one on: another run of pytest may use the same range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first_ephemeral = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 49_152  # RFC 6335 section 6
    ports = worker_ports(worker, workers, max(first_ephemeral, 2 * _FIRST_PORT))
    start = secrets.randbelow(len(ports))
    return itertools.chain(ports[start:], ports[:start])


_untried = _ports()


def free_port() -> int:
    """Return a loopback port that is free for TCP and UDP; never the same one twice in a run, in no worker.

    No connection takes it before its server does, since it lies below the ports that the system gives to clients.

    Raises:
        RuntimeError: the range of this process is used up.
    """
    for port in _untried:
        with suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((LOOPBACK, port))
            udp.bind((LOOPBACK, port))
            return port
    raise RuntimeError("this run has given out every port of its range")


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
