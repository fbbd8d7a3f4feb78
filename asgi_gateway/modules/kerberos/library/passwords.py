"""User names and passwords, checked with the KDC; and the KDC, checked with a keytab. All of it blocks.

Anyone who can answer in the KDC's place can say yes to a password of their own choice. So the password buys a ticket
for a service whose key is in the keytab, and the ticket is opened with that key: only the real KDC could have made it.
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

__all__ = ["LoggedIn", "PasswordCheck"]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user whose password was right.

    Args:
        principal: ``name@REALM``, as the ticket has it.
        credentials: the user's ticket-granting ticket (``gssapi.Credentials``), held in memory.
    """

    principal: str
    credentials: Any = field(repr=False)


class PasswordCheck:
    """Checks passwords.

    Args:
        local_realm: the realm of names that have none.
        services: whose keys prove the KDC, tried in order; empty to trust whoever answers.
    """

    def __init__(self, local_realm: str, services: tuple[Acceptor, ...]) -> None:
        self.local_realm = local_realm
        self._services = services

    def full_name(self, username: str) -> str:
        """The principal that a user name means.

        Raises:
            LoginFailed: it is no principal's name.
        """
        name, realm = split_principal(username)
        return f"{name}@{realm or self.local_realm}"

    def login(self, principal: str, password: str) -> LoggedIn:
        """Check a password.

        Raises:
            LoginFailed: it is wrong, the account is not to be used, or the KDC cannot prove what it is.
            LoginUnavailable: the KDC cannot be asked.
        """
        if not password or "\0" in password:  # libkrb5 would check what stands before the NUL
            raise LoginFailed("an empty password, or one with a NUL, is refused")
        try:
            name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
            acquired = acquire_cred_with_password(name, password.encode(), mechs=[KRB5], usage="initiate")
            credentials = gssapi.Credentials(base=acquired.creds)
            if not self._services:
                return LoggedIn(str(credentials.name), credentials)
        except gssapi.exceptions.GSSError as error:
            realm = principal.rpartition("@")[2]
            local = realm == self.local_realm
            typed = (principal,) if local else (principal, realm)
            raise kdc_error(error, local_realm=local, typed=typed) from None
        return LoggedIn(self._proven_principal(credentials), credentials)

    def _proven_principal(self, credentials: Any) -> str:
        for service in self._services:
            try:
                token = self._ticket_for(service, credentials)
            except gssapi.exceptions.GSSError as error:
                if protocol_code(error) == NOT_FOUND:
                    continue  # a key that the KDC has no principal of any more; another of the keytab may do
                raise kdc_error(error, local_realm=True) from None
            handshake = service.handshake()
            try:
                handshake.step(token)
                return handshake.accepted().principal
            except LoginFailed as error:
                raise LoginFailed(
                    f"the KDC could not prove that it is the real one: its ticket for {service.principal} does not "
                    f"open with the key in {service.keytab.path}: {error}"
                ) from None
        names = ", ".join(service.principal for service in self._services)
        raise LoginFailed(f"the KDC could not prove that it is the real one: it knows none of {names}")

    @staticmethod
    def _ticket_for(service: Acceptor, credentials: Any) -> bytes:
        target = gssapi.Name(service.principal, gssapi.NameType.kerberos_principal)
        context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", mech=KRB5, flags=[])
        token: bytes = context.step()
        return token
