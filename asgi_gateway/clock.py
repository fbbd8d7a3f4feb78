"""The one place that asks the system for the time; everything else is given a Clock."""

from __future__ import annotations

import time as system

__all__ = ["SystemClock"]


class SystemClock:
    """The system's time, as ``asgi_gateway.interfaces.Clock`` wants it."""

    __slots__ = ()

    # The functions themselves: every request asks, and a method around them would cost as much as they do.
    time = staticmethod(system.time)
    """Seconds since the epoch; steps when somebody sets the clock."""
    monotonic = staticmethod(system.monotonic)
    """Seconds since some fixed moment, the same one for all processes of the host until it restarts."""
