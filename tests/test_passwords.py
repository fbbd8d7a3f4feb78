"""Password hashes: each scheme is read, malformed and unknown ones are errors, and nothing odd ever matches."""

from __future__ import annotations

import sys
from typing import Any

import bcrypt
import pytest

from asgi_gateway import passwords
from asgi_gateway.passwords import (
    PasswordHash,
    decoy,
    hash_password,
    is_hash,
    is_locked,
    needs_rehash,
    plain,
    read_hash,
)

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


def verify(password: str, stored: str) -> Any:
    """Read a hash and verify a password."""
    return read_hash(stored).verify(password)


@pytest.mark.parametrize("stored", RECORDED)
def test_recorded(stored: str) -> None:
    """A hash that another program made matches its password and no other."""
    assert verify("secret", stored)
    assert not verify("Secret", stored)
    assert not verify("secret ", stored) or "jqwl2" in stored
    assert is_hash(stored)


@pytest.mark.parametrize("stored", RECORDED)
def test_odd_passwords_never_match(stored: str) -> None:
    """Empty, over-long, NUL-bearing and unencodable passwords are refused by every scheme, and raise nothing."""
    for password in ("", "secret\0", "\0", "x" * 5000, "é" * 2049, "\ud800", "x" * 100):
        assert not verify(password, stored)


@pytest.mark.parametrize("stored", RECORDED)
def test_truncated(stored: str) -> None:
    """A hash that was cut short is an error when it is read."""
    shorter = stored[: -30 if "argon2" in stored else -5]
    for cut in (shorter, stored[: len(stored) // 2], stored + "!"):
        with pytest.raises(ValueError, match=r"malformed|base64|length|not a password hash|cannot be verified"):
            read_hash(cut)


@pytest.mark.parametrize("stored", RECORDED)
def test_nothing_printed(stored: str) -> None:
    """What is read shows its scheme and cost, and nothing of the hash."""
    assert stored[-10:] not in repr(read_hash(stored))


@pytest.mark.parametrize("password", ["secret", "pässwörd", "päss:wörd", ":", "密码", "x" * 4096, " "])
def test_hash_password(password: str) -> None:
    """A new hash is argon2id with 19 MiB, 2 passes and 1 lane, and matches its password alone."""
    stored = hash_password(password)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert verify(password, stored)
    assert not verify(password[:-1] + "?", stored)
    assert hash_password("secret") != hash_password("secret")


@pytest.mark.parametrize("password", ["", "a\0b", "a\nb", "a\x7fb", "x" * 4097, "é" * 2049])
def test_hash_password_refuses(password: str) -> None:
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
def test_unreadable(stored: str, message: str) -> None:
    """What cannot be verified is an error that names the scheme and never quotes the text."""
    with pytest.raises(ValueError, match=message) as caught:
        read_hash(stored)
    assert "hunter2" not in str(caught.value)


def test_is_hash() -> None:
    """Plain text is not taken for a hash, unless it begins exactly like one."""
    assert not any(map(is_hash, ["", "secret", "$ecret", "{secret", "a$b$c", "pa{SSHA}x", "abNANd1rDfiNc"]))
    assert is_hash("{WHATEVER}x")
    assert is_hash("$y$x")


def test_bcrypt_72_bytes() -> None:
    """bcrypt reads 72 bytes: a longer password is refused, not taken for the first 72 of it."""
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert verify("x" * 72, stored)
    assert not verify("x" * 73, stored)


def test_bcrypt_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the bcrypt package, reading a bcrypt hash says what to install."""
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(ValueError, match="pip install bcrypt"):
        read_hash("$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW")


@pytest.mark.parametrize("stored", ["secret", "pässwörd", "a:b", "{SSHA}x", " "])
def test_plain(stored: str) -> None:
    """Plain text matches itself, in any script, and shows nothing of itself."""
    entry = plain(stored)
    assert entry.verify(stored)
    assert not entry.verify(stored + "x")
    assert not entry.verify("")
    assert stored == " " or stored not in repr(entry)


def test_plain_empty() -> None:
    """An empty plain password is no password."""
    with pytest.raises(ValueError, match="empty"):
        plain("")


def test_decoy() -> None:
    """Unknown users cost what the commonest scheme and cost among the known ones does."""
    strong, weak = read_hash(RECORDED[3]), read_hash(RECORDED[0])
    assert decoy([weak, strong, weak]) == weak
    assert decoy([strong, weak, strong]) == strong
    assert decoy([]).cost == "m=19456,t=2,p=1"


def test_cost() -> None:
    """The cost tells apart hashes of one scheme that take different times."""
    assert read_hash("$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA").cost == "5000"
    assert read_hash("$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2").cost == "1000"
    assert read_hash(RECORDED[5]).cost == "4,8,1"


def test_public_names() -> None:
    """Everything that is announced exists."""
    assert all(hasattr(passwords, name) for name in passwords.__all__)


MUTATIONS = ("", "$", "=", "!", "0", "9", "A", "/", ",", "\0", "é", "-1", "99999999999", "rounds=1$", "\n")


@pytest.mark.parametrize("stored", RECORDED)
def test_malformed_in_every_part(stored: str) -> None:
    """A hash that is changed at any place is an error when it is read, or a hash that can be computed."""
    read = 0
    for place in range(len(stored)):
        for new in MUTATIONS:
            for end in (place, place + 1):
                changed = stored[:place] + new + stored[end:]
                try:
                    found = read_hash(changed)
                except ValueError:
                    continue
                read += 1
                if found.scheme not in ("bcrypt", "argon2id") or read % 40 == 0:  # the others take too long to do all
                    assert found._matches(b"secret") in (True, False)
    assert read


@pytest.mark.parametrize(
    "stored",
    [
        "$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
        "$argon2id$v=19$m=65536,t=9999,p=1$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
        "$argon2id$v=19$m=65536,t=1,p=4096$c2FsdHNhbHQ$a+14sZrM3WlHRqt5/WdCUV/JLk6EZ2msKUAUr2unNqI",
        "$scrypt$ln=24,r=8,p=1$c2FsdHNhbHQ$tHT7GLqp0uYbiB009MeIHnMuEMZ86kx0jgBpq5vxo84",
        "$scrypt$ln=16,r=8,p=1000$c2FsdHNhbHQ$tHT7GLqp0uYbiB009MeIHnMuEMZ86kx0jgBpq5vxo84",
        "$5$rounds=999999999$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
        "pbkdf2_sha256$1000000000$saltsalt$hgR9HsqtKupWxpnv8y99TrPDajTT/9PcSTlNafpdLXQ=",
    ],
)
def test_too_expensive(stored: str) -> None:
    """A hash that would take minutes or gigabytes at each login is an error when it is read."""
    with pytest.raises(ValueError, match="cost too much"):
        read_hash(stored)


def test_library_that_fails() -> None:
    """A hash that its library fails to compute matches no password and raises nothing."""
    for error in (MemoryError(), RuntimeError("x"), ValueError("x")):

        def fail(password: bytes, error: Exception = error) -> bool:
            raise error

        assert PasswordHash("x", "", fail).verify("secret") is False


@pytest.mark.parametrize(
    "stored",
    ["!", "!!", "*", "**", "x", "NP", "LK", "*LK*", "*NP*", "!*", "*!", "{CRYPT}!", "{crypt}*", "{CRYPT}x", "{CRYPT}!!"]
    + ["!" + stored for stored in RECORDED[3:14:3]]
    + ["*" + RECORDED[0], "!!" + RECORDED[10], "{CRYPT}!" + RECORDED[9], "!jqwl2Wi8z5al6"],
)
def test_locked(stored: str) -> None:
    """What marks a locked account in shadow(5), passwd(5) or a directory is one, also before a hash."""
    assert is_locked(stored)


@pytest.mark.parametrize(
    "stored", ["", "secret", "!secret", "*secret*", "X", "xx", "{PLAIN}!", "{SSHA}!", "a!", "!a", *RECORDED]
)
def test_not_locked(stored: str) -> None:
    """A password or hash is no mark."""
    assert not is_locked(stored)


@pytest.mark.parametrize(
    "stored",
    [
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8",
        "0x5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "md55f4dcc3b5aa765d61d8327deb882cf99",
        "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
        "pbkdf2:sha256:600000$salt$83b5d4e8",
        "scrypt:32768:8:1$salt$83b5d4e8",
        "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
        "unsalted_md5$$5f4dcc3b5aa765d61d8327deb882cf99",
        "_J9..rasmBYk8r9AiWNc",
    ],
)
def test_unknown_forms(stored: str) -> None:
    """A hash of another program is known as a hash, and an error, never plain text."""
    assert is_hash(stored)
    with pytest.raises(ValueError, match="cannot be verified"):
        read_hash(stored)


@pytest.mark.parametrize("stored", ["correct horse", "Shannon$2024", "sha1", "pa$$word", "5f4dcc3b5aa765d6", "x" * 32])
def test_plain_text_is_no_hash(stored: str) -> None:
    """A plain text that merely resembles a hash is none."""
    assert not is_hash(stored)


def test_needs_rehash() -> None:
    """Every hash but an argon2id of the recommended cost is to be replaced; DES only if all of the password counts."""
    strong = hash_password("secret")
    assert not needs_rehash(read_hash(strong), "secret")
    assert not needs_rehash(read_hash(strong.replace("t=2", "t=3").replace("m=19456", "m=65536")), "secret")
    assert needs_rehash(read_hash(strong.replace("m=19456", "m=19455")), "secret")
    for stored in RECORDED:
        assert needs_rehash(read_hash(stored), "secret")
    assert not needs_rehash(read_hash("{CRYPT}jqwl2Wi8z5al6"), "secret-and-more")
