"""Read private keys from their PKCS #8 encoding (RFC 5208)."""

from __future__ import annotations

from typing import Any

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword, fault, keystore_extra

__all__ = ["private_key"]

_CONVERT = "convert it: keytool -importkeystore"


def private_key(encoded: bytes, alias: str, password: str | None = None) -> Any:
    """Return a private key object of ``cryptography``.

    Args:
        encoded: DER, encrypted if there is a password.
        alias: the key's alias, for messages.
        password: the key's password. A key that is not encrypted is refused then, since any password would open it.

    Raises:
        WrongPassword: the password does not open it.
        ConfigError: it is not encrypted, or of an unsupported algorithm.
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
        raise fault(f"has a key {alias!r} of an unsupported algorithm", _CONVERT) from error
    except UnicodeEncodeError:
        raise WrongPassword(f"does not give the key {alias!r} for this password") from None
    except ValueError as error:
        if password is None:
            raise WrongPassword(f"does not give the key {alias!r} for this password") from None
        return _decrypted_here(encoded, alias, password, error)


def _decrypted_here(encoded: bytes, alias: str, password: str, error: ValueError) -> Any:
    """Return a key that ``cryptography`` did not decrypt: the password is wrong, or it does not know the cipher."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    with keystore_extra():
        from pyasn1.codec.der import decoder
        from pyasn1_modules import rfc5208

        from asgi_gateway.keystores.pkcs12_crypto import UnknownAlgorithm, decrypted
    try:
        info, _ = decoder.decode(encoded, asn1Spec=rfc5208.EncryptedPrivateKeyInfo())
        clear = decrypted(info["encryptionAlgorithm"], bytes(info["encryptedData"]), password)
        return load_der_private_key(clear, None)
    except ConfigError:
        raise
    except (UnknownAlgorithm, UnsupportedAlgorithm) as unknown:
        if not str(error).startswith("Unknown"):  # cryptography knows the cipher, and so the password is wrong
            raise WrongPassword(f"does not give the key {alias!r} for this password") from None
        message = f"has a key {alias!r} that is encrypted, or of a kind, that is not supported: {unknown}"
        raise fault(message, _CONVERT) from error
    except Exception:  # pyasn1 raises errors of many kinds; a wrong password makes nonsense of the key
        raise WrongPassword(f"does not give the key {alias!r} for this password") from None
