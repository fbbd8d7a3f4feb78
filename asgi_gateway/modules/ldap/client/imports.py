"""python-ldap, imported when a directory is configured and not before."""

from __future__ import annotations

import importlib
from typing import Any

from asgi_gateway.errors import ConfigError

__all__ = ["load", "load_dns"]


def load() -> Any:
    """The ``ldap`` package of python-ldap.

    Raises:
        ConfigError: it is not installed.
    """
    return _load("ldap.dn", "ldap", "python-ldap")


def load_dns() -> Any:
    """The ``dns`` package of dnspython.

    Raises:
        ConfigError: it is not installed.
    """
    return _load("dns.resolver", "dns", "dnspython")


def _load(module: str, package: str, distribution: str) -> Any:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{distribution} cannot be imported ({error}): pip install 'asgi-gateway[ldap]'") from None
    return importlib.import_module(package)
