"""Drives the extended handshake over ASGI. Gives the application an ordinary WebSocket afterwards.

A service with several realms gives a client that has satisfied one of them a challenge identity, which its next request
must show. KAAZING's clients do not know that header. So the login itself keeps the identity of the last challenge, and
adds it to the next request if that shows none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from asgi_gateway.authentication.multi_realm import IDENTITY_HEADER
from asgi_gateway.errors import HeaderError
from asgi_gateway.model import Allow, Challenge, Decision, Forbid, Headers, Unavailable
from asgi_gateway.websockets.kaazing_handshake import (
    HANDSHAKE_PROTOCOL,
    LoginLimits,
    ServerHandshake,
    State,
    inner_headers,
    offered_subprotocols,
)

__all__ = ["SocketLogin"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Decide = Callable[[Scope], Awaitable[Decision]]
Answer = Callable[[Challenge | Forbid | Unavailable], tuple[int, Headers, bytes]]

logger = logging.getLogger("asgi_gateway.socket_login")

_REFUSED = 1008


class SocketLogin:
    """One login inside a WebSocket; afterwards, the application's ``receive`` and ``send``.

    Args:
        query: the opening's query string.
        receive: the server's ``receive``; its ``websocket.connect`` has been received.
        send: the server's ``send``.
        limits: what a client may use before it has logged in.
    """

    __slots__ = (
        "_connected",
        "_denial",
        "_handshake",
        "_open",
        "_raw_receive",
        "_raw_send",
        "_realms",
        "unused_identities",
    )

    def __init__(
        self,
        query: bytes,
        receive: Receive,
        send: Send,
        limits: LoginLimits = LoginLimits(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._raw_receive = receive
        self._raw_send = send
        self._handshake = ServerHandshake(query, limits)
        self._open = False
        self._connected = False
        self._denial: tuple[int, Headers] | None = None
        self._realms: set[str] = set()
        self.unused_identities: list[bytes] = []
        """Challenge identities that were given and not shown; the last one is added to a request without one."""

    async def run(
        self, opening: Scope, decide: Decide, answer: Answer, further: frozenset[bytes] = frozenset()
    ) -> tuple[Scope, Allow] | None:
        """Accept the socket and hold the login.

        Args:
            opening: the opening's scope.
            decide: decides on the scope of each request.
            answer: returns status, headers and body for a decision that refuses.
            further: names, in lower case, of the service's own headers for credentials.

        Returns:
            The scope of the request that is let in, and the decision. None if the client was refused, left, or took
            too long.
        """
        handshake = self._handshake
        await self._raw_send({"type": "websocket.accept", "subprotocol": HANDSHAKE_PROTOCOL, "headers": []})
        await self._write(handshake.greeting)
        while handshake.state is State.EXPECTING:
            message = await self._next(handshake.timeout)
            if message is None:
                logger.info("a login inside a WebSocket took too long")
                await self._raw_send({"type": "websocket.close", "code": _REFUSED, "reason": "login timeout"})
                return None
            if message["type"] != "websocket.receive":
                return None
            entered = await self._decide_on(opening, message, decide, answer, further)
            if entered is not None:
                return entered
        await self._raw_send({"type": "websocket.close", "code": _REFUSED})
        return None

    async def _next(self, seconds: float) -> Message | None:
        """Return the next message; None if it does not come in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._raw_receive()
        except TimeoutError:
            return None

    async def _decide_on(
        self, opening: Scope, message: Message, decide: Decide, answer: Answer, further: frozenset[bytes]
    ) -> tuple[Scope, Allow] | None:
        text = message.get("text")
        try:
            head = self._handshake.request(message.get("bytes") or b"" if text is None else text)
        except HeaderError as error:
            logger.info("a login inside a WebSocket is refused: %s", error)
            await self._write(self._handshake.refuse(400))
            return None
        headers = inner_headers(tuple(opening["headers"]), head, further)
        scope = {
            **opening,
            "query_string": self._handshake.query,
            "headers": list(headers),
            "subprotocols": offered_subprotocols(tuple(opening["headers"]), head),
        }
        decision = await decide({**scope, "headers": [*headers, *self._challenge_identity(headers)]})
        if isinstance(decision, Allow):
            return scope, decision
        status, answered, _ = answer(decision)
        await self._write(self._handshake.refuse(status, answered, next_realm=self._reaches_next_realm(decision)))
        return None

    def _challenge_identity(self, headers: Headers) -> Headers:
        """Return the last challenge's identity as a header for a request that shows none, and note which are used."""
        shown = [value for name, value in headers if name == IDENTITY_HEADER]
        added = [] if shown else self.unused_identities[-1:]
        self.unused_identities = [each for each in self.unused_identities if each not in (*shown, *added)]
        return tuple((IDENTITY_HEADER, each) for each in added)

    def _reaches_next_realm(self, decision: Challenge | Forbid | Unavailable) -> bool:
        """Return whether a challenge is the first one for a realm after others that were satisfied; note its identity.

        Only the first one tells right credentials from wrong ones: afterwards the same realm is asked for again.
        """
        identities = [value for name, value in decision.headers if name == IDENTITY_HEADER]
        if not isinstance(decision, Challenge) or not identities:
            return False
        self.unused_identities += identities
        first = decision.realm not in self._realms
        self._realms.add(decision.realm)
        return first

    def receive(self) -> Awaitable[Message]:
        """The application's ``receive``: its connect first, then the server's own."""
        return self._raw_receive() if self._connected else self._connect()

    def send(self, message: Message) -> Awaitable[None]:
        """The application's ``send``: once the socket is open, the server's own."""
        return self._raw_send(message) if self._open else self._conclude(message)

    async def _connect(self) -> Message:
        self._connected = True
        return {"type": "websocket.connect"}

    async def _conclude(self, message: Message) -> None:
        """Turn the application's answer to the opening into a response inside the socket."""
        kind, headers = message["type"], message.get("headers", ())
        if kind == "websocket.accept":
            await self._write(self._handshake.admit(message.get("subprotocol"), headers))
            self._open = True
        elif kind == "websocket.close":
            await self._refuse(403)
        elif kind == "websocket.http.response.start":
            self._denial = message["status"], headers
        elif kind == "websocket.http.response.body" and self._denial is not None:
            if not message.get("more_body"):
                await self._refuse(*self._denial)
        else:
            raise RuntimeError(f"{kind} before the WebSocket was accepted")

    async def _refuse(self, status: int, headers: Headers = ()) -> None:
        """Refuse the admitted login and close the socket: after an application's 401 no further answer is read."""
        if self._handshake.state is not State.DECIDING:
            return
        await self._write(self._handshake.refuse(status, headers))
        await self._raw_send({"type": "websocket.close", "code": _REFUSED})
        self._handshake.close()

    async def _write(self, messages: Iterable[bytes]) -> None:
        for data in messages:
            await self._raw_send({"type": "websocket.send", "bytes": data})
