"""Hold a private key with its certificates: what a server shows in TLS, and a login's private credential."""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_gateway.keystores.der import distinguished_name, read_certificate
from asgi_gateway.keystores.errors import fault

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["ServerTLS", "X500PrivateCredential"]


@dataclass(frozen=True, slots=True)
class X500PrivateCredential:
    """A frozen private key and its certificate chain (JAAS ``javax.security.auth.x500.X500PrivateCredential``).

    Args:
        alias: the keystore's name for it.
        key: the private key, an object of the library ``cryptography``. Never printed.
        chain: the key's certificate first, then those of its issuers as far as the keystore has them.
    """

    alias: str
    key: Any = field(repr=False, compare=False)
    chain: tuple[x509.Certificate, ...] = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.chain[0]

    @property
    def subject(self) -> str:
        """The subject of the certificate as RFC 2253 writes it, just as Java's ``X500Principal.getName()`` does."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return distinguished_name(read_certificate(self.certificate.public_bytes(Encoding.DER)).subject)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """Return the key as PEM, PKCS #8 (RFC 5208).

        Args:
            password: encrypts the key; None leaves it in clear text.
        """
        from cryptography.hazmat.primitives import serialization as s

        encryption = s.NoEncryption() if password is None else s.BestAvailableEncryption(password)
        pem: bytes = self.key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption)
        return pem

    def chain_pem(self) -> bytes:
        """Return the certificates as PEM, the key's own first."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    @contextmanager
    def pem_files(self, password: bytes | None = None) -> Iterator[tuple[Path, Path]]:
        """Write certificates and key to files, for servers that need files; deleted when the ``with`` block ends.

        Args:
            password: encrypts the key file.

        Returns:
            the paths of the certificate file and the key file, which only this user can read.
        """
        with _files(self.chain_pem(), self.key_pem(password)) as paths:
            yield paths

    def server_tls(self) -> ServerTLS:
        """Return a factory of TLS contexts that can be pickled for a server's worker processes."""
        password = secrets.token_bytes(32).hex().encode()
        return ServerTLS(self.alias, self.chain_pem(), self.key_pem(password), password)


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """Makes a server's TLS context when called; uvicorn's ``ssl_context_factory``, whose arguments it ignores.

    The key is held, and for the moment of loading written, only in encrypted form, so a file that a crash leaves
    behind is useless.
    """

    alias: str
    chain_pem: bytes = field(repr=False)
    encrypted_key_pem: bytes = field(repr=False)
    password: bytes = field(repr=False)

    def __call__(self, *ignored: Any) -> ssl.SSLContext:
        """Return a context of TLS 1.2 or newer.

        Raises:
            ConfigError: OpenSSL refuses the key or a certificate, for instance as too weak.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with _files(self.chain_pem, self.encrypted_key_pem) as (certificates, key):
            try:
                context.load_cert_chain(certificates, key, self.password)
            except ssl.SSLError as error:
                raise fault(
                    f"OpenSSL refuses the key or certificate {self.alias!r}: {error.reason or error}",
                    "use RSA with 2048 bits or more, or an elliptic curve",
                ) from error
        return context


@contextmanager
def _files(chain_pem: bytes, key_pem: bytes) -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="asgi-gateway-") as directory:  # mode 0700
        certificates, key = Path(directory, "certificates.pem"), Path(directory, "key.pem")
        for file, pem in ((certificates, chain_pem), (key, key_pem)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(pem)
        yield certificates, key
