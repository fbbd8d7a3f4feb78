"""Define the base class of login modules that check user names and passwords, with the options of the JDK's."""

from __future__ import annotations

from typing import ClassVar

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Grant
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD, LoginAttempt, LoginModule
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions
from asgi_gateway.plugins.user_names import user_name_problem

__all__ = ["PasswordLoginModule", "PasswordOptions"]


class PasswordOptions(ModuleOptions):
    """The options that the JDK's password modules share."""

    useFirstPass: Boolean = False
    """Take user name and password from the shared state only."""
    tryFirstPass: Boolean = False
    """Try those of the shared state first, then the request's."""
    storePass: Boolean = False
    """Put user name and password into the shared state after a success, unless there are some."""
    clearPass: Boolean = False
    """Remove them from the shared state when the attempt ends."""
    debug: Boolean = False
    """Accepted for the JDK's sake; log levels are set with the logging module."""


class PasswordLoginModule(LoginModule):
    """The base class of login modules that check user names and passwords.

    Subclasses implement ``authenticate``. The options ``useFirstPass``, ``tryFirstPass``, ``storePass`` and
    ``clearPass``, and the check of user names (RFC 8265), work alike in all of them.
    """

    Options: ClassVar[type[ModuleOptions]] = PasswordOptions
    needs_credentials = True

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        """Check one user name and password.

        Args:
            attempt: the run of the chain.
            username: the user name.
            password: the password.

        Returns:
            A Grant if they are right, None to be ignored.

        Raises:
            LoginFailed: refused.
            LoginUnavailable: a back end cannot be asked now.
        """
        raise LoginFailed(f"{type(self).__name__} has no authenticate")

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        options: PasswordOptions = self.options
        if options.tryFirstPass or options.useFirstPass:
            shared = self._shared(attempt)
            if not options.tryFirstPass:  # both set: tryFirstPass wins, as in the JDK
                if shared is None:
                    raise LoginFailed("useFirstPass: no user name and password in the shared state")
                return await self._authenticate(attempt, *shared)
            if shared is not None:
                try:
                    return await self._authenticate(attempt, *shared)
                except LoginFailed:
                    if shared == (attempt.username, attempt.password):
                        raise  # the request's own credentials are the same: asking again cannot help
        if attempt.username is None or attempt.password is None:
            raise LoginFailed("the request carries no user name and password")
        return await self._authenticate(attempt, attempt.username, attempt.password)

    async def commit(self, attempt: LoginAttempt, grant: Grant) -> bool:
        self._clear(attempt)
        return True

    async def abort(self, attempt: LoginAttempt) -> None:
        self._clear(attempt)

    async def _authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        if (reason := user_name_problem(username)) is not None:
            raise LoginFailed(reason)
        try:
            grant = await self.authenticate(attempt, username, password)
        except LoginFailed:
            self._clear(attempt)  # as the JDK's modules do: a module that failed is not asked to commit
            raise
        state = attempt.shared_state
        if grant is not None and self.options.storePass and SHARED_NAME not in state and SHARED_PASSWORD not in state:
            state[SHARED_NAME], state[SHARED_PASSWORD] = username, password
        return grant

    def _clear(self, attempt: LoginAttempt) -> None:
        if self.options.clearPass:
            attempt.shared_state.pop(SHARED_NAME, None)
            attempt.shared_state.pop(SHARED_PASSWORD, None)

    @staticmethod
    def _shared(attempt: LoginAttempt) -> tuple[str, str] | None:
        name, password = attempt.shared_state.get(SHARED_NAME), attempt.shared_state.get(SHARED_PASSWORD)
        return (name, password) if isinstance(name, str) and isinstance(password, str) else None
