"""PKCS #12 stores of several tools: chains, trust, and entries that cannot be read beside those that can."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import load_keystore
from asgi_gateway.keystores.pkcs12 import Bag, sort_entries
from asgi_gateway.keystores.store import KeyStore
from tests.keystores import PASSWORD, STORES


def test_several_keys() -> None:
    """Every key of a store is there under its alias with its own certificate; secret keys are passed over."""
    store = load_keystore(STORES / "users.p12", PASSWORD)
    assert store.key_aliases() == ("alice", "bob", "expired")
    assert store.credential("BOB").certificate.subject.rfc4514_string() == "CN=Bob"
    assert store.credential("Alice").certificate.subject.rfc4514_string().startswith("CN=Alice,")


@pytest.mark.parametrize(("name", "alias"), [("server.p12", "server"), ("named.p12", "openssl"), ("unnamed.p12", "1")])
def test_chain(name: str, alias: str) -> None:
    """A key's chain is its own certificate and then its issuer, with Java's names, OpenSSL's, or none."""
    store = load_keystore(STORES / name, PASSWORD)
    subjects = [certificate.subject.rfc4514_string() for certificate in store.credential(alias).chain]
    assert subjects == ["CN=localhost,O=Example", "CN=Test Authority,O=Example"]
    assert store.aliases() == (alias,)


def test_issuer_is_trusted_only_if_imported() -> None:
    """The issuer in a key's chain is trusted only where somebody imported it as trusted too."""
    assert load_keystore(STORES / "both.p12", PASSWORD).pem_bundle()
    with pytest.raises(ConfigError, match="no trusted certificate"):
        load_keystore(STORES / "server.p12", PASSWORD).pem_bundle()


def test_own_certificate_imported_as_trusted() -> None:
    """A key's own certificate under a second alias is a trusted certificate."""
    certificate = load_keystore(STORES / "legacy.p12", PASSWORD).credential("old").certificate
    der = certificate.public_bytes(Encoding.DER)
    certificates = [Bag(encoded=der, name=name) for name in ("old", "imported")]
    keys, trusted = sort_entries([Bag(encoded=b"unused", name="old")], certificates, PASSWORD)
    assert [(entry.alias, entry.chain) for entry in keys] == [("old", (der,))]
    assert list(trusted) == ["imported"]


def test_certificates_without_names() -> None:
    """Certificates that have no names are trusted under their subjects, two of one subject both."""
    store = load_keystore(STORES / "certificates-only.p12", PASSWORD)
    assert store.aliases() == ("cn=test authority,o=example",)
    (certificate,) = store.chain(store.aliases()[0])
    _, trusted = sort_entries([], [Bag(encoded=certificate.public_bytes(Encoding.DER))] * 2, PASSWORD)
    assert len(trusted) == 2


def test_old_encryption() -> None:
    """What Java 8 wrote (RC2, triple DES, SHA-1) opens as well, and not for a wrong password."""
    assert load_keystore(STORES / "legacy.p12", PASSWORD).credential("old")
    with pytest.raises(WrongPassword):
        load_keystore(STORES / "legacy.p12", "falsch")


def test_without_mac() -> None:
    """A store without a MAC is opened, and says that nothing vouched for the password."""
    store = load_keystore(STORES / "no-mac.p12", PASSWORD)
    assert not store.verified
    for wrong in ("falsch", ""):
        with pytest.raises(WrongPassword):
            store.credential("bob", wrong)


def test_unencrypted_key() -> None:
    """A key that is not encrypted is refused: any password would open it."""
    store = load_keystore(STORES / "unencrypted-key.p12", PASSWORD)
    for password in (PASSWORD, "anything"):
        with pytest.raises(ConfigError, match="without a password"):
            store.credential("bare", password)


def test_password_beyond_ascii(tmp_path: Path) -> None:
    """A password of any characters opens the store that was made with it."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    made = load_keystore(STORES / "server.p12", PASSWORD).credential("server")
    file = tmp_path / "store.p12"
    file.write_bytes(
        pkcs12.serialize_key_and_certificates(
            "Schlüssel".encode(), made.key, made.certificate, None, BestAvailableEncryption("pässwörd€".encode())
        )
    )
    store = load_keystore(file, "pässwörd€")
    assert store.key_aliases() == ("schlüssel",)
    assert store.credential("Schlüssel").certificate == made.certificate


def test_key_without_certificate() -> None:
    """A key for which there is no certificate is listed, and says what is missing."""
    encoded = load_keystore(STORES / "server.p12", PASSWORD).credential("server").key_pem(PASSWORD.encode())
    der = ssl.PEM_cert_to_DER_cert(encoded.decode().replace("ENCRYPTED PRIVATE KEY", "CERTIFICATE"))
    keys, trusted = sort_entries([Bag(encoded=der, name="alone")], [], None)
    store = KeyStore(Path("made.p12"), "PKCS12", keys, trusted, verified=True, password=PASSWORD)
    with pytest.raises(ConfigError, match="no certificate for the key 'alone'"):
        store.credential("alone")
