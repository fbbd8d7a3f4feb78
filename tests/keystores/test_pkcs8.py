from __future__ import annotations

from typing import Never

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import load_keystore
from asgi_gateway.keystores.pkcs8 import private_key
from tests.keystores import PASSWORD, STORES


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return load_keystore(STORES / "server.p12", PASSWORD).credential("server").key


def test_encrypted(key: RSAPrivateKey) -> None:
    """An encrypted key opens with its password, and with no other."""
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert private_key(encoded, "a", "secret").public_key() == key.public_key()
    for wrong in ("falsch", "", "\ud800"):
        with pytest.raises(WrongPassword, match="'a'"):
            private_key(encoded, "a", wrong)


def test_unencrypted(key: RSAPrivateKey) -> None:
    """A key in the clear opens without a password, and is refused where a password should have protected it."""
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert private_key(encoded, "a").public_key() == key.public_key()
    with pytest.raises(ConfigError, match="without a password"):
        private_key(encoded, "a", "secret")


def test_unsupported_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of an algorithm that the library does not know is an error of its own."""

    def refuse(encoded: bytes, password: bytes | None) -> Never:
        raise UnsupportedAlgorithm("Unknown key type")

    monkeypatch.setattr(serialization, "load_der_private_key", refuse)
    with pytest.raises(ConfigError, match="unsupported algorithm") as caught:
        private_key(b"x", "a")
    assert not isinstance(caught.value, WrongPassword)
