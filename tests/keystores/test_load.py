from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import check_keystore, load_keystore, open_store, read_password, uvicorn_tls
from tests.keystores import NOW, PASSWORD, STORES

FORMATS = [("jks", "JKS"), ("jceks", "JCEKS"), ("p12", "PKCS12")]


@dataclass
class Settings:
    file: Path
    type: str | None = None
    password_file: Path | None = None


@pytest.fixture
def password_file(tmp_path: Path) -> Any:
    file = tmp_path / "keystore.pw"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(("suffix", "found"), FORMATS)
@pytest.mark.parametrize("named", [True, False])
def test_type_by_content(suffix: Any, found: Any, named: Any) -> None:
    """A keystore is opened whether its type is given or not, and says its type."""
    store = load_keystore(STORES / f"server.{suffix}", PASSWORD, found if named else None)
    assert store.type == found
    assert store.aliases() == ("server",)
    assert store.verified


@pytest.mark.parametrize(("suffix", "found"), FORMATS)
def test_type_mismatch(suffix: Any, found: Any) -> None:
    """A keystore of another type than the configured one is an error that names both."""
    other = "JKS" if found != "JKS" else "PKCS12"
    with pytest.raises(ConfigError, match=f"is {found}, not {other}.*leave the type out"):
        load_keystore(STORES / f"server.{suffix}", PASSWORD, other)


@pytest.mark.parametrize(("suffix", "found"), FORMATS)
@pytest.mark.parametrize("password", ["falsch", "", "changeit ", "pässword", "\ud800"])
def test_wrong_password(suffix: Any, found: Any, password: str) -> None:
    """A wrong password, an empty one too, is an error of its own kind that does not repeat it."""
    with pytest.raises(WrongPassword, match="password is wrong") as caught:
        load_keystore(STORES / f"server.{suffix}", password)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, WrongPassword)
    assert password in ("", "changeit ") or password not in str(caught.value)


@pytest.mark.parametrize("name", ["server.jks", "server.jceks", "server.p12", "users.jceks", "truststore.jks"])
def test_truncated(name: str, tmp_path: Path) -> None:
    """A keystore that ends early, wherever, is an error and never a store."""
    data = (STORES / name).read_bytes()
    file = tmp_path / name
    for length in {*range(0, len(data), len(data) // 24), len(data) - 1}:
        file.write_bytes(data[:length])
        for password in (PASSWORD, None):
            with pytest.raises(ConfigError):
                load_keystore(file, password)


@pytest.mark.parametrize(("suffix", "found"), FORMATS)
def test_changed(suffix: Any, found: Any, tmp_path: Path) -> None:
    """No keystore with a changed byte is opened as if nothing had happened."""
    data = bytearray((STORES / f"truststore.{suffix}").read_bytes())
    file = tmp_path / "changed"
    for position in range(4, len(data), 29):
        changed = data.copy()
        changed[position] ^= 0x55
        file.write_bytes(changed)
        with pytest.raises(ConfigError):
            load_keystore(file, PASSWORD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "not a keystore of a known type"),
        (b"\x30\x82\x01", "truncated or damaged"),
        (b"\xfe\xed\xfe\xed\x00\x00\x00\x01", "unsupported version"),
        (b"\xfe\xed\xfe\xed\x00\x00\x00\x02\xff\xff\xff\xff", "truncated or damaged"),
        (b"-----BEGIN NOTHING-----", "without a certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "damaged certificate"),
        (b"x" * (16 * 1024 * 1024 + 1), "larger than"),
    ],
)
def test_no_keystore(content: Any, message: str, tmp_path: Path) -> None:
    """A file that is no keystore is an error that says what it looks like."""
    file = tmp_path / "keystore.db"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_keystore(file, PASSWORD)
    assert str(file) in caught.value.problems[0].message


def test_single_certificate() -> None:
    """A bare DER certificate under the name of a keystore is recognised, with advice."""
    with pytest.raises(ConfigError, match=r"single certificate.*openssl x509"):
        load_keystore(STORES / "certificate.jks", PASSWORD)


def test_not_there(tmp_path: Path) -> None:
    """A missing file and a directory in its place are errors of their own."""
    with pytest.raises(ConfigError, match="does not exist"):
        load_keystore(tmp_path / "absent.jks", PASSWORD)
    with pytest.raises(ConfigError, match="is a directory"):
        load_keystore(tmp_path, PASSWORD)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the user may not read is an error that says so."""

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_keystore(tmp_path / "keystore", PASSWORD)


def test_pem_truststore() -> None:
    """A PEM file of certificates works as truststore, without a password."""
    store = load_keystore(STORES / "ca.pem", None)
    assert store.type == "PEM"
    assert store.pem_bundle().split() == (STORES / "ca.pem").read_bytes().split()


def test_pem_with_key() -> None:
    """A PEM file with a private key is refused, with the command that makes a keystore of it."""
    with pytest.raises(ConfigError, match="openssl pkcs12 -export"):
        load_keystore(STORES / "with-key.pem", None)


@pytest.mark.parametrize("library", ["cryptography", "javaobj", "pyasn1_modules"])
def test_missing_extra(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the libraries the error names the extra to install; a PEM truststore needs none of them."""
    for module in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[keystore\]'"):
        check_keystore(STORES / "server.jks")
    assert load_keystore(STORES / "ca.pem", None).pem_bundle()


def test_check_keystore(tmp_path: Path) -> None:
    """Without its password a keystore is checked for being there, of the right type, and able to hold keys."""
    check_keystore(STORES / "server.p12", "PKCS12")
    for file, type_ in (
        (STORES / "server.p12", "JKS"),
        (STORES / "ca.pem", None),
        (tmp_path / "absent", None),
    ):
        with pytest.raises(ConfigError):
            check_keystore(file, type_)


def test_password_file(password_file: Path) -> None:
    """The end of the line is no part of a password, everything else is."""
    assert read_password(password_file) == PASSWORD
    password_file.write_bytes(b" with spaces \r\n")
    assert read_password(password_file) == " with spaces "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"first\nsecond\n", "several lines"),
        (b"\xff\n", "not UTF-8"),
        (b"x" * 5000, "larger than"),
    ],
)
def test_bad_password_file(content: Any, message: str, password_file: Path) -> None:
    """An empty, long, binary or many-lined password file is an error that names it and not its content."""
    password_file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"password file .*{message}") as caught:
        read_password(password_file)
    assert "second" not in caught.value.problems[0].message.replace(str(password_file), "")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_password_file_of_others(password_file: Path) -> None:
    """A password file that other users can read is a warning."""
    warnings: list[str] = []
    password_file.chmod(0o600)
    read_password(password_file, warnings.append)
    assert warnings == []
    password_file.chmod(0o644)
    read_password(password_file, warnings.append)
    assert len(warnings) == 1
    assert str(password_file) in warnings[0]


def test_open_store(tmp_path: Path, password_file: Path) -> None:
    """Store and password file are relative to the configuration file."""
    (tmp_path / "keystore.db").write_bytes((STORES / "server.jceks").read_bytes())
    store = open_store(Settings(Path("keystore.db"), "JCEKS", Path("keystore.pw")), tmp_path)
    assert store.key_aliases() == ("server",)
    assert store.file == tmp_path / "keystore.db"


def test_open_store_without_password(tmp_path: Path) -> None:
    """Without a password file Java's stores give their certificates, unchecked; PKCS12 says that it needs one."""
    assert not open_store(Settings(STORES / "truststore.jks"), tmp_path).verified
    with pytest.raises(ConfigError, match="set password-file"):
        open_store(Settings(STORES / "truststore.p12"), tmp_path)


def test_open_store_faults(tmp_path: Path, password_file: Path) -> None:
    """A missing password file stops the opening; the one problem has message and hint, and no position."""
    with pytest.raises(ConfigError, match=r"password file .*absent.pw does not exist") as caught:
        open_store(Settings(STORES / "server.jks", None, Path("absent.pw")), tmp_path)
    (problem,) = caught.value.problems
    assert problem.hint
    assert problem.line == 0


def test_uvicorn_tls_is_checked_at_once() -> None:
    """A key that OpenSSL refuses stops the start, with the key's name."""
    store = load_keystore(STORES / "hosts.p12", PASSWORD)
    assert set(uvicorn_tls(store, "www.example.com", NOW)) == {"ssl_context_factory"}
    with pytest.raises(ConfigError, match="OpenSSL refuses the key or certificate 'weak'"):
        uvicorn_tls(store, "weak.example.net", NOW)
