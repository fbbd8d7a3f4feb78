"""The one authentication flow, without input or output; httpx, websockets and the extended handshake drive it.

``authenticate`` is a generator. It yields

- ``Send``: send the request with these headers and answer with a ``Reply``;
- ``Ask``: let a handler answer a challenge, which may take as long as a person takes, and answer with what it returns.

Its rules:

1. The first request carries no credentials, but those that the memory has. Only a 401 is answered, at most
   ``max_attempts`` times.
2. A 401 from another origin than the first request's is not answered: no credentials follow a redirect.
3. The strongest challenge that a handler can handle and has an answer for is answered, once.
4. An answer that was just refused is not sent again to the same challenge: it would only lock the account.
5. ``Sec-Challenge-Identity`` of a 401 goes back with the answer to it (a further factor), and no further.
6. A reply that lets us in is shown to whoever gave the last answer, to check what the server proves.
7. What let us in is remembered if it may be used again and was not one factor of several.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio.to_thread

from asgi_gateway.client.challenge import ChallengeHandler, ChallengeRequest, ChallengeResponse
from asgi_gateway.client.memory import Memory
from asgi_gateway.client.urls import origin
from asgi_gateway.errors import HeaderError
from asgi_gateway.http.www_authenticate import OfferedChallenge, parse_challenges

__all__ = ["Ask", "Flow", "Reply", "Send", "ask", "ask_async", "authenticate"]

logger = logging.getLogger("asgi_gateway.client")

_STRENGTH = {"negotiate": 3, "token": 2, "basic": 0}
_UNKNOWN_STRENGTH = 1  # a scheme that only the application's own handler knows
_IDENTITY = "sec-challenge-identity"


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request with these headers added, or in place of those of the same name."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a handler for the answer to a challenge."""

    handler: ChallengeHandler
    request: ChallengeRequest


class Reply:
    """A server's reply.

    Args:
        status: the HTTP status, 101 for an accepted WebSocket.
        headers: name and value of every line.
        location: the URL that replied, after redirects.
    """

    __slots__ = ("headers", "location", "status")

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], location: str) -> None:
        self.status = status
        self.headers = [(name.lower(), value) for name, value in headers]
        self.location = location

    def all(self, name: str) -> list[str]:
        """The values of every line of one name, given in lower case."""
        return [value for key, value in self.headers if key == name]


Flow: TypeAlias = Generator[Send | Ask, Reply | ChallengeResponse | None, None]
_Answer: TypeAlias = tuple[ChallengeResponse, OfferedChallenge]


def authenticate(handler: ChallengeHandler, location: str, max_attempts: int, memory: Memory | None = None) -> Flow:
    """The flow for one request; see the module's docstring.

    Args:
        handler: who answers challenges.
        location: the request's URL.
        max_attempts: how many challenges are answered; 0: none.
        memory: accepted credentials of earlier requests; None: nothing is remembered.

    Raises:
        MutualAuthenticationError: thrown by a handler that the server did not convince.
    """
    met: Counter[tuple[str, str]] = Counter()
    refused: set[tuple[str, str, bytes]] = set()
    current = handler
    several = False
    known = memory.recall(location) if memory is not None and max_attempts else None
    reply = yield Send((("Authorization", known),) if known else ())
    assert isinstance(reply, Reply)
    if memory is not None and known is not None and reply.status == 401:
        memory.forget(known)
    for _ in range(max_attempts):
        if reply.status != 401 or origin(reply.location) != origin(location):
            return
        answer = yield from _answer(current, handler, reply, met)
        if answer is None:
            return
        response, challenge = answer
        digest = hashlib.sha256(response.credentials.encode()).digest()
        if (key := (challenge.scheme, challenge.realm, digest)) in refused:
            return
        refused.add(key)
        headers = [("Authorization", response.credentials)]
        headers += [("Sec-Challenge-Identity", value) for value in reply.all(_IDENTITY)[:1]]
        several = several or len(headers) > 1
        reply = yield Send(tuple(headers))
        assert isinstance(reply, Reply)
        if reply.status < 400 and response.confirm is not None:
            response.confirm(_challenges(reply))
        if reply.status < 400 and memory is not None and response.reusable and not several:
            memory.store(location, response.credentials)
        response.clear_credentials()
        current = response.next_handler or handler


def _answer(
    current: ChallengeHandler, first: ChallengeHandler, reply: Reply, met: Counter[tuple[str, str]]
) -> Generator[Ask, Reply | ChallengeResponse | None, _Answer | None]:
    """The answer to the strongest challenge that has one, from the current handler or else from the first."""
    for offered in sorted(_challenges(reply), key=_strength, reverse=True):
        key = offered.scheme, offered.realm
        request = ChallengeRequest(reply.location, offered, met[key] + 1)
        for handler in dict.fromkeys((current, first)):
            if handler.can_handle(request):
                response = yield Ask(handler, request)
                if isinstance(response, ChallengeResponse):
                    met[key] += 1
                    return response, offered
                break
    return None


def _strength(challenge: OfferedChallenge) -> int:
    return _STRENGTH.get(challenge.scheme, _UNKNOWN_STRENGTH)


def _challenges(reply: Reply) -> tuple[OfferedChallenge, ...]:
    try:
        return parse_challenges(reply.all("www-authenticate"))
    except HeaderError as error:
        logger.warning("a challenge is not answered: %s", error)
        return ()


def ask(step: Ask) -> ChallengeResponse | None:
    """Run one ``Ask`` in a program without an event loop; coroutines of handlers get a loop of their own."""
    answer = step.handler.handle(step.request)
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> ChallengeResponse | None:
        return await answer

    return anyio.run(wait)


async def ask_async(step: Ask) -> ChallengeResponse | None:
    """Run one ``Ask`` in an event loop: plain handlers in a thread, since they may wait for a person."""
    answer = await anyio.to_thread.run_sync(step.handler.handle, step.request, abandon_on_cancel=True)
    return await answer if inspect.isawaitable(answer) else answer
