"""A token lets its bearer in once, whichever worker it is shown to. Source: RFC 4120 section 3.2.3."""

from __future__ import annotations

from asgi_gateway.errors import Replayed
from asgi_gateway.plugins.state_store import ExpiringState

__all__ = ["ReplayGuard"]

_MARGIN = 60


class ReplayGuard:
    """Remembers the tokens that were accepted for as long as the library would accept them again.

    The library accepts a token while the time in it is within the clock skew, either way, of this host's: for twice
    the skew at the longest, if the client's clock is fast. A ticket may live longer than that; a token does not.

    Args:
        state: where tokens are remembered, shared by all workers.
        clock_skew: seconds, as krb5.conf has it.
    """

    def __init__(self, state: ExpiringState, clock_skew: float) -> None:
        self._state = state
        self.ttl = 2 * clock_skew + _MARGIN

    async def refuse_replay(self, fingerprint: str, principal: str) -> None:
        """Remember a token.

        Args:
            fingerprint: what tells the token from all others.
            principal: the client, for the log.

        Raises:
            Replayed: it was used before.
            StateError: the store cannot tell, so the login must be refused.
        """
        if await self._state.put_if_absent(f"asgi_gateway.gss:{fingerprint}", "used", self.ttl) is not None:
            raise Replayed(f"replay: a token of {principal} was used before")
