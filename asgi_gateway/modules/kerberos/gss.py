"""The ``gss`` login module: authenticate a client by its Kerberos ticket, with the service's keys of ``kerberos5``.

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
from asgi_gateway.modules.kerberos.library.handshake_cache import HandshakeCache
from asgi_gateway.modules.kerberos.library.principals import NameOptions, check_rules, user_name, words
from asgi_gateway.plugins.login_module import LoginAttempt, LoginModule, ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.replay import ReplayGuard

if TYPE_CHECKING:
    from asgi_gateway.modules.kerberos.library.acceptor import AcceptedClient, Acceptor, GssHandshake

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
    """Options of ``gss``: KAAZING's ``tryFirstToken``, those of names, and our own.

    Attributes:
        tryFirstToken: try a token of the shared state first.
        requireFlags: the protections that client and service must have agreed on: any of ``mutual``, ``replay``,
            ``sequence``, ``confidentiality``, ``integrity``.
        storeDelegated: add the credentials that a client delegates to the subject, as a private credential.
    """

    tryFirstToken: Boolean = False
    requireFlags: Annotated[_Flags, BeforeValidator(words)] = ()
    storeDelegated: Boolean = False


class _AnotherLeg(LoginFailed):
    """The handshake needs another token of the client."""


class GssLoginModule(LoginModule):
    """A login module for Negotiate tokens (KAAZING ``gss``).

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

        check_rules(options, lambda text: context.warn(f"gss: {text}"))
        self._required = [(name, getattr(gssapi.RequirementFlag, _FLAGS[name])) for name in options.requireFlags]
        self._replays = ReplayGuard(context.state, margin=_MARGIN)
        self._token_life = 2 * libkrb5.clock_skew()  # accepted while its time is within the skew, either way
        self._pending: HandshakeCache[GssHandshake] = HandshakeCache(context.clock)

    async def close(self) -> None:
        self._pending.clear()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        acceptor: Acceptor | None = attempt.shared_state.get(SHARED_ACCEPTOR)
        if acceptor is None:
            raise LoginFailed("no service key: add kerberos5 with useKeyTab and storeKey before gss")
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

    def _handshake(self, attempt: LoginAttempt, acceptor: Acceptor, token: bytes) -> GssHandshake:
        begins = begins_handshake(token)
        waiting = None if attempt.connection is None else self._pending.take(attempt.connection)
        if begins:
            return acceptor.handshake()
        if waiting is None:
            raise LoginFailed(
                "the token continues an unknown handshake: it began on another connection or worker, expired, or was "
                "used already; or the token is invalid"
            )
        return waiting

    def _wait_for_another_leg(self, attempt: LoginAttempt, handshake: GssHandshake, answer: bytes | None) -> None:
        if answer is None or attempt.connection is None:
            raise LoginFailed("the handshake needs another leg, and the server gives no client address and port")
        self._pending.put(attempt.connection, handshake)
        attempt.challenge(encode_token(answer))
        raise _AnotherLeg("the handshake continues with the client's next token")

    def _check_flags(self, accepted: AcceptedClient) -> None:
        missing = [name for name, flag in self._required if flag not in accepted.flags]
        if missing:
            raise LoginFailed(f"the client did not agree to {', '.join(missing)} (requireFlags)")

    async def _user_name(self, attempt: LoginAttempt, principal: str, realm: str) -> str:
        if self.options.clientRealm == "map":  # a plugin of auth_to_local may query a directory
            return await attempt.run_blocking(user_name, principal, realm, self.options)
        return user_name(principal, realm, self.options)
