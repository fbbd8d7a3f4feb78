"""Bounds the WebSockets that were accepted for a login that has not succeeded yet."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from asgi_gateway.sessions.limits import client_network

__all__ = ["PendingLogins"]


class PendingLogins:
    """Counts the logins under way inside WebSockets. Any thread may use it.

    Args:
        per_client: the number of sockets of one client at most; a client is an IPv4 address or an IPv6 network of 64
            bits.
        total: the number of sockets at most.
    """

    def __init__(self, per_client: int = 32, total: int = 1024) -> None:
        self._per_client = per_client
        self._total = total
        self._pending: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._pending.total()

    @contextmanager
    def place(self, address: str | None) -> Iterator[bool]:
        """Count a socket for as long as the ``with`` block lasts.

        Args:
            address: the client's address; None if the server does not report it.

        Yields:
            Whether the limits allow the socket; if not, it is not counted.
        """
        client = client_network(address)
        with self._lock:
            allowed = len(self) < self._total and self._pending[client] < self._per_client
            if allowed:
                self._pending[client] += 1
        try:
            yield allowed
        finally:
            with self._lock:
                self._pending[client] -= allowed
                if self._pending[client] <= 0:
                    del self._pending[client]
