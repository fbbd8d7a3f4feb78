"""The extended handshake, server side: an HTTP login held inside a WebSocket, for clients that are browsers.

This file owns every state and every transition, and does no input or output. Its rules:

    EXPECTING ──request()──▶ DECIDING ──refuse(401)──▶ EXPECTING        challenged, and may answer
                                      ──refuse(else)─▶ CLOSED           given up
                                      ──admit()──────▶ OPEN             the messages are the application's from here on

1. The socket is accepted at once, with the subprotocol ``x-kaazing-handshake``. If the query has ``.kl=Y``, the
   server's first message is the marker and ``N``; the client waits for it.
2. Each request is one message, text or binary, that holds an HTTP/1.1 head. Its path is not looked at: what is decided
   on is the opening's. A message that is too long or no such head is answered 400, and the socket is closed.
3. Of its headers only credentials count, in place of those of the opening; a page or a proxy vouches for the others.
4. Each response is one message with an HTTP/1.1 head, followed by an empty one.
5. After as many answers to challenges as are allowed, the next refusal is 403 whatever it would have been.
6. After the 101, the marker and ``N`` come again if they were asked for.
7. Parameters of the query whose names begin with a dot are the gateway's own; the application does not see them.

Times are bounded too: ``patience`` says how long the driver may wait for the next request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from asgi_gateway.errors import HeaderError
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL, NO_REDIRECT, RequestHead, format_response, parse_request
from asgi_gateway.model import Headers

__all__ = ["COOKIE_REQUEST", "HANDSHAKE_PROTOCOL", "Handshake", "Limits", "State", "inner_headers", "offers_of"]

COOKIE_REQUEST = "/;e/cookies"
"""What the original's Java client appends to a service's path to ask which cookies it should send."""

_CREDENTIALS = frozenset({b"authorization", b"cookie", b"sec-challenge-identity"})
_SOCKETS_OWN = frozenset({b"sec-websocket-protocol", b"sec-websocket-extensions"})


class State(Enum):
    """Where a handshake stands."""

    EXPECTING = auto()
    DECIDING = auto()
    OPEN = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client that has not logged in may cost.

    Args:
        answers: how many challenges it may answer.
        message: the most bytes of a message.
        first: seconds until its first request.
        later: seconds until each further one; a person may have to find a password.
    """

    answers: int = 4
    message: int = 64 * 1024
    first: float = 10.0
    later: float = 300.0


class Handshake:
    """One extended handshake.

    Args:
        query: the opening's query string.
        limits: what it may cost.
    """

    __slots__ = ("_limits", "_marked", "_requests", "query", "state")

    def __init__(self, query: bytes, limits: Limits) -> None:
        parameters = query.split(b"&") if query else []
        self.query = b"&".join(parameter for parameter in parameters if not parameter.startswith(b"."))
        """The query as the application sees it."""
        self.state = State.EXPECTING
        self._marked = b".kl=Y" in parameters
        self._limits = limits
        self._requests = 0

    @property
    def greeting(self) -> tuple[bytes, ...]:
        """The messages that follow the accepted opening."""
        return (NO_REDIRECT,) if self._marked else ()

    @property
    def patience(self) -> float:
        """Seconds to wait for the next request."""
        return self._limits.later if self._requests else self._limits.first

    def request(self, message: str | bytes) -> RequestHead:
        """Take the client's next request.

        Raises:
            HeaderError: it is malformed or too long; refuse it with 400.
        """
        assert self.state is State.EXPECTING
        self.state = State.DECIDING
        self._requests += 1
        if len(message) > self._limits.message:
            raise HeaderError("a message of the extended handshake is too long")
        return parse_request(message.encode() if isinstance(message, str) else message)

    def refuse(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> tuple[bytes, ...]:
        """The messages that refuse the request; after a 401 the client may answer, if it has answers left."""
        assert self.state is State.DECIDING
        if status == 401 and self._requests > self._limits.answers:
            status, headers = 403, ()
        self.state = State.EXPECTING if status == 401 else State.CLOSED
        return format_response(status, _cased(headers)), b""

    def admit(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
        """The messages that open the socket for the application.

        Args:
            subprotocol: what the application chose of what was offered.
            headers: the application's and the gateway's, such as cookies.
        """
        assert self.state is State.DECIDING
        self.state = State.OPEN
        own = [(b"Connection", b"Upgrade"), (b"Upgrade", b"WebSocket")]
        if subprotocol:
            own.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        return format_response(101, [*own, *_cased(headers)]), b"", *self.greeting


def offers_of(head: RequestHead) -> list[str]:
    """The subprotocols that a request offers the application."""
    values = b",".join(head.get_all(b"sec-websocket-protocol")).decode("latin-1").split(",")
    return [name for value in values if (name := value.strip())]


def inner_headers(opening: Headers, head: RequestHead, further: frozenset[bytes]) -> Headers:
    """The headers to decide on: the opening's, with the request's credentials in place of its own.

    Args:
        opening: the headers of the WebSocket's opening.
        head: the request inside the socket.
        further: names, in lower case, of the other headers that the service reads credentials from.
    """
    credentials = _CREDENTIALS | further
    inner = tuple(header for header in head.headers if header[0] in credentials)
    replaced = _SOCKETS_OWN.union(name for name, _ in inner)
    offers = tuple(header for header in head.headers if header[0] == b"sec-websocket-protocol" and header[1])
    return *(header for header in opening if header[0] not in replaced), *offers, *inner


def _cased(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers with the capitals that scripts of the original expect."""
    return [(b"WWW-Authenticate" if name == b"www-authenticate" else name.title(), value) for name, value in headers]
