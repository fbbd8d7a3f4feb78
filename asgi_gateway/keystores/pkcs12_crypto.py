"""Check the MAC and decrypt the contents of PKCS #12 stores (RFC 7292 appendices B and C, RFC 8018, RFC 9579).

``cryptography`` does both, but for a whole store at once: one certificate that it refuses would close all of it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from asgi_gateway.keystores.errors import fault

__all__ = ["UnknownAlgorithm", "decrypted", "mac_matches"]

_MAX_ITERATIONS = 5_000_000
"""The JDK's own bound."""
_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
_PBMAC1 = "1.2.840.113549.1.5.14"
_HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.4": "sha224",
}
_HMACS = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
_AES_KEY_BYTES = {
    "2.16.840.1.101.3.4.1.2": 16,
    "2.16.840.1.101.3.4.1.22": 24,
    "2.16.840.1.101.3.4.1.42": 32,
}
_PBE_TRIPLE_DES = "1.2.840.113549.1.12.1.3"
_PBE_RC2_128 = "1.2.840.113549.1.12.1.5"
_PBE_RC4 = {"1.2.840.113549.1.12.1.1": 16, "1.2.840.113549.1.12.1.2": 5}
_KEY, _IV, _MAC = 1, 2, 3
"""What a derived key is for (RFC 7292 appendix B.3)."""


class UnknownAlgorithm(Exception):
    """The content is encrypted, or its MAC computed, in a way that is not known here."""


def mac_matches(mac_data: Any, content: bytes, password: str) -> bool:
    """Return whether the MAC of a store fits its content and a password.

    Args:
        mac_data: the ``MacData`` of the store.
        content: the authenticated content.
        password: the store's password.

    Raises:
        UnknownAlgorithm: the MAC is of another kind.
        ConfigError: the number of iterations is out of bounds.
    """
    info = mac_data["mac"]
    algorithm, expected = str(info["digestAlgorithm"]["algorithm"]), bytes(info["digest"])
    if algorithm == _PBMAC1:
        return hmac.compare_digest(_pbmac1(info["digestAlgorithm"]["parameters"], content, password), expected)
    name = _known(_HASHES, algorithm)
    salt, iterations = bytes(mac_data["macSalt"]), _checked(int(mac_data["iterations"]))
    size = hashlib.new(name, usedforsecurity=False).digest_size
    return any(
        hmac.compare_digest(hmac.digest(derived(secret, salt, iterations, _MAC, size, name), content, name), expected)
        for secret in _secrets(password)
    )


def decrypted(algorithm: Any, content: bytes, password: str) -> bytes:
    """Return the clear text of an encrypted content; something else, or an error, for a wrong password.

    Args:
        algorithm: the ``AlgorithmIdentifier``.
        content: the encrypted octets.
        password: the password.

    Raises:
        UnknownAlgorithm: the content is encrypted in another way.
        ValueError: the password is wrong, or the content damaged.
        ConfigError: the number of iterations is out of bounds.
    """
    from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, RC2, TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from pyasn1_modules import rfc7292

    kind = str(algorithm["algorithm"])
    if kind == _PBES2:
        return _pbes2(algorithm["parameters"], content, password)
    if kind not in {_PBE_TRIPLE_DES, _PBE_RC2_128, *_PBE_RC4}:
        raise UnknownAlgorithm(kind)
    parameters = _decode(algorithm["parameters"], rfc7292.Pkcs_12PbeParams())
    salt, iterations = bytes(parameters["salt"]), _checked(int(parameters["iterations"]))
    secret = _bmp(password)
    if kind in _PBE_RC4:
        cipher = Cipher(ARC4(derived(secret, salt, iterations, _KEY, _PBE_RC4[kind], "sha1")), None).decryptor()
        return bytes(cipher.update(content) + cipher.finalize())
    vector = derived(secret, salt, iterations, _IV, 8, "sha1")
    size, block_cipher = (24, TripleDES) if kind == _PBE_TRIPLE_DES else (16, RC2)
    key = derived(secret, salt, iterations, _KEY, size, "sha1")
    return _unpadded(Cipher(block_cipher(key), modes.CBC(vector)), content, 64)


def derived(secret: bytes, salt: bytes, iterations: int, purpose: int, size: int, name: str) -> bytes:
    """Derive a key from a password (RFC 7292 appendix B.2).

    Args:
        secret: the password as BMPString with its two final zero octets.
        salt: the salt.
        iterations: how often to hash.
        purpose: 1 for keys, 2 for initialization vectors, 3 for MACs.
        size: the length of the result in bytes.
        name: the hash function's name in hashlib.
    """
    block = hashlib.new(name, usedforsecurity=False).block_size
    diversifier = bytes((purpose,)) * block
    mixed = bytearray(_filled(salt, block) + _filled(secret, block))
    result = bytearray()
    while True:
        digest = hashlib.new(name, diversifier + mixed, usedforsecurity=False).digest()
        for _ in range(iterations - 1):
            digest = hashlib.new(name, digest, usedforsecurity=False).digest()
        result += digest
        if len(result) >= size:
            return bytes(result[:size])
        increment = int.from_bytes(_filled(digest, block)) + 1
        for start in range(0, len(mixed), block):
            total = int.from_bytes(mixed[start : start + block]) + increment
            mixed[start : start + block] = (total % (1 << 8 * block)).to_bytes(block)


def _filled(data: bytes, block: int) -> bytes:
    """Repeat some data until it fills whole blocks."""
    size = -(-len(data) // block) * block
    return (data * (size // len(data) + 1))[:size] if data else b""


def _bmp(password: str) -> bytes:
    return password.encode("utf-16-be", "surrogatepass") + b"\0\0"


def _secrets(password: str) -> Iterable[bytes]:
    """Return how a password may be encoded: the empty one with its final zeros, or as nothing."""
    return (_bmp(password),) if password else (_bmp(""), b"")


def _pbes2(parameters: Any, content: bytes, password: str) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from pyasn1.type import univ
    from pyasn1_modules import rfc8018

    scheme = _decode(parameters, rfc8018.PBES2_params())
    kind = str(scheme["encryptionScheme"]["algorithm"])
    if kind == str(rfc8018.des_EDE3_CBC):
        size, block_cipher = 24, TripleDES
    else:
        size, block_cipher = _known(_AES_KEY_BYTES, kind), AES
    vector = bytes(_decode(scheme["encryptionScheme"]["parameters"], univ.OctetString()))
    key = _pbkdf2(scheme["keyDerivationFunc"], password, size)
    return _unpadded(Cipher(block_cipher(key), modes.CBC(vector)), content, block_cipher.block_size)


def _pbmac1(parameters: Any, content: bytes, password: str) -> bytes:
    from pyasn1_modules import rfc8018

    scheme = _decode(parameters, rfc8018.PBMAC1_params())
    name = _known(_HMACS, str(scheme["messageAuthScheme"]["algorithm"]))
    size = hashlib.new(name, usedforsecurity=False).digest_size
    return hmac.digest(_pbkdf2(scheme["keyDerivationFunc"], password, size), content, name)


def _pbkdf2(function: Any, password: str, size: int) -> bytes:
    from pyasn1_modules import rfc8018

    if str(function["algorithm"]) != _PBKDF2:
        raise UnknownAlgorithm(str(function["algorithm"]))
    parameters = _decode(function["parameters"], rfc8018.PBKDF2_params())
    name = _known(_HMACS, str(parameters["prf"]["algorithm"]))
    salt, iterations = bytes(parameters["salt"]["specified"]), _checked(int(parameters["iterationCount"]))
    return hashlib.pbkdf2_hmac(name, password.encode("utf-8", "surrogatepass"), salt, iterations, size)


def _unpadded(cipher: Any, content: bytes, bits: int) -> bytes:
    from cryptography.hazmat.primitives.padding import PKCS7

    decryptor, unpadder = cipher.decryptor(), PKCS7(bits).unpadder()
    padded = decryptor.update(content) + decryptor.finalize()
    return bytes(unpadder.update(padded) + unpadder.finalize())


def _known(table: Any, name: str) -> Any:
    if name not in table:
        raise UnknownAlgorithm(name)
    return table[name]


def _checked(iterations: int) -> int:
    if not 0 < iterations <= _MAX_ITERATIONS:
        raise fault(f"has an iteration count of {iterations}", f"1 to {_MAX_ITERATIONS} are allowed")
    return iterations


def _decode(encoded: Any, spec: Any) -> Any:
    from pyasn1.codec.der import decoder

    return decoder.decode(bytes(encoded), asn1Spec=spec)[0]
