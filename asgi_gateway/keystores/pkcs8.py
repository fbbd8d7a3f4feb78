"""Private keys from their PKCS #8 encoding (RFC 5208)."""

from __future__ import annotations

from typing import Any

from asgi_gateway.keystores.errors import WrongPassword, fault

__all__ = ["private_key"]


def private_key(encoded: bytes, alias: str, password: str | None = None) -> Any:
    """A private key object of ``cryptography``.

    Args:
        encoded: DER, encrypted if there is a password; what a wrong password made of a key is no key.
        alias: for messages.
        password: what it is encrypted with. A key that is not encrypted is refused then: any password would open it.

    Raises:
        WrongPassword: the password does not open it.
        ConfigError: it is not encrypted, or of an unsupported kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    if password == "":  # cryptography takes it for none
        raise WrongPassword(f"does not give the key {alias!r} for an empty password")
    try:
        return load_der_private_key(encoded, None if password is None else password.encode())
    except TypeError as error:
        raise fault(f"has a key {alias!r} without a password", "export it again with one") from error
    except UnsupportedAlgorithm as error:
        raise fault(f"has a key {alias!r} of an unsupported algorithm") from error
    except ValueError:
        raise WrongPassword(f"does not give the key {alias!r} for this password") from None
