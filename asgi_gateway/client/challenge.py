"""Challenge handlers: the base class, what it is given and what it answers."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

from asgi_gateway.errors import GatewayError, HeaderError
from asgi_gateway.http.www_authenticate import OfferedChallenge, parse_challenges

__all__ = [
    "ChallengeHandler",
    "ChallengeRequest",
    "ChallengeResponse",
    "MaybeAwaitable",
    "MutualAuthenticationError",
    "then",
]

T = TypeVar("T")
R = TypeVar("R")

MaybeAwaitable: TypeAlias = T | Awaitable[T]


def then(value: MaybeAwaitable[T], function: Callable[[T], MaybeAwaitable[R]]) -> MaybeAwaitable[R]:
    """Return ``function(value)``, at once or as soon as the value has been awaited."""
    if not inspect.isawaitable(value):
        return function(value)

    async def later() -> R:
        result = function(await value)
        return await result if inspect.isawaitable(result) else result

    return later()


class MutualAuthenticationError(GatewayError):
    """The server accepted the client but did not prove its identity; its reply must not be trusted."""


class ChallengeRequest:
    """One challenge and where it came from (``org.kaazing.net.auth.ChallengeRequest``).

    Args:
        location: the URL that was asked for.
        challenge: one challenge, as text such as ``Application Basic realm="demo"`` or already parsed.
        attempt: 1 when this challenge is met for the first time, 2 after one answer to it was refused, and so on.
        subject: the user for whom a gateway asks a back end (``asgi_gateway.Subject``); None if there is no user, and
            for clients.

    Raises:
        HeaderError: the text is not exactly one challenge.
    """

    __slots__ = ("attempt", "challenge", "location", "subject")

    def __init__(
        self, location: str, challenge: str | OfferedChallenge, attempt: int = 1, *, subject: Any = None
    ) -> None:
        if isinstance(challenge, str):
            parsed = parse_challenges([challenge])
            if len(parsed) != 1:
                raise HeaderError("a challenge request carries exactly one challenge")
            challenge = parsed[0]
        self.location = location
        self.challenge = challenge
        self.attempt = attempt
        self.subject = subject

    @property
    def scheme(self) -> str:
        """Return the scheme in lower case, without ``Application``."""
        return self.challenge.scheme

    @property
    def realm(self) -> str:
        """Return the ``realm`` parameter, or the empty string."""
        return self.challenge.realm

    @property
    def host(self) -> str:
        """Return the location's host, without user name and password."""
        return urlsplit(self.location).hostname or ""

    def __repr__(self) -> str:
        parts = urlsplit(self.location)
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return f"ChallengeRequest({place!r}, {self.scheme} realm={self.realm!r}, attempt {self.attempt})"


class ChallengeResponse:
    """A handler's answer (``org.kaazing.net.auth.ChallengeResponse``). Its ``repr`` shows no credentials.

    Args:
        credentials: the value of the ``Authorization`` header.
        next_handler: who answers the next challenge of this attempt; None: the handler that was asked first.
        confirm: called with the challenges in the response that accepts the client, to check what the server proves by
            them; raises MutualAuthenticationError.
        reusable: whether the same credentials are good for further requests, as those of Basic are.
    """

    __slots__ = ("confirm", "credentials", "next_handler", "reusable")

    def __init__(
        self,
        credentials: str,
        next_handler: ChallengeHandler | None = None,
        confirm: Callable[[tuple[OfferedChallenge, ...]], None] | None = None,
        *,
        reusable: bool = False,
    ) -> None:
        if not credentials.isprintable() or not credentials.isascii():
            raise ValueError("credentials for a header are printable ASCII")
        self.credentials = credentials
        self.next_handler = next_handler
        self.confirm = confirm
        self.reusable = reusable

    def clear_credentials(self) -> None:
        """Forget the credentials. Copies that a transport made while sending are out of reach."""
        self.credentials = ""

    def __repr__(self) -> str:
        return "ChallengeResponse(<credentials>)" if self.credentials else "ChallengeResponse(<cleared>)"


class ChallengeHandler(abc.ABC):
    """Answers challenges; the client's counterpart of a login module (``org.kaazing.net.auth.ChallengeHandler``).

    ``handle`` may be a plain function or a coroutine function. A plain one may block, for instance to ask a person:
    asynchronous clients call it in a thread.
    """

    @abc.abstractmethod
    def can_handle(self, request: ChallengeRequest) -> bool:
        """Return whether this handler answers such challenges; must not block.

        Args:
            request: a challenge, and where it came from.
        """

    def answering_handler(self, request: ChallengeRequest) -> ChallengeHandler:
        """Return the handler whose answer ``handle`` returns; must not block.

        Accepted credentials are sent again only where the same handler would answer. A handler that passes challenges
        on to others overrides this; the others leave it alone.

        Args:
            request: a challenge that this handler can handle.
        """
        return self

    @abc.abstractmethod
    def handle(self, request: ChallengeRequest) -> MaybeAwaitable[ChallengeResponse | None]:
        """Answer a challenge.

        Args:
            request: a challenge that this handler can handle.

        Returns:
            the answer, or None to give none; a weaker challenge of the same response is tried then.
        """
