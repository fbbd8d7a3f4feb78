"""Options that every login module with a directory behind it has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from asgi_gateway._runtime.secret_files import read_secret
from asgi_gateway.plugins.login_module import ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.password_login import PasswordOptions

__all__ = ["DirectoryOptions", "read_bind_password"]


class DirectoryOptions(PasswordOptions):
    """How to reach and search a directory; names are the JDK's where it has them.

    Args:
        useSSL: None: StartTLS on ``ldap://``; True: TLS from the first byte; False: no TLS on ``ldap://``.
        bindPrincipal: DN of the account that searches; None searches anonymously.
        bindCredentials: its password.
        bindCredentialsFile: a file holding its password.
        connectTimeout: milliseconds for reaching a server, TLS included.
        readTimeout: milliseconds for one answer.
        referral: what to do with referrals.
        caFile: CA certificates (PEM) to check servers against; else the gateway's truststore, else the system's.
        poolSize: how many logins are under way at once, and how many connections of each kind are kept for each server.
    """

    useSSL: Boolean | None = None
    bindPrincipal: str | None = Field(None, alias="java.naming.security.principal", min_length=1)
    bindCredentials: SecretStr | None = Field(None, alias="java.naming.security.credentials", min_length=1)
    bindCredentialsFile: Path | None = Field(None, alias="java.naming.security.credentials-file")
    connectTimeout: int = Field(3000, alias="com.sun.jndi.ldap.connect.timeout", gt=0, le=60_000)
    readTimeout: int = Field(5000, alias="com.sun.jndi.ldap.read.timeout", gt=0, le=60_000)
    referral: Literal["ignore", "follow"] = Field("ignore", alias="java.naming.referral")
    caFile: Path | None = None
    poolSize: int = Field(16, ge=1, le=1000)

    @model_validator(mode="after")
    def _bind_account_is_whole(self) -> DirectoryOptions:
        passwords = [value for value in (self.bindCredentials, self.bindCredentialsFile) if value is not None]
        if len(passwords) > 1:
            raise ValueError("give java.naming.security.credentials or …credentials-file, not both")
        if bool(passwords) != (self.bindPrincipal is not None):
            raise ValueError(
                "java.naming.security.principal and its credentials (or credentials-file) go together: "
                "a bind without a password is anonymous, whatever its name"
            )
        return self


def read_bind_password(options: DirectoryOptions, context: ModuleContext) -> str | None:
    """The bind account's password, from the options or its file (without the line's end).

    Raises:
        ConfigError: the file cannot be read, is empty, or has more than one line.
    """
    if options.bindCredentials is not None:
        return options.bindCredentials.get_secret_value()
    if options.bindCredentialsFile is None:
        return None
    what = "java.naming.security.credentials-file"
    return read_secret(context.path(options.bindCredentialsFile), context.warn, what)
