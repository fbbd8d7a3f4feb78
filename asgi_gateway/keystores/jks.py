"""Read Java's own keystore formats, JKS and JCEKS (version 2).

Both are a list of entries with an SHA-1 digest over password and content at the end; see
``sun.security.provider.JavaKeyStore`` and ``com.sun.crypto.provider.JceKeyStore`` of the JDK. Each key is encrypted for
itself, with an algorithm of Java's own. The formats are old and weak: anyone with the file can try passwords fast.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from typing import Any

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword, fault, keystore_extra
from asgi_gateway.keystores.pkcs8 import private_key
from asgi_gateway.keystores.store import KeyEntry

__all__ = ["JCEKS_MAGIC", "JKS_MAGIC", "read_java"]

JKS_MAGIC = b"\xfe\xed\xfe\xed"
JCEKS_MAGIC = b"\xce\xce\xce\xce"

_KEY, _TRUSTED, _SECRET = 1, 2, 3
_DIGEST_SIZE = 20
_SALT_SIZE = 8
_MOST_ITERATIONS = 5_000_000
"""The JDK's own bound."""
_JKS_KEY_ALGORITHM = "1.3.6.1.4.1.42.2.17.1.1"
_JCEKS_KEY_ALGORITHM = "1.3.6.1.4.1.42.2.19.1"


def read_java(data: bytes, password: str | None) -> tuple[tuple[KeyEntry, ...], dict[str, bytes], bool]:
    """Return the keys, still encrypted, the trusted certificates, and whether the store's digest was checked.

    Args:
        data: the file's content.
        password: the store's; without one the digest is not checked.

    Raises:
        WrongPassword: the digest does not match: the password is wrong, or the file was changed.
        ConfigError: the file is damaged, or has an unsupported version or certificate.
    """
    reader = _Reader(data, len(JKS_MAGIC))
    if reader.number(4) != 2:
        raise fault("is of an unsupported version", "convert it: keytool -importkeystore")
    keys: list[KeyEntry] = []
    trusted: dict[str, bytes] = {}
    for _ in range(reader.number(4)):
        tag, alias, _ = reader.number(4), reader.text().lower(), reader.number(8)
        if tag == _KEY:
            encrypted = reader.block(4)
            chain = tuple(reader.certificate() for _ in range(reader.number(4)))
            keys.append(KeyEntry(alias, chain, _opener(alias, encrypted)))
        elif tag == _TRUSTED:
            trusted[alias] = reader.certificate()
        elif tag == _SECRET:
            reader.skip_java_object()
        else:
            raise _damaged()
    content, digest = data[: reader.position], data[reader.position :]
    if len(digest) != _DIGEST_SIZE:
        raise _damaged()
    if password is not None and not hmac.compare_digest(_sha1(_utf16(password), b"Mighty Aphrodite", content), digest):
        raise WrongPassword("cannot be opened: the password is wrong, or the file was changed by someone without it")
    return tuple(keys), trusted, password is not None


class _Reader:
    """Reads the output of Java's ``DataOutputStream``."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def block(self, size_of_size: int) -> bytes:
        return self._take(self.number(size_of_size))

    def text(self) -> str:
        """Read a string in Java's modified UTF-8: NUL takes two bytes, two UTF-16 surrogates take three bytes each."""
        try:
            units = self.block(2).replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
            return units.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise _damaged() from error

    def certificate(self) -> bytes:
        kind, encoded = self.text(), self.block(4)
        if kind != "X.509":
            raise fault(f"has a certificate of the unknown type {kind!r}")
        return encoded

    def skip_java_object(self) -> None:
        """Skip a secret key, which is a serialized Java object without a length."""
        with keystore_extra():
            import javaobj
        stream = io.BytesIO(self._data[self.position :])
        try:
            javaobj.load(stream, ignore_remaining_data=True)
        except Exception as error:  # javaobj raises errors of many kinds
            raise _damaged() from error
        self.position += stream.tell()

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.position:
            raise _damaged()
        self.position += size
        return self._data[self.position - size : self.position]


def _opener(alias: str, encrypted: bytes) -> Any:
    def open_key(password: str) -> Any:
        return private_key(_decrypted(alias, encrypted, password), alias)

    return open_key


def _decrypted(alias: str, encrypted: bytes, password: str) -> bytes:
    """Return the PKCS #8 encoding of a key from its EncryptedPrivateKeyInfo (RFC 5208)."""
    with keystore_extra():
        from pyasn1.codec.ber import decoder
        from pyasn1_modules import rfc5208
    try:
        info, _ = decoder.decode(encrypted, asn1Spec=rfc5208.EncryptedPrivateKeyInfo())
        algorithm = str(info["encryptionAlgorithm"]["algorithm"])
        content = bytes(info["encryptedData"])
        if algorithm == _JCEKS_KEY_ALGORITHM:
            parameters, _ = decoder.decode(bytes(info["encryptionAlgorithm"]["parameters"]))
            salt, iterations = bytes(parameters[0]), int(parameters[1])
    except Exception as error:  # pyasn1 raises errors of many kinds
        raise fault(f"has a damaged key {alias!r}") from error
    if algorithm == _JKS_KEY_ALGORITHM:
        decoded = _jks_decrypted(content, password)
    elif algorithm == _JCEKS_KEY_ALGORITHM and len(salt) == _SALT_SIZE and 0 < iterations <= _MOST_ITERATIONS:
        decoded = _jceks_decrypted(content, password, salt, iterations)
    else:
        raise fault(f"has a key {alias!r} encrypted in an unsupported way", "convert it: keytool -importkeystore")
    if decoded is None:
        raise WrongPassword(f"does not give the key {alias!r} for this password")
    return decoded


def _jks_decrypted(content: bytes, password: str) -> bytes | None:
    """XOR with a chain of SHA-1 digests (``sun.security.provider.KeyProtector``); None for a wrong password."""
    secret = _utf16(password)
    link, content, check = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    stream = bytearray()
    while len(stream) < len(content):
        link = _sha1(secret, link)
        stream += link
    decoded = bytes(a ^ b for a, b in zip(content, stream, strict=False))
    return decoded if hmac.compare_digest(_sha1(secret, decoded), check) else None


def _jceks_decrypted(content: bytes, password: str, salt: bytes, iterations: int) -> bytes | None:
    """Java's PBEWithMD5AndTripleDES (``com.sun.crypto.provider.PBES1Core``); None for a wrong password."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.padding import PKCS7

    if not password.isascii():  # Java allows no others here
        return None
    secret, halves = password.encode(), [salt[:4], salt[4:]]
    if halves[0] == halves[1]:  # Java means to reverse the first half, and has always missed
        a, b, _, d = halves[0]
        halves[0] = bytes((d, a, b, d))
    for index, half in enumerate(halves):
        link = half
        for _ in range(iterations):
            link = hashlib.md5(link + secret, usedforsecurity=False).digest()
        halves[index] = link
    derived = halves[0] + halves[1]
    decryptor = Cipher(TripleDES(derived[:24]), modes.CBC(derived[24:])).decryptor()
    unpadder = PKCS7(64).unpadder()
    try:
        padded = decryptor.update(content) + decryptor.finalize()
        decoded: bytes = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        return None
    return decoded if decoded.startswith(b"\x30") else None


def _sha1(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()


def _utf16(password: str) -> bytes:
    return password.encode("utf-16-be", "surrogatepass")


def _damaged() -> ConfigError:
    return fault("is truncated or damaged", "restore it from a backup")
