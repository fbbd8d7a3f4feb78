"""The service's side of GSS-API: keys from a keytab, and one context for each client's handshake. No KDC is needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import gssapi
from gssapi.raw import accept_sec_context, display_name, krb5_export_lucid_sec_context
from gssapi.raw.ext_rfc4178 import set_neg_mechs

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.errors import explain
from asgi_gateway.modules.kerberos.library.keytab import Keytab

__all__ = ["KRB5", "SPNEGO", "Accepted", "Acceptor", "Handshake"]

logger = logging.getLogger("asgi_gateway.kerberos.acceptor")

KRB5 = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")


@dataclass(slots=True)
class Accepted:
    """A client that proved who it is.

    Args:
        principal: ``name@REALM``.
        flags: what the two sides agreed on (``gssapi.RequirementFlag``).
        fingerprint: the same for every use of one token and for no other token.
        delegated: the client's own credentials if it delegated them, else None.
    """

    principal: str
    flags: Collection[Any]
    fingerprint: str
    delegated: Any = field(default=None, repr=False)


class Acceptor:
    """A service's keys.

    Args:
        keytab: where the keys are; read again when the file changes, so that a renewed keytab needs no restart.
        principal: the service, with or without a realm; None for any in the keytab.

    Raises:
        ConfigError: the keytab has no usable key of the principal.
    """

    def __init__(self, keytab: Keytab, principal: str | None = None) -> None:
        found = keytab.principals[0] if principal is None else keytab.find(principal)
        if found is None:
            raise ConfigError(f"keytab {keytab.path} has no key of {principal}; it holds {keytab.describe()}")
        self.keytab = keytab
        self.principal = found
        self.realm = found.rpartition("@")[2]
        self._name = None if principal is None else gssapi.Name(found, gssapi.NameType.kerberos_principal)
        libkrb5.keep_configuration()
        self._version = self._look()
        self._credentials = self._acquire()

    def __repr__(self) -> str:
        return f"Acceptor({self.principal} from {self.keytab.path})"

    def handshake(self) -> Handshake:
        """A new context, for one client's first token."""
        version = self._look()
        if version != self._version:
            self._version = version  # first: what is said of a version that cannot be used is said once
            try:
                self._credentials = self._acquire()
            except ConfigError as error:
                logger.error("a changed keytab cannot be used, its last good version stays: %s", error)
        return Handshake(self._credentials)

    def _look(self) -> tuple[int, ...]:
        """What tells one version of the file from another; empty for a file that is not there."""
        try:
            status = self.keytab.path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _acquire(self) -> Any:
        try:
            with libkrb5.keytab_in_memory(self.keytab.name) as copy:
                # Replays are refused for all workers alike, not by libkrb5's cache of one host.
                store = {"keytab": copy, "rcache": "none:"}
                found = gssapi.Credentials(name=self._name, usage="accept", mechs=[SPNEGO, KRB5], store=store)
            set_neg_mechs(found, [KRB5])
        except gssapi.exceptions.GSSError as error:
            raise ConfigError(
                f"keytab {self.keytab.path} cannot be used for {self.principal}: {explain(error)}"
            ) from None
        return found


class Handshake:
    """One client's handshake: give it tokens until it is complete.

    It calls GSS-API's own functions: the gssapi package's SecurityContext takes longer than the library takes for the
    ticket, and may hold an error back until the next look at the context.

    Args:
        credentials: the acceptor's.

    Attributes:
        complete: whether the client is known.
    """

    def __init__(self, credentials: Any) -> None:
        self.complete = False
        self._credentials = credentials
        self._result: Any = None

    def step(self, token: bytes) -> bytes | None:
        """Take the client's token.

        Returns:
            the token to send back, or None.

        Raises:
            LoginFailed: the token is refused.
        """
        context = None if self._result is None else self._result.context
        try:
            self._result = accept_sec_context(token, self._credentials, context)
        except gssapi.exceptions.GSSError as error:
            raise LoginFailed(explain(error)) from None
        self.complete = not self._result.more_steps
        return self._result.token or None

    def accepted(self, *, with_delegated: bool = False) -> Accepted:
        """Who the client is. Ends the handshake: ask once, when it is complete.

        Raises:
            LoginFailed: the mechanism is not Kerberos, or the library cannot tell.
        """
        result, self._result = self._result, None
        if result is None or not self.complete or result.mech != KRB5:
            raise LoginFailed("the client did not authenticate with Kerberos")
        try:
            principal = display_name(result.initiator_name, False).name.decode("utf-8")
            fingerprint = _fingerprint(result.context, principal)
            delegated = result.delegated_creds if with_delegated else None
            credentials = None if delegated is None else gssapi.Credentials(base=delegated)
        except (gssapi.exceptions.GSSError, UnicodeDecodeError) as error:
            raise LoginFailed(f"the ticket's owner cannot be told: {error}") from None
        return Accepted(principal, result.flags, fingerprint, credentials)


def _fingerprint(context: Any, principal: str) -> str:
    # The bytes of a token will not do: its outer layers are not protected, and a changed copy would look new. The
    # initiator's key and first sequence number are inside the encrypted authenticator (RFC 4121 section 4.1).
    lucid = krb5_export_lucid_sec_context(context, 1)
    key = lucid.cfx_kd.ctx_key if lucid.cfx_kd is not None else lucid.rfc1964_kd.key  # the latter for RC4
    material = b"\0".join((principal.encode(), str(lucid.recv_seq).encode(), key))
    return hashlib.blake2b(material, digest_size=32).hexdigest()
