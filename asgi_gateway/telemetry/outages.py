"""Tells operators of outages: one warning when a cause first occurs, then at most one a minute with a count.

The audit log has an event for each request that could not be decided. It is off unless it is configured, and a store
that is down for a night would fill it. These warnings need no configuration: Python prints them to standard error where
logging is not set up.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from asgi_gateway.plugins.clock import Clock, SystemClock

__all__ = ["INTERVAL", "Outages"]

INTERVAL = 60.0
"""Seconds between two warnings of one cause."""
_MAX_CAUSES = 20
"""Causes that are told apart within an interval; those of more are counted only."""
_MAX_LENGTH = 500


@dataclass(slots=True)
class _Cause:
    """A cause that was warned of: when, and how often it occurred since."""

    warned: float
    more: int = 0


class Outages:
    """Writes rate-limited warnings. Any thread may use it.

    Args:
        clock: the source of time.
        logger: the logger; ``asgi_gateway.outages`` by default.
    """

    def __init__(self, clock: Clock | None = None, logger: logging.Logger | None = None) -> None:
        self._clock = clock or SystemClock()
        self._logger = logger or logging.getLogger("asgi_gateway.outages")
        self._causes: dict[str, _Cause] = {}  # the one that was warned of longest ago first
        self._untold = 0
        self._lock = threading.Lock()

    def report(self, cause: str, where: str = "") -> None:
        """Warn of an outage, unless this was done for the same cause within the last minute.

        Args:
            cause: what failed and why, without secrets. Control characters are escaped, a long text is cut.
            where: what could not be done, such as the realm's name.
        """
        now = self._clock.monotonic()
        with self._lock:
            known = self._causes.get(cause)
            if known is not None and now < known.warned + INTERVAL:
                known.more += 1
                return
            if known is None and not self._make_space(now):
                self._untold += 1
                return
            more, untold, self._untold = known.more if known is not None else 0, self._untold, 0
            self._causes.pop(cause, None)  # so that it becomes the youngest
            self._causes[cause] = _Cause(now)
        parts = [f"{_printable(cause)}"]
        parts += [f"({_printable(where)})"] if where else []
        parts += [f"[{more} more since the last warning]"] if more else []
        parts += [f"[{untold} of other causes]"] if untold else []
        time = datetime.fromtimestamp(self._clock.time(), UTC).isoformat(timespec="seconds")
        self._logger.warning("%s unavailable: %s", time, " ".join(parts))

    def _make_space(self, now: float) -> bool:
        """Return whether a new cause can be noted. Forget the oldest one if its interval is over."""
        if len(self._causes) < _MAX_CAUSES:
            return True
        oldest = next(iter(self._causes))
        if now < self._causes[oldest].warned + INTERVAL:
            return False
        del self._causes[oldest]
        return True


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:_MAX_LENGTH])
