"""Read a store without changing it, for ``asgi-gateway explain``."""

from __future__ import annotations

from asgi_gateway.plugins.state_store import ExpiringState, Partition, check_ttl

__all__ = ["TrialState"]


class TrialState(ExpiringState):
    """An ExpiringState over another one, whose changes stay in this object.

    A login that is tried this way begins no session for anyone else and uses up no token. Nothing expires, since the
    object lives for one command.

    Args:
        state: the store to read. It is not opened if it has not been created yet.
    """

    def __init__(self, state: ExpiringState) -> None:
        self._state = state
        self._reads = state.exists()
        self._changes: dict[str, str | None] = {}  # None: removed
        self._partitions: dict[Partition, TrialState] = {}
        self.shared = state.shared  # type: ignore[misc]

    @property
    def identity(self) -> str:
        return self._state.identity

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        check_ttl(ttl)
        current = await self.get(key)
        if current is None:
            self._changes[key] = value
        return current

    async def get(self, key: str) -> str | None:
        if key in self._changes:
            return self._changes[key]
        return await self._state.get(key) if self._reads else None

    async def remove(self, key: str, value: str) -> bool:
        if await self.get(key) != value:
            return False
        self._changes[key] = None
        return True

    def partition(self, kind: Partition) -> ExpiringState:
        if kind not in self._partitions:
            below = self._state.partition(kind)
            self._partitions[kind] = self if below is self._state else TrialState(below)
        return self._partitions[kind]

    async def open(self) -> None:
        if self._reads:
            await self._state.open()

    async def close(self) -> None:
        if self._reads:
            await self._state.close()
