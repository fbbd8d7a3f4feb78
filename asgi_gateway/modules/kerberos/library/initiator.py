"""Get the gateway's own credentials, from a ticket cache or with a keytab. All of it blocks."""

from __future__ import annotations

import itertools
import logging
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import gssapi

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.modules.kerberos.library.acceptor import KRB5
from asgi_gateway.modules.kerberos.library.errors import WRONG_KEY, explain, kdc_error, protocol_code
from asgi_gateway.modules.kerberos.library.keytab import Keytab

__all__ = ["CacheLogin", "KeytabLogin"]

logger = logging.getLogger("asgi_gateway.kerberos.own")

_numbers = itertools.count()
_RENEW_BELOW = 600
"""``renewTGT`` renews a ticket that expires within so many seconds."""
_RENEW_LIMIT = 20
"""The time limit of a renewal, in seconds."""


class CacheLogin:
    """A login with the ticket-granting ticket of a ticket cache.

    Args:
        cache: the cache's name, None for the system's default.
        principal: the owner that the ticket must have, None for any.
        renew: renew a ticket that expires soon.

    Raises:
        ConfigError: ``renew`` is set and the program kinit is missing.
    """

    def __init__(self, cache: str | None, principal: str | None, *, renew: bool) -> None:
        self._cache = cache
        self._principal = principal
        self._kinit = shutil.which("kinit") if renew else None
        if renew and self._kinit is None:
            raise ConfigError("renewTGT needs the program kinit (Debian: apt-get install krb5-user)")

    def login(self) -> Any:
        """Return the credentials (``gssapi.Credentials``).

        Raises:
            LoginFailed: the cache has none of the principal, or they have expired.
            LoginUnavailable: kinit cannot be run, or takes too long.
        """
        credentials, left = self._acquire()
        if left < _RENEW_BELOW and self._kinit is not None:
            self._renew(self._kinit)
            credentials, left = self._acquire()
        if left <= 0:
            raise LoginFailed(f"{self._described}: the ticket has expired")
        return credentials

    @property
    def _described(self) -> str:
        return f"ticket cache {self._cache or '(default)'}"

    def _acquire(self) -> tuple[Any, int]:
        store = {"ccache": self._cache} if self._cache else None
        name = gssapi.Name(self._principal, gssapi.NameType.kerberos_principal) if self._principal else None
        try:
            credentials = gssapi.Credentials(name=name, usage="initiate", mechs=[KRB5], store=store)
            try:
                return credentials, int(credentials.lifetime or 0)
            except gssapi.exceptions.ExpiredCredentialsError:
                return credentials, 0
        except gssapi.exceptions.GSSError as error:
            raise LoginFailed(f"{self._described}: {explain(error)}") from None

    def _renew(self, kinit: str) -> None:
        command = [kinit, "-R", *(["-c", self._cache] if self._cache else []), *filter(None, [self._principal])]
        try:
            # the arguments are the configuration's, and no shell reads them
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_RENEW_LIMIT)  # noqa: S603
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode("utf-8", "replace").strip()
            raise LoginFailed(f"{self._described}: cannot renew: {reason}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LoginUnavailable(f"{self._described}: cannot renew: {error}") from None


class KeytabLogin:
    """A login with a key of a keytab; libkrb5 keeps the ticket and renews it in time.

    Args:
        keytab: the keytab with the key.
        principal: the key's principal; None for the keytab's first.

    Raises:
        ConfigError: the keytab has no key of the principal.
    """

    def __init__(self, keytab: Keytab, principal: str | None) -> None:
        found = keytab.principals[0] if principal is None else keytab.find(principal)
        if found is None:
            raise ConfigError(f"keytab {keytab.path} has no key of {principal}; it holds {keytab.describe()}")
        self.keytab = keytab
        self.principal = found
        self._store = {"client_keytab": keytab.name, "ccache": f"MEMORY:asgi_gateway_{next(_numbers)}"}

    def login(self, mechanisms: Sequence[Any] = ()) -> Any:
        """Return the credentials (``gssapi.Credentials``).

        Args:
            mechanisms: what they are for besides Kerberos alone, such as SPNEGO.

        Raises:
            LoginFailed: the KDC refuses the key.
            LoginUnavailable: the KDC cannot be reached.
        """
        try:
            credentials = self._acquire()  # of Kerberos alone, since SPNEGO would hide the reason of a failure
            return self._acquire((KRB5, *mechanisms)) if mechanisms else credentials
        except gssapi.exceptions.GSSError as error:
            outcome = kdc_error(error, local_realm=True)
            raise type(outcome)(f"keytab {self.keytab.path}, {self.principal}: {outcome}") from None

    def stale_key(self) -> str | None:
        """Return the KDC's reason for refusing the key; None if it accepts the key, or cannot check it."""
        try:
            self._acquire()
        except gssapi.exceptions.GSSError as error:
            if protocol_code(error) in WRONG_KEY:
                return f"keytab {self.keytab.path} has a stale key of {self.principal}: {explain(error)}"
            logger.info(
                "keytab %s, %s: cannot check the key with the KDC: %s", self.keytab.path, self.principal, explain(error)
            )
        return None

    def _acquire(self, mechanisms: Sequence[Any] = (KRB5,)) -> Any:
        name = gssapi.Name(self.principal, gssapi.NameType.kerberos_principal)
        return gssapi.Credentials(name=name, usage="initiate", mechs=mechanisms, store=self._store)
