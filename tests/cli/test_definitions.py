"""``-D name=value`` on every command that reads a configuration, and what ``check`` says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgi_gateway.cli import main

TEXT = """
properties: {path: /file, realm: demo}
security:
  state: {type: sqlite, options: {file: state.db}}
  session-keys: {file: keys}
  realms:
    - name: ${realm}
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
services:
  - {name: a, accept: "${path}", realm-name: "${realm}"}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration with two properties."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: joe-pw}]")
    (tmp_path / "keys").write_text("k" * 32)
    (tmp_path / "keys").chmod(0o600)
    (tmp_path / "gateway.yaml").write_text(TEXT)
    monkeypatch.delenv("path", raising=False)
    monkeypatch.delenv("realm", raising=False)
    return str(tmp_path / "gateway.yaml")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, {"path": "properties", "realm": "properties"}),
        (["-D", "path=/d"], {}, {"path": "definition", "realm": "properties"}),
        (["-Dpath=/d"], {"path": "/e", "realm": "env"}, {"path": "definition", "realm": "environment"}),
        (["-D", "path=/d", "-D", "realm=a=b"], {}, {"path": "definition", "realm": "definition"}),
    ],
)
def test_check_says_which(
    file: str,
    arguments: list[str],
    environment: dict[str, str],
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """check names the source of each reference's value, in words and as JSON, and never the value."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["check", file, *arguments]) == 0
    out = capsys.readouterr().out
    words = {"definition": "-D", "environment": "the environment", "properties": "properties"}
    for name, source in expected.items():
        assert f"{file}: ${{{name}}} is from {words[source]}\n" in out
    assert "/d" not in out.replace(file, "")
    assert main(["check", file, *arguments, "--format", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"definitions": expected} in records
    assert records[-1]["ok"] is True


def test_sources_are_told_of_a_bad_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sources are printed with errors as well, since a definition may be what is wrong."""
    assert main(["check", file, "-D", "path=nowhere"]) == 1
    out, err = capsys.readouterr()
    assert "${path} is from -D" in out
    assert "neither a path nor a URL" in err


def test_misspelt_definition(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A definition that nothing refers to is a warning with the nearest name."""
    assert main(["check", file, "-D", "paht=/d"]) == 0
    assert "${paht} (did you mean 'path'?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["check", "FILE"],
        ["explain", "FILE", "GET", "/d"],
        ["sessions", "list", "FILE"],
        ["sessions", "revoke", "FILE", "user", "joe", "--realm", "other"],
        ["revoke", "FILE", "user", "joe", "--realm", "other"],
        ["convert", "FILE"],
    ],
)
def test_every_command_takes_it(file: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without the definition the file cannot be used by any command; with it, it can."""
    Path(file).write_text(TEXT.replace("properties: {path: /file, realm: demo}", ""))
    arguments = [file if word == "FILE" else word for word in command]
    assert main(arguments) in (1, 2)
    assert "undefined reference ${path}" in capsys.readouterr().err
    main([*arguments, "-D", "path=/d", "-D", "realm=other"])
    assert "undefined" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["path", "=x", "", "a{b=c", "a}=c"])
def test_not_a_definition(file: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has no name or no value is a usage error."""
    with pytest.raises(SystemExit) as caught:
        main(["check", file, "-D", text])
    assert caught.value.code == 2
    assert "write -D NAME=VALUE" in capsys.readouterr().err


def test_given_twice(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is defined twice is an error."""
    assert main(["check", file, "-D", "path=/a", "-D", "path=/b"]) == 2
    assert "-D path is given twice" in capsys.readouterr().err


def test_conversion_keeps_references(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """convert writes references and properties as they are in the file."""
    assert main(["convert", file, "-D", "path=/secret"]) == 0
    out = capsys.readouterr().out
    assert "${path}" in out
    assert "/secret" not in out
    assert "/file" in out
