"""Pass HTTP requests to one back end and WebSockets to another."""

from __future__ import annotations

from asgi_gateway.services.backend import Backend, Receive, Scope, Send

__all__ = ["ByProtocol"]


class ByProtocol(Backend):
    """Two back ends of one service.

    Args:
        http: answers HTTP requests.
        websocket: answers WebSockets; None to refuse them.
    """

    def __init__(self, http: Backend, websocket: Backend | None) -> None:
        self.description = http.description
        self._http = http
        self._websocket = websocket

    async def open(self) -> None:
        """Open both."""
        await self._http.open()
        if self._websocket is not None:
            await self._websocket.open()

    async def close(self) -> None:
        """Close both, the last first."""
        try:
            if self._websocket is not None:
                await self._websocket.close()
        finally:
            await self._http.close()

    async def check(self) -> list[str]:
        """Return what fails when the back end for HTTP is tried, which is the one for WebSockets too."""
        return await self._http.check()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif self._websocket is not None:
            await self._websocket(scope, receive, send)
        elif (await receive())["type"] == "websocket.connect":
            await send({"type": "websocket.close", "code": 1008})
