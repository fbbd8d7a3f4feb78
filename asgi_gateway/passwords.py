"""Write password hashes (argon2id) and verify those that users files hold.

A stored hash is parsed once, when its file is loaded, so that a hash which cannot be verified is an error then and not
at a login. Plain text is never guessed here: a caller that accepts it calls ``plain``.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerifyMismatchError

__all__ = [
    "MAX_PASSWORD_BYTES",
    "PasswordHash",
    "decoy",
    "hash_password",
    "is_hash",
    "is_locked",
    "needs_rehash",
    "plain",
    "read_hash",
]

MAX_PASSWORD_BYTES = 4096
"""Longer passwords are refused before any work, since an attacker would choose how much."""

_TIME_COST, _MEMORY_COST = 2, 19 * 1024
_HASHER = PasswordHasher(time_cost=_TIME_COST, memory_cost=_MEMORY_COST, parallelism=1)  # OWASP's first choice
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RFC2307 = re.compile(r"\{([A-Za-z0-9._-]+)\}(.*)", re.DOTALL)
_MODULAR = re.compile(r"\$([A-Za-z0-9._-]+)\$")
_DJANGO = re.compile(r"(argon2|bcrypt|bcrypt_sha256|md5|pbkdf2_sha1|pbkdf2_sha256|scrypt|sha1)\$")
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]")
_UNKNOWN_FORM = re.compile(
    r"(?:argon2\w*|bcrypt\w*|crypt|hmac[\w-]*|md[245]\w*|pbkdf2[\w:.-]*|scram-sha-\d+|scrypt[\w:.-]*|s?sha\d*|unsalted_\w+)"
    r"\$[^$]*\$.+"
    r"|(?:\*|0x|md5)?(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{56}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})"
    r"|_[./0-9A-Za-z]{19}",  # BSDi's DES
    re.DOTALL | re.IGNORECASE,
)
_LOCK_MARKS = re.compile(r"[!*]+|x|NP|LK|\*(?:LK|NP|NOLOGIN)\*.*", re.DOTALL)
_DES = re.compile(r"[./0-9A-Za-z]{13}")
_DES_BYTES = 8
_BCRYPT_BYTES = 72
_CRYPT_FORMS = {
    "md5_crypt": re.compile(r"\$1\$[./0-9A-Za-z]{0,8}\$[./0-9A-Za-z]{22}"),
    "apr_md5_crypt": re.compile(r"\$apr1\$[./0-9A-Za-z]{0,8}\$[./0-9A-Za-z]{22}"),
    "sha256_crypt": re.compile(r"\$5\$(?:rounds=[1-9]\d{3,8}\$)?[./0-9A-Za-z]{0,16}\$[./0-9A-Za-z]{43}"),
    "sha512_crypt": re.compile(r"\$6\$(?:rounds=[1-9]\d{3,8}\$)?[./0-9A-Za-z]{0,16}\$[./0-9A-Za-z]{86}"),
    "des_crypt": re.compile(r"[./0-9A-Za-z]{13}"),
}
"""What crypt(3) itself would print: it compares texts, so that no other text is ever the right hash."""
_COSTS = ("rounds", "block_size", "parallelism")
_MAX_MEMORY = 1 << 30
_MAX_WORK = 10_000_000  # rounds, or KiB times passes: at most some ten seconds
_MAX_BCRYPT_COST = 17
_MAX_LANES = 64
_MIN_ARGON2_SALT = 8
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
        """Return whether this is the password. Blocks for as long as the scheme's cost demands.

        An empty password, one longer than MAX_PASSWORD_BYTES in UTF-8, and one with a NUL never match. They are
        refused before any work, which reveals nothing about the stored hash. A hash that its library fails to compute
        matches no password.
        """
        try:
            encoded = password.encode()
        except UnicodeEncodeError:  # a lone surrogate, which no client can send
            return False
        if not 0 < len(encoded) <= MAX_PASSWORD_BYTES or b"\0" in encoded:
            return False
        try:
            return self._matches(encoded)
        except Exception:  # the libraries raise errors of many kinds, MemoryError among them
            return False


def hash_password(password: str) -> str:
    """Hash a password for a users file: argon2id, 19 MiB, 2 passes, 1 lane (RFC 9106; OWASP's parameters).

    Raises:
        ValueError: the password is empty, too long, or holds control characters, so no client could log in with it.
    """
    if not password:
        raise ValueError("an empty password cannot be used to log in")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    if _CONTROL.search(password):
        raise ValueError("the password holds control characters, which no client can send (RFC 7617 section 2)")
    return _HASHER.hash(password)


def is_hash(stored: str) -> bool:
    """Return whether a text has the form of a password hash, including forms that cannot be verified here."""
    return any(pattern.match(stored) for pattern in (_RFC2307, _MODULAR, _DJANGO)) or _is_unknown_form(stored)


def is_locked(stored: str) -> bool:
    """Return whether a text marks a locked account, as shadow(5), passwd(5) and slapd have it.

    Marks are ``!``, ``!!``, ``*``, ``x``, ``NP``, ``LK``, ``*LK*`` and the like, also behind ``{CRYPT}``, and ``!`` or
    ``*`` before a hash.
    """
    if (match := _RFC2307.fullmatch(stored)) and match[1].upper() == "CRYPT":
        stored = match[2]
    if _LOCK_MARKS.fullmatch(stored):
        return True
    rest = stored.lstrip("!*")
    return rest != stored and not _is_unknown_form(stored) and (is_hash(rest) or _DES.fullmatch(rest) is not None)


def needs_rehash(stored: PasswordHash, password: str) -> bool:
    """Return whether a hash that this password matches is weaker than those that ``hash_password`` makes.

    Args:
        stored: the hash.
        password: the password that it was verified with.
    """
    if stored.scheme == "des-crypt" and len(password.encode()) > _DES_BYTES:
        return False  # DES reads 8 bytes: what was typed after them may be anything
    if stored.scheme != "argon2id":
        return True
    cost = dict(part.split("=") for part in stored.cost.split(","))
    return int(cost["m"]) < _MEMORY_COST or int(cost["t"]) < _TIME_COST


def plain(stored: str) -> PasswordHash:
    """Return a password stored as plain text.

    Raises:
        ValueError: the text is empty.
    """
    if not stored:
        raise ValueError("an empty password cannot be used to log in")
    expected = stored.encode()
    return PasswordHash("plain text", "", lambda password: hmac.compare_digest(password, expected))


def read_hash(stored: str) -> PasswordHash:
    """Parse a stored password hash.

    Known are argon2 (also ``{ARGON2}`` and Django's), bcrypt (with the bcrypt package), scrypt, PBKDF2 (libpass's,
    Django's and OpenLDAP's), crypt(3)'s SHA-512, SHA-256, SHA-1 and MD5, Apache's apr1, RFC 2307's ``{SSHA}`` and its
    kin, and DES under ``{CRYPT}`` only, since a bare DES hash looks like any thirteen letters.

    Raises:
        ValueError: the hash is of another form, malformed, or would cost too much. The message never quotes it.
    """
    if match := _RFC2307.fullmatch(stored):
        return _read_rfc2307(match[1].upper(), match[2])
    if stored.startswith("argon2$argon2"):
        return _read_argon2(stored.removeprefix("argon2"))
    if stored.startswith("bcrypt$$2"):
        return _read_bcrypt(stored.removeprefix("bcrypt$"))
    return _read_modular(stored)


def decoy(hashes: Iterable[PasswordHash]) -> PasswordHash:
    """Return the hash to verify for an unknown user, so that the answer takes as long as for a known one.

    Returns:
        a hash of the commonest scheme and cost among these, argon2id if there are none. It is one of them, so the
        result of its verification must be ignored.
    """
    kinds: dict[tuple[str, str], list[PasswordHash]] = {}
    for entry in hashes:
        kinds.setdefault((entry.scheme, entry.cost), []).append(entry)
    return max(kinds.values(), key=len)[0] if kinds else _default_decoy()


@cache
def _default_decoy() -> PasswordHash:
    return read_hash(_HASHER.hash("decoy"))


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
    if _is_unknown_form(stored):
        raise ValueError("this looks like a password hash of a form that cannot be verified here")
    raise ValueError("not a password hash")


def _is_unknown_form(stored: str) -> bool:
    return _UNKNOWN_FORM.fullmatch(stored) is not None


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
        if parameters.hash_len < _MIN_ARGON2_BYTES or parameters.memory_cost < 8 * parameters.parallelism:
            raise InvalidHashError
        if min(map(_base64_size, stored.split("$")[-2:])) < _MIN_ARGON2_SALT:
            raise InvalidHashError
    except (InvalidHashError, ValueError):
        raise ValueError("the argon2 hash is malformed") from None
    if parameters.parallelism > _MAX_LANES:
        raise ValueError("the argon2 hash would cost too much to verify")
    _check_cost("argon2", parameters.memory_cost * 1024, parameters.memory_cost * parameters.time_cost)

    def matches(password: bytes) -> bool:
        try:
            return _HASHER.verify(stored, password)
        except VerifyMismatchError:
            return False

    cost = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return PasswordHash(f"argon2{parameters.type.name.lower()}", cost, matches)


def _base64_size(text: str) -> int:
    """Return how many bytes a canonical base64 text without padding has.

    Raises:
        ValueError: it is not one.
    """
    decoded = b64decode(text + "=" * (-len(text) % 4), validate=True)
    if b64encode(decoded).decode().rstrip("=") != text:
        raise ValueError("not canonical")
    return len(decoded)


def _read_bcrypt(stored: str) -> PasswordHash:
    match = _BCRYPT.fullmatch(stored)
    if match is None:
        raise ValueError("the bcrypt hash is malformed")
    if int(match[1]) > _MAX_BCRYPT_COST:
        raise ValueError("the bcrypt hash would cost too much to verify")
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
    if name in _CRYPT_FORMS and not _CRYPT_FORMS[name].fullmatch(stored):
        raise ValueError(f"the {scheme} hash is malformed")
    try:
        parsed = handler.from_string(stored)
    except Exception:  # the parsers of malformed hashes raise errors of many kinds
        parsed = None
    if parsed is None or parsed.checksum is None:
        raise ValueError(f"the {scheme} hash is malformed")
    costs = {key: int(getattr(parsed, key)) for key in _COSTS if hasattr(parsed, key)}
    if name == "scrypt":
        _check_scrypt(**costs)
    else:
        _check_cost(scheme, 0, costs.get("rounds", 0))
    cost = ",".join(map(str, costs.values()))
    return PasswordHash(scheme, cost, lambda password: bool(handler.verify(password, stored)))


def _check_scrypt(rounds: int, block_size: int, parallelism: int) -> None:
    """Check the parameters of scrypt (RFC 7914 section 6); ``rounds`` is the logarithm of N."""
    if not (1 <= rounds <= 63 and block_size >= 1 and 1 <= parallelism <= (2**30 - 1) // block_size):
        raise ValueError("the scrypt hash is malformed")
    work = block_size * parallelism << rounds
    _check_cost("scrypt", 128 * (block_size << rounds), work)


def _check_cost(scheme: str, memory: int, work: int) -> None:
    """Check that verifying a hash takes bounded memory in bytes and work in the scheme's own terms."""
    if memory > _MAX_MEMORY or work > _MAX_WORK:
        raise ValueError(f"the {scheme} hash would cost too much to verify")
