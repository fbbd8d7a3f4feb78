from __future__ import annotations

import hashlib
import struct

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.jks import _jceks_decrypted, read_java
from asgi_gateway.keystores.load import load_keystore
from tests.keystores import PASSWORD, STORES

USERS = ["users.jks", "users.jceks"]


def signed(content: bytes) -> bytes:
    """A store's content with the digest that its password gives."""
    return content + hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content).digest()


def entry(tag: int, rest: bytes, alias: bytes = b"a") -> bytes:
    """A store with one entry."""
    return signed(b"\xfe\xed\xfe\xed" + struct.pack(">IIIH", 2, 1, tag, len(alias)) + alias + bytes(8) + rest)


def block(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("alias", ["Alice", "BOB"])
def test_key_password(name: str, alias: str) -> None:
    """A key opens with its own password, whatever the case of the alias, and with no other."""
    store = load_keystore(STORES / name, PASSWORD)
    own = {"alice": "Alice-secret", "bob": "bob-secret"}[alias.lower()]
    assert store.credential(alias, own).certificate.subject.rfc4514_string().startswith(("CN=Alice", "CN=Bob"))
    for wrong in (PASSWORD, own.upper(), "", "pässword", "\ud800"):
        with pytest.raises(WrongPassword):
            store.credential(alias, wrong)


@pytest.mark.parametrize("name", USERS)
def test_every_opening_needs_the_password(name: str) -> None:
    """A key that was opened once does not open for a wrong password afterwards."""
    store = load_keystore(STORES / name, PASSWORD)
    assert store.credential("bob", "bob-secret")
    with pytest.raises(WrongPassword):
        store.credential("bob", "wrong")


def test_secret_keys_are_passed_over() -> None:
    """A secret key in a JCEKS store hides none of the entries around it."""
    store = load_keystore(STORES / "users.jceks", PASSWORD)
    assert sorted(store.aliases()) == ["alice", "authority", "bob", "expired", "future"]


@pytest.mark.parametrize(
    ("written", "alias"),
    [
        ("Schlüssel".encode(), "schlüssel"),
        (b"a\xc0\x80b", "a\0b"),
        (b"\xed\xa0\xb4\xed\xb4\x9e", "\N{MUSICAL SYMBOL G CLEF}"),
    ],
)
def test_aliases_in_modified_utf8(written: bytes, alias: str) -> None:
    """Aliases are read as Java writes strings, characters beyond the basic plane and NUL included."""
    _, trusted, _ = read_java(entry(2, b"\x00\x05X.509" + block(b"x"), written), PASSWORD)
    assert list(trusted) == [alias]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (entry(4, b""), "damaged"),
        (entry(3, b"no java object"), "damaged"),
        (entry(2, b"\x00\x03PGP" + block(b"x")), "unknown type 'PGP'"),
        (entry(2, b"\x00\x01\xff" + block(b"x")), "damaged"),
        (entry(2, b"\x00\x05X.509" + block(b"x"), b"\xed\xa0\xb4"), "damaged"),
        (entry(2, b"\x00\x05X.509" + block(b"x"))[:-1], "damaged"),
        (entry(2, b"\x00\x05X.509" + block(b"x")) + b"x", "damaged"),
        (entry(1, block(b"x") + b"\xff\xff\xff\xff"), "damaged"),
    ],
)
def test_damaged_content(data: bytes, message: str) -> None:
    """Content that the format does not know is an error even under a right digest."""
    with pytest.raises(ConfigError, match=message):
        read_java(data, PASSWORD)


def pbe(oid: str, salt: bytes = b"saltsalt", iterations: int = 1) -> bytes:
    """An EncryptedPrivateKeyInfo with a short content."""
    from pyasn1.codec.der import encoder
    from pyasn1.type import univ

    parameters = univ.Sequence()
    parameters[0], parameters[1] = univ.OctetString(salt), univ.Integer(iterations)
    algorithm, info = univ.Sequence(), univ.Sequence()
    algorithm[0], algorithm[1] = univ.ObjectIdentifier(oid), parameters
    info[0], info[1] = algorithm, univ.OctetString(b"12345678")
    return bytes(encoder.encode(info))


@pytest.mark.parametrize(
    ("encrypted", "message"),
    [
        (b"x", "damaged key 'a'"),
        (pbe("1.2.3"), "unsupported way"),
        (pbe("1.3.6.1.4.1.42.2.19.1", iterations=5_000_001), "unsupported way"),
        (pbe("1.3.6.1.4.1.42.2.19.1", iterations=0), "unsupported way"),
        (pbe("1.3.6.1.4.1.42.2.19.1", salt=b"short"), "unsupported way"),
    ],
)
def test_unsupported_key(encrypted: bytes, message: str) -> None:
    """A key in an unknown encryption, or one that would cost hours to try, is an error and no wrong password."""
    keys, _, _ = read_java(entry(1, block(encrypted) + struct.pack(">I", 0)), PASSWORD)
    with pytest.raises(ConfigError, match=message) as caught:
        keys[0].open(PASSWORD)
    assert not isinstance(caught.value, WrongPassword)


def test_equal_salt_halves() -> None:
    """A salt of two equal halves is changed in Java's own way before use."""
    assert _jceks_decrypted(b"", "x", b"abcdabcd", 1) is None
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    derived = b"".join(hashlib.md5(half + b"x").digest() for half in (b"dabd", b"abcd"))
    encryptor = Cipher(TripleDES(derived[:24]), modes.CBC(derived[24:])).encryptor()
    content = encryptor.update(b"\x30234567\x01") + encryptor.finalize()
    assert _jceks_decrypted(content, "x", b"abcdabcd", 1) == b"\x30234567"
