"""Files that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.documents import read_xml, read_yaml
from asgi_gateway.documents.source import MAX_BYTES
from asgi_gateway.errors import ConfigError
from tests.documents.plain import plain

Reader = Callable[..., Any]
readers = pytest.mark.parametrize("read", [read_xml, read_yaml])


@readers
def test_missing_file(read: Reader, tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigError, match=r"nothing\.here: error: no such file"):
        read(tmp_path / "nothing.here")


@readers
def test_directory(read: Reader, tmp_path: Path) -> None:
    """A directory is not a file."""
    with pytest.raises(ConfigError, match="it is a directory"):
        read(tmp_path)


@readers
def test_pipe(read: Reader, tmp_path: Path) -> None:
    """A pipe is refused, since reading it could block for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        read(tmp_path / "pipe")


@readers
def test_below_a_file(read: Reader, tmp_path: Path) -> None:
    """Any other error of the system is a configuration error as well."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot read the file"):
        read(tmp_path / "file" / "below")


@readers
def test_impossible_name(read: Reader) -> None:
    """A name with a NUL cannot be a file's."""
    with pytest.raises(ConfigError, match="invalid file name"):
        read(Path("a\0b"))


@readers
@pytest.mark.parametrize("data", [b"", b" \n\t "])
def test_empty_file(read: Reader, data: bytes, tmp_path: Path) -> None:
    """An empty file is an error, not an empty configuration."""
    (tmp_path / "empty").write_bytes(data)
    with pytest.raises(ConfigError, match="the file is empty"):
        read(tmp_path / "empty")


@readers
def test_huge_file(read: Reader, tmp_path: Path) -> None:
    """A file beyond the bound is refused before it is parsed."""
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 16 MiB"):
        read(tmp_path / "huge")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a: b\nc: \xff", r":2:4: error: invalid UTF-8"), (b"a: b\nc: d\0", r":2:5: error: invalid NUL")],
)
def test_text_with_positions(data: bytes, message: str, tmp_path: Path) -> None:
    """Invalid UTF-8 and a NUL are reported with their positions."""
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_byte_order_mark() -> None:
    """A byte order mark is not part of the text."""
    assert plain(read_yaml(b"\xef\xbb\xbfa: b")) == {"a": "b"}
    assert read_xml(b"\xef\xbb\xbf<a/>").name == "a"


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (read_yaml, b"<gateway-config/>", "not YAML: the text is XML"),
        (read_yaml, b"\xef\xbb\xbf\n  <?xml version='1.0'?>\n<jaas-config></jaas-config>", "not YAML: the text is XML"),
        (read_yaml, b"<users>\n  <user>a</user>\n</users>", "not YAML: the text is XML"),
        (read_xml, b"security:\n  realms: []\n", "not XML: the text does not begin with an element"),
        (read_xml, b"\xef\xbb\xbf# a comment\nusers: []", "not XML: the text does not begin with an element"),
        (read_xml, b'{"users": []}', "not XML: the text does not begin with an element"),
        (read_xml, b"---\nusers: []", "not XML: the text does not begin with an element"),
    ],
)
def test_one_language_in_a_file_of_the_other(read: Reader, data: bytes, message: str, tmp_path: Path) -> None:
    """XML in a file that is read as YAML says so, and the other way round, with the name that the file should have."""
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "file")
    (problem,) = caught.value.problems
    assert (problem.message, problem.line, problem.column) == (message, 1, 1)
    assert problem.hint.startswith("name the file .")


@pytest.mark.parametrize("data", [b"a: <b>", b"'<a>'", b"- <a>", b"\xff\xfe<\x00a\x00/\x00>\x00"])
def test_angle_brackets_elsewhere(data: bytes) -> None:
    """A value with angle brackets is YAML, and UTF-16 is XML."""
    read = read_xml if data.startswith(b"\xff") else read_yaml
    assert read(data) is not None
