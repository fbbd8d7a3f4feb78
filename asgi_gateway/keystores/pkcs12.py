"""Read PKCS #12 stores (RFC 7292), Java's default format, entry by entry.

One entry that cannot be read leaves the others usable, as in the JDK: keys are opened one by one when they are asked
for, each perhaps with a password of its own, and a certificate that ``cryptography`` refuses concerns its own key only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.der import as_der, distinguished_name, read_certificate
from asgi_gateway.keystores.errors import WrongPassword, fault, keystore_extra
from asgi_gateway.keystores.pkcs8 import private_key
from asgi_gateway.keystores.pkcs12_crypto import UnknownAlgorithm, decrypted, mac_matches
from asgi_gateway.keystores.store import KeyEntry

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["read_pkcs12"]

_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_KEY_BAGS = {"1.2.840.113549.1.12.10.1.1", "1.2.840.113549.1.12.10.1.2"}
_CERTIFICATE_BAG = "1.2.840.113549.1.12.10.1.3"
_NESTED_BAG = "1.2.840.113549.1.12.10.1.6"
_X509 = "1.2.840.113549.1.9.22.1"
_FRIENDLY_NAME = "1.2.840.113549.1.9.20"
_LOCAL_KEY_ID = "1.2.840.113549.1.9.21"
_MAX_NESTING = 5
_MANY_ITERATIONS = 20_000
"""The JDK uses 10,000, some 5 ms of Python; NSS uses 600,000."""
_WRONG = "cannot be opened: the password is wrong, or the file was changed by someone without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """A key or a certificate as the store has it.

    Args:
        encoded: the key as PKCS #8 or the certificate, in DER.
        name: the friendly name in lower case; empty if there is none.
        key_id: what a key and its certificate have in common; empty if there is none.
    """

    encoded: bytes = field(repr=False)
    name: str = ""
    key_id: bytes = b""


def read_pkcs12(data: bytes, password: str | None) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    """Return the keys, still encrypted, the trusted certificates, and whether the store's MAC was checked.

    Args:
        data: the file's content, in DER or BER.
        password: the store's password, None for stores without.

    Raises:
        WrongPassword: the MAC does not match, or the certificates cannot be decrypted.
        ConfigError: the file is damaged, or its algorithms are unknown.
    """
    with keystore_extra():
        import cryptography  # noqa: F401
        from pyasn1_modules import rfc7292
    with _damaged_if_malformed():
        pfx = _decode(as_der(data), rfc7292.PFX())
        content = _octets(pfx["authSafe"]["content"])
        parts = list(_decode(as_der(content), rfc7292.AuthenticatedSafe()))
        has_mac = bool(pfx["macData"].hasValue())
    if has_mac and not (int(pfx["macData"]["iterations"]) > _MANY_ITERATIONS and _library_opens(data, password)):
        _check_mac(pfx["macData"], content, password)
    with _damaged_if_malformed():
        bags = [bag for part in parts for bag in _bags(part, password)]
    keys = [bag for kind, bag in bags if kind in _KEY_BAGS]
    certificates = [bag for kind, bag in bags if kind == _CERTIFICATE_BAG]
    entries, trusted = sort_entries(keys, certificates, password)
    return entries, trusted, has_mac


@contextmanager
def _damaged_if_malformed() -> Iterator[None]:
    """Turn what parsers raise into the error that the file is damaged."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # pyasn1 raises errors of many kinds
        raise fault("is truncated or damaged", "restore it from a backup") from error


def _library_opens(data: bytes, password: str | None) -> bool:
    """Return whether ``cryptography`` opens the whole store; it computes the MAC much faster than Python code."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of BER
            pkcs12.load_pkcs12(data, None if password is None else password.encode())
    except Exception:  # one of its entries, or the password
        return False
    return True


def _check_mac(mac_data: Any, content: bytes, password: str | None) -> None:
    if password is None:
        raise fault("cannot be opened without its password", "set password-file")
    try:
        matches = mac_matches(mac_data, content, password)
    except UnknownAlgorithm as error:
        raise fault(f"has a MAC of the unknown algorithm {error}", "convert it: keytool -importkeystore") from error
    if not matches:
        raise WrongPassword(_WRONG)


def _bags(part: Any, password: str | None) -> Iterator[tuple[str, Bag]]:
    """Yield kind and content of each key and certificate in a part of the store."""
    from pyasn1_modules import rfc5652

    kind = str(part["contentType"])
    if kind == _DATA:
        yield from _safe_contents(_octets(part["content"]))
    elif kind == _ENCRYPTED_DATA:
        if password is None:
            raise fault("cannot be opened without its password", "set password-file")
        info = _decode(part["content"], rfc5652.EncryptedData())["encryptedContentInfo"]
        content = bytes(info["encryptedContent"])
        try:
            clear = decrypted(info["contentEncryptionAlgorithm"], content, password)
        except UnknownAlgorithm as error:
            yield from _by_library(part, password, str(error))
            return
        except ValueError:
            raise WrongPassword(_WRONG) from None
        try:
            yield from _safe_contents(clear)
        except Exception:  # what a wrong password makes of the content is malformed
            raise WrongPassword(_WRONG) from None
    else:
        hint = "it is encrypted for a certificate; convert it: keytool -importkeystore"
        raise fault("has a part of an unsupported kind", hint)


def _safe_contents(encoded: bytes, depth: int = 0) -> Iterator[tuple[str, Bag]]:
    from pyasn1_modules import rfc7292

    for bag in _decode(as_der(encoded), rfc7292.SafeContents()):
        kind, value = str(bag["bagId"]), bytes(bag["bagValue"])
        attributes = dict(_attributes(bag))
        name = str(attributes.get(_FRIENDLY_NAME, "")).lower()
        key_id = bytes(attributes.get(_LOCAL_KEY_ID, b""))
        if kind in _KEY_BAGS:
            yield kind, Bag(encoded=value, name=name, key_id=key_id)
        elif kind == _CERTIFICATE_BAG:
            certificate = _decode(value, rfc7292.CertBag())
            if str(certificate["certId"]) == _X509:
                yield kind, Bag(encoded=_octets(certificate["certValue"]), name=name, key_id=key_id)
        elif kind == _NESTED_BAG and depth < _MAX_NESTING:
            yield from _safe_contents(value, depth + 1)


def _attributes(bag: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that matter; a malformed one counts as missing."""
    from pyasn1.type import char, univ

    # BMPString without the RFC's bound on the length, which keytool does not keep
    specs = {_FRIENDLY_NAME: char.BMPString(), _LOCAL_KEY_ID: univ.OctetString()}
    for attribute in bag["bagAttributes"] if bag["bagAttributes"].hasValue() else ():
        kind = str(attribute["attrType"])
        if kind in specs and len(attribute["attrValues"]):
            with suppress(Exception):
                yield kind, _decode(attribute["attrValues"][0], specs[kind])


def _by_library(part: Any, password: str, algorithm: str) -> Iterator[tuple[str, Bag]]:
    """Yield the certificates of a part that only ``cryptography`` decrypts (RC2 with 40 bits, of old JDKs)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = pkcs12.load_pkcs12(_store_of(part), password.encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        if "password" in str(error):
            raise WrongPassword(_WRONG) from None
        message = f"is encrypted in an unsupported way ({algorithm}), or has a certificate that cannot be read"
        raise fault(message, "convert it: keytool -importkeystore") from error
    for found in (content.cert, *content.additional_certs):
        if found is not None:
            name = (found.friendly_name or b"").decode("utf-8", "replace").lower()
            yield _CERTIFICATE_BAG, Bag(encoded=found.certificate.public_bytes(Encoding.DER), name=name)


def _store_of(part: Any) -> bytes:
    """Return a store, without MAC, that has just one part."""
    from pyasn1.codec.der import encoder
    from pyasn1.type import univ
    from pyasn1_modules import rfc7292

    safe = rfc7292.AuthenticatedSafe()
    safe.append(part)
    pfx = rfc7292.PFX()
    pfx["version"] = 3
    pfx["authSafe"]["contentType"] = univ.ObjectIdentifier(_DATA)
    pfx["authSafe"]["content"] = univ.Any(encoder.encode(univ.OctetString(encoder.encode(safe))))
    return bytes(encoder.encode(pfx))


# ------------------------------------------------------------------------------------------------------------- entries


def sort_entries(
    keys: Sequence[Bag], certificates: Sequence[Bag], password: str | None
) -> tuple[tuple[KeyEntry, ...], dict[str, bytes]]:
    """Give each key its chain, and return the keys and the certificates that are trusted.

    In a key's chain, Java names the key's own certificate like the key and the issuers after their subjects, others
    leave names out: a certificate with an alias of its own was imported as trusted.

    Args:
        keys: the keys.
        certificates: all certificates.
        password: the store's password, for keys that only their public key connects with a certificate.
    """
    entries = list[KeyEntry]()
    chained = set[bytes]()
    for number, bag in enumerate(keys, 1):
        alias = bag.name or str(number)
        open_key = partial(_open, bag.encoded, alias)
        chain = _chain(_leaf(bag, open_key, certificates, password), certificates)
        chained.update(chain)
        entries.append(KeyEntry(alias, tuple(chain), open_key))
    aliases = {entry.alias for entry in entries}
    trusted = dict[str, bytes]()
    for bag in certificates:
        if bag.encoded in chained and (not bag.name or "=" in bag.name or bag.name in aliases):
            continue
        alias = bag.name or _subject(bag.encoded)
        trusted[alias if alias not in trusted else f"{alias} ({len(trusted)})"] = bag.encoded
    return tuple(entries), trusted


def _open(encoded: bytes, alias: str, password: str) -> Any:
    return private_key(encoded, alias, password)


def _leaf(key: Bag, open_key: Callable[[str], Any], certificates: Sequence[Bag], password: str | None) -> bytes | None:
    """Return a key's certificate: with its key id, else with its name, else (OpenSSL omits both) its public key."""
    for field_name in ("key_id", "name"):
        wanted = getattr(key, field_name)
        found = [bag.encoded for bag in certificates if wanted and getattr(bag, field_name) == wanted]
        if found:
            return found[0]
    if password is None:
        return None
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    with suppress(ConfigError):  # the key has a password of its own, or is of an unsupported kind
        public = open_key(password).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for bag in certificates:
            with suppress(ValueError):
                if read_certificate(bag.encoded).public_key == public:
                    return bag.encoded
    return None


def _chain(leaf: bytes | None, certificates: Iterable[Bag]) -> list[bytes]:
    """Return a certificate and its issuers, as far as they are in the store."""
    chain = [] if leaf is None else [leaf]
    while chain:
        issuer = next(
            (bag.encoded for bag in certificates if bag.encoded not in chain and _issued(bag.encoded, chain[-1])), None
        )
        if issuer is None or _is_self_signed(chain[-1]):
            break
        chain.append(issuer)
    return chain


def _is_self_signed(encoded: bytes) -> bool:
    try:
        certificate = read_certificate(encoded)
    except ValueError:
        return True
    return certificate.issuer == certificate.subject


def _issued(issuer: bytes, encoded: bytes) -> bool:
    """Return whether a certificate was issued by the subject of another; its signature decides where it can be read."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        if read_certificate(issuer).subject != read_certificate(encoded).issuer:
            return False
        above: x509.Certificate = x509.load_der_x509_certificate(issuer)
        x509.load_der_x509_certificate(encoded).verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(encoded: bytes) -> str:
    try:
        return distinguished_name(read_certificate(encoded).subject).lower()
    except ValueError:
        return "unreadable"


def _decode(encoded: Any, spec: Any) -> Any:
    from pyasn1.codec.der import decoder

    return decoder.decode(bytes(encoded), asn1Spec=spec)[0]


def _octets(content: Any) -> bytes:
    from pyasn1.type import univ

    return bytes(_decode(content, univ.OctetString()))
