"""The command line, run as a user runs it but in this process."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgi_gateway.cli import main
from asgi_gateway.cli.main import parser
from asgi_gateway.config import load
from asgi_gateway.passwords import read_hash

GATEWAY = """
security:
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        http-query-parameter: secret
        login-modules:
          - {type: file, success: required, options: {file: users.yaml}}
services:
  - {name: public, accept: /public}
  - {name: app, accept: /app, realm-name: demo, authorization-constraint: {require-role: ADMIN}}
"""
USERS = """
roles: [{name: ADMIN}]
users:
  - {name: joe, password: open-sesame, roles: [ADMIN]}
  - {name: ann, password: open-sesame}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good configuration."""
    (tmp_path / "users.yaml").write_text(USERS)
    path = tmp_path / "gateway.yaml"
    path.write_text(GATEWAY)
    return path


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put text on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_check_of_a_good_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file gives exit code 0, a line that says so, and its warnings with their places."""
    assert main(["check", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "good (2 services, 1 realm," in out
    assert "users.yaml:4:" in err
    assert "plain text" in err


def test_check_tells_every_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad file gives exit code 1, and all its errors, each with file, line and column."""
    file.write_text(GATEWAY.replace("type: file", "type: flie").replace("Basic", "Basik"))
    assert main(["check", str(file)]) == 1
    err = capsys.readouterr().err
    assert "gateway.yaml:6:" in err
    assert "Basik" in err
    assert "gateway.yaml:9:" in err
    assert "file" in err


def test_check_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --format json every line is an object, errors with their place in fields."""
    file.write_text(GATEWAY.replace("type: file", "type: flie"))
    assert main(["check", str(file), "--format", "json"]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[-1] == {"ok": False, "errors": 1}
    assert records[0]["line"] == 9
    assert records[0]["severity"] == "error"


def test_modules_of_the_working_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class: module beside the configuration is found, though a script's path does not hold the working directory."""
    (file.parent / "beside_it.py").write_text(
        "from asgi_gateway import LoginModule\n"
        "class Beside(LoginModule):\n"
        "    async def login(self, attempt):\n"
        "        return None\n"
    )
    chain = "{type: 'class:beside_it.Beside', success: required}"
    file.write_text(GATEWAY.replace("{type: file, success: required, options: {file: users.yaml}}", chain))
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path not in ("", str(file.parent))])
    assert main(["check", str(file)]) == 0


def test_check_of_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file gives exit code 2."""
    assert main(["check", str(tmp_path / "none.yaml")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_check_connect_names_what_fails(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --connect a module whose back end cannot be opened is named with its realm."""
    (file.parent / "broken_module.py").write_text(
        "from asgi_gateway import LoginModule\n"
        "class Broken(LoginModule):\n"
        "    async def login(self, attempt):\n"
        "        return None\n"
        "    async def check(self):\n"
        "        return ['server 192.0.2.1: no route']\n"
    )
    file.write_text(
        GATEWAY.replace(
            "{type: file, success: required, options: {file: users.yaml}}",
            "{type: 'class:broken_module.Broken', success: required}",
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(file.parent))
        assert main(["check", str(file)]) == 0
        assert main(["check", str(file), "--connect"]) == 1
    assert "realm demo, login module class:broken_module.Broken: server 192.0.2.1: no route" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "password", "code", "shown"),
    [
        (["GET", "/public"], None, 0, "the service is public"),
        (["GET", "/app"], None, 1, "no credentials"),
        (["WS", "/app/x", "--user", "joe"], "open-sesame", 0, "user      joe (roles: ADMIN)"),
        (["GET", "/app", "--user", "ann"], "open-sesame", 1, "missing roles: ADMIN"),
        (["GET", "/app", "--user", "joe"], "wrong", 1, "login     demo/file failed: wrong password"),
        (["GET", "/other"], None, 1, "no service accepts this path"),
        (["GET", "/public/%2e%2e/app"], None, 1, "ambiguous path"),
        (["GET", "/app", "--header", "Authorization: Bearer x"], None, 1, "another scheme"),
    ],
)
def test_explain(
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    password: str | None,
    code: int,
    shown: str,
) -> None:
    """explain shows service, modules and reason; its exit code is the decision; a password is never printed."""
    if password is not None:
        typed(monkeypatch, password + "\n")
    assert main(["explain", str(file), *arguments]) == code
    out, err = capsys.readouterr()
    assert shown in out
    assert password is None or password not in out + err or password == "wrong"


def test_explain_as_json(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON form holds the same answer in fields."""
    typed(monkeypatch, "open-sesame")
    assert main(["explain", str(file), "GET", "/app", "--user", "ann", "--format", "json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["service"] == "app"
    assert record["required_roles"] == ["ADMIN"]
    assert record["decision"] == "forbid"
    assert record["steps"][0] == {"realm": "demo", "module": "file", "phase": "login", "outcome": "succeeded"}


@pytest.mark.parametrize(
    "arguments",
    [["GET", "no-slash"], ["GET", "/app", "--header", "no colon"], ["GET", "/app", "--user", "a:b"]],
)
def test_explain_refuses_what_is_no_request(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """What cannot be a request is a usage error with a sentence, exit code 2."""
    typed(monkeypatch, "x")
    assert main(["explain", str(file), *arguments]) == 2
    assert capsys.readouterr().err.startswith("asgi-gateway: ")


def test_hash_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash that is printed verifies the password that was typed."""
    typed(monkeypatch, "s3cret ü\n")
    assert main(["hash-password"]) == 0
    stored = capsys.readouterr().out.strip()
    assert read_hash(stored).verify("s3cret ü")
    assert not read_hash(stored).verify("other")


def test_hash_of_an_empty_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty password is refused."""
    typed(monkeypatch, "\n")
    assert main(["hash-password"]) == 2
    assert "empty" in capsys.readouterr().err


def test_convert_there_and_back(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """YAML to XML to YAML gives an equal configuration, and an existing file is never overwritten."""
    other = tmp_path / "gateway.xml"
    assert main(["convert", str(file), "--output", str(other)]) == 0
    assert load(other).config == load(file).config
    assert main(["convert", str(file), "--output", str(other)]) == 2
    capsys.readouterr()
    assert main(["convert", str(other)]) == 0
    back = tmp_path / "back.yaml"
    back.write_text(capsys.readouterr().out)
    assert load(back).config == load(file).config


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is printed as JSON."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of every command has examples, and every example can be parsed."""
    for command in ("check", "run", "explain", "hash-password", "convert", "schema"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "examples:\n  " in capsys.readouterr().out
    parser().parse_args(["explain", "gateway.yaml", "GET", "/chat?token=abc", "--header", "Cookie: a=b"])


@pytest.mark.parametrize("arguments", [[], ["bogus"], ["check"], ["run"]])
def test_usage_errors(arguments: list[str]) -> None:
    """An invalid command line exits with 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("target", ["nothing", "no.such.module:app", "asgi_gateway:no_such_attribute"])
def test_run_needs_an_application(file: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    """run reports a missing application before it starts."""
    before = logging.getLogger("asgi_gateway").handlers[:]
    try:
        assert main(["run", str(file), target]) == 2
    finally:
        logging.getLogger("asgi_gateway").handlers[:] = before
    assert target.partition(":")[0].split(".")[0] in capsys.readouterr().err


def test_run_refuses_several_workers_that_cannot_share(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module that remembers used tokens and several workers with a store of their own each do not start."""
    file.write_text(
        GATEWAY.replace(
            "{type: file, success: required, options: {file: users.yaml}}",
            "{type: 'class:example_app.tickets.TicketLoginModule', success: required}",
        )
    )
    assert main(["run", str(file), "example_app.app:api", "--workers", "2"]) == 2
    assert "several workers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["schema"], ["--help"], ["check", "FILE"], ["convert", "FILE"], ["explain", "FILE"]]
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_closed_pipe(file: Path, arguments: list[str], form: str) -> None:
    """A reader that goes away, such as head, ends a command without a traceback."""
    words = [str(file) if word == "FILE" else word for word in arguments]
    words += ["GET", "/public"] if arguments[0] == "explain" else []
    words += [] if arguments == ["--help"] else ["--format", form]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "asgi_gateway", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, text=True)
    os.close(writer)
    assert done.returncode == (0 if arguments == ["--help"] else 141)  # argparse itself does not mind
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_refused_service_is_not_called_public(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """explain says that a service that is not served refuses, and not that it is public."""
    file.write_text(GATEWAY.replace("accept: /public}", "accept: /public, type: broadcast}"))
    assert main(["explain", str(file), "GET", "/public"]) == 1
    out = capsys.readouterr().out
    assert "the service is public" not in out
    assert "broadcast" in out
