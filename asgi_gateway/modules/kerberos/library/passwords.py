"""Check passwords with the KDC, and the KDC with a keytab. All of it blocks.

An attacker who answers in the KDC's place could accept any password. So the user's credentials are used to get a ticket
for a service whose key is in the keytab, and that key decrypts the ticket: only the real KDC could have encrypted it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gssapi
from gssapi.raw import acquire_cred_with_password

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.kerberos.library.acceptor import KRB5, Acceptor
from asgi_gateway.modules.kerberos.library.errors import NOT_FOUND, kdc_error, protocol_code
from asgi_gateway.modules.kerberos.library.principals import split_principal

__all__ = ["PasswordCheck", "PasswordLogin"]


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """A user whose password is correct.

    Args:
        principal: ``name@REALM``, as the ticket has it.
        credentials: the user's ticket-granting ticket (``gssapi.Credentials``), held in memory.
    """

    principal: str
    credentials: Any = field(repr=False)


class PasswordCheck:
    """A check of passwords with the KDC.

    Args:
        local_realm: the realm of names without one.
        services: the services whose keys verify the KDC, tried in order; empty to trust any KDC.
    """

    def __init__(self, local_realm: str, services: tuple[Acceptor, ...]) -> None:
        self.local_realm = local_realm
        self._services = services

    def full_name(self, username: str) -> str:
        """Return the principal of a user name.

        Realms are case-sensitive (RFC 4120 section 6.1), and users are not: the local realm may be typed in any case.

        Args:
            username: a name as typed, with or without a realm.

        Raises:
            LoginFailed: the name is invalid.
        """
        name, realm = split_principal(username)
        if not realm or realm.casefold() == self.local_realm.casefold():
            realm = self.local_realm
        return f"{name}@{realm}"

    def login(self, principal: str, password: str) -> PasswordLogin:
        """Check a password.

        Raises:
            LoginFailed: the password is wrong, the account cannot be used, or the KDC cannot be verified.
            LoginUnavailable: the KDC cannot be reached.
        """
        if not password or "\0" in password:  # libkrb5 would check the part before the NUL
            raise LoginFailed("invalid password: empty, or with a NUL character")
        try:
            name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
            acquired = acquire_cred_with_password(name, password.encode(), mechs=[KRB5], usage="initiate")
            credentials = gssapi.Credentials(base=acquired.creds)
            if not self._services:
                return PasswordLogin(str(credentials.name), credentials)
        except gssapi.exceptions.GSSError as error:
            realm = principal.rpartition("@")[2]
            local = realm == self.local_realm
            typed = (principal,) if local else (principal, realm)
            raise kdc_error(error, local_realm=local, typed=typed) from None
        return PasswordLogin(self._verified_principal(credentials), credentials)

    def _verified_principal(self, credentials: Any) -> str:
        for service in self._services:
            try:
                token = self._ticket_for(service, credentials)
            except gssapi.exceptions.GSSError as error:
                if protocol_code(error) == NOT_FOUND:
                    continue  # the KDC no longer has this principal; another one of the keytab may do
                raise kdc_error(error, local_realm=True) from None
            handshake = service.handshake()
            try:
                handshake.step(token)
                return handshake.accepted().principal
            except LoginFailed as error:
                raise LoginFailed(
                    f"cannot verify the KDC: the key in {service.keytab.path} does not decrypt its ticket for "
                    f"{service.principal}: {error}"
                ) from None
        names = ", ".join(service.principal for service in self._services)
        raise LoginFailed(f"cannot verify the KDC: it knows none of {names}")

    @staticmethod
    def _ticket_for(service: Acceptor, credentials: Any) -> bytes:
        target = gssapi.Name(service.principal, gssapi.NameType.kerberos_principal)
        context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", mech=KRB5, flags=[])
        token: bytes = context.step()
        return token
