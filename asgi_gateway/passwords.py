"""Password hashes: argon2id to write, and whatever users' files and directories hold to read.

A stored hash is read once, when its file is loaded, so that a format which cannot be verified is an error then and not
at somebody's login. Plain text is never guessed here: a caller that accepts it says so by calling ``plain``.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerifyMismatchError

__all__ = ["MAX_PASSWORD_BYTES", "PasswordHash", "decoy", "hash_password", "is_hash", "plain", "read_hash", "verify"]

MAX_PASSWORD_BYTES = 4096
"""Longer passwords are refused unseen: hashing them would be work that an attacker chooses."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's first choice for argon2id
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RFC2307 = re.compile(r"\{([A-Za-z0-9._-]+)\}(.*)", re.DOTALL)
_MODULAR = re.compile(r"\$([A-Za-z0-9._-]+)\$")
_DJANGO = re.compile(r"(argon2|bcrypt|bcrypt_sha256|md5|pbkdf2_sha1|pbkdf2_sha256|scrypt|sha1)\$")
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$(?:v=\d+\$)?m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES = 72
_MIN_ARGON2_BYTES = 16  # argon2 itself takes 4, which a cut-off hash still has

_DIGESTS = {
    "MD5": "md5",
    "SMD5": "md5",
    "SHA": "sha1",
    "SSHA": "sha1",
    "SHA256": "sha256",
    "SSHA256": "sha256",
    "SHA384": "sha384",
    "SSHA384": "sha384",
    "SHA512": "sha512",
    "SSHA512": "sha512",
}
_LIBPASS = {
    "$1$": "md5_crypt",
    "$5$": "sha256_crypt",
    "$6$": "sha512_crypt",
    "$7$": "scrypt",
    "$apr1$": "apr_md5_crypt",
    "$pbkdf2$": "pbkdf2_sha1",
    "$pbkdf2-sha256$": "pbkdf2_sha256",
    "$pbkdf2-sha512$": "pbkdf2_sha512",
    "$scrypt$": "scrypt",
    "$sha1$": "sha1_crypt",
    "pbkdf2_sha1$": "django_pbkdf2_sha1",
    "pbkdf2_sha256$": "django_pbkdf2_sha256",
}


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A stored password that can be verified.

    Args:
        scheme: its kind, such as ``argon2id``.
        cost: the parameters that decide how long a verification takes, in the scheme's own terms.
    """

    scheme: str
    cost: str
    _matches: Callable[[bytes], bool] = field(repr=False, compare=False)

    def verify(self, password: str) -> bool:
        """Whether this is the password. Blocks for as long as the scheme's cost demands.

        An empty password, one longer than MAX_PASSWORD_BYTES in UTF-8, and one with a NUL never match; these are
        refused before any work, which tells nothing about the stored hash.
        """
        try:
            encoded = password.encode()
        except UnicodeEncodeError:  # a lone surrogate: no client can have sent it
            return False
        if not 0 < len(encoded) <= MAX_PASSWORD_BYTES or b"\0" in encoded:
            return False
        return self._matches(encoded)


def hash_password(password: str) -> str:
    """Hash a password for a users file: argon2id, 19 MiB, 2 passes, 1 lane (RFC 9106; OWASP's parameters).

    Raises:
        ValueError: it is empty, too long, or holds control characters, so that nobody could log in with it.
    """
    if not password:
        raise ValueError("an empty password cannot be used to log in")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    if _CONTROL.search(password):
        raise ValueError("the password holds control characters, which no client can send (RFC 7617 section 2)")
    return _HASHER.hash(password)


def verify(password: str, stored: str) -> bool:
    """Whether a password is the one of a stored hash: ``read_hash(stored).verify(password)``.

    Raises:
        ValueError: the stored text is no hash that can be verified here.
    """
    return read_hash(stored).verify(password)


def is_hash(stored: str) -> bool:
    """Whether a text has the form of a password hash, be it one that can be verified here or not."""
    return any(pattern.match(stored) for pattern in (_RFC2307, _MODULAR, _DJANGO))


def plain(stored: str) -> PasswordHash:
    """A password stored as plain text.

    Raises:
        ValueError: it is empty.
    """
    if not stored:
        raise ValueError("an empty password cannot be used to log in")
    expected = stored.encode()
    return PasswordHash("plain text", "", lambda password: hmac.compare_digest(password, expected))


def read_hash(stored: str) -> PasswordHash:
    """Read a stored password hash.

    Read are argon2 (also ``{ARGON2}`` and Django's), bcrypt (with the bcrypt package), scrypt, PBKDF2 (libpass's,
    Django's and OpenLDAP's), crypt(3)'s SHA-512, SHA-256, SHA-1 and MD5, Apache's apr1, RFC 2307's ``{SSHA}`` and its
    kin, and DES under ``{CRYPT}`` only, since a bare DES hash looks like any thirteen letters.

    Raises:
        ValueError: it is none of these, or malformed. The message never quotes the text.
    """
    if match := _RFC2307.fullmatch(stored):
        return _read_rfc2307(match[1].upper(), match[2])
    if stored.startswith("argon2$argon2"):
        return _read_argon2(stored.removeprefix("argon2"))
    if stored.startswith("bcrypt$$2"):
        return _read_bcrypt(stored.removeprefix("bcrypt$"))
    return _read_modular(stored)


def decoy(hashes: Iterable[PasswordHash]) -> PasswordHash:
    """What to verify for a user who is not there, so that the answer takes as long as for one who is.

    Returns:
        a hash of the commonest scheme and cost among these, argon2id where there are none. It is one of them: whatever
        its verification says must be ignored.
    """
    kinds: dict[tuple[str, str], list[PasswordHash]] = {}
    for entry in hashes:
        kinds.setdefault((entry.scheme, entry.cost), []).append(entry)
    return max(kinds.values(), key=len)[0] if kinds else read_hash(_HASHER.hash("nobody"))


def _read_rfc2307(scheme: str, rest: str) -> PasswordHash:
    if scheme in _DIGESTS:
        return _read_digest(scheme, rest)
    if scheme == "ARGON2":
        return _read_argon2(rest)
    if scheme == "CRYPT":
        return _read_modular(rest) if rest.startswith("$") else _read_libpass("des_crypt", rest)
    if scheme in {"PBKDF2", "PBKDF2-SHA256", "PBKDF2-SHA512"}:
        return _read_modular(f"${scheme.lower()}${rest}")
    raise ValueError(f"password hashes of the scheme {{{scheme}}} cannot be verified here")


def _read_modular(stored: str) -> PasswordHash:
    if stored.startswith("$argon2"):
        return _read_argon2(stored)
    if stored.startswith("$2"):
        return _read_bcrypt(stored)
    for prefix, name in _LIBPASS.items():
        if stored.startswith(prefix):
            return _read_libpass(name, stored)
    if match := _MODULAR.match(stored) or _DJANGO.match(stored):
        raise ValueError(f"password hashes of the scheme {match[1]!r} cannot be verified here")
    raise ValueError("this is no password hash")


def _read_digest(scheme: str, rest: str) -> PasswordHash:
    algorithm = _DIGESTS[scheme]
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    try:
        raw = b64decode(rest, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the {{{scheme}}} hash is not base64") from None
    digest, salt = raw[:size], raw[size:]
    if len(digest) < size or bool(salt) != scheme.startswith(("SS", "SM")):
        raise ValueError(f"the {{{scheme}}} hash has the wrong length")

    def matches(password: bytes) -> bool:
        return hmac.compare_digest(hashlib.new(algorithm, password + salt).digest(), digest)

    return PasswordHash(scheme.lower(), "", matches)


def _read_argon2(stored: str) -> PasswordHash:
    try:
        if not _ARGON2.fullmatch(stored):
            raise InvalidHashError
        parameters = extract_parameters(stored)
        if parameters.hash_len < _MIN_ARGON2_BYTES:
            raise InvalidHashError
    except InvalidHashError:
        raise ValueError("the argon2 hash is malformed") from None

    def matches(password: bytes) -> bool:
        try:
            return _HASHER.verify(stored, password)
        except VerifyMismatchError:
            return False

    cost = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return PasswordHash(f"argon2{parameters.type.name.lower()}", cost, matches)


def _read_bcrypt(stored: str) -> PasswordHash:
    match = _BCRYPT.fullmatch(stored)
    if match is None:
        raise ValueError("the bcrypt hash is malformed")
    try:
        import bcrypt
    except ImportError:
        raise ValueError("bcrypt hashes need the bcrypt package: pip install bcrypt") from None
    encoded = stored.encode()

    def matches(password: bytes) -> bool:
        # bcrypt reads 72 bytes. To go by these alone would take any password that begins like the right one.
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], encoded) and len(password) <= _BCRYPT_BYTES

    return PasswordHash("bcrypt", match[1], matches)


def _read_libpass(name: str, stored: str) -> PasswordHash:
    from passlib.registry import get_crypt_handler  # takes 50 ms, and most files hold argon2 alone

    handler: Any = get_crypt_handler(name)
    scheme = name.replace("_", "-")
    try:
        parsed = handler.from_string(stored)
    except (TypeError, ValueError):
        parsed = None
    if parsed is None or parsed.checksum is None:
        raise ValueError(f"the {scheme} hash is malformed")
    cost = ",".join(
        str(getattr(parsed, key)) for key in ("rounds", "block_size", "parallelism") if hasattr(parsed, key)
    )
    return PasswordHash(scheme, cost, lambda password: bool(handler.verify(password, stored)))
