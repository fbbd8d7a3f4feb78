"""Build what answers the 401s of a service's back ends: from ``connect-login``, or by a handler given in Python."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from asgi_gateway._runtime.imports import import_object
from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway._runtime.secret_files import permission_problem, read_secret
from asgi_gateway.client import BasicChallengeHandler, ChallengeHandler, ChallengeRequest, LoginHandler
from asgi_gateway.client.challenge import ChallengeResponse, MaybeAwaitable
from asgi_gateway.client.login import LoginFunction
from asgi_gateway.client.memory import CredentialMemory
from asgi_gateway.client.urls import is_confidential
from asgi_gateway.config.model import ConnectLoginConfig, ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.errors import ConfigError, HeaderError, Problem
from asgi_gateway.http.headers import basic_value
from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.login import BackendLogin, CredentialSource
from asgi_gateway.proxy.login_refusals import Refusals
from asgi_gateway.proxy.login_sources import CredentialSources, GivenHandler, StoredPassword, StoredToken, UserPassword

if TYPE_CHECKING:  # backends.py imports what builds back ends, which imports this
    from asgi_gateway.config.backends import AddProblem, BackendContext
    from asgi_gateway.modules.kerberos.library.initiator import KeytabLogin

__all__ = [
    "AUTHENTICATOR",
    "ConnectHandler",
    "build_backend_login",
    "challenge_handler",
    "check_without_connect",
    "import_authenticator",
    "uses_connect_handler",
]

logger = logging.getLogger("asgi_gateway.backend_login")

AUTHENTICATOR = "http.authenticator"
"""The property that names a handler, as in ``-D http.authenticator=module:object``."""
_ATTEMPTS = "max-authentication-attempts"
_HOW = "add connect-login, give -D http.authenticator=module:object, or GatewayMiddleware(connect_handler=...)"

ConnectHandler: TypeAlias = ChallengeHandler | LoginHandler | LoginFunction
"""What Python code may give to answer the 401s of back ends."""


def import_authenticator(target: str) -> ChallengeHandler:
    """Return the handler that ``http.authenticator`` names.

    Args:
        target: ``module:object``. The object is a handler as for ``challenge_handler``, or the class of one, which is
            called without arguments.

    Raises:
        ConfigError: there is no such object, or it is not a handler.
    """
    found = import_object(target, f"value of {AUTHENTICATOR}", f"-D {AUTHENTICATOR}=module:object")
    if inspect.isclass(found):
        try:
            found = found()
        except Exception as error:  # the class may do anything
            raise ConfigError(f"{AUTHENTICATOR}: {target}(): {type(error).__name__}: {error}") from error
    return challenge_handler(found, f"{AUTHENTICATOR}: {target}")


def challenge_handler(given: object, name: str) -> ChallengeHandler:
    """Return a challenge handler for what Python code gave.

    Args:
        given: a ChallengeHandler, any object with its methods ``can_handle`` and ``handle``, or, for Basic, a
            LoginHandler or a function that gets the ChallengeRequest and returns a PasswordAuthentication.
        name: what messages call it.

    Raises:
        ConfigError: it is none of them.
    """
    if isinstance(given, ChallengeHandler):
        return given
    if not inspect.isclass(given):
        if callable(getattr(given, "can_handle", None)) and callable(getattr(given, "handle", None)):
            return _Adapted(given)
        if isinstance(given, LoginHandler) or callable(given):
            return BasicChallengeHandler(given)
    message = f"{name} is not a challenge handler: it is of type {type(given).__name__}"
    raise ConfigError(Problem(message, hint="give a ChallengeHandler of asgi_gateway.client"))


class _Adapted(ChallengeHandler):
    """An object with the methods of a challenge handler."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def can_handle(self, request: ChallengeRequest) -> bool:
        return bool(self._handler.can_handle(request))

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        answer: MaybeAwaitable[ChallengeResponse | None] = self._handler.handle(request)
        return answer


def uses_connect_handler(config: ServiceConfig) -> bool:
    """Return whether the handler that Python code gave answers the 401s of a service's back ends."""
    return bool(config.max_authentication_attempts and config.connect_login is None and config.connect)


def build_backend_login(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> BackendLogin:
    """Return what answers the 401s of a service's back ends. Without a source of credentials it answers none.

    Args:
        config: the service.
        context: what its back end is built with.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    attempts = config.max_authentication_attempts
    memory: CredentialMemory | None = None
    source: CredentialSource | None = None
    refusals: Refusals | None = None
    if config.connect_login is not None:
        refusals = Refusals(context.clock.monotonic)
        memory = CredentialMemory()
        builder = _Builder(config, config.connect_login, context, (*path, "connect-login"), add_problem, memory)
        source = builder.source()
        memory = None if builder.of_user else memory
        if not attempts:
            message = f"connect-login has no effect: {_ATTEMPTS} is 0"
            hint = "set connect-options/http.max.authentication.attempts, to 3 for instance"
            add_problem((*path, "connect-login"), message, hint, "warning")
    elif context.connect_handler is not None:
        source = GivenHandler(context.connect_handler)
    elif attempts:
        message = "there are no credentials with which 401s of the back end could be answered"
        add_problem((*path, _ATTEMPTS), message, _HOW, "warning")
    return BackendLogin(
        attempts, source, service=context.service.name, audit=context.audit, memory=memory, refusals=refusals
    )


def check_without_connect(config: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> None:
    """Report what a service without ``connect`` says of logins to its back end.

    Args:
        config: the service.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    if config.connect_login is not None:
        message = "connect-login needs connect: the service has no back end that asks for credentials"
        add_problem((*path, "connect-login"), message, "add connect, or remove it")
    elif config.max_authentication_attempts:
        add_problem((*path, _ATTEMPTS), "ignored: the service has no connect", "", "ignored")


@dataclass(frozen=True, slots=True)
class _Builder:
    """Builds the sources of one ``connect-login``, and adds what is wrong in it to the problems."""

    service: ServiceConfig
    config: ConnectLoginConfig
    context: BackendContext
    path: ConfigPath
    add_problem: AddProblem
    memory: CredentialMemory = field(repr=False)

    @property
    def of_user(self) -> bool:
        """Whether the credentials are the user's own."""
        return self.config.pass_basic or self.config.delegate

    @property
    def _of_gateway(self) -> bool:
        kerberos = self.config.kerberos is not None and not self.config.delegate
        return self.config.username is not None or self.config.token_file is not None or kerberos

    def source(self) -> CredentialSource | None:
        """Return the sources, None if they cannot be built."""
        errors = self._errors()
        for name, message, hint in errors:
            self.add_problem((*self.path, name) if name else self.path, message, hint)
        if errors:
            return None
        self._warn()
        sources = []
        for name, build in (
            ("password-file", self._password),
            ("token-file", self._token),
            ("pass-basic", self._pass_basic),
            ("keytab", self._kerberos),
        ):
            try:
                found = build()
            except ConfigError as error:
                for problem in error.problems:
                    self.add_problem((*self.path, name), problem.message, problem.hint)
            else:
                sources += [found] if found is not None else []
        return CredentialSources(sources)

    def _errors(self) -> list[tuple[str, str, str]]:
        config = self.config
        found = (
            (not (self.of_user or self._of_gateway) and not (config.password_file or config.keytab),
             "", "no credentials", "set username, token-file, pass-basic, kerberos or delegate"),
            (config.username is not None and config.password_file is None,
             "username", "username needs password-file", "write the password into a file of its own"),
            (config.password_file is not None and config.username is None,
             "password-file", "password-file needs username", ""),
            (config.kerberos is not None and config.keytab is None,
             "kerberos", "kerberos needs keytab", "name the keytab with the principal's key"),
            (config.keytab is not None and config.kerberos is None,
             "keytab", "keytab needs kerberos", "name the principal of the key"),
            (self.of_user and self._of_gateway,
             "", "the user's credentials (pass-basic, delegate) and the gateway's own exclude each other",
             "a user without credentials would get in as the gateway: write two services"),
            (self.of_user and not self.context.service.realms,
             "pass-basic" if config.pass_basic else "delegate",
             "the service has no realm, so there is no user whose credentials could be passed", "add realm-name"),
        )  # fmt: skip
        errors = [(name, message, hint) for wrong, name, message, hint in found if wrong]
        if not config.plain_http:
            errors += [
                ("", f"credentials would travel to {each} unencrypted", "use https or wss, or set plain-http: true")
                for each in self.service.connects
                if not each.is_stream and not _is_confidential(each)
            ]
        return errors

    def _warn(self) -> None:
        if not self.context.service.realms:
            message = "the service is public, so everyone uses its back end with these credentials"
            self.add_problem(self.path, message, "add realm-name", "warning")
        if any(each.is_stream for each in self.service.connects):
            self.add_problem(self.path, "ignored for tcp and tls back ends: they send no 401", "", "warning")

    def _password(self) -> CredentialSource | None:
        username = self.config.username
        if username is None or self.config.password_file is None:
            return None

        def check(password: str) -> None:
            try:
                basic_value(username, password)
            except HeaderError as error:
                raise ConfigError(str(error)) from None

        password = self._secret(self.config.password_file, "password file", check)
        return StoredPassword(username, password, plain_http=self.config.plain_http)

    def _token(self) -> CredentialSource | None:
        if self.config.token_file is None:
            return None

        def check(token: str) -> None:
            if not token.isascii() or not token.isprintable() or " " in token:
                raise ConfigError("the token file holds characters that no token has")

        token = self._secret(self.config.token_file, "token file", check)
        return StoredToken(token, plain_http=self.config.plain_http)

    def _secret(self, name: Path, what: str, check: Callable[[str], None]) -> PolledFile[str]:
        """Return the secret of a file, which is read again when it changes."""
        file = self.context.directory / name
        element = what.replace(" ", "-")
        read_secret(file, lambda warning: self.add_problem((*self.path, element), warning, "", "warning"), what)

        def read() -> str:
            secret = read_secret(file, what=what)
            check(secret)
            return secret

        return PolledFile(
            [file],
            read,
            monotonic=self.context.clock.monotonic,
            logger=logger,
            changed=lambda secret: self.memory.forget(),
        )

    def _pass_basic(self) -> CredentialSource | None:
        if not self.config.pass_basic:
            return None
        realms = self.context.service.realms
        if not any(scheme.wire_name == "basic" for realm in realms for scheme in realm.schemes):
            message = "no realm of the service has the scheme Basic, so no request has a name and password"
            self.add_problem((*self.path, "pass-basic"), message, "", "warning")
        verified = len(realms) == 1 and all(
            realm.sessions is None and realm.reader.authorization_only for realm in realms
        )
        return UserPassword(plain_http=self.config.plain_http, verified=verified)

    def _kerberos(self) -> CredentialSource | None:
        if self.config.kerberos is None and not self.config.delegate:
            return None
        from asgi_gateway.modules.kerberos.library.errors import require_gssapi

        require_gssapi()
        from asgi_gateway.proxy.login_kerberos import DelegatedTickets, OwnTickets

        login = self._keytab_login()
        plain_http = self.config.plain_http
        if not self.config.delegate:
            return OwnTickets(login, plain_http=plain_http) if login is not None else None
        self._check_principals(delegates_by_keytab=login is not None)
        return DelegatedTickets(login, self.context.clock, plain_http=plain_http)

    def _keytab_login(self) -> KeytabLogin | None:
        from asgi_gateway.modules.kerberos.library.initiator import KeytabLogin
        from asgi_gateway.modules.kerberos.library.keytab import read_keytab

        if self.config.keytab is None:
            return None
        file = self.context.directory / self.config.keytab
        login = KeytabLogin(read_keytab(file), self.config.kerberos)
        if (problem := permission_problem(file.stat().st_mode, file, "keytab")) is not None:
            self.add_problem((*self.path, "keytab"), problem.message, problem.hint, problem.severity)
        return login

    def _check_principals(self, *, delegates_by_keytab: bool) -> None:
        """Check that the realms' user names are Kerberos principals."""
        from asgi_gateway.modules.kerberos.library.principals import NameOptions

        named = [
            entry.module.options
            for realm in self.context.service.realms
            for entry in realm.chain.entries
            if isinstance(getattr(entry.module, "options", None), NameOptions)
        ]
        if any(options.clientRealm == "map" for options in named):
            message = "clientRealm=map gives users names from which their principals cannot be derived"
            self.add_problem((*self.path, "delegate"), message, "set clientRealm to keep or strip")
        elif not named:
            message = "no login module of the service is kerberos5 or gss"
            if delegates_by_keytab:
                message += ", so any user gets a ticket of the Kerberos user of the same name"
            else:
                message += ", so no client delegates a ticket"
            hint = "use a realm with gss, or make sure that the names are the same people's"
            self.add_problem((*self.path, "delegate"), message, hint, "warning")


def _is_confidential(url: ConnectURL) -> bool:
    """Return whether only the back end can read what is sent: over TLS, or on this machine."""
    return url.unix is not None or is_confidential(f"{url.scheme}://{url.authority}/")
