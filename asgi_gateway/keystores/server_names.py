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


@dataclass(frozen=True, slots=True, kw_only=True)
class PortTLS:
    """Makes the TLS context of a port when called. Can be pickled for worker processes.

    Args:
        certificates: what it may show; the first one for unknown names and for clients that name none.
        names: which certificate is shown for which name, as its number; of equal names the first one counts. A name may
            be ``*.`` and a domain, which exact names precede.
        warnings: what the operator should know, each as a sentence.
    """

    certificates: tuple[ServerTLS, ...]
    names: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __call__(self) -> ssl.SSLContext:
        """Return a context of TLS 1.2 or newer. With several certificates no session can be resumed.

        Raises:
            ConfigError: OpenSSL refuses a key or a certificate.
        """
        contexts = [make() for make in self.certificates]
        return contexts[0] if len(contexts) == 1 else _ContextByName(contexts, self.names)


def port_tls(keystore: KeyStore, hosts: Sequence[str], now: float) -> PortTLS:
    """Return what a port shows of a keystore: the certificates for the hosts, and those for other names that it has.

    Where the keystore has one key, that is shown whatever its certificate names, with a warning.

    Args:
        keystore: the opened keystore.
        hosts: the names or addresses that clients use; the first one's certificate is the default.
        now: seconds since the epoch.

    Raises:
        ConfigError: no certificate is for one of the hosts, none is valid now, or OpenSSL refuses it.
    """
    others = keystore.server_identities(now)
    shown: dict[str, int] = {}
    certificates: list[ServerTLS] = []
    names: list[tuple[str, int]] = []
    warnings: list[str] = []

    def show(credential: X500PrivateCredential) -> int:
        if credential.alias not in shown:
            tls = credential.server_tls()
            tls()  # a key that OpenSSL refuses must stop the start here, with its name, and not in a worker process
            shown[credential.alias] = len(certificates)
            certificates.append(tls)
        return shown[credential.alias]

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
        names.append((host, show(credential)))
    for credential in others:
        if own := host_names(credential.certificate):
            try:
                names += [(name, show(credential)) for name in own]
            except ConfigError as error:
                warnings.append(error.problems[0].message)
    return PortTLS(certificates=tuple(certificates), names=tuple(names), warnings=tuple(warnings))


class _ContextByName(ssl.SSLContext):
    """Shows the certificate of the name that the client asks for.

    Each connection has a context of its own, which chooses and forgets. So no session is resumed: the one of a client
    that asked for one name would be good for another name (CVE-2025-23419).
    """

    _contexts: Sequence[ssl.SSLContext]
    _names: Sequence[tuple[str, int]]

    def __new__(cls, contexts: Sequence[ssl.SSLContext], names: Sequence[tuple[str, int]]) -> _ContextByName:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._contexts, self._names = contexts, names
        return self

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return a connection's TLS, of a context that is its own."""
        fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        fresh.minimum_version = ssl.TLSVersion.TLSv1_2
        fresh.options |= ssl.OP_NO_TICKET
        fresh.num_tickets = 0
        fresh.set_alpn_protocols(["http/1.1"])
        fresh.sni_callback = self._choose
        return fresh.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _choose(self, connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._contexts[self._number(name)]

    def _number(self, name: str | None) -> int:
        if not name:
            return 0
        covering = [(pattern, number) for pattern, number in self._names if matches_hostname(pattern, name)]
        exact = [number for pattern, number in covering if not pattern.startswith("*")]
        return next(iter(exact or [number for _, number in covering]), 0)
