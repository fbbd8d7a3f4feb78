"""``ticket`` and ``websocket-subprotocol`` in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.config.build import build
from asgi_gateway.config.convert import to_xml, to_yaml
from asgi_gateway.config.load import load, loads
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from tests.gateways import Module

TEXT = """
security:
  realms:
    - name: staff
      authentication:
        http-challenge-scheme: Application Basic
        login-modules: [{type: file, success: required, options: {file: users.yaml}}]
    - name: tickets
      authentication:
        http-challenge-scheme: Application Token
        websocket-subprotocol: bearer
        login-modules:
          - {type: token, success: required, options: {keyFile: keys, audience: shop, singleUse: as-issued}}
services:
  - {name: page, accept: /page, realm-name: staff}
  - name: live
    accept: /live
    realm-name: tickets
    ticket: {realm-name: staff, life: 10 seconds}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With the files that the configuration names."""
    (tmp_path / "keys").write_text("k" * 32)
    (tmp_path / "keys").chmod(0o600)
    (tmp_path / "users.yaml").write_text("users: [{name: joe, password: open-sesame}]")
    return tmp_path


def gateway(text: str, directory: Path) -> Gateway:
    return build(loads(text, "yaml", directory=directory, environment={}))


def wrong(text: str, directory: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        gateway(text, directory)
    return "\n".join(f"{p.line} {p.path}: {p.message} ({p.hint})" for p in caught.value.problems)


def test_built(directory: Path) -> None:
    """The service has its ticket, its realm reads the subprotocol, and several workers must share."""
    built = gateway(TEXT, directory)
    page, live = built.services
    assert page.ticket is None
    assert live.ticket is not None
    assert (live.ticket.realm, live.ticket.life) == ("tickets", 10)
    assert [realm.name for realm in live.ticket.login.realms] == ["staff"]
    assert live.realms[0].reader.subprotocols == ("bearer",)
    assert built.needs_shared_state() == ["realm tickets, login module token: used tokens"]


def test_realms_of_tickets_alone(directory: Path) -> None:
    """A realm that only tickets are had for is used, opened and not warned of."""
    text = TEXT.replace("  - {name: page, accept: /page, realm-name: staff}\n", "")
    built = gateway(text, directory)
    assert {realm.name for realm in built.realms} == {"staff", "tickets"}
    assert not any("unused" in str(problem) for problem in built.problems)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{realm-name: staff, life", "{realm-name: staf, life", "unknown realm 'staf' (did you"),
        ("{realm-name: staff, life", "{realm-name: tickets, life", "realm 'tickets' accepts tickets itself"),
        ("realm-name: tickets\n", "realm-name: staff\n", "services[1].ticket: no realm of the service accepts"),
        ("realm-name: tickets\n", "\n", "services[1].ticket: no realm of the service accepts tickets"),
        ("as-issued", "refused", "services[1].ticket: no realm of the service accepts tickets"),
        ("life: 10 seconds", "life: 2 hours", "services[1].ticket.life: must be less than or equal to 3600"),
        ("{realm-name: staff, life", "{life", "services[1].ticket.realm-name: is missing"),
        ("protocol: bearer", "protocol: bearer.x", "websocket-subprotocol[0]: invalid subprotocol name: it has a dot"),
        ("protocol: bearer", "protocol: [bearer, bearer]", "websocket-subprotocol[1]: duplicate value"),
        ("protocol: bearer", "protocol: 'a b'", "websocket-subprotocol[0]: invalid subprotocol name"),
    ],
)
def test_what_cannot_be_used(old: str, new: str, expected: str, directory: Path) -> None:
    """What could never work stops the start, with its place."""
    assert old in TEXT
    assert expected in wrong(TEXT.replace(old, new), directory)


def test_converted_without_loss(directory: Path) -> None:
    """Either spelling gives an equal configuration."""
    loaded = loads(TEXT, "yaml", environment={})
    forms: Any = ((to_xml(loaded), "xml"), (to_yaml(loaded), "yaml"))
    for written, form in forms:
        assert loads(written, form, environment={}).config == loaded.config


def test_everything_by_one_realm() -> None:
    """Without services there are no tickets, which is not an error."""
    realm = {"name": "a", "authentication": {"http-challenge-scheme": "Basic", "login-modules": [MODULE]}}
    assert build(load({"security": {"realms": [realm]}}, environment={})).services[0].ticket is None


class Probe(Module):
    """A module that is only built."""

    def __init__(self, options: Any, context: Any) -> None:
        self.context = context


MODULE = {"type": f"class:{__name__}.Probe", "success": "required"}
