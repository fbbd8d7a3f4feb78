"""Answer the 401s of back ends with credentials: the client's own flow, driven by whoever proxies the request.

Its rules beyond those of ``asgi_gateway.client.flow``:

1. Credentials that a back end accepted are sent at once with the next requests only where they are the gateway's own,
   to the same back end of the same service, and never where they depend on the user.
2. Credentials of Negotiate and NTLM authenticate a connection. It serves nobody else, and is closed.
3. A handler that fails ends the attempt: no weaker credentials are sent in its place.
4. Credentials that a back end refused are not sent to it again for a while.
5. A back end that accepts Negotiate proves who it is by its last token, or by TLS, or is on this machine.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from asgi_gateway.client import ChallengeHandler, ChallengeRequest, MutualAuthenticationError
from asgi_gateway.client.flow import (
    AuthenticationFlow,
    FlowOptions,
    HttpReply,
    SendRequest,
    authenticate,
    run_step_async,
)
from asgi_gateway.client.memory import CredentialMemory
from asgi_gateway.client.urls import is_confidential
from asgi_gateway.errors import GatewayError, HeaderError, LoginUnavailable
from asgi_gateway.http.www_authenticate import readable_challenges
from asgi_gateway.model import Headers, Subject
from asgi_gateway.proxy.login_refusals import Refusals
from asgi_gateway.telemetry.audit import Audit

__all__ = [
    "ANSWER_SECONDS",
    "BackendChallenge",
    "BackendCredentials",
    "BackendLogin",
    "BackendUser",
    "CredentialSource",
]

ANSWER_SECONDS = 30.0
"""How long the answer to a challenge is waited for."""
_CONNECTION_BOUND = frozenset(("negotiate", "ntlm", "nego2", "kerberos"))
"""Schemes whose credentials authenticate the connection (RFC 4559 section 6)."""
_FOR_THE_GATEWAY = frozenset((b"www-authenticate", b"authentication-info"))
"""Headers of a response that answer the request's credentials (RFC 9110 section 11.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendUser:
    """A frozen description of the user on whose behalf a back end is asked.

    Args:
        subject: the authenticated user; None on a public service.
        authorization: the client's own Authorization header, or None.
    """

    subject: Subject | None = None
    authorization: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCredentials:
    """Frozen credentials for a back end.

    Args:
        authorization: the value of the Authorization header; never printed.
        connection_bound: whether they authenticate the connection, which then serves nobody else (NTLM, Negotiate).
        challenge_identity: the value of Sec-Challenge-Identity, where a back end asks for a further factor; or empty.
        exchange: the exchange that they belong to.
    """

    authorization: str = field(repr=False)
    connection_bound: bool = False
    challenge_identity: str = field(default="", repr=False)
    exchange: BackendExchange | None = field(default=None, repr=False, compare=False)

    @property
    def headers(self) -> Headers:
        """The header lines that take the place of the request's own of these names."""
        lines = [(b"authorization", self.authorization.encode("ascii"))]
        if self.challenge_identity:
            lines.append((b"sec-challenge-identity", self.challenge_identity.encode("latin-1")))
        return tuple(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChallenge:
    """A frozen 401 of a back end.

    Args:
        url: the URL that was requested, without a query.
        headers: the response's headers, names in lower case.
        subject: the authenticated user; None on a public service.
        authorization: the client's own Authorization header, or None.
        attempt: the number of the attempt that would follow, from 1.
        previous: the credentials that the request was sent with, or None.
    """

    url: str
    headers: Headers = field(repr=False)
    subject: Subject | None = None
    authorization: bytes | None = field(default=None, repr=False)
    attempt: int = 1
    previous: BackendCredentials | None = None


class CredentialSource(abc.ABC):
    """Where the answers to the challenges of a service's back ends come from."""

    @abc.abstractmethod
    def handler(self, user: BackendUser) -> ChallengeHandler:
        """Return who answers the challenges that a user's request meets; must not block.

        Args:
            user: the user.
        """

    async def open(self) -> None:
        """Open what the answers come from."""

    async def close(self) -> None:
        """Close what ``open`` opened."""

    async def check(self) -> list[str]:
        """Return what fails when the source is tried, each as one line; changes nothing."""
        return []


class BackendLogin:
    """Answers the 401s of a service's back ends. Opened and closed with the back end.

    Whoever proxies a request asks ``first`` for credentials to send at once, ``answer`` after each 401 and at most
    ``attempts`` times, and tells ``finish`` the response that it passes on.

    Args:
        attempts: how often one request is sent again with credentials at most; 0 for never.
        source: who answers; None for nobody.
        service: the service's name, for the audit log.
        audit: takes events; None to write none.
        memory: accepted credentials, if the source's are the same for every user; None to remember none.
        refusals: refused credentials; None to send them with each request.
    """

    def __init__(
        self,
        attempts: int = 0,
        source: CredentialSource | None = None,
        *,
        service: str = "",
        audit: Audit | None = None,
        memory: CredentialMemory | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.attempts = attempts
        self._source = source
        self._service = service
        self._audit = audit
        self._memory = memory
        self._refusals = refusals

    async def open(self) -> None:
        """Open what the credentials come from."""
        if self._source is not None:
            await self._source.open()

    async def close(self) -> None:
        """Close what ``open`` opened, and forget accepted credentials."""
        if self._source is not None:
            await self._source.close()
        if self._memory is not None:
            self._memory.forget()

    async def check(self) -> list[str]:
        """Return what fails when the credentials' source is tried, each as one line; changes nothing."""
        return await self._source.check() if self._source is not None else []

    def first(self, url: str) -> BackendCredentials | None:
        """Return the credentials to send with a request at once; None to send it without.

        Args:
            url: the URL that is requested, without a query.
        """
        remembered = self._memory.recall(url) if self._memory is not None and self.attempts else None
        if remembered is None or self._source is None:
            return None
        return self._exchange(self._source, url, BackendUser(), remembered).credentials

    async def answer(self, challenge: BackendChallenge) -> BackendCredentials | None:
        """Return the credentials with which the request is sent again; None to pass the 401 on to the client.

        Args:
            challenge: the 401.
        """
        exchange = self._exchange_of(challenge)
        if exchange is None:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                credentials = await exchange.answer(challenge.headers)
            if credentials is None and challenge.previous is None:
                self._event("failure", exchange, f"no credentials for its challenges: {_schemes(challenge.headers)}")
            allowed = await self._allowed(credentials, exchange)
            if allowed is not None and challenge.previous is not None:
                self._settle(challenge.previous, 401, challenge.headers)  # else ``finish`` is told of them
            return allowed
        except TimeoutError:
            self._event("unavailable", exchange, f"no credentials within {ANSWER_SECONDS:.0f} seconds")
        except LoginUnavailable as error:
            self._event("unavailable", exchange, str(error))
        except GatewayError as error:
            self._event("failure", exchange, str(error))
        except Exception as error:  # an application's own handler may raise anything, and its text may be a secret
            self._event("failure", exchange, f"the challenge handler raised {type(error).__name__}")
        return None

    def finish(self, credentials: BackendCredentials, status: int, headers: Headers) -> Headers:
        """Take notice of the response to a request with credentials, before it is passed on.

        Args:
            credentials: the credentials that the request was sent with last.
            status: the response's status; 101 for an accepted WebSocket.
            headers: the response's headers, names in lower case.

        Returns:
            The headers to pass on: without those that answer the gateway's credentials, such as a token that proves who
            the back end is. A client would take it for the gateway's.

        Raises:
            MutualAuthenticationError: the back end did not prove who it is, so the response must not be passed on.
        """
        exchange = credentials.exchange
        self._settle(credentials, status, headers)
        if exchange is not None:
            try:
                exchange.finish(status, headers)
            except MutualAuthenticationError as error:
                self._event("failure", exchange, str(error))
                raise
            if status == 401:
                self._event("failure", exchange, "the back end refused the credentials")
        return headers if status == 401 else tuple(line for line in headers if line[0] not in _FOR_THE_GATEWAY)

    async def _allowed(
        self, credentials: BackendCredentials | None, exchange: BackendExchange
    ) -> BackendCredentials | None:
        """Return credentials unless the back end refused them lately."""
        if credentials is None or self._refusals is None or credentials.connection_bound:
            return credentials
        if await self._refusals.may_send(exchange.url, credentials.authorization):
            return credentials
        self._event("failure", exchange, "it refused the credentials lately, so they were not sent")
        return None

    def _settle(self, credentials: BackendCredentials, status: int, headers: Headers) -> None:
        """Note whether the back end accepted credentials, and warn if it did not."""
        exchange = credentials.exchange
        if exchange is None or self._refusals is None or credentials.connection_bound:
            return
        if status == 401 and any(name == b"sec-challenge-identity" for name, _ in headers):
            status = 200  # an accepted first factor of several
        if self._refusals.settle(exchange.url, credentials.authorization, status) and status == 401:
            self._event(
                "unavailable", exchange, "it refused the credentials; they rest for a while, or until they change"
            )

    def _exchange_of(self, challenge: BackendChallenge) -> BackendExchange | None:
        """Return the exchange that a 401 belongs to; None if it is not answered."""
        if self._source is None or not 1 <= challenge.attempt <= self.attempts:
            return None
        if challenge.previous is not None:
            return challenge.previous.exchange
        if challenge.attempt > 1:
            return None  # what was refused already is unknown
        user = BackendUser(subject=challenge.subject, authorization=challenge.authorization)
        return self._exchange(self._source, challenge.url, user, "")

    def _exchange(self, source: CredentialSource, url: str, user: BackendUser, credentials: str) -> BackendExchange:
        options = FlowOptions(
            max_attempts=self.attempts,
            memory=self._memory,
            credentials=credentials,  # empty, not None: the flow would send what another request stored meanwhile
            share_login=False,  # no person is asked, and no request waits for another one's back end
            make_request=partial(ChallengeRequest, subject=user.subject),
        )
        return BackendExchange(authenticate(source.handler(user), url, options), url, user)

    def _event(self, outcome: str, exchange: BackendExchange, reason: str) -> None:
        if self._audit is not None:
            subject = exchange.user.subject
            name = subject.name if subject is not None else None
            reason = f"back end: {reason}"
            self._audit.event(outcome, service=self._service, backend=exchange.url, principal=name, reason=reason)


class BackendExchange:
    """One request's authentication: the client's flow, and where it stands.

    Args:
        flow: the flow, not started.
        url: the URL that is requested.
        user: the user on whose behalf.
    """

    def __init__(self, flow: AuthenticationFlow, url: str, user: BackendUser) -> None:
        self.url = url
        self.user = user
        self._flow = flow
        self.credentials = self._credentials(next(flow))
        """The credentials that the request is sent with at once, or None."""

    async def answer(self, headers: Iterable[tuple[bytes, bytes]]) -> BackendCredentials | None:
        """Return the answer to a 401, or None.

        Args:
            headers: the response's headers, names in lower case.
        """
        try:
            step = self._flow.send(self._reply(401, headers))
            while not isinstance(step, SendRequest):
                step = self._flow.send(await run_step_async(step))
        except StopIteration:
            return None
        return self._credentials(step)

    def finish(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """End the exchange with the response that is passed on.

        Raises:
            MutualAuthenticationError: the back end did not prove who it is.
        """
        reply = self._reply(status, headers)
        try:
            self._flow.send(reply)
        except StopIteration:
            pass
        except MutualAuthenticationError:
            if _has_token(reply) or not is_confidential(self.url):
                raise
        finally:
            self._flow.close()

    def _reply(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> HttpReply:
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        return HttpReply(status, lines, self.url)

    def _credentials(self, step: object) -> BackendCredentials | None:
        headers = dict(step.headers) if isinstance(step, SendRequest) else {}
        authorization = headers.get("Authorization")
        if not authorization:
            return None
        return BackendCredentials(
            authorization=authorization,
            connection_bound=authorization.partition(" ")[0].lower() in _CONNECTION_BOUND,
            challenge_identity=headers.get("Sec-Challenge-Identity", ""),
            exchange=self,
        )


def _has_token(reply: HttpReply) -> bool:
    """Return whether a response has a token of Negotiate."""
    try:
        read = readable_challenges(reply.get_all("www-authenticate"))
    except HeaderError:
        return True  # unreadable, so nothing is proven
    return any(each.scheme == "negotiate" and each.words for each in read.challenges) or bool(read.errors)


def _schemes(headers: Headers) -> str:
    """Return the schemes that a response offers, for the audit log."""
    lines = [value.decode("latin-1") for name, value in headers if name == b"www-authenticate"]
    try:
        found = [each.scheme for each in readable_challenges(lines).challenges]
    except HeaderError as error:
        return str(error)
    return ", ".join(dict.fromkeys(found)) or "none"
