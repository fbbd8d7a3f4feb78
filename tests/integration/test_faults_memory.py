"""What many requests leave in the server's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.process import Process
from tests.integration.raw import UPGRADE, connected, credentials, exchange, head, held, status_of
from tests.integration.servers import serve

KIB = 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    with serve("faults:app", log=tmp_path / "log") as process:
        yield process


def pipelined(server: Process, requests: list[bytes], batch: int = 50) -> Counter[int]:
    """The statuses of many requests over one connection."""
    statuses: Counter[int] = Counter()
    with connected(server, b"") as connection:
        for start in range(0, len(requests), batch):
            sent = requests[start : start + batch]
            connection.sendall(b"".join(sent))
            received = b""
            while received.count(b"HTTP/1.1 ") < len(sent):
                more = connection.recv(1 << 20)
                assert more, received[-200:]
                received += more
            statuses.update(int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:])
    return statuses


def growth(server: Process, work: Callable[[int], object], rounds: int) -> int:
    """Bytes that the server's memory grows by while work is done, after as much of it as fills what is bounded."""
    for number in range(rounds):
        work(number)
    before = held(server)["rss"]
    for number in range(rounds, 2 * rounds):
        work(number)
    return held(server)["rss"] - before


def test_memory_of_oversize(server: Process) -> None:
    """Two thousand requests of 16 KiB of credentials leave nothing in memory."""
    key = "x" * 16 * KIB

    def work(number: int) -> None:
        requests = [
            head("/places", f"X-Key: {number}-{turn}-{key}\r\n")
            if turn % 10
            else head(f"/places?ticket={number}-{turn}-{key}")
            for turn in range(250)
        ]
        assert set(pipelined(server, requests, 10)) == {401}

    assert growth(server, work, 4) < 12 * KIB * KIB


def test_memory_of_new_names(server: Process) -> None:
    """Twenty thousand requests and handshakes, each with a path and wrong credentials of its own, leave nothing."""

    def work(number: int) -> None:
        names = [f"{number}-{turn}" for turn in range(900)]
        wrong = [head(f"/who/{name}", credentials(name, name)) for name in names[:100]]
        public = [head(f"/public/{name}/{'a' * 100}") for name in names]
        assert set(pipelined(server, wrong)) <= {401, 503}
        assert set(pipelined(server, public)) == {200}
        for name in names[:20]:
            assert status_of(exchange(server, head(f"/who/echo/{name}", UPGRADE, credentials(name, name)))) == 401

    assert growth(server, work, 10) < 12 * KIB * KIB
