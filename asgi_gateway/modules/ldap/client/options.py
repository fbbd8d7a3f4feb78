"""Define the options that the login modules with a directory share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, SecretStr, model_validator

from asgi_gateway._runtime.secret_files import read_secret
from asgi_gateway.plugins.login_module import ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.password_login import PasswordOptions

__all__ = ["DEREFERENCE", "DirectoryOptions", "read_bind_password"]

_Dereference = Literal["never", "searching", "finding", "always"]
DEREFERENCE = get_args(_Dereference)
"""The values of derefAliases, in the order of their numbers (RFC 4511 section 4.5.1.3)."""

_WITHOUT_EFFECT = frozenset(
    {
        "com.sun.jndi.ldap.trace.ber",
        "java.naming.batchsize",
        "java.naming.factory.control",
        "java.naming.factory.initial",
        "java.naming.factory.object",
        "java.naming.factory.state",
        "java.naming.factory.url.pkgs",
        "java.naming.language",
        "java.naming.ldap.attributes.binary",
        "java.naming.ldap.deleteRDN",
        "java.naming.ldap.ref.separator",
        "java.naming.ldap.typesOnly",
    }
)
"""Properties of JNDI that change nothing for a login here."""
_POOL = "com.sun.jndi.ldap.connect.pool"
_DEFAULTS = {"java.naming.security.authentication": "simple", "java.naming.ldap.version": "3"}
"""Properties of JNDI that change nothing with this value; others are refused."""


class DirectoryOptions(PasswordOptions):
    """How to reach and search a directory. Names are the JDK's where it has the option.

    Args:
        useSSL: None: StartTLS on ``ldap://``; True: TLS from the first byte; False: no TLS on ``ldap://``.
        bindPrincipal: DN of the account that searches; None searches anonymously.
        bindCredentials: its password.
        bindCredentialsFile: a file holding its password.
        connectTimeout: milliseconds for reaching a server, TLS included.
        readTimeout: milliseconds for one answer.
        referral: what to do with referrals.
        derefAliases: when alias entries are followed; JNDI's default is ``always``.
        caFile: CA certificates (PEM) to check servers against; else the gateway's truststore, else the system's.
        poolSize: how many logins run at once, and how many connections of each kind are kept for each server.
    """

    useSSL: Boolean | None = None
    bindPrincipal: str | None = Field(None, alias="java.naming.security.principal", min_length=1)
    bindCredentials: SecretStr | None = Field(None, alias="java.naming.security.credentials", min_length=1)
    bindCredentialsFile: Path | None = Field(None, alias="java.naming.security.credentials-file")
    connectTimeout: int = Field(3000, alias="com.sun.jndi.ldap.connect.timeout", gt=0, le=60_000)
    readTimeout: int = Field(5000, alias="com.sun.jndi.ldap.read.timeout", gt=0, le=60_000)
    referral: Literal["ignore", "follow"] = Field("ignore", alias="java.naming.referral")
    derefAliases: _Dereference = Field("always", alias="java.naming.ldap.derefAliases")
    caFile: Path | None = None
    poolSize: int = Field(16, ge=1, le=1000)
    _ignored: tuple[str, ...] = PrivateAttr(())

    @property
    def ignored(self) -> tuple[str, ...]:
        """The JNDI properties that were given and change nothing here."""
        return self._ignored

    @model_validator(mode="wrap")
    @classmethod
    def _accept_jndi_properties(
        cls, data: Any, handler: ModelWrapValidatorHandler[DirectoryOptions]
    ) -> DirectoryOptions:
        if not isinstance(data, Mapping):
            return handler(data)
        ignored = tuple(name for name, value in data.items() if _changes_nothing(str(name), str(value)))
        options = handler({name: value for name, value in data.items() if name not in ignored})
        options._ignored = ignored
        return options

    @model_validator(mode="after")
    def _bind_account_is_whole(self) -> DirectoryOptions:
        passwords = [value for value in (self.bindCredentials, self.bindCredentialsFile) if value is not None]
        if len(passwords) > 1:
            raise ValueError("give java.naming.security.credentials or …credentials-file, not both")
        if bool(passwords) != (self.bindPrincipal is not None):
            raise ValueError(
                "java.naming.security.principal and its credentials (or credentials-file) go together: "
                "a bind without a password is anonymous"
            )
        return self


def _changes_nothing(name: str, value: str) -> bool:
    pooling = name == _POOL or name.startswith(f"{_POOL}.")
    return name in _WITHOUT_EFFECT or pooling or _DEFAULTS.get(name) == value.strip().lower()


def read_bind_password(options: DirectoryOptions, context: ModuleContext) -> str | None:
    """Return the bind account's password, from the options or from its file (without the line's end).

    Returns:
        None if no bind account is configured.

    Raises:
        ConfigError: the file cannot be read, is empty, or has more than one line.
    """
    if options.bindCredentials is not None:
        return options.bindCredentials.get_secret_value()
    if options.bindCredentialsFile is None:
        return None
    what = "java.naming.security.credentials-file"
    return read_secret(context.path(options.bindCredentialsFile), context.warn, what)
