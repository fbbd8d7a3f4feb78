"""Ports for servers, so that workers of pytest-xdist and the system's own clients never meet on one."""

from __future__ import annotations

import socket
from itertools import chain

import pytest

from tests.integration.process import LOOPBACK, free_port, worker_ports


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
@pytest.mark.parametrize("end", [20_480, 32_768, 49_152])
def test_workers_share_no_port(workers: int, end: int) -> None:
    """The ports of all workers are different, below the system's own, and enough for a run."""
    shares = [worker_ports(worker, workers, end) for worker in range(workers)]
    ports = list(chain.from_iterable(shares))
    assert len(set(ports)) == len(ports)
    assert max(ports) < end
    assert min(map(len, shares)) >= 600


def test_no_port_twice() -> None:
    """A port is given out once, though nothing listens on it yet."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use(kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that some program uses over TCP or UDP is passed over."""
    with socket.socket(type=kind) as other:
        other.bind((LOOPBACK, 0))
        taken: int = other.getsockname()[1]
        expected = free_port()
        monkeypatch.setattr("tests.integration.process._untried", iter([taken, expected]))
        assert free_port() == expected
