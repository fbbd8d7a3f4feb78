"""Accept Kerberos tickets: the service's keys from a keytab, and a GSS-API context for each handshake.

No KDC is asked.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import gssapi
from gssapi.raw import accept_sec_context, display_name, krb5_export_lucid_sec_context
from gssapi.raw.ext_rfc4178 import set_neg_mechs
from gssapi.raw.ext_rfc6680 import get_name_attribute

from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.errors import explain
from asgi_gateway.modules.kerberos.library.keytab import Keytab
from asgi_gateway.modules.kerberos.library.pac import LOGON_INFO, account_name

__all__ = ["KRB5", "SPNEGO", "AcceptedClient", "Acceptor", "GssHandshake"]

logger = logging.getLogger("asgi_gateway.kerberos.acceptor")

KRB5 = gssapi.MechType.kerberos
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")


@dataclass(slots=True, kw_only=True)
class AcceptedClient:
    """A client whose ticket was accepted.

    Args:
        principal: ``name@REALM``; in Active Directory with the account's name as the directory writes it.
        flags: the protections that both sides agreed on (``gssapi.RequirementFlag``).
        fingerprint: identifies the token; every use of one token has the same.
        delegated: the client's credentials (``gssapi.Credentials``) if they were delegated, else None.
    """

    principal: str
    flags: Collection[Any]
    fingerprint: str
    delegated: Any = field(default=None, repr=False)


class Acceptor:
    """The keys of a service.

    A changed keytab is read again at the next handshake, so that a renewed one needs no restart.

    Args:
        keytab: the keytab with the keys.
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
        self._version = self._file_version()
        self._credentials = self._acquire()

    def __repr__(self) -> str:
        return f"Acceptor({self.principal} from {self.keytab.path})"

    def handshake(self) -> GssHandshake:
        """Return a new handshake, for a client's first token."""
        version = self._file_version()
        if version != self._version:
            self._version = version  # before it is read, so that the error of one version is logged once
            try:
                self._credentials = self._acquire()
            except ConfigError as error:
                logger.error("cannot use the changed keytab, the last good version stays in use: %s", error)
        return GssHandshake(self._credentials)

    def _file_version(self) -> tuple[int, ...]:
        """Return what differs between two versions of the file; empty if the file is missing."""
        try:
            status = self.keytab.path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _acquire(self) -> Any:
        try:
            with libkrb5.keytab_in_memory(self.keytab.name) as copy:
                # libkrb5's replay cache covers one host; ReplayGuard covers all workers.
                store = {"keytab": copy, "rcache": "none:"}
                found = gssapi.Credentials(name=self._name, usage="accept", mechs=[SPNEGO, KRB5], store=store)
            set_neg_mechs(found, [KRB5])
        except gssapi.exceptions.GSSError as error:
            raise ConfigError(f"cannot use keytab {self.keytab.path} for {self.principal}: {explain(error)}") from None
        return found


class GssHandshake:
    """The handshake of one client, which takes tokens until it is complete.

    It uses gssapi's raw functions: SecurityContext costs more time than the check of the ticket, and may defer an error
    to the next access of the context.

    Args:
        credentials: the acceptor's credentials (``gssapi.Credentials``).

    Attributes:
        complete: True once the client is authenticated.
    """

    def __init__(self, credentials: Any) -> None:
        self.complete = False
        self._credentials = credentials
        self._result: Any = None

    def step(self, token: bytes) -> bytes | None:
        """Process a token of the client.

        Args:
            token: the client's token.

        Returns:
            The token to send back, or None.

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

    def accepted(self, *, with_delegated: bool = False) -> AcceptedClient:
        """Return the client of a complete handshake. It ends the handshake, so call it once.

        Args:
            with_delegated: include the credentials that the client delegated.

        Raises:
            LoginFailed: the mechanism is not Kerberos, or the name in the ticket cannot be read.
        """
        result, self._result = self._result, None
        if result is None or not self.complete or result.mech != KRB5:
            raise LoginFailed("the client did not authenticate with Kerberos")
        try:
            principal = _principal(result.initiator_name)
            fingerprint = _fingerprint(result.context, principal)
            delegated = result.delegated_creds if with_delegated else None
            credentials = None if delegated is None else gssapi.Credentials(base=delegated)
        except (gssapi.exceptions.GSSError, ValueError) as error:
            raise LoginFailed(f"cannot read the client's name from the ticket: {error}") from None
        return AcceptedClient(principal=principal, flags=result.flags, fingerprint=fingerprint, delegated=credentials)


def _principal(name: Any) -> str:
    """Return a client's principal; in Active Directory with the account's name as the directory writes it."""
    principal: str = display_name(name, False).name.decode("utf-8")
    try:
        logon_info = get_name_attribute(name, LOGON_INFO)
    except gssapi.exceptions.OperationUnavailableError:  # the ticket has no PAC
        return principal
    if not logon_info.authenticated:  # a client can add a PAC of its own, without the KDC's signature
        return principal
    return f"{account_name(logon_info.values[0])}@{principal.rpartition('@')[2]}"


def _fingerprint(context: Any, principal: str) -> str:
    # Not of the token's bytes: its outer layers are unprotected, so a changed copy would look like a new token. The
    # initiator's key and first sequence number are in the encrypted authenticator (RFC 4121 section 4.1).
    lucid = krb5_export_lucid_sec_context(context, 1)
    key = lucid.cfx_kd.ctx_key if lucid.cfx_kd is not None else lucid.rfc1964_kd.key  # the latter for RC4
    material = b"\0".join((principal.encode(), str(lucid.recv_seq).encode(), key))
    return hashlib.blake2b(material, digest_size=32).hexdigest()
