"""Signing keys and signed texts."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer

from asgi_gateway.errors import ConfigError
from asgi_gateway.sessions.signing import Signer, load_keys

OLD, NEW = b"o" * 32, b"n" * 32


def test_round_trip() -> None:
    """What was signed is read, and is safe in headers, URLs and cookies."""
    signer = Signer([NEW], "test")
    text = signer.sign({"user": "jöe", "n": 1})
    assert signer.read(text) == {"user": "jöe", "n": 1}
    assert all(character.isalnum() or character in "-_." for character in text)


def test_first_key_signs_and_all_verify() -> None:
    """After a rotation old texts are read, new ones are signed with the new key, and a dropped key counts no more."""
    old, both, new = Signer([OLD], "test"), Signer([NEW, OLD], "test"), Signer([NEW], "test")
    assert both.read(old.sign({"a": 1})) == {"a": 1}
    assert new.read(both.sign({"a": 1})) == {"a": 1}
    assert old.read(both.sign({"a": 1})) is None
    assert new.read(old.sign({"a": 1})) is None


def test_purposes_are_apart() -> None:
    """A text signed for one purpose is not read for another."""
    assert Signer([NEW], "session").read(Signer([NEW], "token").sign({"a": 1})) is None


def test_not_sha1() -> None:
    """A text that itsdangerous signed with its default digest is refused."""
    assert Signer([NEW], "test").read(URLSafeSerializer(NEW, salt="asgi_gateway.test").dumps({"a": 1})) is None


def test_every_change_is_noticed() -> None:
    """A text with one character changed, cut off or added is refused."""
    signer = Signer([NEW], "test")
    text = signer.sign({"user": "joe"})
    for index, character in enumerate(text):
        other = "A" if character != "A" else "B"
        changed = signer.read(text[:index] + other + text[index + 1 :])
        # the last character of an unpadded base64 group has bits that mean nothing
        assert changed is None or (index == len(text) - 1 and changed == {"user": "joe"})
        assert signer.read(text[:index]) is None
    assert signer.read(text + "A") is None


@pytest.mark.parametrize("text", ["", ".", "a.b", "é.a", "\ud800", "x" * 9000, "\x00", "a" * 100])
def test_garbage(text: str) -> None:
    """Anything else is refused without an exception."""
    assert Signer([NEW], "test").read(text) is None


def test_signed_but_no_object() -> None:
    """A signed text that is no object is refused."""
    signer = Signer([NEW], "test")
    assert signer.read(signer.sign(["a"])) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [[], [b""], [b"x" * 31], [NEW, b"short"], [NEW, NEW]])
def test_bad_keys(keys: list[bytes]) -> None:
    """No key, a short key and a key given twice are errors."""
    with pytest.raises(ConfigError):
        Signer(keys, "test")


def test_keys_from_file(tmp_path: Path) -> None:
    """Keys are read from a file in their order, without comments and empty lines."""
    file = tmp_path / "keys"
    file.write_text(f"# new\n{NEW.decode()}\r\n\n  {OLD.decode()}  \n")
    assert load_keys(file) == (NEW, OLD)


def test_keys_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are read from an environment variable."""
    monkeypatch.setenv("KEYS", f"{NEW.decode()}\n{OLD.decode()}")
    assert load_keys(variable="KEYS") == (NEW, OLD)


def test_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or variable that is not there, is empty or has a short key is an error that names it and shows no key."""
    (tmp_path / "short").write_text("secret")
    (tmp_path / "bytes").write_bytes(b"\xff" * 40)
    monkeypatch.delenv("KEYS", raising=False)
    for file in ("missing", "short", "bytes"):
        with pytest.raises(ConfigError, match=file) as caught:
            load_keys(tmp_path / file)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="KEYS"):
        load_keys(variable="KEYS")
    with pytest.raises(ConfigError, match="either"):
        load_keys()
    with pytest.raises(ConfigError, match="either"):
        load_keys(tmp_path / "short", "KEYS")


def test_only_the_signed_spelling_is_read() -> None:
    """A text with another spelling of the same signature is not read, whatever it is for."""
    for purpose in ("token", "session.demo"):
        signer = Signer([b"k" * 32], purpose)
        text = signer.sign({"a": 1})
        assert signer.read(text) == {"a": 1}
        spellings = [text[:-1] + last for last in string.ascii_letters + string.digits + "-_" if last != text[-1]]
        spellings += [text + "=", text + "\n", text + " ", text[:-5] + "!" + text[-5:], text[:-5] + "*" + text[-5:]]
        assert [signer.read(each) for each in spellings] == [None] * len(spellings)
