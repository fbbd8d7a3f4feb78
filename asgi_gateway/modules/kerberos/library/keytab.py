"""What a keytab holds, without its keys: gssapi cannot list one, and errors must say what is there.

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
_TYPE = re.compile(r"([A-Za-z]{2,}):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeytabEntry:
    """One key's label.

    Args:
        principal: such as ``HTTP/www.example.com@EXAMPLE.COM``.
        version: the key's version number (kvno).
        key_type: the encryption type's number (RFC 3961 registry): 18 is aes256-cts-hmac-sha1-96.
    """

    principal: str
    version: int
    key_type: int


@dataclass(frozen=True, slots=True)
class Keytab:
    """A keytab file that was there, readable and not empty when it was looked at.

    Args:
        path: the file.
        entries: its keys' labels.
    """

    path: Path
    entries: tuple[KeytabEntry, ...]

    @property
    def principals(self) -> tuple[str, ...]:
        """The principals it has keys of, each once, in the file's order."""
        return tuple(dict.fromkeys(entry.principal for entry in self.entries))

    @property
    def name(self) -> str:
        """The name libkrb5 knows it by."""
        return f"FILE:{self.path}"

    def describe(self) -> str:
        """Its principals and key versions, for messages."""
        versions = {
            principal: sorted({entry.version for entry in self.entries if entry.principal == principal})
            for principal in self.principals
        }
        return ", ".join(f"{name} (kvno {', '.join(map(str, numbers))})" for name, numbers in versions.items())

    def find(self, principal: str) -> str | None:
        """The full name of the principal that a name, with or without its realm, means; None if it is not there."""
        names = (name for name in self.principals if principal in (name, name.rpartition("@")[0]))
        return next(names, None)


def keytab_path(value: str) -> Path:
    """The file that a ``keyTab`` option or ``KRB5_KTNAME`` names: a path, or ``FILE:`` and a path.

    Raises:
        ConfigError: it names another type of keytab.
    """
    match = _TYPE.fullmatch(value)
    if match is None:
        return Path(value)
    kind, rest = match.groups()
    if kind.upper() not in ("FILE", "WRFILE") or not rest:
        raise ConfigError(f"keytab {value}: only keytabs that are files can be used")
    return Path(rest)


def read_keytab(path: Path) -> Keytab:
    """Look into a keytab.

    Args:
        path: the file.

    Raises:
        ConfigError: it is missing, unreadable, empty, or no keytab.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"keytab {path} cannot be read: {error.strerror or error}") from None
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
        if size > 0:  # a negative size is the hole that a removed key left
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
    realm, *components = texts
    version, key_type, key_size = struct.unpack_from(">8xBHH", record, position)
    position += 13 + key_size
    if position > len(record):
        raise IndexError(key_size)
    if len(record) - position >= 4:  # the version's later, wider field
        (wide,) = struct.unpack_from(">I", record, position)
        version = wide or version
    return KeytabEntry(f"{'/'.join(components)}@{realm}", version, key_type)
