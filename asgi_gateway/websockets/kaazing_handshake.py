"""The extended handshake, server side: an HTTP login held inside a WebSocket, for clients that are browsers.

This file owns every state and every transition, and does no input or output. Its rules:

    EXPECTING ──request()──▶ DECIDING ──refuse(401)──▶ EXPECTING        challenged, and may answer
                                      ──refuse(else)─▶ CLOSED           given up
                                      ──admit()──────▶ OPEN             the messages are the application's from here on
    any state ──close()────▶ CLOSED

1. The socket is accepted at once, with the subprotocol ``x-kaazing-handshake``. If the query has ``.kl=Y``, the
   server's first message is the marker and ``N``; the client waits for it.
2. Each request is one message, text or binary, that holds an HTTP/1.1 head. Its path is ignored: the path of the
   opening is decided on. A message that is too long or no such head is answered 400, and the socket is closed.
3. Of its headers only credentials count, in place of those of the opening. The others are taken from the opening, where
   a browser or a proxy wrote them. Subprotocols for the application are those of the request. Where it has no such
   header, as that of the original's Java client, they are those of the opening.
4. Each response is one message with an HTTP/1.1 head, followed by an empty one. It never sets a cookie: a script could
   read it, and the browser would not keep it.
5. After ``LoginLimits.answers`` answers to challenges, the next refusal is 403 whatever it would have been. Right
   credentials for one of several realms, which are refused because the next realm's are missing, do not count.
6. After the 101, the marker and ``N`` come again if they were asked for.
7. Parameters of the query whose names begin with a dot are the gateway's own; the application does not see them.

``timeout`` says how long the driver may wait for the next request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL, NO_REDIRECT, RequestHead, format_response, parse_request
from asgi_gateway.model import Headers

__all__ = [
    "COOKIE_REQUEST",
    "HANDSHAKE_PROTOCOL",
    "HandshakeStateError",
    "LoginLimits",
    "ServerHandshake",
    "State",
    "inner_headers",
    "offered_subprotocols",
]

COOKIE_REQUEST = "/;e/cookies"
"""What the original's Java client appends to a service's path to ask which cookies it should send."""

_CREDENTIALS = frozenset({b"authorization", b"cookie", b"sec-challenge-identity"})
_PROTOCOL = b"sec-websocket-protocol"
_NOT_INHERITED = frozenset({_PROTOCOL, b"sec-websocket-extensions"})
"""Headers of the opening that describe the outer WebSocket, not the application's."""


class State(Enum):
    """The state of a handshake."""

    EXPECTING = auto()
    DECIDING = auto()
    OPEN = auto()
    CLOSED = auto()


class HandshakeStateError(RuntimeError):
    """Raised when a transition is asked for that the present state does not have: a mistake of the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLimits:
    """Limits of a client that has not logged in.

    Args:
        answers: the number of challenges it may answer.
        message: the length of a message at most, in bytes.
        first: seconds until its first request.
        later: seconds until each further one; a person may have to find a password.
    """

    answers: int = 4
    message: int = 64 * 1024
    first: float = 10.0
    later: float = 300.0


class ServerHandshake:
    """One extended handshake.

    Args:
        query: the opening's query string.
        limits: what the client may use before it has logged in.
    """

    __slots__ = ("_limits", "_requests", "_uncounted", "_wants_marker", "query", "state")

    def __init__(self, query: bytes, limits: LoginLimits) -> None:
        parameters = query.split(b"&") if query else []
        self.query = b"&".join(parameter for parameter in parameters if not parameter.startswith(b"."))
        """The query as the application sees it."""
        self.state = State.EXPECTING
        self._wants_marker = b".kl=Y" in parameters
        self._limits = limits
        self._requests = 0
        self._uncounted = 0

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """The messages that follow the accepted opening."""
        return (NO_REDIRECT,) if self._wants_marker else ()

    @property
    def timeout(self) -> float:
        """Seconds to wait for the next request."""
        return self._limits.later if self._requests else self._limits.first

    def request(self, message: str | bytes) -> RequestHead:
        """Take the client's next request.

        Raises:
            HeaderError: it is malformed or too long; refuse it with 400.
            HandshakeStateError: no request is expected now.
        """
        self._move(State.EXPECTING, State.DECIDING)
        self._requests += 1
        if len(message) > self._limits.message:
            raise HeaderError("a message of the extended handshake is too long")
        return parse_request(message.encode() if isinstance(message, str) else message)

    def refuse(
        self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), *, next_realm: bool = False
    ) -> tuple[bytes, ...]:
        """Return the messages that refuse the request. After a 401 the client may answer, if it has answers left.

        Args:
            status: the status of the response.
            headers: its headers.
            next_realm: whether the credentials were right, and those for the service's next realm are asked for.

        Raises:
            HandshakeStateError: there is no request to refuse.
        """
        self._uncounted += next_realm
        if status == 401 and self._requests - self._uncounted > self._limits.answers:
            status, headers = 403, ()
        self._move(State.DECIDING, State.EXPECTING if status == 401 else State.CLOSED)
        return format_response(status, _cased(headers)), b""

    def admit(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
        """Return the messages that open the socket for the application.

        Args:
            subprotocol: what the application chose of what was offered.
            headers: the application's and the gateway's.

        Raises:
            HandshakeStateError: there is no request to admit.
        """
        self._move(State.DECIDING, State.OPEN)
        own = [(b"Connection", b"Upgrade"), (b"Upgrade", b"WebSocket")]
        if subprotocol:
            own.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        return format_response(101, [*own, *_cased(headers)]), b"", *self.greeting

    def close(self) -> None:
        """Note that the socket is being closed."""
        self.state = State.CLOSED

    def _move(self, expected: State, to: State) -> None:
        if self.state is not expected:
            raise HandshakeStateError(f"the extended handshake is {self.state.name}, not {expected.name}")
        self.state = to


def offered_subprotocols(opening: Headers, head: RequestHead) -> list[str]:
    """Return the subprotocols that a client offers the application.

    Args:
        opening: the headers of the WebSocket's opening.
        head: the request inside the socket. If it has no such header, the opening's offers count.
    """
    lines = head.get_all(_PROTOCOL)
    if not lines:
        lines = [value for name, value in opening if name == _PROTOCOL]
    offers = (offer.strip() for offer in b",".join(lines).decode("latin-1").split(","))
    return [offer for offer in offers if offer and offer != HANDSHAKE_PROTOCOL]


def inner_headers(opening: Headers, head: RequestHead, further: frozenset[bytes]) -> Headers:
    """Return the headers to decide on: the opening's, with the request's credentials in place of its own.

    Args:
        opening: the headers of the WebSocket's opening.
        head: the request inside the socket.
        further: names, in lower case, of the other headers that the service reads credentials from.
    """
    credentials = _CREDENTIALS | further
    inner = tuple(header for header in head.headers if header[0] in credentials)
    replaced = _NOT_INHERITED.union(name for name, _ in inner)
    offers = tuple(header for header in head.headers if header[0] == _PROTOCOL and header[1])
    if not head.get_all(_PROTOCOL) and (names := offered_subprotocols(opening, head)):
        offers = ((_PROTOCOL, ", ".join(names).encode("latin-1")),)
    return *(header for header in opening if header[0] not in replaced), *offers, *inner


def _cased(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers with the capitals that scripts of the original expect, and without cookies."""
    return [
        (b"WWW-Authenticate" if name == b"www-authenticate" else name.title(), value)
        for name, value in headers
        if name.lower() != b"set-cookie"
    ]
