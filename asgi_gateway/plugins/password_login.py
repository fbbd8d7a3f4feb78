"""The base of login modules that check user names and passwords, with the options that the JDK's share."""

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
    tryFirstPass: Boolean = False
    storePass: Boolean = False
    clearPass: Boolean = False
    debug: Boolean = False


class PasswordLoginModule(LoginModule):
    """A login module for user names and passwords, with the JDK's first-pass options.

    Deriving classes implement ``authenticate``. The options ``useFirstPass``, ``tryFirstPass``, ``storePass`` and
    ``clearPass``, and the check of user names (RFC 8265), are implemented here for all of them.
    """

    Options: ClassVar[type[ModuleOptions]] = PasswordOptions
    needs_credentials = True

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        """Check one user name and password; returns and raises as ``login`` does."""
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
        grant = await self.authenticate(attempt, username, password)
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
