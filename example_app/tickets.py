"""A custom login module: single-use tickets. What to copy from when writing your own.

A ticket is signed, so that it cannot be forged; it carries the time, so that it expires; and a nonce, which is
put into ExpiringState when the ticket is used, so that it cannot be used again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Annotated

from itsdangerous import BadSignature, URLSafeTimedSerializer
from pydantic import BeforeValidator, Field

from asgi_gateway import Grant, LoginAttempt, LoginFailed, LoginModule, ModuleContext, ModuleOptions, Replayed
from asgi_gateway.plugins import parse_duration

__all__ = ["TicketLoginModule", "issue_ticket"]

# One process can make its own key; several must be given the same one.
_KEY = os.environ.get("EXAMPLE_TICKET_KEY") or secrets.token_hex(32)
_SERIALIZER = URLSafeTimedSerializer(_KEY, salt="example_app.ticket", signer_kwargs={"digest_method": hashlib.sha256})


def issue_ticket(user: str, roles: frozenset[str]) -> str:
    """A ticket with which a user gets in once."""
    return _SERIALIZER.dumps({"user": user, "roles": sorted(roles), "nonce": secrets.token_hex(16)})


class TicketOptions(ModuleOptions):
    """The options of the module, checked when the configuration is loaded."""

    max_age: Annotated[float, BeforeValidator(parse_duration), Field(gt=0)] = Field(60.0, alias="max-age")


class TicketLoginModule(LoginModule):
    """Lets in whoever brings a ticket that was never used."""

    Options = TicketOptions
    needs_credentials = True
    replay_protected = True

    def __init__(self, options: TicketOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self._max_age = options.max_age

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        ticket = attempt.token.get()
        if ticket is None:
            raise LoginFailed("no ticket")
        try:
            claims, made = _SERIALIZER.loads(ticket, return_timestamp=True)
        except BadSignature:
            raise LoginFailed("not a ticket of ours") from None
        left = self._max_age - (self.context.clock.time() - made.timestamp())
        if not 0 < left <= self._max_age + 1:  # the time in a ticket is in whole seconds
            raise LoginFailed("the ticket has expired")
        if await self.context.state.put_if_absent(f"ticket:{claims['nonce']}", "used", left + 1) is not None:
            raise Replayed("the ticket has been used")
        return Grant.user(claims["user"], claims["roles"])
