"""Choose among several back ends: in turn, with a short memory of those that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asgi_gateway.proxy.connect import ConnectURL

__all__ = ["DEAD_SECONDS", "Targets"]

DEAD_SECONDS = 10.0
"""How long a back end to which no connection could be made is passed over."""


class Targets:
    """The back ends of a service. Used in one event loop.

    A back end that failed is passed over for ``DEAD_SECONDS``. After that one request tries it, while others still pass
    it over. If all have failed, the one that failed longest ago is tried all the same.

    Args:
        connects: the back ends, one at least.
        monotonic: the clock's ``monotonic``.

    Raises:
        ValueError: there is no back end.
    """

    def __init__(self, connects: Sequence[ConnectURL], monotonic: Callable[[], float]) -> None:
        if not connects:
            raise ValueError("a proxy needs a back end")
        self.connects = tuple(dict.fromkeys(connects))
        self._monotonic = monotonic
        self._dead: dict[ConnectURL, float] = {}  # until when each is passed over; the one that failed first is first
        self._next = 0

    def candidates(self) -> tuple[ConnectURL, ...]:
        """Return the back ends to try for one request, in order; one at least."""
        connects = self.connects
        if len(connects) == 1:
            return connects
        turn, self._next = self._next, (self._next + 1) % len(connects)
        ordered = (*connects[turn:], *connects[:turn])
        if not self._dead:
            return ordered
        now = self._monotonic()
        live = []
        for each in ordered:
            until = self._dead.get(each)
            if until is None or until <= now:
                live.append(each)
            if until is not None and until <= now:
                self._dead[each] = now + DEAD_SECONDS  # until this request has found out
        return tuple(live) or (next(iter(self._dead)),)

    def failed(self, connect: ConnectURL) -> None:
        """Note that no connection to a back end could be made."""
        self._dead.pop(connect, None)  # so that it becomes the last one
        self._dead[connect] = self._monotonic() + DEAD_SECONDS

    def answered(self, connect: ConnectURL) -> None:
        """Note that a connection to a back end was made."""
        if self._dead:
            self._dead.pop(connect, None)
