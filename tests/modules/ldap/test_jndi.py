"""Options of the jndi login module; what it does with them is tested against a real server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.ldap.jndi import JndiLoginModule, JndiOptions
from tests.helpers import context

URL = "ldap://ldap.example.com/ou=people,dc=example,dc=com"


def test_both_urls_are_required() -> None:
    """The module knows no directory by itself."""
    with pytest.raises(ValidationError, match=r"group\.provider\.url"):
        JndiOptions.model_validate({"user.provider.url": URL})


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-ldap the module can be imported, and says at the start what to install."""
    monkeypatch.setitem(sys.modules, "ldap", None)
    monkeypatch.setitem(sys.modules, "ldap.dn", None)
    options = JndiOptions.model_validate({"user.provider.url": URL, "group.provider.url": URL})
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[ldap\]'"):
        JndiLoginModule(options, context(tmp_path).context)


def test_every_option_is_documented() -> None:
    """The page about the module names every option there is."""
    page = Path(__file__).parents[3].joinpath("docs/reference/modules/jndi.md").read_text()
    missing = [name for name, f in JndiOptions.model_fields.items() if f"`{f.alias or name}`" not in page]
    assert missing == []
