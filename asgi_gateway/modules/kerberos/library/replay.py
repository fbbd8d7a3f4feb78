"""Refuse a token's second use, on any worker. Source: RFC 4120 section 3.2.3."""

from __future__ import annotations

from asgi_gateway.errors import Replayed
from asgi_gateway.plugins.state_store import ExpiringState

__all__ = ["ReplayGuard"]

_MARGIN = 60


class ReplayGuard:
    """A memory of accepted tokens, kept for as long as libkrb5 would accept them again.

    libkrb5 accepts a token whose time differs from this host's by at most the clock skew, so that a token of a fast
    clock is accepted for twice the skew. A ticket may live longer; a token does not.

    Args:
        state: the store of the tokens, shared by all workers.
        clock_skew: seconds, from krb5.conf.
    """

    def __init__(self, state: ExpiringState, clock_skew: float) -> None:
        self._state = state
        self.ttl = 2 * clock_skew + _MARGIN

    async def refuse_replay(self, fingerprint: str, principal: str) -> None:
        """Record a token's use.

        Args:
            fingerprint: identifies the token.
            principal: the client, for the log.

        Raises:
            Replayed: the token was used before.
            StateError: the store cannot be used, so the login must be refused.
        """
        if await self._state.put_if_absent(f"asgi_gateway.gss:{fingerprint}", "used", self.ttl) is not None:
            raise Replayed(f"replay: a token of {principal} was used before")
