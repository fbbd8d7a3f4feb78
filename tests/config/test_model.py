"""The model's own rules."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.config.model import (
    Authentication,
    Constraint,
    GatewayConfig,
    RealmConfig,
    ServiceConfig,
    StoreConfig,
    parse_flag,
)
from asgi_gateway.plugins.login_module import ControlFlag


def test_defaults() -> None:
    """What a file leaves out has a documented default."""
    realm = RealmConfig.model_validate(
        {
            "name": "demo",
            "authentication": {
                "http-challenge-scheme": ["Basic"],
                "login-modules": [{"type": "file", "success": "required"}],
            },
        }
    )
    assert realm.credential_cache == 30
    assert realm.authentication is not None
    assert realm.authentication.authorization_mode == "challenge"
    assert realm.authentication.session_timeout is None
    (module,) = realm.authentication.login_modules
    assert (module.success, module.time_limit, module.options) == (ControlFlag.REQUIRED, 30, {})


def test_parsed_accepts() -> None:
    """A service gives its accept URLs parsed."""
    service = ServiceConfig(accept=("/a", "ws://h/b"))
    assert [accept.path for accept in service.accepts] == ["/a", "/b"]


def test_validate_is_recycle() -> None:
    """The mode that one XSD of the original calls validate is recycle."""
    source = {"http-challenge-scheme": ["Basic"], "authorization-mode": "validate"}
    assert Authentication.model_validate(source).authorization_mode == "recycle"


def test_empty_element_is_a_presence() -> None:
    """An empty require-valid-user is one that is there."""
    assert Constraint.model_validate({"require-valid-user": ""}).require_valid_user


def test_flag() -> None:
    """An empty flag is on, one with a value has that value."""
    assert (parse_flag(None), parse_flag(""), parse_flag("false")) == (True, True, False)
    with pytest.raises(ValueError):
        parse_flag("perhaps")


@pytest.mark.parametrize(
    ("cls", "source"),
    [
        (GatewayConfig, {"securty": {}}),
        (StoreConfig, {"file": ""}),
        (StoreConfig, {"file": "a", "type": "PEM"}),
        (RealmConfig, {"name": ""}),
        (RealmConfig, {"name": "a", "credential-cache": "-1"}),
        (Authentication, {"http-challenge-scheme": []}),
        (Authentication, {"http-challenge-scheme": ["Basic"], "session-timeout": 0}),
        (Authentication, {"http-challenge-scheme": ["Basic"], "http-cookie": [""]}),
        (ServiceConfig, {"accept": ["a"]}),
        (ServiceConfig, {"accept": ["/a"], "realm-name": [""]}),
        (ServiceConfig, {"accept": ["/a"], "max-authentication-attempts": 101}),
    ],
)
def test_refused(cls: Any, source: dict[str, Any]) -> None:
    """Values that mean nothing are refused, and the error does not show them."""
    with pytest.raises(ValidationError) as caught:
        cls.model_validate(source)
    assert "input_value" not in str(caught.value)
