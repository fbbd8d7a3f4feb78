"""Which names a file may use."""

from __future__ import annotations

import pytest

from asgi_gateway.config.element_names import FieldKind, element_accepting, fields, ignored_option, names, singular
from asgi_gateway.config.model import Authentication, GatewayConfig, LoginModuleConfig, RealmConfig, ServiceConfig


def test_kinds_come_from_the_model() -> None:
    """Each field is what the model's annotation says."""
    assert fields(ServiceConfig)["accept"].kind is FieldKind.TEXTS
    assert fields(ServiceConfig)["match-host"].kind is FieldKind.TEXT
    assert fields(ServiceConfig)["authorization-constraint"].kind is FieldKind.ELEMENT
    assert fields(GatewayConfig)["services"].element is ServiceConfig
    assert fields(LoginModuleConfig)["options"].kind is FieldKind.FREE
    assert fields(Authentication)["session-timeout"].kind is FieldKind.TEXT


def test_home_of_a_misplaced_name() -> None:
    """For a name in the wrong element, the element that accepts it is known."""
    assert element_accepting("realms") == "security"
    assert element_accepting("require-role") == "authorization-constraint"
    assert element_accepting("success") == "login-module"
    assert element_accepting("zzz") is None


def test_singular_and_plural() -> None:
    """What can be repeated has both, what cannot has one."""
    assert {"login-module", "login-modules", "http-header", "http-headers"} <= names(Authentication).keys()
    assert {"user-principal-class", "user-principal-classes"} <= names(RealmConfig).keys()
    assert "names" not in names(RealmConfig)
    assert (singular("realms"), singular("cross-site-constraint")) == ("realm", "cross-site-constraint")


@pytest.mark.parametrize(
    "name", ["ssl.ciphers", "ws.bind", "tcp.transport", "http.keepalive.timeout", "pipe.transport"]
)
def test_ignored_options(name: str) -> None:
    """Options of the original's transports mean nothing here."""
    assert ignored_option(name)


@pytest.mark.parametrize("name", ["http.realm", "http.relm", "realm", "http.", "x.y", "ssl", "ssl."])
def test_other_options(name: str) -> None:
    """What might be a misspelt option of ours is never ignored."""
    assert not ignored_option(name)
