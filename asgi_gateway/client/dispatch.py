"""Choose challenge handlers by location.

A location is taken apart into tokens of four kinds, in this order: the host's labels from the right, the port, user
name and password, the path's segments. ``*`` stands for one or more tokens of its own kind, to that kind's end; at the
end of a path or of the user info it may also stand for none, if something of the kind goes before it. Scheme, query
and fragment are not compared, but a missing port is the scheme's default, and without a scheme the scheme is http.

Of several locations that match, the one with the most tokens wins; of those with equally many, the one with the fewest
wildcards; of those, the one registered first. Source: ``org.kaazing.net.auth.DispatchChallengeHandler``.
"""

from __future__ import annotations

from itertools import groupby
from typing import TypeAlias
from urllib.parse import unquote

from asgi_gateway.client.challenge import ChallengeHandler, ChallengeRequest, ChallengeResponse, MaybeAwaitable

__all__ = ["DispatchChallengeHandler"]

_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_HOST, _PORT, _USER, _PATH = range(4)

Token: TypeAlias = tuple[int, str]


class DispatchChallengeHandler(ChallengeHandler):
    """Passes each challenge to the handlers registered for its location; the first that can handle it does.

    Locations are written ``user:password@host:port/path``, with or without a scheme; any part may be ``*``:

    - ``*/`` any host, port 80, no path
    - ``*.example.com:8000`` any host below example.com but not itself, port 8000, no path
    - ``server.example.com:*/*`` one host, any port, any path but the empty one
    """

    def __init__(self) -> None:
        self._handlers: dict[tuple[Token, ...], list[ChallengeHandler]] = {}

    def register(self, location: str, handler: ChallengeHandler) -> DispatchChallengeHandler:
        """Add a handler for a location, after those that it has.

        Args:
            location: ``user:password@host:port/path``; any part may be ``*``.
            handler: the handler.

        Returns:
            this handler, so that calls can be chained.

        Raises:
            ValueError: the location is empty or has no host.
            TypeError: the handler is not a ChallengeHandler.
        """
        if not isinstance(handler, ChallengeHandler):
            raise TypeError(f"handler must be a ChallengeHandler, not {type(handler).__name__}")
        self._handlers.setdefault(_tokens(location), []).append(handler)
        return self

    def unregister(self, location: str, handler: ChallengeHandler) -> DispatchChallengeHandler:
        """Remove a handler from a location, if it is registered there.

        Args:
            location: the location, as it was registered.
            handler: the handler.

        Returns:
            this handler, so that calls can be chained.

        Raises:
            ValueError: the location is empty or has no host.
        """
        tokens = _tokens(location)
        handlers = self._handlers.get(tokens, [])
        if handler in handlers:
            handlers.remove(handler)
        if not handlers:
            self._handlers.pop(tokens, None)
        return self

    def lookup(self, location: str) -> tuple[ChallengeHandler, ...]:
        """Return the handlers of the most specific registration that matches a location.

        Args:
            location: a URL, or a location without ``*``.
        """
        tokens = _tokens(location)
        matching = [pattern for pattern in self._handlers if _matches(pattern, tokens)]
        if not matching:
            return ()
        best = max(matching, key=lambda pattern: (len(pattern), -sum(text == "*" for _, text in pattern)))
        return tuple(self._handlers[best])

    def can_handle(self, request: ChallengeRequest) -> bool:
        return self._choose(request) is not None

    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        handler = self._choose(request)
        return handler.handle(request) if handler is not None else None

    def answering_handler(self, request: ChallengeRequest) -> ChallengeHandler:
        handler = self._choose(request)
        return handler.answering_handler(request) if handler is not None else self

    def _choose(self, request: ChallengeRequest) -> ChallengeHandler | None:
        return next((handler for handler in self.lookup(request.location) if handler.can_handle(request)), None)


def _tokens(location: str) -> tuple[Token, ...]:
    """Return a location's tokens; urllib refuses ``*`` as a port."""
    scheme, separator, rest = location.partition("://")
    if not separator:
        scheme, rest = "http", location
    for end in "#?":
        rest = rest.partition(end)[0]
    authority, _, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    port = _PORTS.get(scheme.lower(), "")
    if host.startswith("["):  # an IPv6 address
        host, bracket, after = host.partition("]")
        labels, given = [host + bracket], after.removeprefix(":")
    else:
        host, _, given = host.partition(":")
        labels = host.lower().split(".")[::-1]
    if not host:
        raise ValueError("a location needs a host")
    tokens = [(_HOST, label.lower()) for label in labels]
    if port := given or port:
        tokens.append((_PORT, port))
    if at:
        tokens += [(_USER, unquote(part)) for part in user.split(":", 1)]
    tokens += [(_PATH, unquote(segment)) for segment in path.rstrip("/").split("/") if path.rstrip("/")]
    return tuple(tokens)


def _matches(pattern: tuple[Token, ...], location: tuple[Token, ...]) -> bool:
    patterns, parts = _by_kind(pattern), _by_kind(location)
    return all(
        _part_matches(patterns.get(kind, []), parts.get(kind, []), open_end=kind in (_USER, _PATH))
        for kind in patterns.keys() | parts.keys()
    )


def _by_kind(tokens: tuple[Token, ...]) -> dict[int, list[str]]:
    return {kind: [text for _, text in group] for kind, group in groupby(tokens, key=lambda token: token[0])}


def _part_matches(pattern: list[str], part: list[str], *, open_end: bool) -> bool:
    if "*" not in pattern:
        return pattern == part
    before = pattern.index("*")
    if pattern[:before] != part[:before]:
        return False
    if len(part) > before:  # the wildcard takes all the rest; only another wildcard can follow it
        return before == len(pattern) - 1 or (open_end and pattern[before + 1 :] == ["*"])
    return open_end and 0 < before == len(part) and before == len(pattern) - 1
