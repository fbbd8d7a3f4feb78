"""Define where time comes from. Everything but SystemClock is given a Clock."""

from __future__ import annotations

import time as system
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Give the time. Tests use a clock that they move by hand."""

    def time(self) -> float:
        """Return seconds since the epoch, for what other machines must agree on."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for what this process alone measures."""


class SystemClock:
    """Give the system's time."""

    __slots__ = ()

    # The functions themselves: every request asks, and a method around them would cost as much as they do.
    time = staticmethod(system.time)
    """Return seconds since the epoch. They step when the system's clock is set."""
    monotonic = staticmethod(system.monotonic)
    """Return seconds since a fixed moment, the same for all processes of the host until it restarts."""
