"""Keytabs are read for their labels only, and whatever is wrong with one is said with its name."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.kerberos.library.keytab import Keytab, KeytabEntry, keytab_path, read_keytab


def counted(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def entry(principal: str, version: int = 2, wide: int | None = None, key: bytes = b"\xaa" * 32) -> bytes:
    name, realm = principal.rsplit("@", 1)
    components = name.split("/")
    record = struct.pack(">H", len(components)) + counted(realm) + b"".join(map(counted, components))
    record += struct.pack(">IIBHH", 1, 0, version, 18, len(key)) + key
    if wide is not None:
        record += struct.pack(">I", wide)
    return struct.pack(">i", len(record)) + record


def hole(size: int) -> bytes:
    return struct.pack(">i", -size) + bytes(size)


def written(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"\x05\x02" + b"".join(parts))
    return path


def test_entries(tmp_path: Path) -> None:
    """Principals, versions and key types are read, past holes, up to a size of 0."""
    path = written(
        tmp_path / "k",
        entry("HTTP/www.example.com@EXAMPLE.COM"),
        hole(40),
        entry("HTTP/www.example.com@EXAMPLE.COM", 2, wide=300),
        entry("host/a@OTHER.ORG", 7, wide=0),
        struct.pack(">i", 0),
        b"rubbish",
    )
    keytab = read_keytab(path)
    assert keytab.entries == (
        KeytabEntry("HTTP/www.example.com@EXAMPLE.COM", 2, 18),
        KeytabEntry("HTTP/www.example.com@EXAMPLE.COM", 300, 18),
        KeytabEntry("host/a@OTHER.ORG", 7, 18),
    )
    assert keytab.principals == ("HTTP/www.example.com@EXAMPLE.COM", "host/a@OTHER.ORG")
    assert keytab.describe() == "HTTP/www.example.com@EXAMPLE.COM (kvno 2, 300), host/a@OTHER.ORG (kvno 7)"
    assert keytab.name == f"FILE:{path}"


def test_no_key_is_kept(tmp_path: Path) -> None:
    """What is remembered of a keytab holds no key."""
    keytab = read_keytab(written(tmp_path / "k", entry("HTTP/a@B", key=b"secretsecretsecret")))
    assert "secret" not in repr(keytab)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("HTTP/a", "HTTP/a@ONE"),
        ("HTTP/a@TWO", "HTTP/a@TWO"),
        ("HTTP/b", None),
        ("HTTP/a@THREE", None),
        ("http/a", None),
        ("", None),
    ],
)
def test_find(name: str, found: str | None) -> None:
    """A name means the first entry of that name, or with a realm just that one."""
    keytab = Keytab(Path("k"), (KeytabEntry("HTTP/a@ONE", 1, 18), KeytabEntry("HTTP/a@TWO", 1, 18)))
    assert keytab.find(name) == found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a keytab"),
        (b"\x05\x01", "is not a keytab"),
        (b"\x05\x02" + bytes(5_000_000), "is not a keytab"),
        (b"\x05\x02", "is empty"),
        (b"\x05\x02" + hole(10), "is empty"),
        (b"\x05\x02" + entry("HTTP/a@B")[:-1], "is damaged"),
        (b"\x05\x02" + struct.pack(">i", 2) + b"\0\5", "is damaged"),
        (b"\x05\x02" + struct.pack(">i", 6) + b"\0\1\0\xff\0\0", "is damaged"),
        (b"\x05\x02" + struct.pack(">i", 6) + b"\0\0\0\2\xff\xfe", "is damaged"),
        (b"\x05\x02" + struct.pack(">i", 21) + b"\0\0\0\2AB" + bytes(8) + b"\1\0\x12\0\xff" + b"kk", "is damaged"),
    ],
)
def test_bad_file(tmp_path: Path, data: bytes, message: str) -> None:
    """A file that is no keytab, or a broken one, is a configuration error that names it."""
    (tmp_path / "k").write_bytes(data)
    with pytest.raises(ConfigError, match=message) as caught:
        read_keytab(tmp_path / "k")
    assert str(tmp_path / "k") in str(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    """A missing file and a folder in its place are configuration errors."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="cannot read keytab"):
            read_keytab(path)


def test_path() -> None:
    """A keytab may be named by path or as FILE:, and no other type can be used."""
    assert keytab_path("/etc/k") == Path("/etc/k")
    assert keytab_path("FILE:/etc/k") == keytab_path("wrfile:/etc/k") == Path("/etc/k")
    for other in ("MEMORY:x", "KEYRING:x", "FILE:"):
        with pytest.raises(ConfigError, match="only files are supported"):
            keytab_path(other)
