"""Define the ``token`` login module: the gateway's own signed tokens, from any place of credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Grant, RevocationKey
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean, ModuleOptions, parse_duration
from asgi_gateway.plugins.replay import ReplayGuard
from asgi_gateway.plugins.state_store import Partition
from asgi_gateway.sessions.signing import load_keys
from asgi_gateway.sessions.tokens import Token, TokenIssuer

__all__ = ["TokenLoginModule", "TokenOptions"]


class TokenOptions(ModuleOptions):
    """Options of ``token``.

    Args:
        keyFile: file with the signing keys, one a line, 32 bytes at least; the first signs, all verify.
        keyEnvironment: name of the environment variable that holds them instead.
        audience: which application the tokens are for.
        component: the header, query parameter or cookie that holds the token, by its configured name; by default the
            first of the request's credentials, the Authorization header before all.
        singleUse: ``as-issued``: the token says whether it can be used once or many times; ``required``: every token
            can be used once; ``refused``: single-use tokens are refused, and no shared store is needed.
        revocable: whether each login checks if a token for many uses was revoked; for single-use tokens that is always
            checked. Needs the shared store.
        leeway: how far the clocks of issuer and gateway may differ.
    """

    keyFile: Path | None = None
    keyEnvironment: str | None = Field(default=None, min_length=1)
    audience: str = Field(min_length=1)
    component: str | None = Field(default=None, min_length=1)
    singleUse: Literal["as-issued", "required", "refused"] = "as-issued"
    revocable: Boolean = False
    leeway: Annotated[float, BeforeValidator(parse_duration), Field(le=300)] = 30.0

    @model_validator(mode="after")
    def _one_source(self) -> TokenOptions:
        if (self.keyFile is None) == (self.keyEnvironment is None):
            raise ValueError("give keyFile or keyEnvironment, and not both")
        return self


class TokenLoginModule(LoginModule):
    """Takes the gateway's own tokens (see ``asgi-gateway token issue``).

    What is opened with a token ends when it expires; what is opened with a single-use token ends when the token says
    so, which may be much later than its own end.
    """

    Options = TokenOptions
    needs_credentials = True

    def __init__(self, options: TokenOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        file = context.path(options.keyFile) if options.keyFile is not None else None
        self.issuer = TokenIssuer(load_keys(file, options.keyEnvironment, context.warn), options.audience)
        self.replay_protected = options.singleUse != "refused" or options.revocable
        self._replays = ReplayGuard(context.state)
        self._sessions = ReplayGuard(context.state.partition(Partition.SESSIONS))

    @property
    def takes_tickets(self) -> bool:
        """Whether single-use tokens are taken."""
        options: TokenOptions = self.options
        return options.singleUse != "refused"

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        options: TokenOptions = self.options
        text = attempt.token.get(0 if options.component is None else options.component)
        if not text:
            raise LoginFailed("the request carries no token")
        now = self.context.clock.time()
        token = self.issuer.read(text, realm=attempt.realm, now=now, leeway=options.leeway)
        if token.service and token.service != attempt.service:
            raise LoginFailed("the token is for another service")
        key = RevocationKey("token", token.id).key
        if token.single_use or options.singleUse == "required":
            if options.singleUse == "refused":
                raise LoginFailed("single-use tokens are refused: singleUse is refused")
            await self._replays.use(key, token.expires - now + options.leeway)
        elif options.revocable:
            await self._replays.check_revoked(key)
        if token.revocation_keys:
            await self._check_login(token)
        until = token.until
        if until is None and not token.single_use:
            until = token.expires + options.leeway
        if until is not None:
            attempt.limit_session(max(until - now, 0))
        ended_by = (RevocationKey("token", token.id), *(revocation for revocation, _ in token.revocation_keys))
        return Grant.user(token.user, token.roles, public_credentials=(token,), revocation_keys=ended_by, expires=until)

    async def _check_login(self, token: Token) -> None:
        """Check that the login that a ticket was traded for has not been revoked.

        Raises:
            LoginFailed: it was revoked.
            LoginUnavailable: cannot ask the store.
        """
        for revocation, seen in token.revocation_keys:
            guard = self._sessions if revocation.kind == "session" else self._replays
            value = await guard.state_of(revocation.key)
            valid = {"user": (value or "") == seen, "session": value is not None, "token": value != "revoked"}
            if not valid[revocation.kind]:
                raise LoginFailed(f"the login behind the ticket was ended: {revocation.kind}")
