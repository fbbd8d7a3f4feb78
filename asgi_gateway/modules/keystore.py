"""Define the ``keystore`` login module: a client that opens a key is its owner (JAAS ``KeyStoreLoginModule``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import anyio
from pydantic import field_validator, model_validator

from asgi_gateway._runtime.polling import FilePoller, fingerprint
from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.keystores import (
    WrongPassword,
    X500PrivateCredential,
    check_keystore,
    load_keystore,
    read_password,
    validity_problem,
)
from asgi_gateway.model import Grant, UserPrincipal
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions
from asgi_gateway.plugins.user_names import user_name_problem

__all__ = ["KeyStoreLoginModule", "KeyStoreOptions", "X500Principal"]

_MOST_WAITING = 100
"""Logins that may wait for the running one; more are answered 503."""


@dataclass(frozen=True, slots=True)
class X500Principal(UserPrincipal):
    """The subject's identity as the distinguished name of a certificate (JAAS ``X500Principal``).

    Args:
        name: the name as RFC 2253 and Java's ``X500Principal.getName()`` write it, such as ``CN=Joe,O=Example``.
    """


class KeyStoreOptions(ModuleOptions):
    """The options of the JDK's KeyStoreLoginModule that make sense for keystores in files."""

    keyStoreURL: str = "file:~/.keystore"
    keyStoreType: Literal["JKS", "JCEKS", "PKCS12"] | None = None
    keyStoreAlias: str | None = None
    keyStorePasswordURL: str | None = None
    privateKeyPasswordURL: str | None = None
    protected: Boolean = False
    debug: Boolean = False

    @field_validator("keyStoreType", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        if isinstance(value, str) and value.upper() == "PKCS11":
            raise ValueError("PKCS11 means a hardware token; the keystore must be a file: JKS, JCEKS or PKCS12")
        return value.upper() if isinstance(value, str) else value

    @field_validator("keyStoreURL", "keyStorePasswordURL", "privateKeyPasswordURL")
    @classmethod
    def _file_url(cls, value: str | None) -> str | None:
        if value is not None:
            _path_of(value)
        return value

    @field_validator("keyStoreAlias")
    @classmethod
    def _not_empty(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("the alias is empty; leave the option out to use the request's user name")
        return value

    @model_validator(mode="after")
    def _combinations(self) -> KeyStoreOptions:
        if self.protected and (self.keyStorePasswordURL is not None or self.privateKeyPasswordURL is not None):
            raise ValueError("protected=true excludes keyStorePasswordURL and privateKeyPasswordURL")
        if self.protected:
            raise ValueError(
                "protected=true means that a token asks for its password itself; a gateway has no such token"
            )
        return self


class KeyStoreLoginModule(LoginModule):
    """Opens a key of a keystore with the request's password; the subject of the key's certificate is who logs in.

    Keystore and passwords are checked at start and read again at every login, so a new keystore takes effect at once,
    and cached logins are dropped.
    The request's password opens everything without a password URL: keystore, private key, or both. With both URLs
    nothing of the request is checked; in JAAS that is a login of the local user. Then the module only adds principal
    and certificate to a subject that another module authenticated, and authenticates no client by itself.
    """

    Options = KeyStoreOptions
    cacheable = True

    open_seconds = 10.0
    """Seconds that reading the keystore and opening a key may take."""
    poll_seconds = 1.0
    """Seconds between two checks of the files, for the sake of cached logins."""

    def __init__(self, options: KeyStoreOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self._file = context.path(_path_of(options.keyStoreURL))
        self._password_files = [
            None if url is None else context.path(_path_of(url))
            for url in (options.keyStorePasswordURL, options.privateKeyPasswordURL)
        ]
        asks = None in self._password_files
        self.authenticates = asks
        self.needs_credentials = asks or options.keyStoreAlias is None
        # opening a JCEKS key is a computation in Python: several at once would keep the event loop from running
        self._one_at_a_time = anyio.Lock()
        self._watcher = FilePoller(self._file.name, self._check_files, self.poll_seconds, context.logger)
        self._version = fingerprint((self._file, *self._password_files))
        for problem in self._problems():
            context.warn(problem)

    async def open(self) -> None:
        self._watcher.start()

    async def close(self) -> None:
        await self._watcher.stop()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        password = attempt.password if self.authenticates else None
        if self.authenticates and not password:
            raise LoginFailed("the request carries no password, or an empty one")
        alias: str | None = self.options.keyStoreAlias or attempt.username
        if not alias:
            raise LoginFailed("the request carries no user name, and keyStoreAlias is not set")
        if self.options.keyStoreAlias is None and (reason := user_name_problem(alias)) is not None:
            raise LoginFailed(reason)
        if self._one_at_a_time.statistics().tasks_waiting >= _MOST_WAITING:
            raise LoginUnavailable("too many logins wait for the keystore", retry_after=1)
        try:
            # shielded, because a thread goes on when its client goes away, and the next must not start beside it
            async with self._one_at_a_time:
                with anyio.fail_after(self.open_seconds, shield=True):
                    credential = await attempt.run_computing(self._open, alias, password)
        except TimeoutError:
            raise LoginUnavailable(f"the keystore {self._file} could not be read in time") from None
        now = self.context.clock.time()
        problem = validity_problem(credential.certificate, now)
        if problem is not None:
            raise LoginFailed(f"the certificate {problem}")
        attempt.limit_session(credential.certificate.not_valid_after_utc.timestamp() - now)
        name = credential.subject
        if not name:
            raise LoginFailed("the certificate has an empty subject")
        if self.options.debug:
            self.context.logger.info("keystore: logged in as %r from %s", name, self._file)
        return Grant((X500Principal(name),), (credential.chain,), private_credentials=(credential,))

    async def check(self) -> list[str]:
        """Read keystore and passwords once more and check the certificates' validity."""
        try:
            return await anyio.to_thread.run_sync(self._problems)
        except ConfigError as error:
            return [problem.message for problem in error.problems]

    def _check_files(self) -> None:
        """Drop cached logins if a file changed, and log once what is wrong with the new version."""
        version = fingerprint((self._file, *self._password_files))
        if version != self._version:
            self._version = version
            self.context.logger.info("%s or its password files changed", self._file)
            self.context.invalidate()
            try:
                for problem in self._problems():
                    self.context.logger.warning("%s", problem)
            except ConfigError as error:
                message = "%s changed and cannot be used; logins are answered 503 until it can be:\n%s"
                self.context.logger.error(message, self._file, error)

    def _problems(self) -> list[str]:
        """Return warnings about the files; reads as much of them as the configured passwords open.

        Raises:
            ConfigError: a file is missing or wrong; no login could succeed.
        """
        found: list[str] = []
        store_password, key_password = (
            None if file is None else read_password(file, found.append) for file in self._password_files
        )
        options: KeyStoreOptions = self.options
        check_keystore(self._file, options.keyStoreType)
        if store_password is None:
            return found
        store = load_keystore(self._file, store_password, options.keyStoreType)
        if not store.key_aliases():
            raise ConfigError(f"the keystore {self._file} has no private key: every login would fail")
        if options.keyStoreAlias is not None:
            store.require_key(options.keyStoreAlias)
            if key_password is not None:
                store.credential(options.keyStoreAlias, key_password)
            chain = store.chain(options.keyStoreAlias)
            problem = validity_problem(chain[0], self.context.clock.time()) if chain else "is missing"
            if problem is not None:
                found.append(f"the keystore {self._file}: the certificate {options.keyStoreAlias!r} {problem}")
        return found

    def _open(self, alias: str, password: str | None) -> X500PrivateCredential:
        """Read keystore and passwords, and open the key; runs in a thread.

        Args:
            alias: whose key.
            password: the request's, for what has no password URL.

        Raises:
            LoginFailed: the request's password does not open what it must open, or there is no such key.
            LoginUnavailable: the files cannot be used now.
        """
        store_file, key_file = self._password_files
        with _outcome(""):
            store_password = password if store_file is None else read_password(store_file)
            key_password = password if key_file is None else read_password(key_file)
        with _outcome("" if store_file is not None else "the request's password does not open the keystore"):
            store = load_keystore(self._file, store_password, self.options.keyStoreType)
        if store_file is None and key_file is not None and not store.verified:
            raise LoginUnavailable(f"the keystore {self._file} has no MAC: the request's password would not be checked")
        aliases = store.key_aliases()
        if not aliases:
            raise LoginUnavailable(f"the keystore {self._file} has no private key")
        wrong_key = "the key" if store_file is not None else "the key, though it opens the keystore"
        if alias.lower() in aliases:
            with _outcome("" if key_file is not None else f"the request's password does not open {wrong_key}"):
                return store.credential(alias, key_password)
        with suppress(ConfigError):  # an unknown alias must cost what a wrong password costs
            store.credential(aliases[0], key_password)
        raise LoginFailed("the keystore has no private key of that alias")


@contextmanager
def _outcome(client_fault: str) -> Iterator[None]:
    """Turn a keystore's error into the login's.

    Args:
        client_fault: what to say of a wrong password if it is the request's own; empty if it is the gateway's.
    """
    try:
        yield
    except WrongPassword as error:
        if client_fault:
            raise LoginFailed(client_fault) from None
        raise LoginUnavailable(error.problems[0].message) from error
    except ConfigError as error:
        raise LoginUnavailable(error.problems[0].message) from error


def _path_of(url: str) -> Path:
    """Return the path in a ``file:`` URL with any number of slashes; without a leading one it is a relative path.

    ``file:name`` and ``file://name`` are relative to the configuration file, ``file:/name`` and ``file:///name`` are
    absolute, and ``~`` is the home directory of the user who runs the gateway.

    Raises:
        ValueError: it is not a ``file:`` URL, or names no file.
    """
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "file":
        raise ValueError(f"a file: URL is needed, such as file:keystore.jks, not {url!r}")
    if rest.startswith("//localhost/"):
        rest = rest.removeprefix("//localhost")
    path = unquote(rest.removeprefix("//"), errors="surrogateescape")  # names of files are bytes
    if not path.strip("/") or "\0" in path:
        raise ValueError(f"{url!r} names no file")
    return Path(path)
