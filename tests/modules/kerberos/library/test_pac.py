"""The account name in a ticket of Active Directory."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.modules.kerberos.library.pac import account_name


def logon_info(
    name: str, *, size: int | None = None, count: int | None = None, pointer: int = 0x20004, skipped: int = 0
) -> bytes:
    """The structure as a KDC encodes it, as far as its first string."""
    encoded = name.encode("utf-16-le")
    size = len(encoded) if size is None else size
    count = len(encoded) // 2 if count is None else count
    header = b"\x01\x10\x08\x00\xcc\xcc\xcc\xcc" + struct.pack("<III", 456, 0, 0x20000)
    times = bytes(48)
    fixed = struct.pack("<HHI", size, size, pointer) + bytes(160)
    return header + times + fixed + struct.pack("<III", count, skipped, count) + encoded


@pytest.mark.parametrize("name", ["alice", "Jürgen", "svc-gw", "HOST$", "佐藤", "\U0001d49c", "a"])
@pytest.mark.parametrize("rest", [b"", bytes(64), b"x\x00y\x00"])
def test_account_name(name: str, rest: bytes) -> None:
    """The name is read in any script, whatever strings follow."""
    assert account_name(logon_info(name) + rest) == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(248),
        logon_info(""),
        logon_info("alice")[:-1],
        logon_info("alice")[:240],
        logon_info("alice")[:70],
        logon_info("alice", pointer=0),
        logon_info("alice", skipped=1),
        logon_info("alice", count=4),
        logon_info("alice", size=8),
        logon_info("alice", size=12, count=6),
        logon_info("alice", size=9, count=4),
        b"\x02" + logon_info("alice")[1:],
        logon_info("alice").replace("ce".encode("utf-16-le"), b"\x00\xd8c\x00"),
    ],
)
def test_invalid(data: bytes) -> None:
    """A structure that is cut off, empty or contradicts itself gives no name."""
    with pytest.raises(ValueError):
        account_name(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes(data: bytes, start: int) -> None:
    """Any bytes give a name or a ValueError."""
    whole = logon_info("alice")
    with suppress(ValueError):
        assert account_name(whole[:start] + data)
