"""The one authentication flow, without input or output; httpx, websockets and the extended handshake drive it.

``authenticate`` is a generator. It yields

- ``SendRequest``: send the request with these headers and answer with an ``HttpReply``;
- ``AskHandler``: let a handler answer a challenge, which may take as long as a person takes;
- ``WaitForLogin``: wait until another request has logged in at the same place.

``run_step`` and ``run_step_async`` run the last two, in a thread and in an event loop.

Its rules:

1. The first request carries no credentials, but those of the URL or of the memory. Only a 401 is answered, at most
   ``max_attempts`` times.
2. A 401 from another origin than the first request's is not answered: no credentials follow a redirect.
3. The strongest challenge that a handler can handle and has an answer for is answered, once. Malformed challenges are
   left out.
4. Credentials that were just refused are not sent again to the same challenge: it would only lock the account.
5. ``Sec-Challenge-Identity`` of a 401 goes back with the answer to it (a further factor), and no further.
6. A reply that accepts the client is shown to whoever gave the last answer, to check what the server proves.
7. Accepted credentials are remembered if they may be used again and were not one factor of several.
8. Requests that meet the same challenge at the same time share one login: the handler is asked for the first of them.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import anyio.to_thread

from asgi_gateway.client.challenge import ChallengeHandler, ChallengeRequest, ChallengeResponse, MaybeAwaitable
from asgi_gateway.client.memory import CredentialMemory, ProtectionSpace
from asgi_gateway.client.single_flight import LoginOutcome, LoginResult, SharedLogin, SharedLogins
from asgi_gateway.client.urls import origin
from asgi_gateway.errors import GatewayError, HeaderError
from asgi_gateway.http.www_authenticate import OfferedChallenge, readable_challenges

__all__ = [
    "AskHandler",
    "AuthenticationFlow",
    "FlowOptions",
    "HttpReply",
    "SendRequest",
    "WaitForLogin",
    "authenticate",
    "run_step",
    "run_step_async",
]

logger = logging.getLogger("asgi_gateway.client")

_STRENGTH = {"negotiate": 3, "token": 2, "basic": 0}
_UNKNOWN_STRENGTH = 1  # a scheme that only the application's own handler knows
_IDENTITY = "sec-challenge-identity"
_REFUSALS = (400, 401, 403, 407, 429)
_LOGINS = SharedLogins()


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A frozen step: send the request with these headers added, or in place of those of the same name."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class AskHandler:
    """A frozen step: ask a handler for the answer to a challenge."""

    handler: ChallengeHandler
    request: ChallengeRequest


@dataclass(frozen=True, slots=True)
class WaitForLogin:
    """A frozen step: wait for the login that another request leads."""

    login: SharedLogin


class HttpReply:
    """The status and the headers of a server's reply.

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

    def get_all(self, name: str) -> list[str]:
        """Return the values of every line of one name, given in lower case."""
        return [value for key, value in self.headers if key == name]

    @property
    def accepts_credentials(self) -> bool:
        """Whether the server accepted the request's credentials; a missing page does not mean that it refused them."""
        return self.status < 500 and self.status not in _REFUSALS


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """Frozen options of a flow.

    Args:
        max_attempts: how many challenges are answered; 0: none.
        memory: accepted credentials of earlier requests; None: nothing is remembered.
        credentials: the Authorization value of the first request, where the URL has one.
        share_login: whether requests that are challenged alike at the same time ask the handler once.
        make_request: makes what handlers are given, from the URL, the challenge and the attempt.
    """

    max_attempts: int = 3
    memory: CredentialMemory | None = None
    credentials: str | None = field(default=None, repr=False)
    share_login: bool = True
    make_request: Callable[[str, OfferedChallenge, int], ChallengeRequest] = ChallengeRequest

    def __post_init__(self) -> None:
        if self.max_attempts < 0:
            raise ValueError("max_authentication_attempts is 0 or more")


StepResult: TypeAlias = HttpReply | ChallengeResponse | LoginOutcome | None
AuthenticationFlow: TypeAlias = Generator[SendRequest | AskHandler | WaitForLogin, StepResult, None]


@dataclass(frozen=True, slots=True)
class _Answer:
    response: ChallengeResponse
    challenge: OfferedChallenge
    space: ProtectionSpace


def authenticate(handler: ChallengeHandler, location: str, options: FlowOptions | None = None) -> AuthenticationFlow:
    """Run the flow for one request; see the module's docstring.

    Args:
        handler: who answers challenges.
        location: the request's URL.
        options: the flow's options.

    Raises:
        MutualAuthenticationError: a handler found that the server did not prove its identity.
    """
    flow = _Flow(handler, location, options or FlowOptions())
    try:
        yield from flow.run()
        flow.finish_login(LoginResult.REFUSED)
    finally:
        flow.finish_login(LoginResult.ABANDONED)


class _Flow:
    """The state of one request's flow."""

    def __init__(self, handler: ChallengeHandler, location: str, options: FlowOptions) -> None:
        self._handler = self._current = handler
        self._location = location
        self._options = options
        self._asked: Counter[tuple[str, str]] = Counter()
        self._refused: set[tuple[str, str, bytes]] = set()
        self._several_factors = False
        self._leads: ProtectionSpace | None = None
        """Where this flow leads the shared login. One at a time: a flow that waits for another must hold none."""
        self._alone: set[ProtectionSpace] = set()
        """Where this flow asks for itself, since what another login came to cannot be shared."""

    def run(self) -> AuthenticationFlow:
        reply = yield from self._send_first()
        for _ in range(self._options.max_attempts):
            if reply.status != 401 or origin(reply.location) != origin(self._location):
                return
            answer = yield from self._find_answer(reply)
            if answer is None or self._was_refused(answer.challenge, answer.response.credentials):
                return
            reply = yield from self._send_answer(answer, reply)

    def finish_login(self, result: LoginResult, credentials: str = "") -> None:
        """End the shared login that this flow leads, if it leads one."""
        if self._leads is not None:
            space, self._leads = self._leads, None
            _LOGINS.finish(space, LoginOutcome(result, credentials))

    def _send_first(self) -> Generator[SendRequest, StepResult, HttpReply]:
        memory, credentials = self._options.memory, self._options.credentials
        if credentials is None and memory is not None and self._options.max_attempts:
            credentials = memory.recall(self._location)
        reply = _http_reply((yield SendRequest((("Authorization", credentials),) if credentials else ())))
        if credentials and reply.status == 401:
            if memory is not None:
                memory.forget(credentials)
            if not reply.get_all(_IDENTITY):  # else they may have been the accepted first factor of several
                for challenge in _challenges(reply):
                    self._refused.add(_digest(challenge, credentials))
        return reply

    def _find_answer(self, reply: HttpReply) -> Generator[AskHandler | WaitForLogin, StepResult, _Answer | None]:
        """Find the answer to the strongest challenge that has one, from the current handler or else from the first."""
        for offered in sorted(_challenges(reply), key=_strength, reverse=True):
            attempt = self._asked[offered.scheme, offered.realm] + 1
            request = self._options.make_request(reply.location, offered, attempt)
            handler = self._handler_for(request)
            if handler is None:
                continue
            answering = handler.answering_handler(request)
            space = ProtectionSpace(origin(reply.location), offered.scheme, offered.realm, answering)
            if self._leads is not None and self._leads != space:
                self.finish_login(LoginResult.NOT_SHAREABLE)
            response = yield from self._respond(AskHandler(handler, request), space)
            if response is not None:
                return _Answer(response, offered, space)
        return None

    def _handler_for(self, request: ChallengeRequest) -> ChallengeHandler | None:
        if self._current.can_handle(request):
            return self._current
        return self._handler if self._current is not self._handler and self._handler.can_handle(request) else None

    def _respond(
        self, step: AskHandler, space: ProtectionSpace
    ) -> Generator[AskHandler | WaitForLogin, StepResult, ChallengeResponse | None]:
        """Answer one challenge: from the memory, with what another request's login came to, or by the handler."""
        challenge = step.request.challenge
        while self._options.share_login and self._leads is None and space not in self._alone:
            if (known := self._recall(space, challenge)) is not None:
                return known
            login, leads = _LOGINS.join(space)
            if leads:
                self._leads = space
                break
            outcome = yield WaitForLogin(login)
            if not isinstance(outcome, LoginOutcome):
                raise _protocol_error(outcome)
            if outcome.result is LoginResult.REFUSED:
                return None
            if outcome.result is LoginResult.ACCEPTED and not self._was_refused(challenge, outcome.credentials):
                return ChallengeResponse(outcome.credentials, reusable=True)
            if outcome.result is not LoginResult.ABANDONED:
                self._alone.add(space)
        # what another login stored between the first look and the lead; without a shared login the first look
        known = self._recall(space, challenge)
        return known if known is not None else (yield from self._ask(step))

    def _ask(self, step: AskHandler) -> Generator[AskHandler, StepResult, ChallengeResponse | None]:
        response = yield step
        if not isinstance(response, ChallengeResponse):
            self.finish_login(LoginResult.REFUSED)
            return None
        self._asked[step.request.scheme, step.request.realm] += 1
        if not response.reusable:
            self.finish_login(LoginResult.NOT_SHAREABLE)
        return response

    def _send_answer(self, answer: _Answer, challenged: HttpReply) -> Generator[SendRequest, StepResult, HttpReply]:
        response, memory = answer.response, self._options.memory
        self._refused.add(_digest(answer.challenge, response.credentials))  # unless it is accepted now
        headers = [("Authorization", response.credentials)]
        headers += [("Sec-Challenge-Identity", value) for value in challenged.get_all(_IDENTITY)[:1]]
        self._several_factors = self._several_factors or len(headers) > 1
        reply = _http_reply((yield SendRequest(tuple(headers))))
        if reply.status < 400 and response.confirm is not None:
            response.confirm(_challenges(reply))
        if self._several_factors:
            self.finish_login(LoginResult.NOT_SHAREABLE)
        elif reply.accepts_credentials and response.reusable:
            if memory is not None:
                memory.store(reply.location, answer.space, response.credentials)
            self.finish_login(LoginResult.ACCEPTED, response.credentials)
        elif reply.status == 401 and memory is not None:
            memory.forget(response.credentials)
        elif reply.status != 401:
            self.finish_login(LoginResult.ABANDONED)
        response.clear_credentials()
        self._current = response.next_handler or self._handler
        return reply

    def _recall(self, space: ProtectionSpace, challenge: OfferedChallenge) -> ChallengeResponse | None:
        memory = self._options.memory
        known = memory.recall_space(space) if memory is not None else None
        if known is None or self._was_refused(challenge, known):
            return None
        return ChallengeResponse(known, reusable=True)

    def _was_refused(self, challenge: OfferedChallenge, credentials: str) -> bool:
        return _digest(challenge, credentials) in self._refused


def _digest(challenge: OfferedChallenge, credentials: str) -> tuple[str, str, bytes]:
    return challenge.scheme, challenge.realm, hashlib.sha256(credentials.encode()).digest()


def _strength(challenge: OfferedChallenge) -> int:
    return _STRENGTH.get(challenge.scheme, _UNKNOWN_STRENGTH)


def _challenges(reply: HttpReply) -> tuple[OfferedChallenge, ...]:
    try:
        read = readable_challenges(reply.get_all("www-authenticate"))
    except HeaderError as error:
        logger.warning("challenges are not answered: %s", error)
        return ()
    for malformed in read.errors:
        logger.warning("a challenge is not answered: %s", malformed)
    return read.challenges


def _http_reply(result: StepResult) -> HttpReply:
    if not isinstance(result, HttpReply):
        raise _protocol_error(result)
    return result


def _protocol_error(result: object) -> GatewayError:
    return GatewayError(f"the authentication flow cannot go on with a {type(result).__name__}")


def run_step(step: AskHandler | WaitForLogin) -> ChallengeResponse | LoginOutcome | None:
    """Run a step in a program without an event loop; coroutines of handlers get a loop of their own."""
    if isinstance(step, WaitForLogin):
        return step.login.wait()
    answer = step.handler.handle(step.request)
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> ChallengeResponse | None:
        return await answer

    return anyio.run(wait)


async def run_step_async(step: AskHandler | WaitForLogin) -> ChallengeResponse | LoginOutcome | None:
    """Run a step in an event loop: plain handlers in a thread, since they may wait for a person."""
    if isinstance(step, WaitForLogin):
        return await step.login.wait_async()
    answers = await anyio.to_thread.run_sync(_handle, step, abandon_on_cancel=True)
    answer = answers[0]
    return await answer if inspect.isawaitable(answer) else answer


def _handle(step: AskHandler) -> list[MaybeAwaitable[ChallengeResponse | None]]:
    """Return the answer in a list: trio refuses a thread's function that returns a coroutine."""
    return [step.handler.handle(step.request)]
