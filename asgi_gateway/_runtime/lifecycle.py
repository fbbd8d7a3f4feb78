"""Open parts in order and close them in reverse, whatever one of them raises."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

__all__ = ["Lifecycle", "Part"]

logger = logging.getLogger("asgi_gateway.gateway")


class Part(Protocol):
    """Something that is opened when the server starts and closed when it stops."""

    async def open(self) -> None:
        """Open it."""

    async def close(self) -> None:
        """Close it."""


class Lifecycle:
    """Remember what was opened, so that it is closed again."""

    def __init__(self) -> None:
        self._opened: list[Part] = []

    @property
    def is_open(self) -> bool:
        """Whether parts are open."""
        return bool(self._opened)

    async def open(self, parts: Iterable[Part]) -> None:
        """Open parts in order. The caller closes what was opened if one fails.

        Raises:
            Exception: what the first that failed raised.
        """
        for part in parts:
            await part.open()
            self._opened.append(part)

    async def close(self) -> None:
        """Close what was opened, last first; an error of one is logged and does not keep the others open."""
        while self._opened:
            try:
                await self._opened.pop().close()
            except Exception:
                logger.exception("closing failed")
