"""Files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asgi_gateway.documents import read_xml, read_yaml
from asgi_gateway.documents.source import MAX_BYTES
from asgi_gateway.errors import ConfigError
from tests.documents.plain import plain

readers = pytest.mark.parametrize("read", [read_xml, read_yaml])


@readers
def test_missing_file(read, tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigError, match=r"nothing\.here: error: there is no such file"):
        read(tmp_path / "nothing.here")


@readers
def test_directory(read, tmp_path: Path) -> None:
    """A directory is not a file."""
    with pytest.raises(ConfigError, match="it is a directory"):
        read(tmp_path)


@readers
def test_pipe(read, tmp_path: Path) -> None:
    """A pipe is refused, since reading it could block for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        read(tmp_path / "pipe")


@readers
def test_below_a_file(read, tmp_path: Path) -> None:
    """Whatever else the system refuses is a configuration error too."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "file" / "below")


@readers
def test_impossible_name(read) -> None:
    """A name with a NUL cannot be a file's."""
    with pytest.raises(ConfigError, match="cannot be the name of a file"):
        read(Path("a\0b"))


@readers
@pytest.mark.parametrize("data", [b"", b" \n\t "])
def test_empty_file(read, data: bytes, tmp_path: Path) -> None:
    """An empty file is an error, not an empty configuration."""
    (tmp_path / "empty").write_bytes(data)
    with pytest.raises(ConfigError, match="the file is empty"):
        read(tmp_path / "empty")


@readers
def test_huge_file(read, tmp_path: Path) -> None:
    """A file beyond the bound is refused before it is parsed."""
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 16 MiB"):
        read(tmp_path / "huge")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a: b\nc: \xff", r":2:4: error: this is not UTF-8"), (b"a: b\nc: d\0", r":2:5: error: there is a NUL")],
)
def test_text_with_positions(data: bytes, message: str, tmp_path: Path) -> None:
    """What is not UTF-8, and a NUL, are found where they stand."""
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_byte_order_mark() -> None:
    """A byte order mark is no part of the text."""
    assert plain(read_yaml(b"\xef\xbb\xbfa: b")) == {"a": "b"}
    assert read_xml(b"\xef\xbb\xbf<a/>").name == "a"
