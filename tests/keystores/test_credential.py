from __future__ import annotations

import os
import pickle
import ssl
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.credential import ServerTLS, X500PrivateCredential
from asgi_gateway.keystores.load import load_keystore
from tests.keystores import PASSWORD, STORES


@pytest.fixture(scope="module")
def credential() -> X500PrivateCredential:
    return load_keystore(STORES / "server.p12", PASSWORD).credential("server")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which temporary files appear."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_pem_files(credential: X500PrivateCredential, temporary: Path) -> None:
    """Certificates and key are files of this user alone, and gone afterwards, whatever happened meanwhile."""
    with credential.pem_files() as (certificates, key):
        assert certificates.read_bytes() == credential.chain_pem()
        assert load_pem_private_key(key.read_bytes(), None)
        if os.name == "posix":
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
            assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    with suppress(RuntimeError), credential.pem_files(b"secret") as (_, key):
        assert load_pem_private_key(key.read_bytes(), b"secret")
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_server_tls(credential: X500PrivateCredential, temporary: Path) -> None:
    """A server's context comes from the credential, also in another process, and leaves no file behind."""
    tls = pickle.loads(pickle.dumps(credential.server_tls()))
    context = tls("config", "default factory")
    assert isinstance(context, ssl.SSLContext)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert list(temporary.iterdir()) == []


def test_key_is_never_written_in_the_clear(credential: X500PrivateCredential, monkeypatch: pytest.MonkeyPatch) -> None:
    """While OpenSSL loads the key, the file with it is encrypted."""
    seen: list[bytes] = []

    load = ssl.SSLContext.load_cert_chain

    def spy(self: ssl.SSLContext, certificates: Any, key: Any, password: Any) -> None:
        seen.append(Path(key).read_bytes())
        load(self, certificates, key, password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    credential.server_tls()()
    assert seen[0].startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_refused_by_openssl(credential: X500PrivateCredential) -> None:
    """What OpenSSL cannot use is an error that names the alias."""
    with pytest.raises(ConfigError, match="'mine'"):
        ServerTLS("mine", b"no certificate", credential.key_pem(b"x"), b"x")()


def test_nothing_is_shown(credential: X500PrivateCredential) -> None:
    """Neither credential nor TLS settings show the key or its password."""
    tls = credential.server_tls()
    assert repr(tls) == "ServerTLS(alias='server')"
    assert repr(credential) == "X500PrivateCredential(alias='server')"
