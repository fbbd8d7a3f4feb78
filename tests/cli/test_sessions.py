"""``asgi-gateway sessions``."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from asgi_gateway.cli import main
from asgi_gateway.config import load_config
from asgi_gateway.model import Allow
from tests.gateways import basic, request

CONFIG = """
security:
  state: {type: TYPE, options: {OPTIONS}}
  session-keys: {file: keys}
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        authorization-timeout: 10 minutes
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration with sessions in an SQLite store; joe has one, and ann has two."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: joe-pw}, {name: ann, password: ann-pw}]")
    (tmp_path / "keys").write_text("k" * 32)
    (tmp_path / "keys").chmod(0o600)
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace("TYPE", "sqlite").replace("OPTIONS", "file: state.db"))
    anyio.run(_log_in, file)
    return str(file)


async def _log_in(file: Path) -> None:
    gateway = load_config(file)
    await gateway.open()
    for user in ("joe", "ann", "ann"):
        assert isinstance(await gateway.decide(request("/", basic(user))), Allow)
    await gateway.close()


def _listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    capsys.readouterr()
    assert main(["sessions", "list", *words, "--format", "json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each session is a line under its titles, or an object of JSON; by user if asked."""
    assert main(["sessions", "list", file]) == 0
    titles, *lines = capsys.readouterr().out.splitlines()
    assert titles.split() == ["SESSION", "REALM", "USER", "BEGUN", "LAST", "USED", "ENDS"]
    assert sorted(line.split()[2] for line in lines) == ["ann", "ann", "joe"]
    (joe,) = _listed(capsys, file, "--user", "joe")
    assert set(joe) == {"id", "realm", "user", "begun", "used", "ends"}
    assert (joe["realm"], joe["user"], len(joe["id"])) == ("demo", "joe", 12)
    assert len(_listed(capsys, file, "--realm", "demo")) == 3


def test_limit(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is left out is said on standard error."""
    assert main(["sessions", "list", file, "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "more than these 2" in err


def test_revoke_what_is_listed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The listed id of a session ends it, once; the user's other sessions go on."""
    first, second = _listed(capsys, file, "--user", "ann")
    assert main(["sessions", "revoke", file, "session", first["id"]]) == 0
    assert main(["sessions", "revoke", file, "session", first["id"]]) == 1
    assert [each["id"] for each in _listed(capsys, file, "--user", "ann")] == [second["id"]]
    assert main(["sessions", "revoke", file, "user", "ann", "--realm", "demo"]) == 0
    assert main(["sessions", "list", file, "--user", "ann"]) == 0
    assert "no active sessions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"), [(["--realm", "dmo"], "unknown realm 'dmo'"), (["--limit", "0"], "--limit")]
)
def test_usage(file: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A realm that has no sessions, and a limit that makes no sense, are errors."""
    assert main(["sessions", "list", file, *words]) == 2
    assert message in capsys.readouterr().err


def test_memory(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A memory store cannot be listed from a shell, and the error says so."""
    Path(file).write_text(CONFIG.replace("TYPE", "memory").replace("OPTIONS", ""))
    assert main(["sessions", "list", file]) == 2
    assert "choose sqlite or redis" in capsys.readouterr().err


def test_store_is_down(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that cannot be used is an error, not an empty list."""
    for each in Path(file).parent.glob("state.db*"):
        each.unlink()
    Path(file).with_name("state.db").mkdir()
    assert main(["sessions", "list", file]) == 2
    assert "state.db" in capsys.readouterr().err
