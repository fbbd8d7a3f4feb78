"""Reads Java's own keystore formats, JKS and JCEKS, with pyjks."""

from __future__ import annotations

from typing import Any

from asgi_gateway.keystores.faults import WrongPassword, fault, keystore_extra
from asgi_gateway.keystores.keys import private_key
from asgi_gateway.keystores.store import KeyEntry

__all__ = ["read_java"]


def read_java(data: bytes, password: str | None) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    """The keys (still encrypted), the trusted certificates, and whether the store's digest was checked.

    Args:
        data: the file's content.
        password: the store's; without one the digest is not checked.

    Raises:
        WrongPassword: the digest does not match: another password, or somebody changed the file.
        ConfigError: the file is damaged, or of a version or with certificates that nobody reads.
    """
    with keystore_extra():
        import jks
    try:
        store = jks.KeyStore.loads(data, password, try_decrypt_keys=False)
    except (jks.KeystoreSignatureException, UnicodeEncodeError):
        raise WrongPassword(
            "cannot be opened: the password is wrong, or the file was changed by somebody without it"
        ) from None
    except jks.UnsupportedKeystoreVersionException as error:
        raise fault("is of an unsupported version", "convert it: keytool -importkeystore") from error
    except Exception as error:  # pyjks and the libraries below it raise whatever they trip over
        raise fault("is truncated or damaged", "restore it from a backup") from error
    keys = tuple(_entry(alias, entry, store.store_type) for alias, entry in store.private_keys.items())
    trusted = {alias.lower(): bytes(entry.cert) for alias, entry in store.certs.items()}
    return keys, trusted, password is not None


def _entry(alias: str, entry: Any, store_type: str) -> KeyEntry:
    import jks

    encrypted = bytes(entry._encrypted)

    def open_key(password: str) -> Any:
        # pyjks keeps an opened key open for whatever password comes next: every attempt starts from a fresh entry
        fresh = jks.PrivateKeyEntry(cert_chain=[], encrypted=encrypted, store_type=store_type, alias=alias)
        try:
            fresh.decrypt(password)
        except jks.UnexpectedAlgorithmException as error:
            raise fault(f"has a key {alias!r} encrypted in an unsupported way") from error
        except Exception:  # a wrong password gives random bytes, and those any error
            raise WrongPassword(f"does not give the key {alias!r} for this password") from None
        return private_key(fresh.pkey_pkcs8, alias)

    return KeyEntry(alias.lower(), tuple(bytes(der) for _, der in entry.cert_chain), open_key)
