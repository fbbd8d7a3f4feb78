"""Read a keytab's principals and key versions, without its keys, for checks and error messages.

The gssapi package cannot list a keytab. The krb5 package (pykrb5) can, and is not used: libkrb5 reports a truncated or
damaged file as one with fewer keys, so that an operator would search for a key that was there. A test compares both on
files that are whole.

Source: MIT Kerberos, "Keytab file format" (version 0x0502).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from asgi_gateway.errors import ConfigError

__all__ = ["Keytab", "KeytabEntry", "keytab_path", "read_keytab"]

_MAGIC = b"\x05\x02"
_MAX_SIZE = 4 * 1024 * 1024
_ESCAPES = str.maketrans({"\\": "\\\\", "/": "\\/", "@": "\\@", "\n": "\\n", "\t": "\\t", "\b": "\\b", "\0": "\\0"})
"""krb5_unparse_name: a separator inside a component is escaped."""
_TYPE = re.compile(r"([A-Za-z]{2,}):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeytabEntry:
    """The description of one key.

    Args:
        principal: the name as libkrb5 writes it, such as ``HTTP/www.example.com@EXAMPLE.COM``.
        version: the key's version number (kvno).
        key_type: the encryption type's number (RFC 3961 registry): 18 is aes256-cts-hmac-sha1-96.
    """

    principal: str
    version: int
    key_type: int


@dataclass(frozen=True, slots=True)
class Keytab:
    """The contents of a keytab file with at least one key, when it was read.

    Args:
        path: the file.
        entries: the descriptions of its keys.
    """

    path: Path
    entries: tuple[KeytabEntry, ...]

    @property
    def principals(self) -> tuple[str, ...]:
        """The principals of the keys, each once, in the file's order."""
        return tuple(dict.fromkeys(entry.principal for entry in self.entries))

    @property
    def name(self) -> str:
        """The keytab's name for libkrb5."""
        return f"FILE:{self.path}"

    def describe(self) -> str:
        """Return the principals and key versions, for messages."""
        versions = {
            principal: sorted({entry.version for entry in self.entries if entry.principal == principal})
            for principal in self.principals
        }
        return ", ".join(f"{name} (kvno {', '.join(map(str, numbers))})" for name, numbers in versions.items())

    def find(self, principal: str) -> str | None:
        """Return the first principal with a name, given with or without its realm; None if there is none."""
        names = (name for name in self.principals if principal in (name, name.rpartition("@")[0]))
        return next(names, None)


def keytab_path(value: str) -> Path:
    """Return the file of a ``keyTab`` option or of ``KRB5_KTNAME``.

    Args:
        value: a path, or ``FILE:`` and a path.

    Raises:
        ConfigError: the keytab is of another type.
    """
    match = _TYPE.fullmatch(value)
    if match is None:
        return Path(value)
    kind, rest = match.groups()
    if kind.upper() not in ("FILE", "WRFILE") or not rest:
        raise ConfigError(f"unsupported keytab {value}: only files are supported")
    return Path(rest)


def read_keytab(path: Path) -> Keytab:
    """Read a keytab.

    Args:
        path: the file.

    Raises:
        ConfigError: the file is missing, unreadable, damaged, empty, or not a keytab.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read keytab {path}: {error.strerror or error}") from None
    if not data.startswith(_MAGIC) or len(data) > _MAX_SIZE:
        raise ConfigError(f"{path} is not a keytab")
    try:
        entries = tuple(_entries(data))
    except (struct.error, UnicodeDecodeError, IndexError):
        raise ConfigError(f"keytab {path} is damaged") from None
    if not entries:
        raise ConfigError(f"keytab {path} is empty")
    return Keytab(path, entries)


def _entries(data: bytes) -> list[KeytabEntry]:
    found = []
    position = len(_MAGIC)
    while position + 4 <= len(data):
        (size,) = struct.unpack_from(">i", data, position)
        position += 4
        if size == 0:
            break
        if size > 0:  # a negative size is the space of a removed key
            if position + size > len(data):
                raise IndexError(size)
            found.append(_entry(data[position : position + size]))
        position += abs(size)
    return found


def _entry(record: bytes) -> KeytabEntry:
    (count,) = struct.unpack_from(">H", record)
    position = 2
    texts = []
    for _ in range(count + 1):
        (size,) = struct.unpack_from(">H", record, position)
        position += 2
        if position + size > len(record):
            raise IndexError(size)
        texts.append(record[position : position + size].decode("utf-8"))
        position += size
    realm, *components = (text.translate(_ESCAPES) for text in texts)
    version, key_type, key_size = struct.unpack_from(">8xBHH", record, position)
    position += 13 + key_size
    if position > len(record):
        raise IndexError(key_size)
    if len(record) - position >= 4:  # a wider field for the version, which older programs do not write
        (wide,) = struct.unpack_from(">I", record, position)
        version = wide or version
    return KeytabEntry(f"{'/'.join(components)}@{realm}", version, key_type)
