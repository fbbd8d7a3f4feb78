"""Join the two halves of ``http.proxy``: HTTP and WebSockets."""

from __future__ import annotations

from collections.abc import Awaitable

from asgi_gateway.services.backend import Backend, Receive, Scope, Send

__all__ = ["HTTPAndWebSockets"]


class HTTPAndWebSockets(Backend):
    """Passes HTTP requests to one back end and WebSockets to another. Both use the same login to back ends.

    Args:
        http: answers HTTP requests. Opening and closing it serves both.
        sockets: answers WebSockets.
    """

    def __init__(self, http: Backend, sockets: Backend) -> None:
        self._http = http
        self._sockets = sockets
        self.description = http.description

    async def open(self) -> None:
        await self._http.open()

    async def close(self) -> None:
        await self._http.close()

    async def check(self) -> list[str]:
        return await self._http.check()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        """Return the coroutine of the half that answers: one coroutine less on the way."""
        half = self._sockets if scope["type"] == "websocket" else self._http
        return half(scope, receive, send)
