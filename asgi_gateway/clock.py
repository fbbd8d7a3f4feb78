"""The one place that asks the system for the time; everything else is given a Clock."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]


class SystemClock:
    """The system's time, as ``asgi_gateway.interfaces.Clock`` wants it."""

    __slots__ = ()

    def time(self) -> float:
        """Seconds since the epoch; steps when somebody sets the clock."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment, the same one for all processes of the host until it restarts."""
        return time.monotonic()
