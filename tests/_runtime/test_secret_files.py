"""Secret files: one secret, one line end, and one rule about permissions for all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asgi_gateway._runtime.secret_files import permission_problem, read_secret, read_secret_text
from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores import read_password
from asgi_gateway.modules.ldap.client.options import DirectoryOptions, read_bind_password
from asgi_gateway.sessions.signing import load_keys
from asgi_gateway.stores.redis.urls import TlsFiles, options_of, parse
from tests.helpers import context


def _secret(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"pw", "pw"), (b"pw\n", "pw"), (b"pw\r\n", "pw"), (b" pw \n", " pw "),
        ("pässwörd €\n".encode(), "pässwörd €"), (b"#no comment\n", "#no comment"), (b"x" * 4096, "x" * 4096),
    ],
)  # fmt: skip
def test_one_line(tmp_path: Path, content: bytes, secret: str) -> None:
    """The only line is the secret, with its spaces and without its line end."""
    assert read_secret(_secret(tmp_path, content)) == secret


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"), (b"\n", "is empty"), (b"\r\n", "is empty"),
        (b"canary\nsecond line\n", "several lines"), (b"canary\n\n", "several lines"), (b"\ncanary", "several lines"),
        (b"canary\rsecond", "several lines"), (b"canary\r\n\r\n", "several lines"),
        (b"canary\0", "control character"), (b"can\tary\n", "control character"), (b"canary\x7f", "control character"),
        (b"canary\xff\n", "not UTF-8"), (b"\xef\xbb\xbfcanary\n", "byte order mark"),
        ("canary".encode("utf-16"), "UTF-8"),
        (b"x" * 4097, "larger than 4096 bytes"), (b"x" * 70_000, "larger than 65536 bytes"),
    ],
)  # fmt: skip
def test_anything_else(tmp_path: Path, content: bytes, reason: str) -> None:
    """Anything but one line is an error that names the file and shows nothing of its content."""
    file = _secret(tmp_path, content)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_secret(file)
    assert str(file) in str(caught.value)
    assert "canary" not in str(caught.value).replace(str(file), "")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "bad name"])
def test_unreadable(tmp_path: Path, kind: str) -> None:
    """A file that is missing or not a regular file is an error at once, even where opening it would wait."""
    file = tmp_path / ("\0" if kind == "bad name" else "secret")
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    reason = {
        "missing": "does not exist",
        "folder": "directory",
        "pipe": "not a regular file",
        "bad name": "invalid name",
    }
    with pytest.raises(ConfigError, match=reason[kind]):
        read_secret(file)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o600, ""), (0o400, ""), (0o700, ""),
        (0o640, "read by other users of its group"), (0o644, "read by every user of this machine"),
        (0o604, "read by every user"), (0o602, "written by every user"), (0o660, "read and written by other users"),
        (0o666, "read and written by every user"),
    ],
)  # fmt: skip
def test_permissions(tmp_path: Path, mode: int, words: str) -> None:
    """A secret file that group or others can read or write is a warning with the command that mends it."""
    warnings: list[str] = []
    file = _secret(tmp_path, b"pw\n", mode)
    assert read_secret(file, warnings.append) == "pw"
    assert len(warnings) == bool(words)
    if words:
        assert words in warnings[0]
        assert f"chmod {mode & 0o700:03o} {file}" in warnings[0]


def test_other_rule(tmp_path: Path) -> None:
    """A file that is no secret may be readable, and not writable, by everyone."""
    assert permission_problem(0o100644, tmp_path, "users file", 0o002) is None
    problem = permission_problem(0o100666, tmp_path, "users file", 0o002)
    assert problem is not None
    assert "written by every user" in problem.message
    assert problem.hint.startswith("run chmod 664 ")


def test_several_lines(tmp_path: Path) -> None:
    """A file of several secrets is returned whole."""
    assert read_secret_text(_secret(tmp_path, b"a\n\nb\r\n")) == "a\n\nb\r\n"


@pytest.mark.parametrize("content", [b"pw\nsecond line\n", b"", b"pw\0\n", b"\xef\xbb\xbfpw\n", b"\xff"])
def test_all_readers_agree(tmp_path: Path, content: bytes) -> None:
    """Every option that names a password file refuses what the others refuse."""
    file = _secret(tmp_path, content)
    directory = {"java.naming.security.principal": "cn=a", "java.naming.security.credentials-file": str(file)}
    readers = (
        lambda: read_password(file),
        lambda: read_bind_password(DirectoryOptions.model_validate(directory), context(tmp_path).context),
        lambda: options_of(parse(["redis://localhost"])[0], file, TlsFiles(), False),
    )
    for read in readers:
        with pytest.raises(ConfigError, match=str(file)):
            read()


def test_all_readers_warn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every secret file that others can read is warned of, by the same words."""
    file = _secret(tmp_path, b"k" * 40 + b"\n", 0o644)
    directory = {"java.naming.security.principal": "cn=a", "java.naming.security.credentials-file": str(file)}
    given, warnings = context(tmp_path), list[str]()
    read_password(file, warnings.append)
    load_keys(file, warn=warnings.append)
    read_bind_password(DirectoryOptions.model_validate(directory), given.context)
    options_of(parse(["redis://localhost"])[0], file, TlsFiles(), False)
    said = [*warnings, *given.warnings, *(record.getMessage() for record in caplog.records)]
    assert len(said) == 4
    assert all(f"{file} can be read by every user of this machine: run chmod 600 {file}" in each for each in said)
