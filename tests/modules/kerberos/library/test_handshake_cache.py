"""Handshakes that wait for another leg: few, for a short time, and once."""

from __future__ import annotations

from asgi_gateway.modules.kerberos.library.handshake_cache import HandshakeCache
from tests.helpers import ManualClock

A, B, C = ("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1)


def test_single_use() -> None:
    """A handshake is taken out once, and only by its own connection."""
    pending: HandshakeCache[str] = HandshakeCache(ManualClock())
    pending.put(A, "one")
    assert pending.take(B) is None
    assert pending.take(C) is None
    assert pending.take(A) == "one"
    assert pending.take(A) is None


def test_newer_replaces() -> None:
    """A connection has one handshake, the newest."""
    pending: HandshakeCache[str] = HandshakeCache(ManualClock())
    pending.put(A, "one")
    pending.put(A, "two")
    assert len(pending) == 1
    assert pending.take(A) == "two"


def test_expiry() -> None:
    """A handshake that waited its time is gone, and gives its room back."""
    clock = ManualClock()
    pending: HandshakeCache[str] = HandshakeCache(clock, ttl=30)
    pending.put(A, "one")
    clock.advance(29)
    pending.put(B, "two")
    clock.advance(1)
    assert pending.take(A) is None
    pending.put(A, "old")
    clock.advance(29)
    pending.put(C, "three")
    assert len(pending) == 2
    assert pending.take(B) is None


def test_bound() -> None:
    """When it is full the oldest goes, so that newcomers are not locked out."""
    pending: HandshakeCache[str] = HandshakeCache(ManualClock(), limit=2)
    for connection, handshake in ((A, "one"), (B, "two"), (C, "three")):
        pending.put(connection, handshake)
    assert len(pending) == 2
    assert pending.take(A) is None
    assert pending.take(B) == "two"
    assert pending.take(C) == "three"


def test_clear() -> None:
    """Clearing forgets all."""
    pending: HandshakeCache[str] = HandshakeCache(ManualClock())
    pending.put(A, "one")
    pending.clear()
    assert len(pending) == 0
    assert pending.take(A) is None
