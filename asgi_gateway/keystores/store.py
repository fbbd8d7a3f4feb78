"""Hold an opened keystore or truststore: its keys with their certificates, and the certificates it trusts."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.keystores.credential import X500PrivateCredential
from asgi_gateway.keystores.errors import WrongPassword, error_prefix, fault, keystore_extra
from asgi_gateway.keystores.hostnames import host_names, is_for_servers, matches_hostname

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["KeyEntry", "KeyStore", "validity_problem"]


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A private key in a keystore, still encrypted.

    Args:
        alias: its name, in lower case as Java has it.
        chain: the DER of its certificates, the key's own first; may be empty in a broken store.
        open: gives the private key for a password; raises WrongPassword, or ConfigError for an unknown algorithm.
    """

    alias: str
    chain: tuple[bytes, ...] = field(repr=False)
    open: Callable[[str], Any] = field(repr=False)


class KeyStore:
    """The value of ``security/keystore`` and ``security/truststore``. Aliases are compared without case, as in Java.

    Args:
        file: where it was read from, for messages.
        type: ``JKS``, ``JCEKS``, ``PKCS12`` or ``PEM``.
        keys: the private keys.
        trusted: the DER of the trusted certificates, by alias.
        verified: whether the password matched the store's digest or MAC.
        password: opens the keys whose password is not given; never printed.
    """

    def __init__(
        self,
        file: Path,
        type: str,  # noqa: A002 - the word of the configuration and of keytool
        keys: tuple[KeyEntry, ...],
        trusted: Mapping[str, bytes],
        *,
        verified: bool,
        password: str | None,
    ) -> None:
        self.file = file
        self.type = type
        self.verified = verified
        self._keys = {entry.alias: entry for entry in keys}
        self._trusted = dict(trusted)
        self._password = password

    def __repr__(self) -> str:
        return f"<KeyStore {self.type} {str(self.file)!r}: {len(self._keys)} keys, {len(self._trusted)} trusted>"

    def aliases(self) -> tuple[str, ...]:
        """Return all aliases, those of keys first."""
        return (*self._keys, *(alias for alias in self._trusted if alias not in self._keys))

    def key_aliases(self) -> tuple[str, ...]:
        """Return the aliases of private keys."""
        return tuple(self._keys)

    def require_key(self, alias: str) -> None:
        """Check that the store has a private key.

        Args:
            alias: the key's name; case does not count.

        Raises:
            ConfigError: there is no such key.
        """
        if alias.lower() not in self._keys:
            raise self._fault(f"has no private key {alias!r}", f"it has {_listed(self._keys)}")

    def chain(self, alias: str) -> tuple[x509.Certificate, ...]:
        """Return the certificates of a key, its own first, or the one trusted certificate of an alias.

        Args:
            alias: the entry's name; case does not count.

        Raises:
            ConfigError: there is no such alias, or a certificate cannot be parsed.
        """
        alias = alias.lower()
        if alias in self._keys:
            encoded = self._keys[alias].chain
        elif alias in self._trusted:
            encoded = (self._trusted[alias],)
        else:
            raise self._fault(f"has no entry {alias!r}", f"it has {_listed(self.aliases())}")
        with error_prefix(self.file), keystore_extra():
            from cryptography import x509
        try:
            return tuple(x509.load_der_x509_certificate(der) for der in encoded)
        except ValueError as error:
            raise self._fault(f"has a certificate under {alias!r} that cannot be read: {error}") from error

    def credential(self, alias: str, password: str | None = None) -> X500PrivateCredential:
        """Return a private key with its certificates.

        Args:
            alias: which one.
            password: the key's own password; the keystore's if None.

        Raises:
            WrongPassword: the password does not open the key.
            ConfigError: no password, no such key, no certificate of its own for it, or an unknown algorithm.
        """
        self.require_key(alias)
        entry = self._keys[alias.lower()]
        key = self._open(entry, password)  # first, so that a wrong password reveals nothing about the certificate
        chain = self.chain(entry.alias)
        if not chain:
            raise self._fault(f"has no certificate for the key {entry.alias!r}", "import the certificate chain")
        if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
            raise self._fault(f"has the certificate of another key under {entry.alias!r}")
        return X500PrivateCredential(entry.alias, key, chain)

    def pem_bundle(self) -> bytes:
        """Return the trusted certificates as one PEM text, for TLS clients such as LDAP's.

        A key's own certificates are not included: having a certificate is no reason to trust its issuer.

        Raises:
            ConfigError: there is none, or OpenSSL refuses one.
        """
        if not self._trusted:
            raise self._fault("has no trusted certificate", "add one: keytool -importcert -alias NAME -file FILE")
        try:
            bundle = "".join(map(ssl.DER_cert_to_PEM_cert, self._trusted.values()))
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle)
        except ssl.SSLError as error:
            raise self._fault(f"has a certificate that OpenSSL refuses: {error.reason or error}") from error
        return bundle.encode()

    def server_identity(self, host: str, now: float) -> X500PrivateCredential:
        """Return the key that a TLS server shows for a host: an exact name before a wildcard, then the longest valid.

        Args:
            host: the name or address that clients use.
            now: seconds since the epoch.

        Raises:
            ConfigError: no certificate is for that host, none is valid now, or the key cannot be opened or used.
        """
        if not self._keys:
            raise self._fault("has no private key", "create one: keytool -genkeypair -ext san=dns:NAME")
        leaves = {}
        for alias in self._keys:
            with suppress(ConfigError, IndexError):  # a missing or unreadable certificate is for no host
                leaves[alias] = self.chain(alias)[0]
        names = {alias: host_names(leaf) for alias, leaf in leaves.items()}
        fitting = [alias for alias in leaves if any(matches_hostname(name, host) for name in names[alias])]
        if not fitting:
            raise self._fault(
                f"has no key for the host {host!r}",
                f"it has {_named(names)}; subjectAltName names a certificate's hosts: keytool -ext san=dns:{host}",
            )
        problems = {alias: validity_problem(leaves[alias], now) for alias in fitting}
        valid = [alias for alias in fitting if problems[alias] is None]
        if not valid:
            raise self._fault(
                f"has no valid certificate for the host {host!r}: "
                + ", ".join(f"{alias!r} {problem}" for alias, problem in problems.items()),
                "renew the certificate",
            )
        exact = [
            alias for alias in valid if any("*" not in name and matches_hostname(name, host) for name in names[alias])
        ]
        best = max(exact or valid, key=lambda alias: float(leaves[alias].not_valid_after_utc.timestamp()))
        return self._usable(self.credential(best))

    def server_identities(self, now: float) -> list[X500PrivateCredential]:
        """Return the keys that a TLS server can show now, the one that is valid for longest first.

        Left out are those whose certificate is for other purposes than TLS servers, or cannot be used.

        Args:
            now: seconds since the epoch.
        """
        found = []
        for alias in self._keys:
            with suppress(ConfigError):  # `problems` reports it
                credential = self._usable(self.credential(alias))
                if validity_problem(credential.certificate, now) is None and is_for_servers(credential.certificate):
                    found.append(credential)
        return sorted(found, key=lambda each: each.certificate.not_valid_after_utc, reverse=True)

    def problems(self, now: float) -> list[str]:
        """Return what is wrong with the keys, each as a sentence; for ``asgi-gateway check``.

        Args:
            now: seconds since the epoch.
        """
        found = []
        for alias in self._keys:
            try:
                problem = validity_problem(self.credential(alias).certificate, now)
            except ConfigError as error:
                found.append(error.problems[0].message)
            else:
                if problem is not None:
                    found.append(f"the keystore {self.file}: the certificate {alias!r} {problem}")
        return found

    def _open(self, entry: KeyEntry, password: str | None) -> Any:
        own = self._password if password is None else password
        if own is None:
            raise self._fault(f"does not give the key {entry.alias!r} without a password", "set password-file")
        try:
            with error_prefix(self.file):
                return entry.open(own)
        except WrongPassword as error:
            if own != self._password or not self.verified:
                raise
            # the store's digest matched, so its password is right
            message = f"the keystore {self.file} has a key {entry.alias!r} with a password of its own"
            hint = f"make it the store's: keytool -keypasswd -alias {entry.alias}"
            raise WrongPassword(Problem(message, hint=hint)) from error

    def _usable(self, credential: X500PrivateCredential) -> X500PrivateCredential:
        from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

        kinds = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
        if not isinstance(credential.key, kinds):
            raise self._fault(
                f"has a key {credential.alias!r} of a kind that TLS no longer uses",
                "create one with keytool -genkeypair -keyalg EC",
            )
        return credential

    def _fault(self, message: str, hint: str = "") -> ConfigError:
        return fault(f"the keystore {self.file} {message}", hint)


def validity_problem(certificate: x509.Certificate, now: float) -> str | None:
    """Return why a certificate is not valid at a time, or None if it is (RFC 5280 section 4.1.2.5).

    Args:
        certificate: the certificate.
        now: seconds since the epoch.
    """
    moment = datetime.fromtimestamp(now, UTC)
    if moment < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if moment > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return None


def _public_bytes(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _listed(aliases: Mapping[str, Any] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, aliases)) or "none"


def _named(names: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{alias!r} for {', '.join(hosts) or 'no host'}" for alias, hosts in names.items())
