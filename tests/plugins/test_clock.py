"""The system's clock."""

from __future__ import annotations

import time

from asgi_gateway.plugins.clock import SystemClock


def test_system_time() -> None:
    """The system's clock gives the time since the epoch, and one that does not go back."""
    clock = SystemClock()
    assert abs(clock.time() - time.time()) < 60
    first = clock.monotonic()
    assert first <= clock.monotonic()
