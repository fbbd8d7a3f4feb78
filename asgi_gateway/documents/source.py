"""Read a whole file, with a bound and with errors that name it."""

from __future__ import annotations

import stat
from pathlib import Path

from asgi_gateway.documents.nodes import Mark
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["MAX_BYTES", "decode", "read_bytes"]

MAX_BYTES = 16 * 1024 * 1024
"""The largest document in bytes, enough for some 50,000 users."""


def read_bytes(source: Path | bytes, file: Path | None) -> tuple[bytes, Path | None]:
    """Return the bytes of a document and the file to name in errors.

    Args:
        source: a file, or its content.
        file: the file's name when ``source`` is bytes.

    Raises:
        ConfigError: the file is missing, not a regular file, not readable, empty or too large.
    """
    if isinstance(source, bytes):
        data = source
    else:
        data, file = _read(source), source
    if len(data) > MAX_BYTES:
        raise ConfigError(Problem(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB", file))
    if not data.strip():
        raise ConfigError(Problem("the file is empty", file))
    return data, file


def _read(path: Path) -> bytes:
    try:
        # a pipe or a device would block, or never end
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise ConfigError(Problem(f"cannot read it: it is {kind}", path, hint="name a file"))
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(Problem("no such file", path)) from None
    except OSError as error:
        raise ConfigError(Problem(f"cannot read the file: {error.strerror or error}", path)) from None
    except ValueError:
        raise ConfigError(Problem(f"invalid file name {str(path)!r}")) from None


def decode(data: bytes, file: Path | None) -> str:
    """Return UTF-8 text without a byte order mark at its start.

    Raises:
        ConfigError: the data is not UTF-8, or has a NUL character.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8-sig", "replace")) + 1
        problem = Mark(file, line, column).problem("invalid UTF-8", hint="save the file as UTF-8")
        raise ConfigError(problem) from None
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        raise ConfigError(Mark(file, line, column).problem("invalid NUL character", hint="remove it"))
    return text
