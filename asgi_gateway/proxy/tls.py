"""Make the TLS contexts of connections to back ends. Certificates and host names are always verified."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence

from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.keystores import KeyStore

__all__ = ["client_tls"]


def client_tls(
    truststore: KeyStore | None, keystore: KeyStore | None = None, alias: str | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a TLS context for connections to back ends, TLS 1.2 or newer.

    No session is kept: Python resumes one only if it is passed on explicitly, so none is resumed under another name.

    Args:
        truststore: the certificates that are trusted, and no others; None for the system's.
        keystore: holds the client certificate.
        alias: the key that the gateway shows to back ends that ask for a client certificate; None for none.
        alpn: the protocols that are offered (RFC 7301), such as ``http/1.1``.

    Raises:
        ConfigError: the truststore is empty, or the key is missing, cannot be opened or is refused by OpenSSL.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and host names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if truststore is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=truststore.pem_bundle().decode())
        # As in Java, each certificate of a truststore is trusted itself, and not only as the end of a chain.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if alias is not None:
        if keystore is None:
            raise ConfigError(
                Problem(f"no keystore for the client certificate {alias!r}", hint="add security/keystore")
            )
        _load_certificate(context, keystore, alias)
    return context


def _load_certificate(context: ssl.SSLContext, keystore: KeyStore, alias: str) -> None:
    password = secrets.token_hex(32).encode()
    with keystore.credential(alias).pem_files(password) as (certificates, key):
        try:
            context.load_cert_chain(certificates, key, password)
        except ssl.SSLError as error:
            message = f"OpenSSL refuses the client certificate or key {alias!r}: {error.reason or error}"
            hint = "use RSA with 2048 bits or more, or an elliptic curve"
            raise ConfigError(Problem(message, hint=hint)) from error
