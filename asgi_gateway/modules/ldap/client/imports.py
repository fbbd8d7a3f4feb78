"""Import python-ldap and dnspython when a directory is configured, and not before."""

from __future__ import annotations

import importlib
from typing import Any

from asgi_gateway.errors import ConfigError

__all__ = ["load_dns", "load_ldap", "load_policy_controls"]


def load_ldap() -> Any:
    """Return the ``ldap`` package of python-ldap.

    Raises:
        ConfigError: it is not installed.
    """
    return _load("ldap.dn", "ldap", "python-ldap")


def load_policy_controls() -> Any:
    """Return python-ldap's module for the password policy control.

    Raises:
        ConfigError: it is not installed, or pyasn1 is missing.
    """
    return _load("ldap.controls.ppolicy", "ldap.controls.ppolicy", "python-ldap")


def load_dns() -> Any:
    """Return the ``dns`` package of dnspython.

    Raises:
        ConfigError: it is not installed.
    """
    return _load("dns.resolver", "dns", "dnspython")


def _load(module: str, package: str, distribution: str) -> Any:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"cannot import {distribution} ({error}): pip install 'asgi-gateway[ldap]'") from None
    return importlib.import_module(package)
