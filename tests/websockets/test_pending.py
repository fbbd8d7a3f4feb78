"""The bound of logins under way inside WebSockets."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from asgi_gateway.websockets.pending import PendingLogins


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["192.0.2.1"] * 4, [True, True, True, False]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1", "2001:db8:0:0:9::"], [True, True, True, False]),
        (["::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], [True, True, True, False]),
        ([None] * 4, [True, True, True, False]),
        (["2001:db8::1", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"], [True] * 4),
        ([f"192.0.2.{number}" for number in range(6)], [True] * 5 + [False]),
    ],
)
def test_bounds(addresses: list[str | None], expected: list[bool]) -> None:
    """One client, and all together, hold no more than their number; IPv6 clients go by network."""
    pending = PendingLogins(per_client=3, total=5)
    with ExitStack() as held:
        assert [held.enter_context(pending.place(address)) for address in addresses] == expected
        assert len(pending) == sum(expected)
    assert len(pending) == 0
    assert not pending._pending


def test_a_refused_socket_frees_nothing() -> None:
    """The end of a socket that was not counted makes no space for another."""
    pending = PendingLogins(per_client=1)
    with pending.place("192.0.2.1") as first:
        for _ in range(5):
            with pending.place("192.0.2.1") as allowed:
                assert not allowed
        assert first
        assert len(pending) == 1


def test_an_error_frees_the_place() -> None:
    """A login that fails in any way makes space for another."""
    pending = PendingLogins(per_client=1)
    for _ in range(3):
        with ExitStack() as held:
            assert held.enter_context(pending.place("192.0.2.1"))
            held.push(lambda *error: True)
            raise RuntimeError
    assert len(pending) == 0


def test_threads() -> None:
    """Threads never hold more than the bound together."""
    pending, most = PendingLogins(per_client=100, total=3), 0

    def work(number: int) -> None:
        nonlocal most
        for _ in range(500):
            with pending.place(f"192.0.2.{number}"):
                most = max(most, len(pending))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert len(pending) == 0
