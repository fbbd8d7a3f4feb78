"""The challenge handler for Negotiate, which chooses a mechanism by OID and leaves the exchange to its handler."""

from __future__ import annotations

import abc
import base64
import binascii
from collections.abc import Iterator

from asgi_gateway.client.challenge import (
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    MaybeAwaitable,
    then,
)

__all__ = ["KERBEROS_OID", "SPNEGO_OID", "NegotiableChallengeHandler", "NegotiateChallengeHandler", "offered_oids"]

SPNEGO_OID = "1.3.6.1.5.5.2"
KERBEROS_OID = "1.2.840.113554.1.2.2"


class NegotiableChallengeHandler(ChallengeHandler):
    """Answers Negotiate challenges with one GSS-API mechanism (``org.kaazing.net.auth.NegotiableChallengeHandler``)."""

    @property
    @abc.abstractmethod
    def supported_oids(self) -> tuple[str, ...]:
        """Return the mechanisms' object identifiers, dotted, preferred first."""

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "negotiate"


class NegotiateChallengeHandler(ChallengeHandler):
    """Answers ``Negotiate`` and ``Application Negotiate`` through the handlers registered with it.

    Where the server names its mechanisms in the challenge, only handlers for one of them are asked; the others in the
    order in which they were registered, until one answers.

    Args:
        *handlers: the handlers to register.

    Source: RFC 4559 and RFC 4178; ``org.kaazing.net.auth.NegotiateChallengeHandler``.
    """

    def __init__(self, *handlers: NegotiableChallengeHandler) -> None:
        self._handlers: list[NegotiableChallengeHandler] = []
        for handler in handlers:
            self.register(handler)

    def register(self, handler: NegotiableChallengeHandler) -> NegotiateChallengeHandler:
        """Add a handler.

        Args:
            handler: the handler.

        Returns:
            this handler, so that calls can be chained.

        Raises:
            ValueError: one of its mechanisms has a handler already.
        """
        taken = {oid for known in self._handlers for oid in known.supported_oids}
        if not taken.isdisjoint(handler.supported_oids):
            raise ValueError(f"mechanism {', '.join(taken.intersection(handler.supported_oids))} has a handler already")
        self._handlers.append(handler)
        return self

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "negotiate" and any(handler.can_handle(request) for handler in self._handlers)

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        oids = offered_oids(request.challenge.words[0]) if request.challenge.words else ()
        suitable = (
            handler
            for handler in self._handlers
            if (not oids or not set(oids).isdisjoint(handler.supported_oids)) and handler.can_handle(request)
        )
        return _first_answer(suitable, request)


def _first_answer(
    handlers: Iterator[NegotiableChallengeHandler], request: ChallengeRequest
) -> MaybeAwaitable[ChallengeResponse | None]:
    handler = next(handlers, None)
    if handler is None:
        return None
    return then(handler.handle(request), lambda answer: answer or _first_answer(handlers, request))


def offered_oids(token: str) -> tuple[str, ...]:
    """Return the mechanisms that a server's first token names.

    Args:
        token: base64 of a NegTokenInit.

    Returns:
        dotted OIDs, preferred first; empty if the token is malformed or of another kind.

    Source: RFC 4178 section 4.2.1, X.690.
    """
    try:
        reader = memoryview(base64.b64decode(token, validate=True))
        oid, rest = _element(_element(reader, 0x60)[0], 0x06)
        if _dotted(oid) != SPNEGO_OID:
            return ()
        init = _element(_element(rest, 0xA0)[0], 0x30)[0]
        mechanisms = _element(_element(init, 0xA0)[0], 0x30)[0]
        found = []
        while mechanisms:
            oid, mechanisms = _element(mechanisms, 0x06)
            found.append(_dotted(oid))
        return tuple(found)
    except (binascii.Error, ValueError, IndexError):
        return ()


def _element(data: memoryview, tag: int) -> tuple[memoryview, memoryview]:
    """Return the content of the DER element that data begins with, and what follows it."""
    if data[0] != tag:
        raise ValueError("unexpected tag")
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if start + size > len(data):
        raise ValueError("truncated element")
    return data[start : start + size], data[start + size :]


def _dotted(content: memoryview) -> str:
    arcs, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))
