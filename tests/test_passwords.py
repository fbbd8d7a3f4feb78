"""Password hashes: each scheme is read, malformed and unknown ones are errors, and nothing odd ever matches."""

from __future__ import annotations

import sys

import bcrypt
import pytest

from asgi_gateway import passwords
from asgi_gateway.passwords import decoy, hash_password, is_hash, plain, read_hash

# Of the password "secret", made by other programs: openssl passwd, crypt(3), slappasswd, Django, hashlib.
RECORDED = [
    "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
    "argon2$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
    "{ARGON2}$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
    "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    "bcrypt$$2b$04$NYe7QRO4trtyLW4JlhcUROPW8AvHc.0yNgrY5uosREoA/qx1dlwmi",
    "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$tHT7GLqp0uYbiB009MeIHnMuEMZ86kx0jgBpq5vxo84",
    "pbkdf2_sha256$1000$saltsalt$hgR9HsqtKupWxpnv8y99TrPDajTT/9PcSTlNafpdLXQ=",
    "{PBKDF2-SHA256}1000$c2FsdHNhbHRzYWx0c2FsdA$dClvKSmj66n6MdMWNv3Go4mvH1Ym2WIGiJvquqa.mfE",
    "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$dClvKSmj66n6MdMWNv3Go4mvH1Ym2WIGiJvquqa.mfE",
    "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
    "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
    "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
    "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    "{crypt}$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
    "{CRYPT}jqwl2Wi8z5al6",
    "{CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
    "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "{SMD5}04sYzxbuYBKu4mP9zlZs/qW0kRE=",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SSHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT",
    "{ssha}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT",
    "{SSHA256}oBmrdHcA6OZEkkCLeXh71YAerbvhXz1qqwjrPsXmEtNzYWx0c2FsdA==",
    "{SSHA512}aCu7JRc+kLsuEmFs1zTY+AiP7DSGnjjG+dH28Dp+E5usqoAixeTPihKqZmkWal4mUfp63tqvCAkFV1LKTDFH6XNhbHRzYWx0",
]


def verify(password, stored):
    """Read a hash and verify a password."""
    return read_hash(stored).verify(password)


@pytest.mark.parametrize("stored", RECORDED)
def test_recorded(stored):
    """A hash that another program made matches its password and no other."""
    assert verify("secret", stored)
    assert not verify("Secret", stored)
    assert not verify("secret ", stored) or "jqwl2" in stored
    assert is_hash(stored)


@pytest.mark.parametrize("stored", RECORDED)
def test_odd_passwords_never_match(stored):
    """Empty, over-long, NUL-bearing and unencodable passwords are refused by every scheme, and raise nothing."""
    for password in ("", "secret\0", "\0", "x" * 5000, "é" * 2049, "\ud800", "x" * 100):
        assert not verify(password, stored)


@pytest.mark.parametrize("stored", RECORDED)
def test_truncated(stored):
    """A hash that was cut short is an error when it is read."""
    shorter = stored[: -30 if "argon2" in stored else -5]
    for cut in (shorter, stored[: len(stored) // 2], stored + "!"):
        with pytest.raises(ValueError, match=r"malformed|base64|length|not a password hash|cannot be verified"):
            read_hash(cut)


@pytest.mark.parametrize("stored", RECORDED)
def test_nothing_printed(stored):
    """What is read shows its scheme and cost, and nothing of the hash."""
    assert stored[-10:] not in repr(read_hash(stored))


@pytest.mark.parametrize("password", ["secret", "pässwörd", "päss:wörd", ":", "密码", "x" * 4096, " "])
def test_hash_password(password):
    """A new hash is argon2id with 19 MiB, 2 passes and 1 lane, and matches its password alone."""
    stored = hash_password(password)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify(password, stored)
    assert not verify(password[:-1] + "?", stored)
    assert hash_password("secret") != hash_password("secret")


@pytest.mark.parametrize("password", ["", "a\0b", "a\nb", "a\x7fb", "x" * 4097, "é" * 2049])
def test_hash_password_refuses(password):
    """A password that no client could log in with is not hashed."""
    with pytest.raises(ValueError, match="password"):
        hash_password(password)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("$y$j9T$abc$def", "'y'"),
        ("{SCRAM-SHA-256}x", "{SCRAM-SHA-256}"),
        ("{BASE64}c2VjcmV0", "{BASE64}"),
        ("scrypt$abc$16384$8$1$x", "'scrypt'"),
        ("bcrypt_sha256$$2b$04$x", "'bcrypt_sha256'"),
        ("hunter2", "not a password hash"),
        ("", "not a password hash"),
        ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "wrong length"),
        ("{SHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT", "wrong length"),
        ("{CRYPT}secret", "malformed"),
        ("$2b$99$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "malformed"),
        ("$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHQ", "malformed"),
    ],
)
def test_unreadable(stored, message):
    """What cannot be verified is an error that names the scheme and never quotes the text."""
    with pytest.raises(ValueError, match=message) as caught:
        read_hash(stored)
    assert "hunter2" not in str(caught.value)


def test_is_hash():
    """Plain text is not taken for a hash, unless it begins exactly like one."""
    assert not any(map(is_hash, ["", "secret", "$ecret", "{secret", "a$b$c", "pa{SSHA}x", "abNANd1rDfiNc"]))
    assert is_hash("{WHATEVER}x")
    assert is_hash("$y$x")


def test_bcrypt_72_bytes():
    """bcrypt reads 72 bytes: a longer password is refused, not taken for the first 72 of it."""
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert verify("x" * 72, stored)
    assert not verify("x" * 73, stored)


def test_bcrypt_missing(monkeypatch):
    """Without the bcrypt package, reading a bcrypt hash says what to install."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(ValueError, match="pip install bcrypt"):
        read_hash("$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW")


@pytest.mark.parametrize("stored", ["secret", "pässwörd", "a:b", "{SSHA}x", " "])
def test_plain(stored):
    """Plain text matches itself, in any script, and shows nothing of itself."""
    entry = plain(stored)
    assert entry.verify(stored)
    assert not entry.verify(stored + "x")
    assert not entry.verify("")
    assert stored == " " or stored not in repr(entry)


def test_plain_empty():
    """An empty plain password is no password."""
    with pytest.raises(ValueError, match="empty"):
        plain("")


def test_decoy():
    """Unknown users cost what the commonest scheme and cost among the known ones does."""
    strong, weak = read_hash(RECORDED[3]), read_hash(RECORDED[0])
    assert decoy([weak, strong, weak]) == weak
    assert decoy([strong, weak, strong]) == strong
    assert decoy([]).cost == "m=19456,t=2,p=1"


def test_cost():
    """The cost tells apart hashes of one scheme that take different times."""
    assert read_hash("$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA").cost == "5000"
    assert read_hash("$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2").cost == "1000"
    assert read_hash(RECORDED[5]).cost == "4,8,1"


def test_public_names():
    """Everything that is announced exists."""
    assert all(hasattr(passwords, name) for name in passwords.__all__)
