"""``asgi-gateway revoke``."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from asgi_gateway.cli import main
from asgi_gateway.model import RevocationKey
from asgi_gateway.plugins.state_store import Partition
from asgi_gateway.stores.sqlite import SqliteState

CONFIG = """
security:
  state: {type: TYPE, options: {OPTIONS}}
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration with an SQLite store."""
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: joe-pw}]")
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIG.replace("TYPE", "sqlite").replace("OPTIONS", "file: state.db"))
    return str(file)


def _state(file: str) -> SqliteState:
    return SqliteState(Path(file).with_name("state.db"))


async def _create(file: str) -> None:
    state = _state(file)
    await state.open()
    await state.close()


def test_user(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A revoked user has another generation, and the revocation is in the log that other processes follow."""

    async def after() -> tuple[str | None, list[str]]:
        state = _state(file)
        found = await state.get(RevocationKey("user", "joe", "demo").key), (await state.follow("0", 0))[1]
        await state.close()
        return found

    anyio.run(_create, file)
    assert main(["revoke", file, "user", "joe", "--realm", "demo"]) == 0
    generation, messages = anyio.run(after)
    assert generation
    assert messages == ['["user", "joe", "demo"]']
    assert "revoked" in capsys.readouterr().out


def test_session(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A session is revoked once; the second time the answer is no."""

    async def before() -> None:
        state = _state(file)
        await state.partition(Partition.SESSIONS).put_if_absent(RevocationKey("session", "s").key, "record", 60)
        await state.close()

    anyio.run(before)
    assert main(["revoke", file, "session", "s"]) == 0
    assert main(["revoke", file, "session", "s"]) == 1
    assert "no such session" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["user", "joe"], "--realm"),
        (["session", "s", "--issuer", "i"], "--issuer"),
        (["token", "t", "--realm", "demo"], "--realm"),
        (["user", "joe", "--realm", "dmo"], "unknown realm 'dmo'"),
    ],
)
def test_usage(file: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A user without a realm, a realm that is not there, and a realm for something else are errors."""
    assert main(["revoke", file, *words]) == 2
    assert message in capsys.readouterr().err


def test_memory(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a memory store no command can revoke anything, and the error says so."""
    Path(file).write_text(CONFIG.replace("TYPE", "memory").replace("OPTIONS", ""))
    assert main(["revoke", file, "user", "joe", "--realm", "demo"]) == 2
    assert "choose sqlite or redis" in capsys.readouterr().err


def test_store_is_down(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that cannot be used is an error, not a revocation."""
    Path(file).with_name("state.db").mkdir()
    assert main(["revoke", file, "user", "joe", "--realm", "demo"]) == 2
    assert "state.db" in capsys.readouterr().err
