"""Define login modules: what a module is given, what one attempt offers it, and its life (JAAS ``LoginModule``).

A module returns data or raises. It never sees an ASGI scope and never writes a response.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from asgi_gateway.errors import LoginFailed, Problem
from asgi_gateway.model import AuthenticationToken, Grant, Subject
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.option_types import ModuleOptions
from asgi_gateway.plugins.state_store import ExpiringState

__all__ = [
    "SHARED_NAME",
    "SHARED_PASSWORD",
    "ControlFlag",
    "LoginAttempt",
    "LoginModule",
    "ModuleContext",
]

T = TypeVar("T")

SHARED_NAME = "javax.security.auth.login.name"
"""The shared-state key of the user name, as in the JDK's modules."""
SHARED_PASSWORD = "javax.security.auth.login.password"  # noqa: S105
"""The shared-state key of the password, as in the JDK's modules."""


class ControlFlag(StrEnum):
    """The weight of a module's outcome in its chain (JAAS ``LoginModuleControlFlag``; the ``success`` element)."""

    REQUIRED = "required"
    REQUISITE = "requisite"
    SUFFICIENT = "sufficient"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class ModuleContext:
    """A frozen collection of what a login module gets besides its options (KAAZING passes these in the options map).

    Args:
        directory: the configuration file's directory; relative files are relative to it.
        realm: the realm's name.
        state: the gateway's ExpiringState.
        clock: the time.
        logger: to log with; never log a secret.
        keystore: the loaded ``security/keystore``, or None when none is configured.
        truststore: the loaded ``security/truststore``, or None.
        invalidate: call it, from any thread, when the module's data changed: remembered logins go, and it is logged.
        warn: call it in ``__init__`` to add a warning to what ``asgi-gateway check`` prints: a sentence, or a Problem
            with a place of its own.
    """

    directory: Path
    realm: str
    state: ExpiringState
    clock: Clock
    logger: logging.Logger
    keystore: Any = None
    truststore: Any = None
    invalidate: Callable[[], None] = field(default=lambda: None)
    warn: Callable[[str | Problem], None] = field(default=lambda message: None)

    def path(self, name: str | Path) -> Path:
        """Return a file's absolute path.

        Args:
            name: a file name; relative ones are relative to the configuration file, and ``~`` is expanded.
        """
        return (self.directory / Path(name).expanduser()).absolute()


class LoginAttempt(abc.ABC):
    """One run of a chain for one request: what a login module may ask and say.

    Attributes:
        token: the request's credentials.
        username: the user name, for schemes of the Basic family; else None.
        password: the password, for schemes of the Basic family; else None.
        remote_address: the peer's address, or None.
        connection: what tells the peer's connection from all others of this moment (its address and port), or None.
        realm: the realm's name.
        service: the service's name.
        shared_state: a mapping shared by the modules of this one attempt (JAAS ``sharedState``).
    """

    token: AuthenticationToken
    username: str | None
    password: str | None
    remote_address: str | None
    connection: tuple[str, int] | None = None
    realm: str
    service: str
    shared_state: dict[str, Any]

    @abc.abstractmethod
    def subject_of(self, realm_name: str) -> Subject | None:
        """Return the subject that an earlier realm of this request established; None if there was none.

        Args:
            realm_name: the earlier realm's name.
        """

    @abc.abstractmethod
    def subject_so_far(self) -> Subject:
        """Return what the modules before this one granted in this attempt. It is not yet authenticated."""

    @abc.abstractmethod
    def challenge(self, *data: str) -> None:
        """Add data to the challenge that is sent if the login fails.

        Args:
            *data: texts that follow the scheme in ``WWW-Authenticate``.

        Raises:
            ValueError: the data holds control characters.
        """

    @abc.abstractmethod
    def respond(self, *data: str) -> None:
        """Add data to the response if the login succeeds, such as the last token of Negotiate.

        Args:
            *data: texts for the scheme's ``success`` headers.
        """

    @abc.abstractmethod
    def limit_session(self, seconds: float) -> None:
        """Close an authenticated WebSocket after some time. The smallest limit of a chain holds.

        Args:
            seconds: the time; 0 fails the login.

        Raises:
            LoginFailed: for 0.
            ValueError: for a negative number.
        """

    @abc.abstractmethod
    def limit_authorization(self, seconds: float) -> None:
        """Ask for credentials again after some time. The smallest limit of a chain holds.

        Args:
            seconds: the time; 0 fails the login.

        Raises:
            LoginFailed: for 0.
            ValueError: for a negative number.
        """

    @abc.abstractmethod
    async def run_blocking(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that waits for I/O in the gateway's bounded pool of threads.

        Args:
            function: the function.
            *args: its arguments.

        Returns:
            What the function returns.

        Raises:
            LoginUnavailable: too many calls wait already.
        """

    async def run_computing(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that computes, such as a password hash, in threads of lower priority than the event loop.

        Args:
            function: the function.
            *args: its arguments.

        Returns:
            What the function returns.

        Raises:
            LoginUnavailable: too many calls wait already.
        """
        return await self.run_blocking(function, *args)


class LoginModule:
    """The base class of login modules (JAAS ``LoginModule``). One is built per configuration and serves all attempts.

    Subclasses override ``login`` and what else they need. State of one attempt belongs in the Grant's ``data`` or in
    ``attempt.shared_state``, never on ``self``.

    Args:
        options: an instance of the class's ``Options``.
        context: what the gateway gives the module.

    Raises:
        ConfigError: (``__init__``) the options cannot work; a file is missing or wrong.
    """

    Options: ClassVar[type[ModuleOptions]] = ModuleOptions
    """The class of the module's options; the gateway validates the configuration with it."""

    # Attributes that say how the module behaves. ``__init__`` may set each on the instance where options decide it.
    authenticates: bool = True
    """True: a Grant of this module says who the client is. A login that no such module granted fails."""
    grants_without_credentials: bool = False
    """True: grants on something other than the request's credentials, such as the client's address. The grants of all
    other modules count only where the request carries credentials; without them it is answered 401.
    """
    needs_credentials: bool = False
    """True: does nothing for a request without credentials, not even add challenge data, and is not asked then."""
    requires_subject: bool = False
    """True: fails unless an earlier module established a user, so it never opens a chain (``lookupOnly``)."""
    cacheable: bool = False
    """True: the outcome depends on the credentials alone and may be cached."""
    recheckable: bool = True
    """False: cannot check a login later without its password, so its sessions end after the realm's ``recheck``."""
    replay_protected: bool = False
    """True: needs an ExpiringState that all workers share."""

    def __init__(self, options: Any, context: ModuleContext) -> None:
        self.options = options
        self.context = context

    async def open(self) -> None:
        """Open pools and files. Called when the server starts, in its event loop."""

    async def close(self) -> None:
        """Close what ``open`` opened. Called when the server stops."""

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        """Check the credentials: the first phase.

        Args:
            attempt: the run of the chain, with the request's credentials.

        Returns:
            A Grant if the login succeeded, None to be ignored (JAAS: ``false``).

        Raises:
            LoginFailed: refused.
            LoginUnavailable: a back end cannot be asked now.
        """
        raise LoginFailed(f"{type(self).__name__} has no login")

    async def commit(self, attempt: LoginAttempt, grant: Grant) -> bool:
        """Complete the login: the second phase, called if the chain's logins succeeded and this module granted.

        Args:
            attempt: the run of the chain.
            grant: what ``login`` returned.

        Returns:
            True to add the grant to the subject, False to be left out.
        """
        return True

    async def abort(self, attempt: LoginAttempt) -> None:
        """Undo the login. Called if the attempt fails or is cancelled after this module was asked to log in.

        Args:
            attempt: the run of the chain.
        """

    async def logout(self, subject: Subject) -> None:
        """Note that a login ended.

        Args:
            subject: whose login it was.
        """

    async def recheck(self, subject: Subject, data: Any) -> bool | None:
        """Check whether a login still holds, without its password (``recheck``); called while its session lives.

        Args:
            subject: whom the chain logged in; its principals alone, since credentials are not kept.
            data: the ``recheck_data`` of this module's Grant; None if it gave none.

        Returns:
            True if the login still holds with the same roles, False if it must end, None if this module cannot say.

        Raises:
            LoginUnavailable: the back end cannot be asked now; the login holds until it can be.
        """
        return None

    def granted_roles(self) -> frozenset[str] | None:
        """Return every role that the module can grant at present; None if that is not known.

        ``asgi-gateway check`` warns of a service that requires a role which none of its modules can grant.
        """
        return None

    async def check(self) -> list[str]:
        """Try the back end for ``asgi-gateway check --connect``.

        Returns:
            A sentence for each thing that fails.
        """
        return []
