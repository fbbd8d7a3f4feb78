"""The one place that asks the system for the time; everything else is given a Clock."""

from __future__ import annotations

import time as system
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Where time comes from. Tests give one that they move by hand."""

    def time(self) -> float:
        """Seconds since the epoch, for what other machines must agree on."""

    def monotonic(self) -> float:
        """Seconds that never go back, for what this process alone measures."""


class SystemClock:
    """The system's time, as a Clock."""

    __slots__ = ()

    # The functions themselves: every request asks, and a method around them would cost as much as they do.
    time = staticmethod(system.time)
    """Seconds since the epoch; steps when somebody sets the clock."""
    monotonic = staticmethod(system.monotonic)
    """Seconds since some fixed moment, the same one for all processes of the host until it restarts."""
