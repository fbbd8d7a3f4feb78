"""Options of kerberos5; what it does with them stands in tests/integration/test_kerberos5.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.config import registry
from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.kerberos.kerberos5 import Kerberos5LoginModule, Kerberos5Options
from tests import helpers

ACCEPTOR = {"isInitiator": "false", "useKeyTab": "true", "principal": "*"}


def test_defaults() -> None:
    """Defaults are the JDK's; the KDC is verified, and foreign realms are refused."""
    assert Kerberos5Options().model_dump() == {
        "principal": None,
        "isInitiator": True,
        "useKeyTab": False,
        "keyTab": None,
        "useTicketCache": False,
        "ticketCache": None,
        "renewTGT": False,
        "doNotPrompt": False,
        "storeKey": False,
        "refreshKrb5Config": False,
        "useFirstPass": False,
        "tryFirstPass": False,
        "storePass": False,
        "clearPass": False,
        "debug": False,
        "verifyKDC": True,
        "verifyKeyTab": None,
        "clientRealm": "keep",
        "refuseForeignRealms": True,
        "refuseRealms": (),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"doNotPrompt": "true"}, "doNotPrompt leaves no way to log in"),
        ({"ticketCache": "/tmp/cc"}, "ticketCache needs useTicketCache"),
        ({"keyTab": "/etc/krb5.keytab"}, "keyTab needs useKeyTab"),
        ({"storeKey": "true", "doNotPrompt": "true", "useTicketCache": "true"}, "storeKey with doNotPrompt"),
        ({"renewTGT": "true"}, "renewTGT needs useTicketCache"),
        ({"principal": "*"}, "for acceptors"),
        ({"principal": "*", "useKeyTab": "true"}, "for acceptors"),
        ({"isInitiator": "false", "principal": "HTTP/a"}, "set useKeyTab=true"),
        ({"isInitiator": "false", "useKeyTab": "true"}, "an acceptor needs a principal"),
        ({"verifyKDC": "false", "verifyKeyTab": "x"}, "contradicts"),
        ({"useKeyTab": "yes"}, "neither true nor false"),
        ({"useKeytab": "true"}, "Extra inputs"),
        ({"principal": ""}, "invalid principal .leave principal out for none"),
        ({"principal": "alice@"}, "invalid principal"),
        ({"principal": "a@b@EXAMPLE.COM"}, "invalid principal"),
        ({"principal": "a\\@b"}, "escaped or control characters"),
        (ACCEPTOR | {"principal": ""}, "invalid principal"),
    ],
)
def test_illegal(options: dict[str, Any], message: str) -> None:
    """Combinations that the JDK refuses, and ours, stop the start with a sentence that says what to set."""
    with pytest.raises(ValidationError, match=message):
        Kerberos5Options.model_validate(options)


@pytest.mark.parametrize(
    "options",
    [
        {"doNotPrompt": "true", "useTicketCache": "true"},
        {"doNotPrompt": "TRUE", "useKeyTab": "true"},
        {"doNotPrompt": "true", "tryFirstPass": "true"},
        {"doNotPrompt": "true", "useFirstPass": "true", "storeKey": "true"},
        {"storeKey": "true"},
        {"useTicketCache": "true", "ticketCache": "cc", "renewTGT": "true"},
        {"useKeyTab": "true", "keyTab": "k", "principal": "HTTP/a"},
        ACCEPTOR,
        ACCEPTOR | {"storeKey": "true", "doNotPrompt": "true", "keyTab": "k", "refreshKrb5Config": "true"},
    ],
)
def test_legal(options: dict[str, Any]) -> None:
    """Combinations that the JDK takes are taken."""
    Kerberos5Options.model_validate(options)


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        ({}, True),
        ({"useKeyTab": True}, True),
        ({"useKeyTab": True, "doNotPrompt": True}, False),
        ({"useKeyTab": True, "doNotPrompt": True, "tryFirstPass": True}, True),
        (ACCEPTOR, False),
        (ACCEPTOR | {"tryFirstPass": True}, False),
    ],
)
def test_takes_passwords(options: dict[str, Any], takes: bool) -> None:
    """Only an initiator that may ask, or is handed a password, can authenticate a client."""
    assert Kerberos5Options.model_validate(options).takes_passwords is takes


def test_without_gssapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the start stops and says what to install."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ConfigError, match=r"asgi-gateway\[kerberos\]"):
        Kerberos5LoginModule(Kerberos5Options(), helpers.context(tmp_path).context)


def test_registered() -> None:
    """The registry knows it by the original's name."""
    assert registry.login_module("kerberos5") is Kerberos5LoginModule
