"""The live WebSockets of this process: which revocations close each of them, and when each closes by itself.

A socket has two deadlines: the end of its session (or of the token behind it), which nothing extends, and the end of
its authorization, which a new login extends. One timer of the event loop serves both. Nothing is done per message.
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
from typing import Protocol

from asgi_gateway.model import Headers, RevocationKey
from asgi_gateway.telemetry.outages import Outages
from asgi_gateway.websockets.closable import (
    POLICY_VIOLATION,
    ClosableWebSocket,
    ConnectionEnded,
    Message,
    Receive,
    Send,
)

__all__ = ["CloseReason", "LiveSocket", "LiveSockets", "SocketOwner", "SocketRenewal"]

logger = logging.getLogger("asgi_gateway.sockets")

_outages = Outages(logger=logger)
"""One for all sockets: when a store is down, each of them asks it."""
_RECENT = 1024
"""The number of revocations that are remembered for sockets whose login is still being decided."""


class CloseReason(Enum):
    """Why the gateway closes a socket: a close code and a reason, each pair different."""

    SESSION_TIMEOUT = (POLICY_VIOLATION, "session timeout")
    AUTHORIZATION_TIMEOUT = (4001, "authorization timeout")
    TOKEN_EXPIRED = (4002, "token expired")
    SESSION_ENDED = (4003, "session ended")
    USER_REVOKED = (4004, "user revoked")
    TOKEN_REVOKED = (4005, "token revoked")
    UNCERTAIN = (4006, "log in again")
    LOGIN_ENDED = (4007, "login no longer valid")

    @property
    def code(self) -> int:
        """The close code."""
        return self.value[0]

    @property
    def reason(self) -> str:
        """The reason, shown to the client."""
        return self.value[1]


_REASONS = {
    "session": CloseReason.SESSION_ENDED,
    "user": CloseReason.USER_REVOKED,
    "token": CloseReason.TOKEN_REVOKED,
}


@dataclass(frozen=True, slots=True)
class SocketOwner:
    """Who opened a socket, and where. A new login extends the socket only if it has an equal owner.

    Args:
        service: the service's name.
        realm: the name of the realm that authenticated last.
        user: the subject's name.
    """

    service: str
    realm: str
    user: str


@dataclass(frozen=True, slots=True)
class SocketRenewal:
    """How a socket's authorization can be extended.

    Args:
        name: the name by which a client authenticates again for the socket.
        ask: returns the seconds by which another worker extended the socket's authorization, 0 if none did.
    """

    name: str
    ask: Callable[[LiveSocket], Awaitable[float]]


class _Timers(threading.local):
    """One contextvars.Context shared by a thread's timers; call_at would copy the current one for every timer."""

    def __init__(self) -> None:
        self.context = contextvars.Context()


_timers = _Timers()


class LiveSocket(ClosableWebSocket):
    """One authenticated WebSocket.

    Args:
        receive: the server's ``receive``.
        send: the server's ``send``.
        owner: who opened it, and where.
        revocation_keys: the revocations that close it.
        headers: headers to add to the answer to its handshake.
        renewal: how its authorization is extended; None if it never has to be.
    """

    __slots__ = (
        "_headers",
        "_renewing",
        "_session_end",
        "_session_end_reason",
        "_timer",
        "authorized_until",
        "loop",
        "owner",
        "renewal",
        "revocation_keys",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        owner: SocketOwner,
        revocation_keys: tuple[RevocationKey, ...] = (),
        headers: Headers = (),
        renewal: SocketRenewal | None = None,
    ) -> None:
        super().__init__(receive, send)
        self.loop = asyncio.get_running_loop()
        self.owner = owner
        self.revocation_keys = revocation_keys
        self.renewal = renewal
        self.authorized_until: float | None = None
        self._headers = headers
        self._session_end: float | None = None
        self._session_end_reason = CloseReason.SESSION_TIMEOUT
        self._renewing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The name by which a client authenticates again for it; empty if it never has to."""
        return "" if self.renewal is None else self.renewal.name

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on. The first one, which answers the handshake, gets the gateway's headers.

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
        self.cancel_timer()
        super().end(reason, code)

    def close(self, reason: CloseReason) -> None:
        """Close the socket now. Must be called in the socket's own event loop."""
        self.end(reason.reason, reason.code)

    def cancel_timer(self) -> None:
        """Cancel the timer of the deadlines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def wait_closed(self) -> None:
        """Wait until the close has been handed to the server. Cancel the timer and the renewal under way."""
        self.cancel_timer()
        if self._renewing is not None:
            self._renewing.cancel()
        await super().wait_closed()

    def set_deadlines(self, session: float | None, token: float | None, authorization: float | None) -> None:
        """Set when the socket closes by itself; the earliest deadline holds.

        Args:
            session: seconds until its session ends, or None.
            token: seconds until the credentials behind it expire, or None.
            authorization: seconds within which its client has to authenticate again, or None.
        """
        now = self.loop.time()
        deadlines = [(token, CloseReason.TOKEN_EXPIRED), (session, CloseReason.SESSION_TIMEOUT)]
        known = [(seconds, reason) for seconds, reason in deadlines if seconds is not None]
        if known:
            seconds, self._session_end_reason = min(known, key=lambda deadline: deadline[0])
            self._session_end = now + seconds
        if authorization is not None:
            self.authorized_until = now + authorization
        self._set_timer()

    def extend_authorization(self, seconds: float) -> None:
        """Note that the client authenticated again. The running timer sees the new deadline when it is due.

        Args:
            seconds: seconds from now for which the client is authorized.
        """
        until = self.loop.time() + seconds
        if self.authorized_until is not None:
            self.authorized_until = max(self.authorized_until, until)

    def _set_timer(self) -> None:
        moments = [moment for moment in (self._session_end, self.authorized_until) if moment is not None]
        if moments and not self.ended:
            self._timer = self.loop.call_at(min(moments), _on_timer, self, context=_timers.context)

    def _on_timer(self) -> None:
        self._timer = None
        now = self.loop.time()
        if self._session_end is not None and self._session_end <= now:
            self.close(self._session_end_reason)
        elif self.authorized_until is None or self.authorized_until > now:
            self._set_timer()
        elif self.renewal is None:
            self.close(CloseReason.AUTHORIZATION_TIMEOUT)
        else:
            self._renewing = self.loop.create_task(self._renew(self.renewal))

    async def _renew(self, renewal: SocketRenewal) -> None:
        try:
            seconds = await renewal.ask(self)
        except Exception as error:
            _outages.report(str(error), "cannot check reauthorization of a WebSocket")
            seconds = 0.0
        if seconds > 0:
            self.extend_authorization(seconds)
        self._renewing = None
        if self.authorized_until is not None and self.authorized_until > self.loop.time():
            self._set_timer()
        else:
            self.close(CloseReason.AUTHORIZATION_TIMEOUT)


def _on_timer(socket: LiveSocket) -> None:
    # A plain function, because a bound method would be one more object per socket.
    socket._on_timer()


class Revocable(Protocol):
    """What a revocation closes: a WebSocket, or an HTTP response that goes on for long."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""

    @property
    def name(self) -> str:
        """The name by which a client authenticates again for it; empty for none."""

    @property
    def revocation_keys(self) -> tuple[RevocationKey, ...]:
        """The revocations that close it."""

    def close(self, reason: CloseReason) -> None:
        """Close it; called in its own event loop."""


class LiveSockets:
    """All authenticated WebSockets of a process, in whichever event loop they run.

    A socket is added when its handshake is allowed, and discarded when its application has returned. Both, and finding
    the sockets of a revocation, take a time that does not depend on how many sockets there are.
    """

    def __init__(self) -> None:
        self._by_key: dict[RevocationKey, Revocable | set[Revocable]] = {}  # most keys have one socket
        self._by_name: dict[str, LiveSocket] = {}
        self._recent: deque[RevocationKey | None] = deque(maxlen=_RECENT)
        self._lock = threading.Lock()
        self._count = 0
        self.revocation_epoch = 0
        """The number of revocations so far. Read before a login is decided, it tells ``add`` what came in between."""

    def __len__(self) -> int:
        return self._count

    def add(self, socket: Revocable, revocation_epoch: int | None = None) -> None:
        """Add a socket. Close it at once if it was revoked while its login was being decided.

        Args:
            socket: the socket.
            revocation_epoch: the value of ``revocation_epoch`` before its login was decided; None for the present one.
        """
        with self._lock:
            missed = 0 if revocation_epoch is None else self.revocation_epoch - revocation_epoch
            recent = list(self._recent)[-missed:] if missed else []
            self._count += 1
            if isinstance(socket, LiveSocket) and socket.name:
                self._by_name[socket.name] = socket
            for key in socket.revocation_keys:
                present = self._by_key.setdefault(key, socket)
                if isinstance(present, set):
                    present.add(socket)
                elif present is not socket:
                    self._by_key[key] = {present, socket}
        if missed > len(recent):
            recent.append(None)
        for revocation in recent:
            if revocation is None or revocation in socket.revocation_keys:
                self._close((socket,), _reason_of(revocation))

    def discard(self, socket: Revocable) -> None:
        """Remove a socket whose application has returned."""
        with self._lock:
            self._count -= 1
            self._by_name.pop(socket.name, None)
            for key in socket.revocation_keys:
                present = self._by_key.get(key)
                if isinstance(present, set):
                    present.discard(socket)
                    if not present:
                        del self._by_key[key]
                elif present is socket:
                    del self._by_key[key]

    def by_name(self, name: str) -> LiveSocket | None:
        """Return the socket of a name, or None."""
        return self._by_name.get(name)

    def end(self, revocation: RevocationKey | None) -> int:
        """Close every socket that a revocation concerns. May be called from any thread.

        Args:
            revocation: what was revoked; None for all sockets.

        Returns:
            The number of sockets being closed.
        """
        with self._lock:
            self._recent.append(revocation)
            self.revocation_epoch += 1
            if revocation is None:
                sockets = {socket for present in self._by_key.values() for socket in _sockets(present)}
            else:
                sockets = set(_sockets(self._by_key.get(revocation, ())))
        return self._close(sockets, _reason_of(revocation))

    @staticmethod
    def _close(sockets: Collection[Revocable], reason: CloseReason) -> int:
        by_loop: dict[asyncio.AbstractEventLoop, list[Revocable]] = {}
        for socket in sockets:
            by_loop.setdefault(socket.loop, []).append(socket)
        for loop, concerned in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_close_all, concerned, reason)
        return len(sockets)


def _sockets(present: Revocable | Collection[Revocable]) -> Collection[Revocable]:
    return present if isinstance(present, Collection) else (present,)


def _reason_of(revocation: RevocationKey | None) -> CloseReason:
    """Return why a revocation closes sockets; None: a revocation may have been missed."""
    return CloseReason.UNCERTAIN if revocation is None else _REASONS[revocation.kind]


def _close_all(sockets: Collection[Revocable], reason: CloseReason) -> None:
    for socket in sockets:
        socket.close(reason)
