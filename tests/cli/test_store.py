"""Commands beside a running server leave its state store as it is; ``check`` looks at it."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import anyio
import pytest

from asgi_gateway.cli import main
from asgi_gateway.config import load_config
from asgi_gateway.model import Allow
from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.sessions.signing import load_keys
from asgi_gateway.sessions.tokens import TokenIssuer
from tests.gateways import basic, request

CONFIG = """
security:
  state: {type: sqlite, options: {file: FILE}}
  session-keys: {file: keys}
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
    - name: plain
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
    - name: tokens
      authentication:
        http-challenge-scheme: Application Token
        login-modules: [{type: token, success: required, options: {keyFile: keys, audience: shop, singleUse: refused}}]
services:
  - {accept: /demo, realm-name: demo}
  - {accept: /plain, realm-name: plain}
  - {accept: /tokens, realm-name: tokens}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration with sessions in an SQLite store that does not exist yet."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: joe-pw}, {name: ann, password: ann-pw}]")
    (tmp_path / "keys").write_text("k" * 32)
    (tmp_path / "keys").chmod(0o600)
    (tmp_path / "gateway.yaml").write_text(CONFIG.replace("FILE", "state.db").replace("refused", "as-issued"))
    return str(tmp_path / "gateway.yaml")


def entries(file: str) -> list[str]:
    return sorted(each.name for each in Path(file).parent.iterdir() if each.name.startswith("state.db"))


async def _log_in(file: str, *users: str) -> None:
    gateway = load_config(file)
    await gateway.open()
    for user in users:
        assert isinstance(await gateway.decide(request("/demo", basic(user, f"{user}-pw"))), Allow)
    await gateway.close()


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put text on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["check", "FILE"], 0, "good"),
        (["check", "FILE", "--connect"], 0, "good"),
        (["sessions", "list", "FILE"], 0, "no active sessions"),
        (["revoke", "FILE", "user", "joe", "--realm", "demo"], 1, "has not been created yet"),
        (["sessions", "revoke", "FILE", "session", "a" * 32], 1, "has not been created yet"),
        (["explain", "FILE", "GET", "/demo", "--user", "joe"], 0, "allow"),
    ],
)
def test_nothing_is_created(
    file: str,
    command: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A store that the server has not created yet is not created by a command, which another user may run."""
    typed(monkeypatch, "joe-pw\n")
    assert main([file if word == "FILE" else word for word in command]) == code
    assert said in capsys.readouterr().out
    assert entries(file) == []


def test_explain_begins_no_session(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A login that is explained leaves no session behind."""
    anyio.run(_log_in, file, "ann")
    typed(monkeypatch, "joe-pw\n")
    assert main(["explain", file, "GET", "/demo", "--user", "joe"]) == 0
    capsys.readouterr()
    assert main(["sessions", "list", file, "--format", "json"]) == 0
    assert [json.loads(line)["user"] for line in capsys.readouterr().out.splitlines()] == ["ann"]


def test_explain_uses_up_no_token(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that is good once can be explained often, and still be used once; a used one is refused."""
    issuer = TokenIssuer(load_keys(Path(file).with_name("keys")), "shop")
    token = issuer.issue("joe", realm="tokens", now=SystemClock().time(), life=60, single_use=True)
    command = ["explain", file, "GET", "/tokens", "--header", f"Authorization: Token {token}"]

    async def use() -> bool:
        gateway = load_config(file)
        await gateway.open()
        try:
            decision = await gateway.decide(request("/tokens", (b"authorization", f"Token {token}".encode())))
            return isinstance(decision, Allow)
        finally:
            await gateway.close()

    assert [main(command), main(command)] == [0, 0]
    assert [anyio.run(use), anyio.run(use)] == [True, False]
    assert main(command) == 1
    assert "used" in capsys.readouterr().out


@pytest.mark.parametrize("user", ["jo", "jeo", "JOE", "bob"])
def test_revoke_of_a_user_without_a_session(file: str, user: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For a user without a session the nearest name that has one is suggested, and the exit code is 1."""
    anyio.run(_log_in, file, "joe", "ann")
    assert main(["revoke", file, "user", user, "--realm", "demo"]) == 1
    out = capsys.readouterr().out
    assert f"no active session of user {user!r} of realm 'demo'" in out
    assert ("did you mean 'joe'?" in out) is (user != "bob")


def test_revoke_counts(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Revoking a user says how many sessions ended, the first time."""
    anyio.run(_log_in, file, "ann", "ann", "joe")
    assert main(["revoke", file, "user", "ann", "--realm", "demo"]) == 0
    assert "2 sessions of user 'ann'" in capsys.readouterr().out
    assert main(["revoke", file, "user", "ann", "--realm", "demo", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"revoked": False}


def test_revoke_where_no_sessions_are_kept(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a realm without sessions nothing shows whether there is such a user, which the answer says."""
    anyio.run(_log_in, file)
    assert main(["revoke", file, "user", "joe", "--realm", "plain"]) == 0
    assert "keeps no sessions" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--realm", "dem"]])
def test_realms_are_named(file: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a realm, or with one that does not exist, the message names those that do."""
    assert main(["revoke", file, "user", "joe", *words]) == 2
    assert "one of: demo, plain, tokens" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["sessions", "list"], ["revoke"], ["sessions", "revoke"]])
def test_memory(file: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the memory store nothing on the command line can end a login; the message says so, and what does."""
    Path(file).write_text(CONFIG.replace("{type: sqlite, options: {file: FILE}}", "{type: memory}"))
    words = [] if command[-1] == "list" else ["user", "joe", "--realm", "demo"]
    assert main([*command, file, *words]) == 2
    err = capsys.readouterr().err
    assert "no command can list its sessions, end them, or close their WebSockets" in err
    assert "restart the server" in err
    assert err.startswith(f"{file}: error: ")


# --------------------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nowhere/state.db", "the directory does not exist"),
        ("users.yaml/state.db", "the directory does not exist"),
        ("folder", "not a regular file"),
        ("shut/state.db", "no permission to write into the directory"),
    ],
)
def test_check_of_an_sqlite_store(
    file: str, where: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that cannot be written is an error of check, at its place, before anything is opened."""
    (Path(file).parent / "folder").mkdir()
    (Path(file).parent / "shut").mkdir()
    if os.geteuid() == 0:  # root may write everywhere, so the system is asked as another user would be
        monkeypatch.setattr(os, "access", lambda path, mode: "shut" not in str(path))
    else:
        (Path(file).parent / "shut").chmod(0o500)
    Path(file).write_text(CONFIG.replace("FILE", where))
    assert main(["check", file]) == 1
    err = capsys.readouterr().err
    assert f"{file}:3:" in err
    assert said in err


def test_check_connect_of_another_programs_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """check --connect reports a file that is not a store; check alone does not open it."""
    Path(file).with_name("state.db").write_text("not a database, and long enough to be looked at" * 50)
    assert main(["check", file]) == 0
    capsys.readouterr()
    assert main(["check", file, "--connect"]) == 1
    assert "state: " in capsys.readouterr().err


@pytest.mark.integration
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "rediss://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
def test_check_connect_of_redis_that_is_down(file: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """check --connect reports that Redis cannot be reached; check alone does not connect."""
    Path(file).write_text(
        CONFIG.replace("{type: sqlite, options: {file: FILE}}", f"{{type: redis, options: {{url: '{url}'}}}}")
    )
    assert main(["check", file]) == 0
    capsys.readouterr()
    assert main(["check", file, "--connect"]) == 1
    assert "state: " in capsys.readouterr().err
