"""Redis servers of the tests: one by itself, a replica, a cluster of one, a sentinel; with ways to break them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.process import LOOPBACK, Process, free_port, running

PROGRAM = "redis-server"


@dataclass
class RedisServer:
    """A redis-server on a loopback port.

    Args:
        directory: for its files and its log.
        arguments: further ones for its command line.
        tls: the options that ``redis-cli`` needs to reach it, if it wants TLS.
    """

    directory: Path
    arguments: Sequence[str | Path] = ()
    tls: Sequence[str | Path] = ()
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{LOOPBACK}:{self.port}"

    @contextmanager
    def running(self) -> Iterator[RedisServer]:
        """Run it for as long as the ``with`` block lasts; killed or frozen in between, it ends all the same."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise RuntimeError(f"{PROGRAM} is not installed: apt-get install redis-server")
        listens = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        basics: list[str | Path] = ["--bind", LOOPBACK, "--dir", self.directory, "--save", "", "--appendonly", "no"]
        command: list[str | Path] = [program, *listens, *basics, *self.arguments]
        with running(command, port=self.port, log=self.directory / f"redis-{self.port}.log") as self.process:
            try:
                yield self
            finally:
                self.thaw()

    def ask(self, *command: str) -> str:
        """What ``redis-cli`` says."""
        words = ["redis-cli", "-h", LOOPBACK, "-p", str(self.port), *map(str, self.tls), *command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.popen.kill()
        self.process.popen.wait(10)

    def freeze(self) -> None:
        """Make it accept connections and say nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.popen.pid, number)
