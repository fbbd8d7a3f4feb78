"""Choose a server's certificate by the name that a client asks for (SNI, RFC 6066 section 3)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asgi_gateway.errors import ConfigError
from asgi_gateway.keystores.credential import ServerTLS, X500PrivateCredential
from asgi_gateway.keystores.hostnames import host_names, matches_hostname
from asgi_gateway.keystores.store import KeyStore

__all__ = ["PortTLS", "port_tls"]


@dataclass(frozen=True, slots=True)
class _Certificate:
    """A certificate with its key, and the names that it is shown for. A name may be ``*.`` and a domain."""

    names: tuple[str, ...]
    tls: ServerTLS


@dataclass(frozen=True, slots=True)
class PortTLS:
    """Makes the TLS context of a port when called. Can be pickled for worker processes.

    Args:
        certificates: what it may show; the first one for unknown names and for clients that name none.
        warnings: what the operator should know, each as a sentence.
    """

    certificates: tuple[_Certificate, ...]
    warnings: tuple[str, ...] = field(default=(), kw_only=True)

    def __call__(self) -> ssl.SSLContext:
        """Return a context of TLS 1.2 or newer. With several certificates no session can be resumed.

        Raises:
            ConfigError: OpenSSL refuses a key or a certificate.
        """
        contexts = [each.tls() for each in self.certificates]
        if len(contexts) == 1:
            return contexts[0]
        return _ContextByName(list(zip([each.names for each in self.certificates], contexts, strict=True)))


def port_tls(keystore: KeyStore, hosts: Sequence[str], now: float) -> PortTLS:
    """Return what a port shows of a keystore: the certificates for the hosts, and those for other names that it has.

    Where the keystore has one key, that is shown whatever its certificate names, with a warning.

    Args:
        keystore: the opened keystore.
        hosts: the names or addresses that clients use; the first one's certificate is the default.
        now: seconds since the epoch.

    Raises:
        ConfigError: no certificate is for one of the hosts, or none is valid now.
    """
    others = keystore.server_identities(now)
    found: dict[str, X500PrivateCredential] = {}
    names: dict[str, list[str]] = {}
    warnings = []
    for host in hosts:
        try:
            credential = keystore.server_identity(host, now)
        except ConfigError:
            if len(others) != 1 or len(keystore.key_aliases()) != 1:
                raise
            (credential,) = others
            warnings.append(
                f"the certificate {credential.alias!r} is not for the host {host!r}: clients that verify it refuse it"
            )
        found.setdefault(credential.alias, credential)
        names.setdefault(credential.alias, []).append(host)
    for credential in others:
        found.setdefault(credential.alias, credential)
        names.setdefault(credential.alias, []).extend(host_names(credential.certificate))
    certificates = tuple(
        _Certificate(tuple(dict.fromkeys(names[alias])), credential.server_tls()) for alias, credential in found.items()
    )
    result = PortTLS(certificates, warnings=tuple(warnings))
    result()  # a key that OpenSSL refuses must stop the start here, with its name, and not in a worker process
    return result


class _ContextByName(ssl.SSLContext):
    """Shows the certificate of the name that the client asks for.

    Each connection has a context of its own, which chooses and forgets. So no session is resumed: the one of a client
    that asked for one name would be good for another name (CVE-2025-23419).
    """

    _choices: list[tuple[tuple[str, ...], ssl.SSLContext]]

    def __new__(cls, choices: list[tuple[tuple[str, ...], ssl.SSLContext]]) -> _ContextByName:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._choices = choices
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        fresh.minimum_version = ssl.TLSVersion.TLSv1_2
        fresh.options |= ssl.OP_NO_TICKET
        fresh.num_tickets = 0
        fresh.set_alpn_protocols(["http/1.1"])
        fresh.sni_callback = self._choose
        return fresh.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _choose(self, connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._context_for(name)

    def _context_for(self, name: str | None) -> ssl.SSLContext:
        default = self._choices[0][1]
        if not name:
            return default
        covering = [
            ("*" in pattern, context)
            for patterns, context in self._choices
            for pattern in patterns
            if matches_hostname(pattern, name)
        ]
        exact = [context for wildcard, context in covering if not wildcard]
        return exact[0] if exact else covering[0][1] if covering else default
