"""The settings of sessions in a configuration: names of cookies and limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config import load_config, loads
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.errors import ConfigError
from asgi_gateway.model import Subject, UserPrincipal
from asgi_gateway.sessions.cookies import Sessions

pytestmark = pytest.mark.anyio

KEY = "k" * 32


def document(
    state: dict[str, Any] | None = None, realm: dict[str, Any] | None = None, **security: Any
) -> dict[str, Any]:
    """A configuration of one realm with sessions."""
    module = {"type": "grant", "success": "required", "options": {"name": "joe"}}
    authentication = {
        "http-challenge-scheme": "Basic",
        "authorization-mode": "recycle",
        "login-modules": [{"type": "file", "success": "required", "options": {"file": "users.yaml"}}, module],
    }
    if state is not None:
        security |= {"state": state, "session-keys": {"file": "keys"}}
    return {"security": {"realms": [{"name": "demo", "authentication": authentication, **(realm or {})}], **security}}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders with the same users and keys."""
    made = [tmp_path / name for name in ("a", "b")]
    for folder in made:
        folder.mkdir()
        (folder / "users.yaml").write_text("users: []\n")
        (folder / "keys").write_text(KEY)
        (folder / "keys").chmod(0o600)
    return made


async def cookie_name(folder: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], file: str = "") -> str:
    """The name of a gateway's session cookie."""
    monkeypatch.chdir(folder)
    if file:
        (folder / file).write_text(json.dumps(source))
    gateway = load_config(folder / file if file else source)
    await gateway.open(serving=False)
    sessions: Sessions[Any] | None = gateway.realms[0].sessions
    assert sessions is not None
    cookie = await sessions.begin(Subject((UserPrincipal("joe"),)), secure=True)
    await gateway.close()
    return cookie.decode().partition("=")[0]


async def test_names_of_gateways_on_one_host(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways of different folders or files have cookies of their own, and a restart changes no name."""
    one, other = folders
    names = [
        await cookie_name(one, monkeypatch, document()),
        await cookie_name(other, monkeypatch, document()),
        await cookie_name(one, monkeypatch, document(), "first.json"),
        await cookie_name(one, monkeypatch, document(), "second.json"),
    ]
    assert len(set(names)) == 4
    assert await cookie_name(one, monkeypatch, document()) == names[0]
    assert await cookie_name(one, monkeypatch, document(realm={"credential-cache": "0"})) == names[0]


async def test_names_of_gateways_that_share_a_store(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that share a store have one name, wherever their configuration is; other stores have others."""
    one, other = folders
    file = str(one / "state.db")
    shared = [
        await cookie_name(folder, monkeypatch, document({"type": "sqlite", "options": {"file": file}}))
        for folder in folders
    ]
    assert shared[0] == shared[1]
    names = {
        await cookie_name(one, monkeypatch, document({"type": "sqlite", "options": options}))
        for options in ({"file": file}, {"file": file, "namespace": "n"}, {"file": str(other / "state.db")})
    }
    assert len(names) == 3


async def test_configured_name(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured name is what cookies begin with, wherever the configuration is."""
    names = {
        await cookie_name(each, monkeypatch, document(None, None, **{"session-cookie": "shop"})) for each in folders
    }
    (name,) = names
    assert name.startswith("__Host-shop-")


@pytest.mark.parametrize(
    ("security", "realm", "message"),
    [
        ({"session-cookie": "__Host-a"}, {}, "two underscores"),
        ({"session-cookie": "a b"}, {}, "letters, digits"),
        ({"session-cookie": "x" * 65}, {}, "1 to 64"),
        ({}, {"sessions-per-user": 0}, "sessions-per-user"),
        ({}, {"sessions-per-client": "many"}, "sessions-per-client"),
        ({}, {"sessions-per-client": 10_001}, "sessions-per-client"),
    ],
)
def test_bad_settings(folders: list[Path], security: dict[str, Any], realm: dict[str, Any], message: str) -> None:
    """A name that no cookie can have, and a number that makes no sense, are errors with their path."""
    with pytest.raises(ConfigError, match=message):
        load_config(document(realm=realm, **security))


def test_both_spellings() -> None:
    """XML and YAML have the same settings, and each converts into the other."""
    text = """
security:
  session-cookie: shop
  realms:
    - name: demo
      sessions-per-user: 7
      sessions-per-client: 3
      authentication:
        http-challenge-scheme: Basic
        login-modules: [{type: grant, success: required, options: {name: joe}}]
"""
    loaded = loads(text, "yaml")
    realm = loaded.config.security.realms[0]
    assert (realm.sessions_per_user, realm.sessions_per_client) == (7, 3)
    assert loaded.config.security.session_cookie == "shop"
    assert loads(to_xml(loaded), "xml").config == loads(to_yaml(loaded), "yaml").config == loaded.config


async def test_limits_hold(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured numbers are the realm's."""
    monkeypatch.chdir(folders[0])
    gateway = load_config(document(realm={"sessions-per-user": 4, "sessions-per-client": 2}))
    sessions = gateway.realms[0].sessions
    assert sessions is not None

    async def begin(client: str) -> bytes:
        subject = Subject((UserPrincipal("joe"),))
        return (await sessions.begin(subject, secure=True, client=client)).partition(b";")[0]

    cookies = [await begin("192.0.2.1") for _ in range(3)] + [await begin(f"192.0.2.{n}") for n in (2, 3, 4)]
    valid = [await sessions.lookup(cookie, secure=True) is not None for cookie in cookies]
    assert valid == [False, False, True, True, True, True]
