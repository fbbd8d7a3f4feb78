"""From ``state``, ``session-keys`` and ``authorization-mode`` to a store and sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.config.load import loads
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Grant
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.sqlite import SqliteState

USERS = "users: [{name: joe, password: joe-pw}]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a users file and keys."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.yaml").write_text(USERS)
    (tmp_path / "keys").write_text("k" * 32)
    (tmp_path / "short").write_text("k")
    return tmp_path


def _gateway(mode: str = "recycle", /, **security: Any) -> Gateway:
    modules = [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}]
    authentication = {"http-challenge-scheme": "Basic", "authorization-mode": mode, "login-modules": modules}
    return load_config({"security": {**security, "realms": [{"name": "demo", "authentication": authentication}]}})


SQLITE = {"type": "sqlite", "options": {"file": "state.db", "max-entries": "10", "timeout": "500 ms"}}


def test_memory_by_default() -> None:
    """Without a state there is a memory store, and sessions in it need no keys."""
    gateway = _gateway()
    assert isinstance(gateway.state, MemoryState)
    assert gateway.realms[0].sessions is not None
    assert gateway.needs_shared_state() == ["realm demo: sessions"]
    small = _gateway(state={"type": "memory", "options": {"max-entries": 7}})
    assert repr(small.state) == "MemoryState(0 of 7 entries)"


def test_realms_share_the_keys() -> None:
    """All realms of a gateway sign with the same keys, each for itself."""
    realm = """
    - name: NAME
      authentication:
        http-challenge-scheme: Basic
        authorization-mode: recycle
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]"""
    services = "\nservices: [{name: a, accept: /a, realm-name: a}, {name: b, accept: /b, realm-name: b}]"
    text = "security:\n  realms:" + realm.replace("NAME", "a") + realm.replace("NAME", "b") + services
    Path("gateway.yaml").write_text(text)
    assert all(each.sessions is not None for each in load_config("gateway.yaml").realms)


def test_challenge_has_no_sessions() -> None:
    """Without recycle there are no sessions, and nothing has to be shared."""
    gateway = _gateway("challenge", state=SQLITE)
    assert gateway.realms[0].sessions is None
    assert gateway.needs_shared_state() == []


def test_sqlite(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite store is beside the configuration; its sessions have keys from a file or the environment."""
    gateway = _gateway(state=SQLITE, **{"session-keys": {"file": "keys"}})
    assert isinstance(gateway.state, SqliteState)
    assert str(here / "state.db") in repr(gateway.state)
    assert gateway.needs_shared_state() == []
    monkeypatch.setenv("SESSION_KEYS", "k" * 32)
    assert _gateway(state=SQLITE, **{"session-keys": {"environment": "SESSION_KEYS"}}).realms[0].sessions


@pytest.mark.parametrize(
    ("security", "message"),
    [
        (
            {"state": SQLITE},
            "session-keys: missing session-keys: .* shared store .*add security/session-keys",
        ),
        ({"state": {"type": "sqlit"}}, r"state\.type: .*'sqlite'"),
        ({"state": {"type": "sqlite"}}, "state store sqlite: missing option 'file'"),
        ({"state": {"type": "memory", "options": {"max-entries": "0"}}}, "max-entries.*greater than or equal to 1"),
        ({"state": {"type": "memory", "options": {"max-entry": "5"}}}, "unknown option 'max-entry' .*max-entries"),
        ({"state": {"type": "redis", "options": {"url": "http://x"}}}, "begins with redis://"),
        ({"state": {"type": "redis", "options": {"url": "redis://x", "timeout": "1 year"}}}, "not a time interval"),
        ({"state": {"options": {}}}, "type"),
        ({"session-keys": {"file": "missing"}}, "session-keys: the keys file .*missing does not exist"),
        ({"session-keys": {"file": "short"}}, "has 1 bytes"),
        ({"session-keys": {}}, "either from a file or from an environment variable"),
        ({"session-keys": {"file": "keys", "environment": "X"}}, "either from a file"),
        ({"session-keys": {"environment": "NOT_SET_ANYWHERE"}}, "no signing key"),
    ],
)
def test_errors(security: dict[str, Any], message: str) -> None:
    """What cannot work is an error with its place and a hint, and never a weaker store."""
    with pytest.raises(ConfigError, match=message):
        _gateway(**security)


def test_broken_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose construction raises any exception is an error."""

    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(SqliteState, "configured", broken)
    with pytest.raises(ConfigError, match="state store sqlite: RuntimeError: out of order"):
        _gateway(state=SQLITE)


def test_xml_is_equal() -> None:
    """The same state and keys in XML and YAML load to equal objects."""
    xml = """<security>
      <state><type>redis</type><options><url>redis://a</url><url>redis://b</url><cluster>true</cluster></options></state>
      <session-keys><file>keys</file></session-keys>
      <realm><name>demo</name><authentication><http-challenge-scheme>Basic</http-challenge-scheme><login-modules>
        <login-module><type>file</type><success>required</success><options><file>users.yaml</file></options></login-module>
      </login-modules></authentication></realm></security>"""
    yaml = """
security:
  state: {type: redis, options: {url: [redis://a, redis://b], cluster: true}}
  session-keys: {file: keys}
  realms:
    - name: demo
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
"""
    assert loads(xml, "xml").config == loads(yaml, "yaml").config


class Unchecked(LoginModule):
    """A login module that cannot check a login without its password."""

    recheckable = False

    async def login(self, attempt: Any) -> Grant:
        return Grant.user("joe")


@pytest.mark.parametrize(
    ("mode", "recheck", "warned"), [("recycle", 300, True), ("recycle", 0, False), ("challenge", 300, False)]
)
def test_sessions_whose_logins_cannot_be_checked(mode: str, recheck: int, warned: bool) -> None:
    """A warning says where sessions end after recheck because a module cannot check a login without its password."""
    modules = [{"type": f"class:{__name__}.Unchecked", "success": "required"}]
    authentication = {"http-challenge-scheme": "Basic", "authorization-mode": mode, "login-modules": modules}
    realm = {"name": "demo", "recheck": recheck, "authentication": authentication}
    found = [str(each) for each in load_config({"security": {"realms": [realm]}}).problems]
    assert any("sessions end after 300 seconds (recheck)" in each for each in found) is warned
