"""Check that a token is used once and was not revoked, with ExpiringState as the memory of all workers.

Sources: RFC 7519 section 4.1.7 (``jti``), RFC 4120 section 3.2.3 (replay cache).
"""

from __future__ import annotations

from asgi_gateway.errors import LoginFailed, LoginUnavailable, Replayed, StateError
from asgi_gateway.plugins.state_store import ExpiringState

__all__ = ["CLOCK_MARGIN", "ReplayGuard"]

CLOCK_MARGIN = 3600.0
"""Seconds that a used token is remembered beyond its life: a clock that far behind does not make it good again."""

_USED = "used"
_REVOKED = "revoked"


class ReplayGuard:
    """Remembers used tokens and knows revoked ones, in every worker that shares the state.

    Args:
        state: where tokens are remembered.
        margin: seconds that a used token is remembered beyond its life.
    """

    def __init__(self, state: ExpiringState, margin: float = CLOCK_MARGIN) -> None:
        self._state = state
        self._margin = margin

    async def use(self, key: str, life: float, token: str = "the token") -> None:  # noqa: S107 - words for a message
        """Use a token for the first and only time.

        Args:
            key: the key of the token in ExpiringState; the same one that a revocation writes to.
            life: seconds for which the token would be accepted again; negative counts as 0.
            token: what to call the token in messages.

        Raises:
            Replayed: the token was used before.
            LoginFailed: the token was revoked.
            LoginUnavailable: the state cannot be asked, so the login must be refused.
        """
        try:
            found = await self._state.put_if_absent(key, _USED, max(life, 0.0) + self._margin)
        except StateError as error:
            raise LoginUnavailable(f"cannot check for token replay: {error}") from error
        if found == _REVOKED:
            raise LoginFailed(f"{token} was revoked")
        if found is not None:
            raise Replayed(f"replay: {token} was used before")

    async def check_revoked(self, key: str, token: str = "the token") -> None:  # noqa: S107 - words for a message
        """Check that a token was not revoked; it may be used any number of times.

        Args:
            key: the key of the token in ExpiringState.
            token: what to call the token in messages.

        Raises:
            LoginFailed: the token was revoked, or used up by a module that takes it once.
            LoginUnavailable: the state cannot be asked, so the login must be refused.
        """
        if await self.state_of(key) is not None:
            raise LoginFailed(f"{token} was revoked")

    async def state_of(self, key: str) -> str | None:
        """Return what ExpiringState holds under a key, or None.

        Args:
            key: the key of the token, or of what revokes it.

        Raises:
            LoginUnavailable: the state cannot be asked, so the login must be refused.
        """
        try:
            return await self._state.get(key)
        except StateError as error:
            raise LoginUnavailable(f"cannot check for revocation: {error}") from error
