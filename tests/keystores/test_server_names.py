"""Which certificate a port shows for which name."""

from __future__ import annotations

import pickle
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores import KeyStore, PortTLS, load_keystore, port_tls
from asgi_gateway.keystores.store import KeyEntry
from tests.keystores import NOW, PASSWORD, STORES


def store(name: str = "hosts.p12") -> KeyStore:
    return load_keystore(STORES / name, PASSWORD)


def alias(tls: PortTLS, name: str | None) -> str:
    """The certificate that a client sees who asks for a name, shown in a handshake in memory."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(client_in, client_out, server_hostname=name)
    server = tls().wrap_bio(client_out, client_in, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    known = store()
    return next(each for each in known.key_aliases() if _der(known, each) == shown)


def _der(known: KeyStore, name: str) -> bytes:
    encoded: bytes = known.chain(name)[0].public_bytes(Encoding.DER)
    return encoded


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("renewed.example.net", "renewed"),
        ("www.example.com", "exact"),
        ("a.example.com", "wildcard"),
        ("a.b.example.com", "renewed"),
        ("expired.example.net", "renewed"),
        ("dsa.example.net", "renewed"),
        ("weak.example.net", "renewed"),
        (None, "renewed"),
    ],
)
def test_by_name(name: str | None, shown: str) -> None:
    """An exact name precedes a wildcard; expired and unusable ones are never shown; the first is the default."""
    tls = port_tls(store(), ["renewed.example.net", "www.example.com"], NOW)
    assert alias(pickle.loads(pickle.dumps(tls)), name) == shown


def test_warns_of_what_openssl_refuses() -> None:
    """A key that OpenSSL refuses is left out with a warning; it is an error where a host needs it."""
    assert [text for text in port_tls(store(), ["www.example.com"], NOW).warnings if "weak" in text]
    with pytest.raises(ConfigError, match="weak"):
        port_tls(store(), ["www.example.com", "weak.example.net"], NOW)


@pytest.mark.parametrize("host", ["www.example.org", "expired.example.net", "future.example.net"])
def test_no_certificate(host: str) -> None:
    """A host without a certificate that is valid now is an error, if the keystore has several."""
    with pytest.raises(ConfigError, match=host):
        port_tls(store(), ["www.example.com", host], NOW)


def test_the_only_certificate() -> None:
    """A keystore's only key is shown whatever the host; a warning says that it is not for it."""
    tls = port_tls(store("server.p12"), ["gateway.example"], NOW)
    assert len(tls.certificates) == 1
    assert "is not for the host 'gateway.example'" in tls.warnings[0]
    assert not port_tls(store("server.p12"), ["localhost"], NOW).warnings


def test_no_key_in_a_repr() -> None:
    """Neither keys nor their passwords are in its repr."""
    tls = port_tls(store(), ["www.example.com"], NOW)
    for each in tls.certificates:
        assert each.password.decode() not in repr(tls)
    assert "PRIVATE" not in repr(tls)


def made(alias: str, purpose: ObjectIdentifier | None) -> KeyEntry:
    """A key with a certificate for ``<alias>.example`` and a purpose."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, alias)])
    begin = datetime.fromtimestamp(NOW - 60, UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=9))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{alias}.example")]), critical=False)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    encoded = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    return KeyEntry(alias, (encoded,), lambda password: key)


def test_client_certificates_are_not_shown() -> None:
    """A key for TLS clients, such as one for back ends, is no server's."""
    purposes = ExtendedKeyUsageOID
    keys = {"a": purposes.SERVER_AUTH, "b": purposes.CLIENT_AUTH, "c": None, "d": purposes.ANY_EXTENDED_KEY_USAGE}
    known = KeyStore(
        Path("store"), "JKS", tuple(made(*each) for each in keys.items()), {}, verified=True, password="secret"
    )
    tls = port_tls(known, ["c.example"], NOW)
    assert {name for name, _ in tls.names} == {"a.example", "c.example", "d.example"}
