"""ExpiringState in memory, in SQLite and in Redis: one contract, one set of tests."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["MAX_TTL", "check_ttl", "hashed"]

MAX_TTL = 1e9
"""The longest life of an entry in seconds, some 31 years; more is a mistake, and would overflow in some stores."""


def check_ttl(ttl: float) -> None:
    """Refuse a time to live that no store can keep.

    Raises:
        ValueError: ``ttl`` is not a positive number of seconds, or more than ``MAX_TTL``.
    """
    if not 0 < ttl <= MAX_TTL:  # written so that NaN fails, too
        raise ValueError(f"ttl must be greater than 0 and at most {MAX_TTL:.0f} seconds, not {ttl!r}")


def hashed(namespace: str, key: str) -> bytes:
    """What a store outside this process calls a key: 32 bytes that tell nothing, and are nobody else's.

    Args:
        namespace: whose keys they are; the same key under two names is two keys.
        key: any string, lone surrogates included.
    """
    outer = blake2b(namespace.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return blake2b(key.encode("utf-8", "surrogatepass"), key=outer, digest_size=32).digest()
