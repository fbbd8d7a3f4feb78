"""Reads PKCS #12 stores (RFC 7292), Java's default format, with ``cryptography``.

``cryptography`` gives every certificate but one key only, while a Java keystore may hold many. The keys stand one by
one in the part of the file that is not encrypted as a whole, each encrypted for itself: they are taken from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from asgi_gateway.keystores.errors import WrongPassword, fault, keystore_extra
from asgi_gateway.keystores.pkcs8 import private_key
from asgi_gateway.keystores.store import KeyEntry

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["read_pkcs12"]


class _Certificate(NamedTuple):
    name: str
    certificate: x509.Certificate


def read_pkcs12(data: bytes, password: str | None) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    """The keys (still encrypted), the trusted certificates, and whether the store's MAC was checked.

    Args:
        data: the file's content.
        password: the store's, None for stores without.

    Raises:
        WrongPassword: the MAC does not match.
        ConfigError: the file is damaged, or its algorithms are unknown.
    """
    with keystore_extra():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import pkcs12
        from pyasn1_modules import rfc7292
    try:
        pfx = _decode(data, rfc7292.PFX())
        bags = list(_key_bags(pfx))
    except Exception as error:  # pyasn1 raises whatever it trips over
        raise fault("is truncated or damaged", "restore it from a backup") from error
    try:
        content = pkcs12.load_pkcs12(data, None if password is None else password.encode())
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        if not isinstance(error, UnicodeEncodeError) and "password" not in str(error):
            raise fault(f"has a key or certificate that cannot be read: {error}") from error
        if password is None:
            raise fault("cannot be opened without its password", "set password-file") from None
        raise WrongPassword(
            "cannot be opened: the password is wrong, or the file was changed by somebody without it"
        ) from None
    certificates = [
        _Certificate((found.friendly_name or b"").decode("utf-8", "replace").lower(), found.certificate)
        for found in (content.cert, *content.additional_certs)
        if found is not None
    ]
    return _sorted_out(bags, certificates, password, bool(pfx["macData"].hasValue()))


def _key_bags(pfx: Any) -> Iterator[tuple[str, bytes]]:
    """The friendly name (empty if none) and the PKCS #8 encoding of each key in the parts that are not encrypted."""
    from pyasn1_modules import rfc5652, rfc7292

    for part in _decode(_octets(pfx["authSafe"]["content"]), rfc7292.AuthenticatedSafe()):
        if part["contentType"] != rfc5652.id_data:
            continue
        for bag in _decode(_octets(part["content"]), rfc7292.SafeContents()):
            if bag["bagId"] in (rfc7292.id_pkcs8ShroudedKeyBag, rfc7292.id_keyBag):
                yield _friendly_name(bag), bytes(bag["bagValue"])


def _friendly_name(bag: Any) -> str:
    from pyasn1_modules import rfc7292

    for attribute in bag["bagAttributes"] if bag["bagAttributes"].hasValue() else ():
        if attribute["attrType"] == rfc7292.pkcs_9_at_friendlyName:
            return str(_decode(attribute["attrValues"][0], rfc7292.FriendlyName())).lower()
    return ""


def _sorted_out(
    bags: list[tuple[str, bytes]], certificates: list[_Certificate], password: str | None, verified: bool
) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    from cryptography.hazmat.primitives.serialization import Encoding

    keys: list[KeyEntry] = []
    chained: set[x509.Certificate] = set()
    for number, (name, encoded) in enumerate(bags, 1):
        entry_open = _opener(name or str(number), encoded)
        chain = _chain(_leaf(name, entry_open, certificates, password), certificates)
        chained.update(chain)
        der = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
        keys.append(KeyEntry(name or str(number), der, entry_open))
    aliases = {entry.alias for entry in keys}
    trusted: dict[str, bytes] = {}
    for name, certificate in certificates:
        # in a key's chain, Java names the key's own certificate like the key and the issuers after their subjects,
        # others leave names out: an alias of its own says that somebody imported the certificate as trusted
        if certificate in chained and (not name or "=" in name or name in aliases):
            continue
        alias = name or certificate.subject.rfc4514_string().lower()
        trusted[alias if alias not in trusted else f"{alias} ({len(trusted)})"] = certificate.public_bytes(Encoding.DER)
    return tuple(keys), trusted, verified


def _leaf(name: str, entry_open: Any, certificates: list[_Certificate], password: str | None) -> Any:
    """The certificate of a key: the one with its name, else (OpenSSL leaves names out) the one with its public key."""
    named = [certificate for other, certificate in certificates if name and other == name]
    if named:
        return named[0]
    if password is None:
        return None
    public = entry_open(password).public_key()
    return next((certificate for _, certificate in certificates if certificate.public_key() == public), None)


def _chain(leaf: Any, certificates: list[_Certificate]) -> list[x509.Certificate]:
    """A certificate and its issuers, as far as they are in the store."""
    chain = [] if leaf is None else [leaf]
    while chain and chain[-1].issuer != chain[-1].subject:
        issuer = next((other for _, other in certificates if other not in chain and _issued(other, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _opener(alias: str, encoded: bytes) -> Any:
    def open_key(password: str) -> Any:
        return private_key(encoded, alias, password)

    return open_key


def _decode(encoded: Any, spec: Any) -> Any:
    from pyasn1.codec.ber import decoder

    return decoder.decode(bytes(encoded), asn1Spec=spec)[0]


def _octets(content: Any) -> bytes:
    from pyasn1.type import univ

    return bytes(_decode(content, univ.OctetString()))
