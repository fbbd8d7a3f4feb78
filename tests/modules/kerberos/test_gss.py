"""Options of gss; what it does with tickets stands in tests/integration/test_gss.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.config import registry
from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.kerberos.gss import GssLoginModule, GssOptions
from tests import helpers


def test_defaults() -> None:
    """By default the original's option is off, names keep their realm, and delegated credentials are not passed on."""
    assert GssOptions().model_dump() == {
        "tryFirstToken": False,
        "requireFlags": (),
        "storeDelegated": False,
        "clientRealm": "keep",
        "refuseForeignRealms": False,
        "refuseRealms": (),
    }


def test_flags() -> None:
    """Flags are words, separated by spaces or commas, or a list."""
    for value in ("mutual integrity", "mutual, integrity", ["mutual", "integrity"]):
        assert GssOptions.model_validate({"requireFlags": value}).requireFlags == ("mutual", "integrity")


@pytest.mark.parametrize(
    "options", [{"requireFlags": "mutal"}, {"tryFirstToken": "1"}, {"keyTab": "k"}, {"storeDelegated": "yes"}]
)
def test_illegal(options: dict[str, Any]) -> None:
    """Unknown flags, options and values stop the start."""
    with pytest.raises(ValidationError):
        GssOptions.model_validate(options)


def test_declarations() -> None:
    """gss authenticates, is never cached, and relies on a shared store against replays."""
    assert GssLoginModule.authenticates
    assert GssLoginModule.needs_credentials
    assert GssLoginModule.replay_protected
    assert not GssLoginModule.cacheable


def test_without_gssapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the start stops and says what to install."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(ConfigError, match=r"asgi-gateway\[kerberos\]"):
        GssLoginModule(GssOptions(), helpers.context(tmp_path).context)


def test_registered() -> None:
    """The registry knows it by the original's name."""
    assert registry.login_module("gss") is GssLoginModule
