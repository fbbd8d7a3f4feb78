"""The ``gss`` login module: a client's Kerberos ticket, taken with the keys that ``kerberos5`` handed over.

Sources: RFC 4559 (Negotiate), RFC 4178 (SPNEGO), RFC 4121 (the Kerberos mechanism).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Grant, UserPrincipal
from asgi_gateway.modules.kerberos.library import libkrb5
from asgi_gateway.modules.kerberos.library.errors import require_gssapi
from asgi_gateway.modules.kerberos.library.gss_tokens import (
    SHARED_ACCEPTOR,
    SHARED_TOKEN,
    begins_handshake,
    decode_token,
    encode_token,
)
from asgi_gateway.modules.kerberos.library.handshake_cache import PendingHandshakes
from asgi_gateway.modules.kerberos.library.principals import NameOptions, user_name, words
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.replay import ReplayGuard

if TYPE_CHECKING:
    from asgi_gateway.modules.kerberos.library.acceptor import Accepted, Acceptor, Handshake

__all__ = ["GssLoginModule", "GssOptions"]

_FLAGS = {
    "mutual": "mutual_authentication",
    "replay": "replay_detection",
    "sequence": "out_of_sequence_detection",
    "confidentiality": "confidentiality",
    "integrity": "integrity",
}
_MARGIN = 60.0
"""Seconds that a token is remembered beyond its life; no more, since the library compares its time with this clock."""
_Flags = tuple[Literal["mutual", "replay", "sequence", "confidentiality", "integrity"], ...]


class GssOptions(NameOptions):
    """Options of ``gss``: the original's ``tryFirstToken``, those of names, and our own.

    Attributes:
        tryFirstToken: look for the token in the shared state first.
        requireFlags: what client and service must have agreed on: any of ``mutual``, ``replay``, ``sequence``,
            ``confidentiality``, ``integrity``.
        storeDelegated: pass on the credentials that a client delegates, as a private credential of the subject.
    """

    tryFirstToken: Boolean = False
    requireFlags: Annotated[_Flags, BeforeValidator(words)] = ()
    storeDelegated: Boolean = False


class _AnotherLeg(LoginFailed):
    """The mechanism needs one more token of the client."""


class GssLoginModule(LoginModule):
    """Takes Negotiate tokens (KAAZING ``gss``).

    Raises:
        ConfigError: gssapi is not installed.
    """

    Options = GssOptions
    needs_credentials = True
    replay_protected = True

    def __init__(self, options: GssOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        require_gssapi()
        import gssapi

        # memory answers at once; another process may not
        self.waits = context.state.shared or options.clientRealm == "map"
        self._required = [(name, getattr(gssapi.RequirementFlag, _FLAGS[name])) for name in options.requireFlags]
        self._replays = ReplayGuard(context.state, margin=_MARGIN)
        self._token_life = 2 * libkrb5.clock_skew()  # accepted while its time is within the skew, either way
        self._pending: PendingHandshakes[Handshake] = PendingHandshakes(context.clock)

    async def close(self) -> None:
        self._pending.clear()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        acceptor: Acceptor | None = attempt.shared_state.get(SHARED_ACCEPTOR)
        if acceptor is None:
            raise LoginFailed("no service key: kerberos5 with useKeyTab and storeKey must stand before gss")
        own = attempt.token.get() if attempt.token.scheme in ("negotiate", "") else None
        shared = attempt.shared_state.get(SHARED_TOKEN) if self.options.tryFirstToken else None
        if shared is not None:
            try:
                return await self._accept(attempt, acceptor, shared)
            except _AnotherLeg:
                raise
            except LoginFailed:
                if own is None or own == shared:
                    raise
        return await self._accept(attempt, acceptor, own)

    async def _accept(self, attempt: LoginAttempt, acceptor: Acceptor, text: str | None) -> Grant:
        token = decode_token(text)
        handshake = self._handshake(attempt, acceptor, token)
        answer = handshake.step(token)
        if not handshake.complete:
            self._wait_for_another_leg(attempt, handshake, answer)
        accepted = handshake.accepted(with_delegated=self.options.storeDelegated)
        try:
            self._check_flags(accepted)
            name = await self._user_name(attempt, accepted.principal, acceptor.realm)
        except LoginFailed as error:
            raise LoginFailed(f"{accepted.principal}: {error}") from None
        key = f"asgi_gateway.gss:{accepted.fingerprint}"
        await self._replays.use(key, self._token_life, f"a token of {accepted.principal}")
        if answer is not None:
            attempt.respond(encode_token(answer))
        delegated = () if accepted.delegated is None else (accepted.delegated,)
        return Grant((UserPrincipal(name),), private_credentials=delegated)

    def _handshake(self, attempt: LoginAttempt, acceptor: Acceptor, token: bytes) -> Handshake:
        begins = begins_handshake(token)
        waiting = None if attempt.connection is None else self._pending.take(attempt.connection)
        if begins:
            return acceptor.handshake()
        if waiting is None:
            raise LoginFailed(
                "the token goes on with a handshake that is not waiting here: it began on another connection or "
                "worker, waited too long, or was used already; or it is no token at all"
            )
        return waiting

    def _wait_for_another_leg(self, attempt: LoginAttempt, handshake: Handshake, answer: bytes | None) -> None:
        if answer is None or attempt.connection is None:
            raise LoginFailed("the handshake needs another leg, and the server does not tell connections apart")
        self._pending.put(attempt.connection, handshake)
        attempt.challenge(encode_token(answer))
        raise _AnotherLeg("the handshake goes on: waiting for the client's next token")

    def _check_flags(self, accepted: Accepted) -> None:
        missing = [name for name, flag in self._required if flag not in accepted.flags]
        if missing:
            raise LoginFailed(f"the client did not agree to {', '.join(missing)} (requireFlags)")

    async def _user_name(self, attempt: LoginAttempt, principal: str, realm: str) -> str:
        if self.options.clientRealm == "map":  # plugins of auth_to_local may ask a directory
            return await attempt.run_blocking(user_name, principal, realm, self.options)
        return user_name(principal, realm, self.options)
