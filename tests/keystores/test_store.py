from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.errors import WrongPassword
from asgi_gateway.keystores.load import load_keystore
from asgi_gateway.keystores.store import KeyEntry, KeyStore, validity_problem
from tests.keystores import NOW, PASSWORD, STORES

DAY = 86_400.0


@pytest.fixture(scope="module")
def hosts() -> Any:
    return load_keystore(STORES / "hosts.p12", PASSWORD)


def test_aliases_and_chain() -> None:
    """Aliases list keys, then trusted certificates; chain gives either's certificates without case."""
    store = load_keystore(STORES / "users.jks", PASSWORD)
    assert store.aliases()[-1] == "authority"
    assert set(store.key_aliases()) == {"alice", "bob", "expired", "future"}
    assert store.chain("AUTHORITY")[0].subject.rfc4514_string() == "CN=Test Authority,O=Example"
    assert len(store.chain("Alice")) == 1


def test_unknown_alias(hosts: Any) -> None:
    """An unknown alias is an error that lists those that are there."""
    with pytest.raises(ConfigError, match=r"no entry 'absent'.*'exact'"):
        hosts.chain("absent")
    with pytest.raises(ConfigError, match=r"no private key 'absent'.*'exact'"):
        hosts.credential("absent")
    with pytest.raises(ConfigError, match="no private key 'authority'"):
        load_keystore(STORES / "users.jks", PASSWORD).credential("authority")


def test_no_password() -> None:
    """Without any password a key is not given."""
    store = load_keystore(STORES / "server.jks", None)
    with pytest.raises(ConfigError, match="without a password"):
        store.credential("server")
    assert store.credential("server", PASSWORD)


@pytest.mark.parametrize("name", ["truststore.jks", "truststore.jceks", "truststore.p12", "certificates-only.p12"])
def test_pem_bundle(name: str) -> None:
    """The trusted certificates of every format come as the same PEM text."""
    bundle = load_keystore(STORES / name, PASSWORD).pem_bundle()
    assert bundle.split() == (STORES / "ca.pem").read_bytes().split()


def test_no_trusted_certificate() -> None:
    """A store without trusted certificates cannot be a truststore: an empty bundle would trust nobody, or everybody."""
    for name in ("server.jks", "empty.jks"):
        with pytest.raises(ConfigError, match=r"no trusted certificate.*keytool -importcert"):
            load_keystore(STORES / name, PASSWORD).pem_bundle()


def test_damaged_certificate() -> None:
    """A certificate that is none is an error where it is used."""
    store = KeyStore(Path("made.jks"), "JKS", (), {"a": b"x"}, verified=True, password=PASSWORD)
    with pytest.raises(ConfigError, match="OpenSSL refuses"):
        store.pem_bundle()
    with pytest.raises(ConfigError, match="under 'a' that cannot be read"):
        store.chain("a")


@pytest.mark.parametrize(
    ("host", "alias"),
    [
        ("www.example.com", "exact"),
        ("other.example.com", "wildcard"),
        ("renewed.example.net", "renewed"),
    ],
)
def test_server_identity(hosts: Any, host: str, alias: str) -> None:
    """The key for a host has it in its certificate; an exact name goes before a star, a valid one before an expired."""
    identity = hosts.server_identity(host, NOW)
    assert identity.alias == alias
    assert identity.certificate == identity.chain[0]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("example.org", r"no key for the host 'example.org'.*'wildcard' for \*.example.com.*keytool -ext san=dns"),
        ("cn.example.net", "no key for the host.*'common-name' for no host"),
        ("expired.example.net", "no valid certificate .* 'expired' expired on "),
        ("future.example.net", "no valid certificate .* 'future' is not valid before "),
        ("dsa.example.net", "'dsa' of a kind that TLS no longer uses"),
    ],
)
def test_no_server_identity(hosts: Any, host: str, message: str) -> None:
    """A host without a key, and one whose certificate or key cannot serve, are errors that say what there is."""
    with pytest.raises(ConfigError, match=message):
        hosts.server_identity(host, NOW)


def test_no_keys() -> None:
    """A keystore without keys, or with none that can be read, has no identity for any host."""
    with pytest.raises(ConfigError, match="has no private key"):
        load_keystore(STORES / "truststore.jks", PASSWORD).server_identity("localhost", NOW)
    unreadable = KeyEntry("a", (b"x",), lambda password: None)
    store = KeyStore(Path("made.jks"), "JKS", (unreadable,), {}, verified=True, password=PASSWORD)
    with pytest.raises(ConfigError, match="no key for the host"):
        store.server_identity("localhost", NOW)


def test_key_with_other_password() -> None:
    """A key whose password is not the store's is named as what it is when it is needed, with the way to mend it."""
    store = load_keystore(STORES / "users.jks", PASSWORD)
    assert any("has a key 'bob' with a password of its own" in problem for problem in store.problems(NOW))
    with pytest.raises(WrongPassword) as caught:
        store.credential("bob")
    assert "keytool -keypasswd -alias bob" in caught.value.problems[0].hint
    with pytest.raises(WrongPassword, match="does not give the key 'bob'"):
        store.credential("bob", "wrong")


def test_problems(hosts: Any) -> None:
    """The problems of a store name each expired and each future certificate, and nothing else."""
    problems = hosts.problems(NOW)
    assert len(problems) == 3
    assert sum("expired on" in problem for problem in problems) == 2
    assert sum("not valid before" in problem for problem in problems) == 1
    assert load_keystore(STORES / "server.p12", PASSWORD).problems(NOW) == []


def test_certificate_of_another_key() -> None:
    """A key under another key's certificate is refused."""
    users = load_keystore(STORES / "users.p12", PASSWORD)
    alice, bob = users.credential("alice"), users.credential("bob")
    from cryptography.hazmat.primitives.serialization import Encoding

    entry = KeyEntry("mixed", (bob.certificate.public_bytes(Encoding.DER),), lambda password: alice.key)
    store = KeyStore(Path("made.jks"), "JKS", (entry,), {}, verified=True, password=PASSWORD)
    with pytest.raises(ConfigError, match="certificate of another key under 'mixed'"):
        store.credential("mixed")


def test_validity() -> None:
    """A certificate holds from its first second to its last."""
    (certificate,) = load_keystore(STORES / "users.p12", PASSWORD).chain("expired")
    first, last = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    assert validity_problem(certificate, first) is None
    assert validity_problem(certificate, last) is None
    assert "not valid before" in (validity_problem(certificate, first - 1) or "")
    assert "expired on" in (validity_problem(certificate, last + 1) or "")


def test_no_secret_is_shown(hosts: Any) -> None:
    """Neither a store nor its entries show a password or a key."""
    store = load_keystore(STORES / "users.jks", "changeit")
    shown = f"{store!r} {store} {hosts.credential('exact')!r} {store._keys!r}"
    assert "changeit" not in shown
    assert "PRIVATE" not in shown
