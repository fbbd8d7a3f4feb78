"""Replace the hash of one user in a users file of any format, and nothing else in it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.file.users import UserEntry

__all__ = ["CannotReplace", "replace_hash", "write_problem"]

Parse = Callable[[bytes], Sequence[UserEntry]]

_MAX_OCCURRENCES = 20
_DES_PREFIX = "{CRYPT}"  # which the reader puts before DES in htpasswd files


class CannotReplace(Exception):
    """The file has changed, or cannot be written; the message says why and quotes nothing of the file."""


def write_problem(file: Path) -> str | None:
    """Return why a file cannot be replaced by a new version, or None."""
    target = file.resolve()
    if not os.access(target, os.W_OK):
        return f"{file} is read-only"
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return f"the folder of {file} is read-only"
    return None


def replace_hash(file: Path, user: str, old: str, new: str, parse: Parse) -> int:
    """Write a new version of a users file in which one user has another hash.

    The new version is parsed before it replaces the file, and must say the same as the old one but for that hash. It
    is renamed over the file, with the same owner and mode. A lock on the file keeps other workers from doing the same
    at once.

    Args:
        file: the users file.
        user: the user's name.
        old: the hash that the file must have for the user.
        new: the new hash.
        parse: reads the users from a content; raises ConfigError.

    Returns:
        the new file's inode number.

    Raises:
        CannotReplace: the file has changed, has the hash in a form that cannot be replaced, or cannot be written.
    """
    target = file.resolve()
    try:
        with _locked(target) as descriptor:
            status = os.fstat(descriptor)
            data = _read(descriptor)
            if not os.path.samestat(status, target.stat()):
                raise CannotReplace("another process replaced the file")
            changed = _changed(data, user, old, new, parse)
            return _write(target, changed, status)
    except OSError as error:
        raise CannotReplace(f"the file cannot be written: {error.strerror or type(error).__name__}") from None


def _changed(data: bytes, user: str, old: str, new: str, parse: Parse) -> bytes:
    """Return the content with the new hash."""
    try:
        before = parse(data)
    except ConfigError:
        raise CannotReplace("the file has changed and cannot be read") from None
    wanted = [_with_password(entry, new) if entry.name.text == user else entry for entry in before]
    if [entry.password for entry in before if entry.name.text == user] != [old]:
        raise CannotReplace("the user's password has changed")
    for candidate in islice(_candidates(data, old, new), _MAX_OCCURRENCES):
        with suppress(ConfigError):
            after = parse(candidate)
            if len(after) == len(wanted) and all(a.same_as(b) for a, b in zip(after, wanted, strict=True)):
                return candidate
    raise CannotReplace("the hash has a form that cannot be replaced")


def _with_password(entry: UserEntry, password: str) -> UserEntry:
    return UserEntry(name=entry.name, password=password, roles=entry.roles, disabled=entry.disabled)


def _candidates(data: bytes, old: str, new: str) -> Iterator[bytes]:
    """Yield the content with each occurrence of the old hash replaced, plain and in quotes (YAML)."""
    for text in dict.fromkeys((old, old.removeprefix(_DES_PREFIX))):
        searched, start = text.encode(), 0
        while (start := data.find(searched, start)) >= 0:
            for replacement in (new, f'"{new}"'):
                yield data[:start] + replacement.encode() + data[start + len(searched) :]
            start += 1


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR)
    try:
        with suppress(ImportError):  # not on Windows
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotReplace("another process writes the file") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        return stream.read()


def _write(target: Path, data: bytes, status: os.stat_result) -> int:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if os.name == "posix":
                os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
                _give(stream.fileno(), status)
            os.fsync(stream.fileno())
            inode = os.fstat(stream.fileno()).st_ino
        if not os.path.samestat(status, target.stat()):
            raise CannotReplace("another process replaced the file")
        Path(name).replace(target)
        return inode
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _give(descriptor: int, status: os.stat_result) -> None:
    """Give the new file the owner and group of the old one."""
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError:
            raise CannotReplace("the file belongs to another user or group") from None
