"""Which principals may come in, and under which name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.principals import NameOptions, split_principal, user_name


def options(**values: Any) -> NameOptions:
    return NameOptions.model_validate(values)


@pytest.mark.parametrize(
    ("principal", "wanted", "name"),
    [
        ("alice@HOME", "keep", "alice@HOME"),
        ("alice@AWAY", "keep", "alice@AWAY"),
        ("alice@HOME", "strip", "alice"),
        ("HTTP/a@HOME", "strip", "HTTP/a"),
        ("alice@AWAY", "strip", "alice@AWAY"),
        ("alice@home", "strip", "alice@home"),
    ],
)
def test_name(principal: str, wanted: str, name: str) -> None:
    """Only the gateway's own realm is stripped, so that nobody of another realm becomes a local user."""
    assert user_name(principal, "HOME", options(clientRealm=wanted)) == name


def test_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """With map, the system's rules give the name, for principals that are not refused."""
    monkeypatch.setattr(libkrb5, "local_name", lambda principal: principal.lower())
    assert user_name("Alice@HOME", "HOME", options(clientRealm="map")) == "alice@home"
    with pytest.raises(LoginFailed):
        user_name("Alice@AWAY", "HOME", options(clientRealm="map", refuseForeignRealms=True))


@pytest.mark.parametrize(
    ("principal", "values", "reason"),
    [
        ("alice@AWAY", {"refuseForeignRealms": "true"}, "is not in realm HOME"),
        ("alice@home", {"refuseForeignRealms": True}, "is not in realm HOME"),
        ("alice@AWAY", {"refuseRealms": "FAR AWAY"}, "refuseRealms"),
        ("alice@AWAY", {"refuseRealms": ["AWAY"]}, "refuseRealms"),
        ("alice@FAR", {"refuseRealms": "AWAY,FAR"}, "refuseRealms"),
        ("alice@AWAY.ORG", {"refuseRealms": "away.org"}, "refuseRealms"),
        ("alice@away.org", {"refuseRealms": "AWAY.ORG"}, "refuseRealms"),
        ("alice@Away.Org", {"refuseRealms": "far aWAY.oRG"}, "refuseRealms"),
        ("WELLKNOWN/ANONYMOUS@HOME", {}, "anonymous"),
        ("WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS", {}, "anonymous"),
        ("a\\@b@HOME", {}, "escaped"),
        ("a\nb@HOME", {}, "control"),
        ("a@b@HOME", {}, "invalid principal"),
        ("@HOME", {}, "invalid principal"),
        ("alice@", {}, "invalid principal"),
        ("", {}, "invalid principal"),
    ],
)
def test_refused(principal: str, values: dict[str, Any], reason: str) -> None:
    """Refused realms, anonymous principals and names that can be read in two ways never get a name."""
    with pytest.raises(LoginFailed, match=reason):
        user_name(principal, "HOME", options(**values))


def test_allowed() -> None:
    """Refusing some realms, or all foreign ones, lets the others in."""
    assert user_name("alice@NEAR", "HOME", options(refuseRealms="FAR AWAY")) == "alice@NEAR"
    assert user_name("alice@HOME", "HOME", options(refuseForeignRealms=True)) == "alice@HOME"


def test_split() -> None:
    """A principal's realm is what follows the last sign, and may be missing."""
    assert split_principal("alice") == ("alice", "")
    assert split_principal("HTTP/a@HOME") == ("HTTP/a", "HOME")


@pytest.mark.parametrize("values", [{"clientRealm": "cut"}, {"refuseForeignRealms": "yes"}, {"refuseRealms": 1}])
def test_options(values: dict[str, Any]) -> None:
    """Anything but the documented values is refused at start-up."""
    with pytest.raises(ValidationError):
        options(**values)
