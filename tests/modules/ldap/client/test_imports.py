"""python-ldap and dnspython are asked for when they are needed, in words that say what to install."""

from __future__ import annotations

import sys

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.ldap.client import imports


def test_missing_python_ldap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-ldap the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "ldap", None)
    monkeypatch.setitem(sys.modules, "ldap.dn", None)
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[ldap\]'"):
        imports.load_ldap()


def test_missing_dnspython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without dnspython the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "dns", None)
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    with pytest.raises(ConfigError, match=r"dnspython .* pip install 'asgi-gateway\[ldap\]'"):
        imports.load_dns()
