"""Keystores and truststores: ``security/keystore``, ``security/truststore``, and those of the keystore login module."""

from __future__ import annotations

from asgi_gateway.keystores.credential import ServerTLS, X500PrivateCredential
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import (
    StoreSettings,
    check_keystore,
    load_keystore,
    open_store,
    read_password,
    uvicorn_tls,
)
from asgi_gateway.keystores.server_names import PortTLS, port_tls
from asgi_gateway.keystores.store import KeyStore, validity_problem

__all__ = [
    "KeyStore",
    "PortTLS",
    "ServerTLS",
    "StoreSettings",
    "WrongPassword",
    "X500PrivateCredential",
    "check_keystore",
    "load_keystore",
    "open_store",
    "port_tls",
    "read_password",
    "uvicorn_tls",
    "validity_problem",
]
