"""Define the ``timeout`` login module: it limits how long a login lasts and has no part in whether it succeeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from asgi_gateway.model import Grant
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule
from asgi_gateway.plugins.option_types import ModuleOptions, parse_duration

__all__ = ["TimeoutLoginModule", "TimeoutOptions"]

_Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]


class TimeoutOptions(ModuleOptions):
    """Options of ``timeout``, durations such as ``30 minutes``; at least one of them.

    Args:
        session_timeout: (``session-timeout``) seconds after which a WebSocket is closed.
        authorization_timeout: (``authorization-timeout``) seconds after which credentials are asked for again.
    """

    session_timeout: _Duration | None = Field(default=None, alias="session-timeout")
    authorization_timeout: _Duration | None = Field(default=None, alias="authorization-timeout")

    @model_validator(mode="after")
    def _not_empty(self) -> TimeoutOptions:
        if self.session_timeout is None and self.authorization_timeout is None:
            raise ValueError("give session-timeout or authorization-timeout")
        return self


class TimeoutLoginModule(LoginModule):
    """Sets limits and is ignored by the chain; the smallest of all limits applies (KAAZING ``TimeoutLoginModule``)."""

    Options = TimeoutOptions
    authenticates = False
    needs_credentials = True
    cacheable = True

    def granted_roles(self) -> frozenset[str]:
        return frozenset()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        options: TimeoutOptions = self.options
        if options.session_timeout is not None:
            attempt.limit_session(options.session_timeout)
        if options.authorization_timeout is not None:
            attempt.limit_authorization(options.authorization_timeout)
        return None
