"""Answering the 401s of back ends: what is sent, how often, and for whom."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeRequest,
    ChallengeResponse,
    MutualAuthenticationError,
    PasswordAuthentication,
)
from asgi_gateway.client.memory import CredentialMemory
from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.model import RolePrincipal, Subject, UserPrincipal
from asgi_gateway.proxy.login import (
    BackendChallenge,
    BackendCredentials,
    BackendLogin,
    CredentialSource,
)
from asgi_gateway.proxy.login_refusals import Refusals
from asgi_gateway.proxy.login_sources import (
    CredentialSources,
    GivenHandler,
    StoredPassword,
    StoredToken,
    UserPassword,
)
from tests.gateways import World
from tests.proxy.challenging import challenging, proxied

pytestmark = pytest.mark.anyio

JOE = Subject((UserPrincipal("joe"), RolePrincipal("STAFF")))
SECRET = "s3cret-pw"


def basic(name: str, password: str) -> str:
    """An Authorization value."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


STORED = basic("gateway", SECRET)


def secret(read: Callable[[], str] = lambda: SECRET) -> PolledFile[str]:
    """A secret that is asked for each time."""

    class Read(PolledFile[str]):
        def current(self) -> str:
            return read()

    return Read([Path(__file__)], read, monotonic=lambda: 0.0, logger=logging.getLogger(__name__))


def stored(password: Callable[[], str] = lambda: SECRET, *, plain_http: bool = False) -> CredentialSource:
    """The gateway's own name and password."""
    return StoredPassword("gateway", secret(password), plain_http=plain_http)


def token(text: str = "t0k", *, plain_http: bool = False) -> CredentialSource:
    """The gateway's own token."""
    return StoredToken(secret(lambda: text), plain_http=plain_http)


class Made:
    """A BackendLogin, and what it wrote to the audit log."""

    def __init__(
        self, source: CredentialSource | None, attempts: int = 3, *, memory: bool = False, rests: bool = False
    ) -> None:
        self._world = World()
        self.clock = self._world.clock
        self.memory = CredentialMemory() if memory else None
        refusals = Refusals(self.clock.monotonic) if rests else None
        audit = self._world.audit
        self.login = BackendLogin(
            attempts, source, service="reports", audit=audit, memory=self.memory, refusals=refusals
        )

    @property
    def events(self) -> list[dict[str, str]]:
        """The audit events."""
        return [json.loads(line) for line in self._world.records.lines]


class Scripted(ChallengeHandler):
    """A handler that runs a function."""

    def __init__(self, handle: Callable[[ChallengeRequest], ChallengeResponse | None], scheme: str = "basic") -> None:
        self._handle = handle
        self._scheme = scheme
        self.requests: list[ChallengeRequest] = []

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == self._scheme

    def handle(self, request: ChallengeRequest) -> ChallengeResponse | None:
        self.requests.append(request)
        return self._handle(request)


# --------------------------------------------------------------------------------------------------------- schemes


@pytest.mark.parametrize(
    ("challenge", "source", "expected"),
    [
        ('Basic realm="reports"', stored(), STORED),
        ('Application Basic realm="reports"', stored(), STORED),
        ('basic realm="a, b", charset="UTF-8"', stored(), STORED),
        ("Application Token", token(), "Token t0k"),
        ('Bearer realm="x", error="invalid_token"', token(), "Bearer t0k"),
        ('Digest realm="x", nonce="n", Basic realm="reports"', stored(), STORED),
    ],
)
async def test_schemes(challenge: str, source: CredentialSource, expected: str) -> None:
    """Stored credentials answer the schemes that they are for, with and without the prefix Application."""
    async with challenging(expected, challenge) as backend:
        assert (await proxied(Made(source).login, backend.url())).status == 200
        assert backend.received == [None, expected]


async def test_the_strongest_scheme_first() -> None:
    """Of several challenges that have an answer the strongest is answered, in whatever order they are offered."""
    sources = CredentialSources([stored(), token()])
    for challenges in (("Bearer", "Basic"), ("Basic", "Bearer"), ("Basic, Bearer",)):
        async with challenging("Bearer t0k", *challenges) as backend:
            assert (await proxied(Made(sources).login, backend.url())).status == 200
            assert backend.received == [None, "Bearer t0k"]


async def test_no_weaker_scheme_after_a_refusal() -> None:
    """Credentials of the strongest scheme that are refused are not followed by weaker ones."""
    sources = CredentialSources([stored(), token("old")])
    async with challenging(STORED, "Basic", "Bearer") as backend:
        assert (await proxied(Made(sources).login, backend.url())).status == 401
        assert backend.received == [None, "Bearer old"]


# -------------------------------------------------------------------------------------------------------- attempts


async def test_wrong_credentials_are_sent_once() -> None:
    """Refused credentials are not sent again, however many attempts there are; the 401 and its challenge are kept."""
    made = Made(stored(), attempts=5)
    async with challenging(basic("gateway", "another")) as backend:
        answer = await proxied(made.login, backend.url())
        assert (answer.status, (b"www-authenticate", b'Basic realm="reports"') in answer.headers) == (401, True)
        assert backend.received == [None, STORED]
    assert [(each["outcome"], each["reason"]) for each in made.events] == [
        ("failure", "back end: the back end refused the credentials")
    ]


@pytest.mark.parametrize("attempts", [0, 1, 3])
async def test_attempts(attempts: int) -> None:
    """A request is sent again as often as it may be, with what a handler gives each time, and no more."""
    handler = Scripted(lambda request: ChallengeResponse(basic("joe", f"guess {request.attempt}")))
    made = Made(GivenHandler(handler), attempts)
    async with challenging("never") as backend:
        assert (await proxied(made.login, backend.url())).status == 401
        assert backend.received == [None, *(basic("joe", f"guess {number}") for number in range(1, attempts + 1))]


async def test_no_attempt_asks_nobody() -> None:
    """With 0 attempts no handler is asked, and nothing is written."""
    handler = Scripted(lambda request: ChallengeResponse("Basic x"))
    made = Made(GivenHandler(handler), 0)
    async with challenging("Basic x") as backend:
        assert (await proxied(made.login, backend.url())).status == 401
    assert (handler.requests, made.events) == ([], [])


async def test_the_third_answer_is_right() -> None:
    """A handler that finds the right answer at the third attempt gets in."""
    handler = Scripted(lambda request: ChallengeResponse(basic("joe", f"guess {request.attempt}")))
    async with challenging(basic("joe", "guess 3")) as backend:
        assert (await proxied(Made(GivenHandler(handler)).login, backend.url())).status == 200
        assert len(backend.received) == 4


async def test_a_later_attempt_without_its_past() -> None:
    """A second attempt of which the first is unknown is not answered: it might repeat what was refused."""
    challenge = BackendChallenge(url="http://127.0.0.1/", headers=((b"www-authenticate", b"Basic"),), attempt=2)
    assert await Made(stored()).login.answer(challenge) is None


@pytest.mark.parametrize(
    "challenges",
    [('Digest realm="x", nonce="n"',), ("Negotiate",), ("NTLM", "Negotiate"), ('Basic realm="',), ("",)],
)
async def test_no_credentials_for_a_scheme(challenges: tuple[str, ...]) -> None:
    """A challenge that the source has no credentials for is passed on, and the audit log names what was offered."""
    made = Made(stored())
    async with challenging("never", *challenges) as backend:
        assert (await proxied(made.login, backend.url())).status == 401
        assert backend.received == [None]
    (event,) = made.events
    assert event["reason"].startswith("back end: no credentials for its challenges: ")
    assert (event["service"], event["backend"]) == ("reports", backend.url())


async def test_a_further_factor() -> None:
    """Sec-Challenge-Identity of a 401 goes back with the answer to it."""
    login = Made(stored()).login
    headers = ((b"www-authenticate", b"Basic"), (b"sec-challenge-identity", b"abc"))
    credentials = await login.answer(BackendChallenge(url="http://127.0.0.1/", headers=headers))
    assert credentials is not None
    assert credentials.headers == ((b"authorization", STORED.encode()), (b"sec-challenge-identity", b"abc"))


# ------------------------------------------------------------------------------------------------------ confidence


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("http://reports.example/", False),
        ("ws://reports.example/", False),
        ("http://192.0.2.7:8080/", False),
        ("http://localhost.example/", False),
        ("https://reports.example/", True),
        ("wss://reports.example/", True),
        ("http://localhost:9080/", True),
        ("http://127.0.0.1:9080/", True),
        ("http://[::1]:9080/", True),
    ],
)
@pytest.mark.parametrize("kind", ["password", "token", "user"])
async def test_unencrypted(location: str, sent: bool, kind: str) -> None:
    """Credentials travel over TLS and within the machine; elsewhere only if the configuration says so."""
    for plain_http in (False, True):
        source: CredentialSource = {
            "password": stored(plain_http=plain_http),
            "token": token(plain_http=plain_http),
            "user": UserPassword(plain_http=plain_http, verified=False),
        }[kind]
        challenge = BackendChallenge(
            url=location,
            headers=((b"www-authenticate", b"Basic, Bearer"),),
            subject=JOE,
            authorization=basic("joe", "pw").encode(),
        )
        assert (await Made(source).login.answer(challenge) is not None) is (sent or plain_http)


async def test_no_secret_is_shown() -> None:
    """Neither a repr nor the audit log shows what is sent."""
    made = Made(stored())
    headers = ((b"www-authenticate", b"Basic"),)
    challenge = BackendChallenge(url="http://127.0.0.1/", headers=headers, authorization=b"Basic c2VjcmV0")
    credentials = await made.login.answer(challenge)
    assert credentials is not None
    made.login.finish(credentials, 401, headers)
    shown = repr((challenge, credentials, made.login, made.events, made.memory))
    assert not [text for text in (SECRET, STORED, STORED.removeprefix("Basic "), "c2VjcmV0") if text in shown]


# --------------------------------------------------------------------------------------------------------- memory


async def test_accepted_credentials_are_sent_at_once() -> None:
    """The second request to a back end that accepted stored credentials needs one exchange."""
    made = Made(stored(), memory=True)
    async with challenging(STORED) as backend:
        for path in ("/reports/a", "/reports/b", "/reports/sub/c"):
            assert (await proxied(made.login, backend.url(path))).status == 200
        assert backend.received == [None, STORED, STORED, STORED]
        async with challenging(STORED) as other:
            assert (await proxied(made.login, other.url("/reports/a"))).status == 200
            assert other.received == [None, STORED]


async def test_remembered_credentials_that_are_refused() -> None:
    """Remembered credentials that a back end refuses are forgotten, and others are sent."""
    passwords = [SECRET]
    made = Made(stored(lambda: passwords[-1]), memory=True)
    async with challenging(STORED) as backend:
        assert (await proxied(made.login, backend.url())).status == 200
        passwords.append("new")
        backend.accept = lambda value: () if value == basic("gateway", "new") else None
        assert (await proxied(made.login, backend.url())).status == 200
        assert (await proxied(made.login, backend.url())).status == 200
        assert backend.received[2:] == [STORED, basic("gateway", "new"), basic("gateway", "new")]


async def test_remembered_credentials_are_not_repeated() -> None:
    """Remembered credentials that are refused are not sent a second time for the same request, nor kept."""
    made = Made(stored(), memory=True)
    async with challenging(STORED) as backend:
        assert (await proxied(made.login, backend.url())).status == 200
        backend.accept = lambda value: None
        assert (await proxied(made.login, backend.url())).status == 401
        assert backend.received[2:] == [STORED]
        assert made.login.first(backend.url()) is None


async def test_a_challenge_meanwhile() -> None:
    """A request that was sent without credentials is answered with those that another one was accepted with."""
    made = Made(stored(), memory=True)
    async with challenging(STORED) as backend:
        url, headers = backend.url(), ((b"www-authenticate", b'Basic realm="reports"'),)
        first = await made.login.answer(BackendChallenge(url=url, headers=headers))
        assert (await proxied(made.login, url)).status == 200
        second = await made.login.answer(BackendChallenge(url=url, headers=headers))
        assert first == second
        assert made.login.first(url) == first


async def test_closing_forgets() -> None:
    """A closed login remembers nothing."""
    made = Made(stored(), memory=True)
    async with challenging(STORED) as backend:
        await proxied(made.login, backend.url())
        await made.login.close()
        assert made.login.first(backend.url()) is None


async def test_a_given_handler_is_asked_each_time() -> None:
    """A handler of the application is asked for each request: what it answered for one user is not for the next."""

    def handle(request: ChallengeRequest) -> ChallengeResponse | None:
        return ChallengeResponse(basic(request.subject.name, "pw"), reusable=True) if request.subject else None

    made = Made(GivenHandler(Scripted(handle)))
    async with challenging(lambda value: None if value is None else ()) as backend:
        for name in ("joe", "ann"):
            subject = Subject((UserPrincipal(name),))
            assert (await proxied(made.login, backend.url(), subject=subject)).status == 200
        assert (await proxied(made.login, backend.url())).status == 401
        assert backend.received == [None, basic("joe", "pw"), None, basic("ann", "pw"), None]


# ------------------------------------------------------------------------------------------------------- the user's


@pytest.mark.parametrize(
    ("subject", "authorization", "sent"),
    [
        ("joe", basic("joe", "pw"), True),
        ("joe", basic("JOE", "p:w"), True),
        ("joe@EXAMPLE.COM", basic("joe", "pw"), True),
        ("joe@EXAMPLE.COM", basic("joe@example.com", "pw"), True),
        ("joe", basic("ann", "pw"), False),
        ("joe", basic("", "pw"), False),
        ("STAFF", basic("joe", "pw"), False),
        ("joe", "Bearer abc", False),
        ("joe", "Basic ###", False),
        ("joe", basic("joe", "pw") + "=", False),
        ("joe", None, False),
        (None, basic("joe", "pw"), False),
    ],
)
async def test_the_users_own_password(subject: str | None, authorization: str | None, sent: bool) -> None:
    """The user's own Basic credentials are sent where this request has them and they are this user's."""
    made = Made(UserPassword(plain_http=False, verified=False))
    user = Subject((UserPrincipal(subject), RolePrincipal("joe"))) if subject is not None else None
    async with challenging(lambda value: () if value is not None else None) as backend:
        header = authorization.encode() if authorization is not None else None
        await proxied(made.login, backend.url(), subject=user, authorization=header)
        assert backend.received == [None, *([authorization] if sent else [])]
        assert made.login.first(backend.url()) is None


@pytest.mark.parametrize(("scheme", "sent"), [("http", True), ("ws", False), ("wss", False)])
async def test_a_name_that_is_typed_in_another_way(scheme: str, sent: bool) -> None:
    """Where the header is what authenticated the user, the name may be typed in any way; not inside a WebSocket."""
    login = Made(UserPassword(plain_http=False, verified=True)).login
    challenge = BackendChallenge(
        url=f"{scheme}://127.0.0.1/",
        headers=((b"www-authenticate", b"Basic"),),
        subject=JOE,
        authorization=basic("joe.smith@example.com", "pw").encode(),
    )
    assert (await login.answer(challenge) is not None) is sent


# --------------------------------------------------------------------------------------------------- given handlers


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (RuntimeError(SECRET), "failure", "the challenge handler raised RuntimeError"),
        (LoginFailed("no ticket"), "failure", "no ticket"),
        (LoginUnavailable("the KDC does not answer"), "unavailable", "the KDC does not answer"),
    ],
)
async def test_a_handler_that_fails(error: Exception, outcome: str, reason: str) -> None:
    """A handler that raises ends the attempt: no weaker credentials follow, the 401 is passed on, no secret is told."""

    def handle(request: ChallengeRequest) -> ChallengeResponse | None:
        raise error

    sources = CredentialSources([GivenHandler(Scripted(handle, "bearer")), stored()])
    made = Made(sources)
    async with challenging(STORED, "Bearer", "Basic") as backend:
        assert (await proxied(made.login, backend.url(), subject=JOE)).status == 401
        assert backend.received == [None]
    (event,) = made.events
    assert (event["outcome"], event["reason"]) == (outcome, f"back end: {reason}")
    assert event["principal"] == "joe"


async def test_a_handler_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that takes too long is not waited for; the 401 is passed on."""

    class Silent(Scripted):
        async def handle(self, request: ChallengeRequest) -> ChallengeResponse | None:  # type: ignore[override]
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr("asgi_gateway.proxy.login.ANSWER_SECONDS", 0.05)
    made = Made(GivenHandler(Silent(lambda request: None)))
    async with challenging(STORED) as backend:
        assert (await proxied(made.login, backend.url())).status == 401
    assert [each["outcome"] for each in made.events] == ["unavailable"]


async def test_coroutine_handlers() -> None:
    """A handler may be a coroutine function."""

    async def login(request: ChallengeRequest) -> PasswordAuthentication:
        return PasswordAuthentication("gateway", SECRET)

    async with challenging(STORED) as backend:
        assert (await proxied(Made(GivenHandler(BasicChallengeHandler(login))).login, backend.url())).status == 200


@pytest.mark.parametrize(
    ("credentials", "bound"),
    [
        ("Negotiate YII=", True),
        ("negotiate YII=", True),
        ("NTLM TlRM", True),
        ("Basic eDp5", False),
        ("Token t", False),
    ],
)
async def test_connection_bound(credentials: str, bound: bool) -> None:
    """Credentials of Negotiate and NTLM are of one connection, which serves nobody else."""
    scheme = "x"
    login = Made(GivenHandler(Scripted(lambda request: ChallengeResponse(credentials), scheme))).login
    answer = await login.answer(BackendChallenge(url="http://127.0.0.1/", headers=((b"www-authenticate", b"x"),)))
    assert answer is not None
    assert answer.connection_bound is bound


# --------------------------------------------------------------------------------------------- proof of the back end


class Proving(ChallengeHandler):
    """A handler of Negotiate in two steps that checks the last token, as Kerberos does."""

    def can_handle(self, request: ChallengeRequest) -> bool:
        return request.scheme == "negotiate"

    def handle(self, request: ChallengeRequest) -> ChallengeResponse:
        step = "b25l" if not request.challenge.words else "dHdv"
        return ChallengeResponse(f"Negotiate {step}", self, self._confirm)

    def _confirm(self, challenges: Any) -> None:
        if [each.words for each in challenges] != [("cHJvb2Y=",)]:
            raise MutualAuthenticationError("the server did not prove its identity")


@pytest.mark.parametrize(
    ("url", "proof", "trusted"),
    [
        ("http://127.0.0.1/", b"Negotiate cHJvb2Y=", True),
        ("http://127.0.0.1/", None, True),
        ("https://reports.example/", None, True),
        ("http://127.0.0.1/", b"Negotiate d3Jvbmc=", False),
        ("https://reports.example/", b"Negotiate d3Jvbmc=", False),
        ("https://reports.example/", b'Negotiate "', False),
        ("http://reports.example/", None, False),
        ("http://reports.example/", b"Negotiate", False),
    ],
)
async def test_mutual_authentication(url: str, proof: bytes | None, trusted: bool) -> None:
    """A back end that accepts Negotiate proves who it is by its token, or without one by TLS or by being local."""
    made = Made(GivenHandler(Proving()))
    credentials = await made.login.answer(BackendChallenge(url=url, headers=((b"www-authenticate", b"Negotiate"),)))
    assert credentials is not None
    assert credentials.connection_bound
    headers = ((b"www-authenticate", proof),) if proof is not None else ()
    if trusted:
        assert made.login.finish(credentials, 200, (*headers, (b"x-page", b"1"))) == ((b"x-page", b"1"),)
        assert made.events == []
        return
    with pytest.raises(MutualAuthenticationError):
        made.login.finish(credentials, 200, headers)
    assert [each["reason"] for each in made.events] == ["back end: the server did not prove its identity"]


@pytest.mark.parametrize(
    ("status", "passed"), [(200, False), (204, False), (403, False), (500, False), (101, False), (401, True)]
)
async def test_what_answers_the_gateway_is_not_for_the_client(status: int, passed: bool) -> None:
    """Headers that answer the gateway's credentials stay with the gateway; a 401 keeps its challenge."""
    login = Made(stored()).login
    credentials = await login.answer(
        BackendChallenge(url="http://127.0.0.1/", headers=((b"www-authenticate", b"Basic"),))
    )
    assert credentials is not None
    own = ((b"www-authenticate", b"Basic"), (b"authentication-info", b"rspauth=x"))
    assert login.finish(credentials, status, (*own, (b"etag", b"1"))) == ((*(own if passed else ()), (b"etag", b"1")))


async def test_several_legs() -> None:
    """An exchange of several legs goes on with the token of the back end's 401."""
    login = Made(GivenHandler(Proving())).login
    headers = ((b"www-authenticate", b"Negotiate"),)
    first = await login.answer(BackendChallenge(url="http://127.0.0.1/", headers=headers))
    headers = ((b"www-authenticate", b"Negotiate bGVn"),)
    second = await login.answer(BackendChallenge(url="http://127.0.0.1/", headers=headers, attempt=2, previous=first))
    assert (first and first.authorization, second and second.authorization) == ("Negotiate b25l", "Negotiate dHdv")


async def test_credentials_of_a_subclass() -> None:
    """Credentials without an exchange, such as a subclass gives, need no end."""

    class Fixed(BackendLogin):
        async def answer(self, challenge: BackendChallenge) -> BackendCredentials | None:
            return BackendCredentials(authorization=STORED)

    async with challenging(STORED) as backend:
        assert (await proxied(Fixed(1), backend.url())).status == 200


async def test_without_source() -> None:
    """A login without a source answers nothing and has nothing to check."""
    login = BackendLogin()
    assert (login.attempts, login.first("http://127.0.0.1/"), await login.check()) == (0, None, [])
    await login.open()
    await login.close()


# ------------------------------------------------------------------------------------------------ refused credentials


async def test_refused_credentials_rest() -> None:
    """A wrong password is sent once, then again after a minute and after two more; a new one at once."""
    passwords = ["wrong"]
    made = Made(stored(lambda: passwords[-1]), rests=True)
    async with challenging(STORED, 'Basic realm="reports"') as backend:

        async def sent(path: str) -> int:
            before = len(backend.received)
            await proxied(made.login, backend.url(path))
            return len([each for each in backend.received[before:] if each is not None])

        assert [await sent(f"/{number}/x") for number in range(5)] == [1, 0, 0, 0, 0]
        assert [each["outcome"] for each in made.events] == ["unavailable", *["failure"] * 5]
        made.clock.advance(61)
        assert [await sent("/a") for _ in range(3)] == [1, 0, 0]
        made.clock.advance(61)
        assert await sent("/a") == 0
        made.clock.advance(60)
        assert [await sent("/a") for _ in range(3)] == [1, 0, 0]
        passwords.append(SECRET)
        assert [await sent("/a") for _ in range(3)] == [1, 1, 1]


async def test_credentials_are_tried_by_one_request() -> None:
    """Of many requests at once only one tries credentials that were never accepted; right ones serve all of them."""
    for password, sent in (("wrong", 1), (SECRET, 10)):
        made = Made(stored(lambda password=password: password), rests=True)  # type: ignore[misc]
        async with challenging(STORED, 'Basic realm="reports"') as backend:
            answers = await asyncio.gather(*(proxied(made.login, backend.url(f"/{number}")) for number in range(10)))
            assert {each.status for each in answers} == {401 if sent == 1 else 200}
            assert len([each for each in backend.received if each is not None]) == sent


async def test_accepted_credentials_that_one_place_refuses() -> None:
    """Credentials that were accepted elsewhere rest only after three refusals in a row."""
    accepted = [True]

    def accept(authorization: str | None) -> tuple[tuple[bytes, bytes], ...] | None:
        return () if authorization == STORED and accepted[-1] else None

    made = Made(stored(), rests=True)
    async with challenging(accept, 'Basic realm="reports"') as backend:
        assert (await proxied(made.login, backend.url("/a"))).status == 200
        accepted.append(False)
        backend.received.clear()
        for _ in range(5):
            assert (await proxied(made.login, backend.url("/b"))).status == 401
        assert [each for each in backend.received if each is not None] == [STORED] * 3
