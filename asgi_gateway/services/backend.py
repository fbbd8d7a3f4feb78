"""Define what stands behind a service: an ASGI application of the gateway's own, or the wrapped one."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["ON_END", "Backend", "Message", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ON_END = "asgi_gateway.on_end"
"""The key in a back end's WebSocket scope of a function that takes what is called when the gateway ends the socket."""


class Backend(abc.ABC):
    """Answers the requests that a service let in. Entered with the scope that an application would get.

    Long-lived: built once from the configuration, opened and closed with the gateway.
    """

    description: str = ""
    """What it is, in a few words without secrets, for ``check`` and ``explain``: ``http.proxy to http://host:80/``."""

    async def open(self) -> None:
        """Open pools and files. Called once, before the first request."""

    async def close(self) -> None:
        """Close what ``open`` opened."""

    async def check(self) -> list[str]:
        """Return what fails when the back end is tried, each as one line; changes nothing (``check --connect``)."""
        return []

    @abc.abstractmethod
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request or one WebSocket that was let in.

        ``scope["asgi_gateway"]`` is the decision's GatewayContext. When the login ends meanwhile, ``send`` raises
        ConnectionEnded and ``receive`` returns a disconnect.
        """
