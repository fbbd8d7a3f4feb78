"""The ``kerberos5`` login module. Source: ``com.sun.security.auth.module.Krb5LoginModule``.

As acceptor it passes its service's keys to ``gss`` and authenticates no client. As initiator it checks the request's
user name and password with the KDC. A ticket cache or a keytab logs the gateway in, not the client: it gives later
modules and the application credentials to use, and authenticates no client.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import field_validator, model_validator

from asgi_gateway._runtime.secret_files import permission_problem
from asgi_gateway.errors import ConfigError, LoginError, LoginFailed
from asgi_gateway.model import Grant, UserPrincipal
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.errors import require_gssapi
from asgi_gateway.modules.kerberos.library.gss_tokens import SHARED_ACCEPTOR
from asgi_gateway.modules.kerberos.library.keytab import Keytab, keytab_path, read_keytab
from asgi_gateway.modules.kerberos.library.principals import (
    NameOptions,
    check_realm,
    check_rules,
    split_principal,
    user_name,
)
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions

if TYPE_CHECKING:
    from asgi_gateway.modules.kerberos.library.acceptor import Acceptor
    from asgi_gateway.modules.kerberos.library.initiator import CacheLogin, KeytabLogin
    from asgi_gateway.modules.kerberos.library.passwords import PasswordCheck

__all__ = ["Kerberos5LoginModule", "Kerberos5Options"]

_START_LIMIT = 2.0
"""The time limit, in seconds, for the check of a keytab's key at start-up."""
_VERIFYING_SERVICES = 8
"""The number of a keytab's services that are tried to verify the KDC."""
_NO_USER = Grant(authenticates=False)
_CACHE_TYPE = re.compile(r"[A-Za-z]{2,}:")


class Kerberos5Options(PasswordOptions, NameOptions):
    """Options of ``kerberos5``: the JDK's, those of names, and two of our own.

    Attributes:
        principal: initiator: the principal that logs in; acceptor: the service, or ``*`` for any in the keytab.
        isInitiator: false for an acceptor.
        useKeyTab: take the key from a keytab.
        keyTab: the keytab; the system's by default.
        useTicketCache: take the ticket from a ticket cache.
        ticketCache: the cache; the system's by default.
        renewTGT: renew the cache's ticket when it expires soon.
        doNotPrompt: never use the request's own user name and password.
        storeKey: pass the keytab's keys to ``gss``.
        refreshKrb5Config: accepted and ignored; libkrb5 always notices a changed krb5.conf.
        verifyKDC: verify the KDC with a keytab before a password is accepted.
        verifyKeyTab: that keytab; by default ``keyTab``, else the system's.
        refuseForeignRealms: true by default, so that a client cannot choose the KDC that the gateway asks.
    """

    principal: str | None = None
    isInitiator: Boolean = True
    useKeyTab: Boolean = False
    keyTab: str | None = None
    useTicketCache: Boolean = False
    ticketCache: str | None = None
    renewTGT: Boolean = False
    doNotPrompt: Boolean = False
    storeKey: Boolean = False
    refreshKrb5Config: Boolean = False
    verifyKDC: Boolean = True
    verifyKeyTab: str | None = None
    refuseForeignRealms: Boolean = True

    @property
    def takes_passwords(self) -> bool:
        """True if a password can be checked: the request's, or one of the shared state."""
        return self.isInitiator and (not self.doNotPrompt or self.tryFirstPass or self.useFirstPass)

    @field_validator("principal")
    @classmethod
    def _valid_principal(cls, principal: str | None) -> str | None:
        if principal is not None:
            try:
                split_principal(principal)
            except LoginFailed as error:
                raise ValueError(f"{error} (leave principal out for none)") from None
        return principal

    @model_validator(mode="after")
    def _legal(self) -> Kerberos5Options:
        first_pass = self.tryFirstPass or self.useFirstPass
        no_key = not self.useKeyTab and not first_pass
        illegal = (
            (self.doNotPrompt and no_key and not self.useTicketCache,
             "doNotPrompt leaves no way to log in: set useTicketCache, useKeyTab, tryFirstPass or useFirstPass"),
            (self.storeKey and self.doNotPrompt and no_key,
             "storeKey with doNotPrompt has no key to store: set useKeyTab, tryFirstPass or useFirstPass"),
            (self.ticketCache is not None and not self.useTicketCache, "ticketCache needs useTicketCache=true"),
            (self.keyTab is not None and not self.useKeyTab, "keyTab needs useKeyTab=true"),
            (self.renewTGT and not self.useTicketCache, "renewTGT needs useTicketCache=true"),
            (self.isInitiator and self.principal == "*", "principal * is for acceptors: set isInitiator=false"),
            (not self.isInitiator and not self.useKeyTab, "an acceptor's key comes from a keytab: set useKeyTab=true"),
            (not self.isInitiator and self.principal is None,
             "an acceptor needs a principal, such as HTTP/www.example.com@EXAMPLE.COM, or * for any in the keytab"),
            (self.verifyKeyTab is not None and not self.verifyKDC, "verifyKeyTab contradicts verifyKDC=false"),
        )  # fmt: skip
        for wrong, message in illegal:
            if wrong:
                raise ValueError(message)
        return self


class Kerberos5LoginModule(PasswordLoginModule):
    """Kerberos version 5.

    Raises:
        ConfigError: gssapi is not installed, a keytab is missing, unreadable or lacks the principal, or krb5.conf has
            no default realm for passwords.
    """

    Options = Kerberos5Options
    cacheable = True

    def __init__(self, options: Kerberos5Options, context: ModuleContext) -> None:
        super().__init__(options, context)
        require_gssapi()
        self.authenticates = options.takes_passwords
        if not options.isInitiator and not options.storeKey:
            context.warn(
                "kerberos5: an acceptor without storeKey passes no key to gss, so that no ticket can be accepted"
            )
        if options.takes_passwords:
            check_rules(options, lambda text: context.warn(f"kerberos5: {text}"))
        self._acceptor = self._make_acceptor() if options.storeKey and options.useKeyTab else None
        self._keytab_login: KeytabLogin | None = self._make_keytab_login() if options.useKeyTab else None
        self._cache_login: CacheLogin | None = self._make_cache_login() if options.isInitiator else None
        self._passwords: PasswordCheck | None = self._make_password_check() if options.takes_passwords else None

    async def open(self) -> None:
        """Check once, with the KDC, that the keytab's key is current.

        Raises:
            ConfigError: the key is stale. An unreachable KDC, or one that has the service not as a client, is no error.
        """
        problem = await self._stale_key()
        if problem is not None:
            raise ConfigError(problem)

    async def check(self) -> list[str]:
        problem = await self._stale_key()
        return [problem] if problem is not None else []

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        if not self.options.isInitiator:
            self._pass_keys(attempt)
            return _NO_USER
        failure: LoginError | None = None
        for source in (self._cache_login, self._keytab_login):
            if source is None:
                continue
            try:
                credentials = await attempt.run_blocking(source.login)
            except LoginError as error:
                self._debug("%s", error)
                failure = failure or error
            else:
                self._pass_keys(attempt)
                return Grant(private_credentials=(credentials,), authenticates=False)
        return await self._password_login(attempt, failure)

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        options, check = self.options, self._passwords
        if check is None:
            raise LoginFailed("this kerberos5 checks no passwords (isInitiator, doNotPrompt)")
        principal = check.full_name(username)
        if options.principal is not None and principal != check.full_name(options.principal):
            raise LoginFailed("the user is not the configured principal")
        check_realm(principal, check.local_realm, options)
        logged_in = await attempt.run_blocking(check.login, principal, password)
        name = await attempt.run_blocking(user_name, logged_in.principal, check.local_realm, options)
        return Grant((UserPrincipal(name),), private_credentials=(logged_in.credentials,))

    async def _password_login(self, attempt: LoginAttempt, failure: LoginError | None) -> Grant | None:
        if not self.options.doNotPrompt:
            return await super().login(attempt)
        shared = self._shared(attempt) if self._passwords is not None else None
        if shared is None:
            raise failure or LoginFailed("doNotPrompt: no user name and password in the shared state")
        return await self._authenticate(attempt, *shared)

    def _pass_keys(self, attempt: LoginAttempt) -> None:
        # in the shared state, which ends with the attempt: the application never gets the service's keys
        if self._acceptor is not None:
            attempt.shared_state[SHARED_ACCEPTOR] = self._acceptor

    async def _stale_key(self) -> str | None:
        if self._keytab_login is None:
            return None
        with anyio.move_on_after(_START_LIMIT):
            return await anyio.to_thread.run_sync(self._keytab_login.stale_key, abandon_on_cancel=True)
        return None

    def _make_acceptor(self) -> Acceptor:
        from asgi_gateway.modules.kerberos.library.acceptor import Acceptor

        acceptor = Acceptor(self._keytab(self.options.keyTab), self._service)
        self._debug("keytab %s holds %s", acceptor.keytab.path, acceptor.keytab.describe())
        return acceptor

    def _make_keytab_login(self) -> KeytabLogin:
        from asgi_gateway.modules.kerberos.library.initiator import KeytabLogin

        return KeytabLogin(self._keytab(self.options.keyTab), self._service)

    def _make_cache_login(self) -> CacheLogin | None:
        from asgi_gateway.modules.kerberos.library.initiator import CacheLogin

        options: Kerberos5Options = self.options
        if not options.useTicketCache:
            return None
        cache = options.ticketCache
        if cache is not None and not _CACHE_TYPE.match(cache):
            cache = f"FILE:{self.context.path(cache)}"
        return CacheLogin(cache, options.principal, renew=options.renewTGT)

    def _make_password_check(self) -> PasswordCheck:
        from asgi_gateway.modules.kerberos.library.acceptor import Acceptor
        from asgi_gateway.modules.kerberos.library.passwords import PasswordCheck

        realm = libkrb5.default_realm()
        if realm is None:
            raise ConfigError("krb5.conf has no default_realm, which user names without a realm need")
        if not self.options.verifyKDC:
            self.context.warn("kerberos5: verifyKDC=false accepts the answer of any server in the KDC's place")
            return PasswordCheck(realm, ())
        try:
            keytab = self._keytab(self.options.verifyKeyTab or self.options.keyTab)
        except ConfigError as error:
            reason = error.problems[0].message
            message = f"passwords need a keytab that verifies the KDC (verifyKeyTab, or verifyKDC=false): {reason}"
            raise ConfigError(message) from None
        services = tuple(Acceptor(keytab, name) for name in keytab.principals[:_VERIFYING_SERVICES])
        return PasswordCheck(realm, services)

    @property
    def _service(self) -> str | None:
        principal: str | None = self.options.principal
        return None if principal == "*" else principal

    def _keytab(self, option: str | None) -> Keytab:
        path: Path = self.context.path(keytab_path(option if option is not None else libkrb5.default_keytab_name()))
        keytab = read_keytab(path)
        if (problem := permission_problem(path.stat().st_mode, path, "keytab")) is not None:
            self.context.warn(problem)
        return keytab

    def _debug(self, message: str, *values: object) -> None:
        if self.options.debug:
            self.context.logger.info(f"kerberos5: {message}", *values)
