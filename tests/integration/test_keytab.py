"""The keytab reader held against libkrb5's own."""

from __future__ import annotations

import struct
from pathlib import Path

import krb5
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.kerberos.library.keytab import read_keytab

NAMES = st.text("aZ0é-._ /@\\\n\t", min_size=1, max_size=6).map(lambda text: text.encode())


def counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


@st.composite
def keys(draw: st.DrawFn) -> bytes:
    """A key, as MIT Kerberos writes it."""
    components = draw(st.lists(NAMES, min_size=1, max_size=3))
    record = struct.pack(">H", len(components)) + counted(draw(NAMES)) + b"".join(map(counted, components))
    record += struct.pack(">IIBH", 1, draw(st.integers(0, 2**31)), draw(st.integers(0, 255)), draw(st.integers(1, 26)))
    record += counted(draw(st.binary(min_size=16, max_size=32)))
    if draw(st.booleans()):
        record += struct.pack(">I", draw(st.sampled_from([0, 1, 255, 256, 70_000])))
        record += bytes(draw(st.sampled_from([0, 4])))
    return struct.pack(">i", len(record)) + record


holes = st.integers(1, 40).map(lambda size: struct.pack(">i", -size) + bytes(size))
"""What MIT Kerberos leaves of a removed key."""
records = st.one_of(keys(), keys(), keys(), holes)


def by_libkrb5(path: Path) -> list[tuple[str, int, int]]:
    """What libkrb5 lists."""
    context = krb5.init_context()
    keytab = krb5.kt_resolve(context, b"FILE:" + str(path).encode())
    return [(str(entry.principal), entry.kvno, entry.key.enctype) for entry in keytab]


@given(st.lists(records, max_size=5))
@settings(max_examples=2_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_agrees_with_libkrb5(tmp_path: Path, parts: list[bytes]) -> None:
    """Principals, key versions and encryption types of any whole keytab are those that libkrb5 lists."""
    path = tmp_path / "keytab"
    path.write_bytes(b"\x05\x02" + b"".join(parts))
    expected = by_libkrb5(path)
    if not expected:
        with pytest.raises(ConfigError, match="is empty"):
            read_keytab(path)
        return
    assert [(entry.principal, entry.version, entry.key_type) for entry in read_keytab(path).entries] == expected


@given(st.lists(records, max_size=2), keys(), st.data())
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated(tmp_path: Path, parts: list[bytes], last: bytes, data: st.DataObject) -> None:
    """A keytab that breaks off within a record is an error, where libkrb5 lists the keys before it."""
    whole = b"\x05\x02" + b"".join(parts) + last
    cut = data.draw(st.integers(len(whole) - len(last) + 4, len(whole) - 1))
    path = tmp_path / "keytab"
    path.write_bytes(whole[:cut])
    with pytest.raises(ConfigError, match=r"is damaged"):
        read_keytab(path)
