"""The live WebSockets of this process: what each may be ended by, and when it ends by itself.

A socket knows two moments: the end of its session (or of the token behind it), which nothing extends, and the end of
its authorization, which a new login extends. One timer of the event loop stands for both. Nothing is done per message.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from asgi_gateway.model import Headers, RevocationKey
from asgi_gateway.websockets.closable import (
    POLICY_VIOLATION,
    ClosableWebSocket,
    ConnectionEnded,
    Message,
    Receive,
    Send,
)

__all__ = ["End", "LiveSocket", "LiveSockets", "Owner"]

logger = logging.getLogger("asgi_gateway.sockets")

_RECENT = 1024
"""Endings that are remembered for sockets whose login is being looked at."""


class End(Enum):
    """Why the gateway ends a socket: close code and reason, each pair different."""

    SESSION_TIMEOUT = (POLICY_VIOLATION, "session timeout")
    AUTHORIZATION_TIMEOUT = (4001, "authorization timeout")
    TOKEN_EXPIRED = (4002, "token expired")
    SESSION_ENDED = (4003, "session ended")
    USER_REVOKED = (4004, "user revoked")
    TOKEN_REVOKED = (4005, "token revoked")
    UNCERTAIN = (4006, "log in again")

    @property
    def code(self) -> int:
        """The close code."""
        return self.value[0]

    @property
    def reason(self) -> str:
        """The reason, shown to the client."""
        return self.value[1]


_ENDS = {"session": End.SESSION_ENDED, "user": End.USER_REVOKED, "token": End.TOKEN_REVOKED}


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket is. Who authenticates again must be the same.

    Args:
        service: the service's name.
        realm: the name of the realm that authenticated last.
        user: the subject's name.
    """

    service: str
    realm: str
    user: str


Renewal: TypeAlias = Callable[["LiveSocket"], Awaitable[float]]
"""Asks elsewhere how many seconds longer a socket is authorized: 0 for not at all."""


class _Timers(threading.local):
    """What a thread's timers run in: one context for all of them, since each would copy one of its own."""

    def __init__(self) -> None:
        self.context = contextvars.Context()


_timers = _Timers()


class LiveSocket(ClosableWebSocket):
    """One authenticated WebSocket.

    Args:
        receive: the server's.
        send: the server's.
        owner: whose it is.
        revocation_keys: what it may be ended by.
        name: what a client calls it when it authenticates again; empty if it never has to.
        headers: for the answer to its handshake.
    """

    __slots__ = (
        "_final",
        "_final_end",
        "_headers",
        "_renewing",
        "_timer",
        "authorized_until",
        "loop",
        "name",
        "owner",
        "renewal",
        "revocation_keys",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        owner: Owner,
        revocation_keys: tuple[RevocationKey, ...] = (),
        name: str = "",
        headers: Headers = (),
    ) -> None:
        super().__init__(receive, send)
        self.loop = asyncio.get_running_loop()
        self.owner = owner
        self.revocation_keys = revocation_keys
        self.name = name
        self.authorized_until: float | None = None
        self.renewal: Renewal | None = None
        self._headers = headers
        self._final: float | None = None
        self._final_end = End.SESSION_TIMEOUT
        self._renewing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first, which answers the handshake, with the gateway's headers.

        Raises:
            ConnectionEnded: the socket has ended.
        """
        if self.ended:
            raise ConnectionEnded(self.reason)
        if self._headers:
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            self._headers = ()
        return self._send(message)

    def end(self, reason: str, code: int = POLICY_VIOLATION) -> None:
        self.release()
        super().end(reason, code)

    def release(self) -> None:
        """Drop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def finish(self) -> None:
        """Wait until the close has been handed to the server; nothing is left behind."""
        self.release()
        if self._renewing is not None:
            self._renewing.cancel()
        await super().finish()

    def limit(self, session: float | None, token: float | None, authorization: float | None) -> None:
        """Say when it ends; the smallest holds.

        Args:
            session: seconds until its session ends, or None.
            token: seconds until the credentials behind it expire, or None.
            authorization: seconds within which its client has to authenticate again, or None.
        """
        now = self.loop.time()
        limits = [(token, End.TOKEN_EXPIRED), (session, End.SESSION_TIMEOUT)]
        known = [(seconds, end) for seconds, end in limits if seconds is not None]
        if known:
            seconds, self._final_end = min(known, key=lambda limit: limit[0])
            self._final = now + seconds
        if authorization is not None:
            self.authorized_until = now + authorization
        self._set_timer()

    def authorize(self, seconds: float) -> None:
        """The client authenticated again: for so many seconds it need not do so. The timer that runs will notice."""
        until = self.loop.time() + seconds
        if self.authorized_until is not None:
            self.authorized_until = max(self.authorized_until, until)

    def _set_timer(self) -> None:
        moments = [moment for moment in (self._final, self.authorized_until) if moment is not None]
        if moments and not self.ended:
            self._timer = self.loop.call_at(min(moments), _due, self, context=_timers.context)

    def _come_due(self) -> None:
        self._timer = None
        now = self.loop.time()
        if self._final is not None and self._final <= now:
            self.end(self._final_end.reason, self._final_end.code)
        elif self.authorized_until is None or self.authorized_until > now:
            self._set_timer()
        elif self.renewal is None:
            self.end(End.AUTHORIZATION_TIMEOUT.reason, End.AUTHORIZATION_TIMEOUT.code)
        else:
            self._renewing = self.loop.create_task(self._renew(self.renewal))

    async def _renew(self, renewal: Renewal) -> None:
        try:
            seconds = await renewal(self)
        except Exception as error:
            logger.warning("whether a socket's client authenticated again cannot be told: %s", error)
            seconds = 0.0
        if seconds > 0:
            self.authorize(seconds)
        self._renewing = None
        if self.authorized_until is not None and self.authorized_until > self.loop.time():
            self._set_timer()
        else:
            self.end(End.AUTHORIZATION_TIMEOUT.reason, End.AUTHORIZATION_TIMEOUT.code)


def _due(socket: LiveSocket) -> None:
    socket._come_due()


class LiveSockets:
    """All authenticated WebSockets of a process, whichever event loop they live in.

    A socket is added when its handshake is allowed and discarded when its application is through. Both, and finding the
    sockets of a login, take a time that does not depend on how many there are.
    """

    def __init__(self) -> None:
        self._by_login: dict[RevocationKey, LiveSocket | set[LiveSocket]] = {}  # most have one socket
        self._by_name: dict[str, LiveSocket] = {}
        self._recent: deque[RevocationKey | None] = deque(maxlen=_RECENT)
        self._lock = threading.Lock()
        self._count = 0
        self.ended = 0
        """How often something was ended. Noted before a login is looked at, it tells ``add`` what came in between."""

    def __len__(self) -> int:
        return self._count

    def add(self, socket: LiveSocket, since: int | None = None) -> None:
        """Begin to answer for a socket.

        Args:
            socket: the socket.
            since: what ``ended`` was before its login was looked at; what was ended since ends the socket, too.
        """
        with self._lock:
            missed = 0 if since is None else self.ended - since
            recent = list(self._recent)[-missed:] if missed else []
            self._count += 1
            if socket.name:
                self._by_name[socket.name] = socket
            for revocation in socket.revocation_keys:
                there = self._by_login.setdefault(revocation, socket)
                if isinstance(there, set):
                    there.add(socket)
                elif there is not socket:
                    self._by_login[revocation] = {there, socket}
        if missed > len(recent):
            recent.append(None)
        for ended in recent:
            if ended is None or ended in socket.revocation_keys:
                self._end((socket,), _end_by(ended))

    def discard(self, socket: LiveSocket) -> None:
        """The socket's application is through."""
        with self._lock:
            self._count -= 1
            self._by_name.pop(socket.name, None)
            for revocation in socket.revocation_keys:
                there = self._by_login.get(revocation)
                if isinstance(there, set):
                    there.discard(socket)
                    if not there:
                        del self._by_login[revocation]
                elif there is socket:
                    del self._by_login[revocation]

    def of(self, revocation: RevocationKey) -> tuple[LiveSocket, ...]:
        """The sockets that a revocation would concern."""
        with self._lock:
            return tuple(_sockets(self._by_login.get(revocation, ())))

    def named(self, name: str) -> LiveSocket | None:
        """The socket of a name."""
        return self._by_name.get(name)

    def end(self, revocation: RevocationKey | None) -> int:
        """Close every socket that a revocation concerns; None: all of them. May be called from any thread.

        Returns:
            how many are being closed.
        """
        with self._lock:
            self._recent.append(revocation)
            self.ended += 1
            if revocation is None:
                sockets = {socket for there in self._by_login.values() for socket in _sockets(there)}
            else:
                sockets = set(_sockets(self._by_login.get(revocation, ())))
        return self._end(sockets, _end_by(revocation))

    @staticmethod
    def _end(sockets: Collection[LiveSocket], end: End) -> int:
        by_loop: dict[asyncio.AbstractEventLoop, list[LiveSocket]] = {}
        for socket in sockets:
            by_loop.setdefault(socket.loop, []).append(socket)
        for loop, concerned in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_end_all, concerned, end)
        return len(sockets)


def _sockets(there: LiveSocket | Collection[LiveSocket]) -> Collection[LiveSocket]:
    return (there,) if isinstance(there, LiveSocket) else there


def _end_by(revocation: RevocationKey | None) -> End:
    """How what a revocation concerns is ended; None: something may have been missed."""
    return End.UNCERTAIN if revocation is None else _ENDS[revocation.kind]


def _end_all(sockets: Collection[LiveSocket], end: End) -> None:
    for socket in sockets:
        socket.end(end.reason, end.code)
