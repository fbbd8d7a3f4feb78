"""Read files that hold secrets: one reader and one rule about their permissions for all of them.

A file with one secret holds it as its only line: one line end after it is allowed and does not belong to the secret,
anything else is an error. Two readers that disagree about ``pw\\nsecond line\\n`` would be two different passwords.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from asgi_gateway.errors import ConfigError, Problem

__all__ = ["MAX_BYTES", "MAX_SECRET_BYTES", "ignore_warning", "permission_problem", "read_secret", "read_secret_text"]

MAX_BYTES = 65_536
"""The largest secret file in bytes; anything larger is some other file."""
MAX_SECRET_BYTES = 4096
"""The largest secret in bytes."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LINE_END = re.compile(r"\r?\n\Z")
_SECRET_MODE = stat.S_IRWXG | stat.S_IRWXO
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)


def ignore_warning(message: str) -> None:
    """Drop a warning: the default of the parameter ``warn``."""


def read_secret(file: Path, warn: Callable[[str], None] = ignore_warning, what: str = "password file") -> str:
    """Return the secret that is the only line of a file.

    Args:
        file: the file.
        warn: called with a sentence if other users can read or write the file.
        what: the kind of file, for messages.

    Raises:
        ConfigError: the file cannot be read, is empty, is not UTF-8, or has more than one line. The message never
            shows the content.
    """
    secret = _LINE_END.sub("", read_secret_text(file, warn, what))
    if not secret:
        raise _error(file, what, "is empty", "write the secret into its first line")
    if len(secret.encode()) > MAX_SECRET_BYTES:
        raise _error(file, what, f"is larger than {MAX_SECRET_BYTES} bytes")
    if "\n" in secret or "\r" in secret:
        raise _error(file, what, "has several lines", "leave only the secret in it")
    if _CONTROL.search(secret):
        raise _error(file, what, "holds a control character", "save it as plain UTF-8 text")
    return secret


def read_secret_text(file: Path, warn: Callable[[str], None] = ignore_warning, what: str = "password file") -> str:
    """Return the whole text of a secret file, for formats with several lines such as signing keys.

    Args:
        file: the file.
        warn: called with a sentence if other users can read or write the file.
        what: the kind of file, for messages.

    Raises:
        ConfigError: the file is missing, not a regular file, not readable, too large, not UTF-8, or begins with a
            byte order mark.
    """
    data, status = _read(file, what)
    if (problem := permission_problem(status.st_mode, file, what)) is not None:
        warn(f"the {what} {file} {problem.message.removeprefix(f'the {what} ')}: {problem.hint}")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _error(file, what, "is not UTF-8", "save it as UTF-8") from None
    if text.startswith("\ufeff"):  # invisible, and would become a part of the secret
        raise _error(file, what, "begins with a byte order mark", "save it as UTF-8 without BOM")
    return text


def permission_problem(mode: int, file: Path, what: str, forbidden: int = _SECRET_MODE) -> Problem | None:
    """Return a warning about permissions that are too wide, or None.

    Args:
        mode: the file's mode, as ``os.stat`` returns it.
        file: the file, for the message.
        what: the kind of file, for the message.
        forbidden: the permissions that are too wide; by default every one of group and others.
    """
    wide = mode & forbidden
    if os.name != "posix" or not wide:
        return None
    actions = [verb for verb, bits in (("read", 0o044), ("written", 0o022), ("executed", 0o011)) if wide & bits]
    users = "every user of this machine" if wide & stat.S_IRWXO else "other users of its group"
    message = f"the {what} can be {' and '.join(actions)} by {users}"
    hint = f"run chmod {stat.S_IMODE(mode) & ~forbidden:03o} {file}"
    return Problem(message, file, hint=hint, severity="warning")


def _read(file: Path, what: str) -> tuple[bytes, os.stat_result]:
    try:
        # not blocking, since opening a pipe would wait for its writer
        with os.fdopen(os.open(file, os.O_RDONLY | _NON_BLOCKING), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise _error(file, what, f"cannot be read: it is {kind}", "name a file")
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(file, what, "does not exist", "files are relative to the configuration file") from None
    except IsADirectoryError:
        raise _error(file, what, "cannot be read: it is a directory", "name a file") from None
    except OSError as error:
        reason = error.strerror or "the system refuses"
        hint = "let the user who runs the gateway read it"
        raise _error(file, what, f"cannot be read: {reason}", hint) from None
    except ValueError:
        raise _error(file, what, "has an invalid name") from None
    if len(data) > MAX_BYTES:
        raise _error(file, what, f"is larger than {MAX_BYTES} bytes")
    return data, status


def _error(file: Path, what: str, message: str, hint: str = "") -> ConfigError:
    return ConfigError(Problem(f"the {what} {file} {message}", hint=hint))
