"""One realm: the table of answers, the cache, and what is asked of the chain."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.errors import HeaderError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Challenge, Forbid, Grant, Headers, Subject, Unavailable
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.schemes import ApplicationBasicScheme, ApplicationTokenScheme, BasicScheme
from tests.gateways import Module, World, basic, request, tokens, users

pytestmark = pytest.mark.anyio

TOKEN = (b"authorization", b"Token good")
BAD_TOKEN = (b"authorization", b"Token bad")
MALFORMED = (b"authorization", b"Basic !!!")


def challenges(outcome: object) -> list[str]:
    assert isinstance(outcome, Challenge)
    assert {name for name, _ in outcome.headers} == {b"www-authenticate"}
    return [value.decode() for _, value in outcome.headers]


def outcomes(world: World) -> list[str]:
    return [json.loads(line)["outcome"] for line in world.records.lines]


@pytest.mark.parametrize(
    ("headers", "event"),
    [
        ([], "challenge"),
        ([(b"authorization", b"Bearer x")], "challenge"),
        ([basic("joe", "wrong")], "failure"),
        ([basic("nobody")], "failure"),
        ([MALFORMED], "failure"),
        ([(b"authorization", b"Basic")], "challenge"),
        ([(b"authorization", b"")], "challenge"),
        ([(b"authorization", b"  ")], "challenge"),
        ([(b"authorization", b"\xff")], "failure"),
    ],
)
@pytest.mark.parametrize("scheme", [BasicScheme(), ApplicationBasicScheme()])
async def test_basic_challenges(world: World, scheme: ChallengeScheme, headers: list[Any], event: str) -> None:
    """No, other, wrong and malformed credentials all get the Basic family's challenge, and one audit event."""
    realm = world.realm(users(joe="R"), schemes=[scheme], description="Demo")
    outcome = await realm.authenticate(request("/", *headers))
    charset = ', charset="UTF-8"' if scheme.name == "Basic" else ""
    assert challenges(outcome) == [f'{scheme.name} realm="Demo"{charset}']
    assert outcomes(world) == [event]


@pytest.mark.parametrize(
    ("headers", "answer", "event"),
    [
        ([], Challenge, "challenge"),
        ([basic("joe")], Challenge, "challenge"),
        ([BAD_TOKEN], Forbid, "failure"),
        ([(b"authorization", b"Token")], Challenge, "challenge"),
        ([(b"authorization", b"token  ")], Challenge, "challenge"),
        ([(b"authorization", b"")], Challenge, "challenge"),
        ([(b"authorization", b"Tok\x00en good")], Forbid, "failure"),
        ([TOKEN], AuthenticationResult, "success"),
        ([(b"authorization", b"application token good")], AuthenticationResult, "success"),
    ],
)
async def test_token_answers(world: World, headers: list[Any], answer: type, event: str) -> None:
    """Application Token is challenged for without credentials, and refused for good with wrong ones."""
    outcome = await world.realm(tokens(), schemes=[ApplicationTokenScheme()]).authenticate(request("/", *headers))
    assert isinstance(outcome, answer)
    if answer is Challenge:
        assert challenges(outcome) == ["Application Token"]
    assert outcomes(world) == [event]


async def test_right_credentials(world: World) -> None:
    """Right credentials give the subject."""
    outcome = await world.realm(users(joe="A B")).authenticate(request("/", basic("joe")))
    assert isinstance(outcome, AuthenticationResult)
    assert (outcome.subject.name, outcome.subject.roles) == ("joe", frozenset({"A", "B"}))
    record = json.loads(world.records.lines[0])
    assert (record["outcome"], record["principal"], record["scheme"]) == ("success", "joe", "Basic")


@pytest.mark.parametrize("headers", [[], [TOKEN], [BAD_TOKEN]])
async def test_another_challenge(world: World, headers: list[Any]) -> None:
    """A module that asks for another challenge gets it sent with its data, also where wrong tokens are forbidden."""

    async def ask(attempt: Any) -> None:
        attempt.challenge("nonce=1", "x")
        raise LoginFailed("again")

    realm = world.realm(tokens(ask), schemes=[ApplicationTokenScheme()])
    assert challenges(await realm.authenticate(request("/", *headers))) == ["Application Token nonce=1 x"]


async def test_an_empty_challenge(world: World) -> None:
    """A module may ask for another challenge without data."""

    async def ask(attempt: Any) -> None:
        attempt.challenge()
        raise LoginFailed("again")

    realm = world.realm(tokens(ask), schemes=[ApplicationTokenScheme()])
    assert challenges(await realm.authenticate(request("/", BAD_TOKEN))) == ["Application Token"]


async def test_several_schemes(world: World) -> None:
    """Every scheme is offered in a line of its own, data in the one it was asked for; each decides on its own."""

    async def ask(attempt: Any) -> Grant:
        attempt.challenge("data")
        raise LoginFailed(attempt.token.scheme)

    realm = world.realm(Module(ask), schemes=[ApplicationTokenScheme(), BasicScheme()], description="D")
    assert challenges(await realm.authenticate(request("/", basic("joe")))) == [
        "Application Token",
        'Basic realm="D", charset="UTF-8" data',
    ]
    assert challenges(await realm.authenticate(request("/", TOKEN))) == [
        "Application Token data",
        'Basic realm="D", charset="UTF-8"',
    ]
    assert challenges(await realm.authenticate(request("/"))) == [
        "Application Token data",
        'Basic realm="D", charset="UTF-8"',
    ]
    assert challenges(await realm.authenticate(request("/", MALFORMED))) == [
        "Application Token",
        'Basic realm="D", charset="UTF-8"',
    ]
    assert isinstance(await realm.authenticate(request("/", (b"authorization", b"Token \x01"))), Forbid)


async def test_back_end_down(world: World) -> None:
    """A back end that is down is 503 with its Retry-After, never "wrong password", and one event."""

    async def down(attempt: Any) -> None:
        raise LoginUnavailable("ldap is down", retry_after=7)

    outcome = await world.realm(Module(down)).authenticate(request("/", basic("joe")), "one")
    assert outcome == Unavailable(reason="ldap is down", retry_after=7, service="one", realm="demo")
    assert outcomes(world) == ["unavailable"]


async def test_doubled_credentials(world: World) -> None:
    """Doubled credentials are refused, in either order, and nobody is asked."""
    module = users(joe="")
    realm = world.realm(module)
    for headers in ((basic("joe"), MALFORMED), (MALFORMED, basic("joe")), (basic("joe"), basic("joe"))):
        assert isinstance(await realm.authenticate(request("/", *headers)), Forbid)
        with pytest.raises(HeaderError):
            realm.cached_result(headers, b"", "http")
    assert module.calls == 0
    assert outcomes(world) == ["denial"] * 3


@pytest.mark.parametrize("secret", [b"hunter2", b"hunter2 and more", b"hunter2 Basic"])
async def test_a_secret_without_a_scheme(world: World, secret: bytes) -> None:
    """A secret sent without a scheme is not logged as the scheme's name; a scheme that is known is."""
    realm = world.realm(users(joe=""))
    await realm.authenticate(request("/", (b"authorization", secret)))
    assert "hunter2" not in str(world.records.lines)
    await realm.authenticate(request("/", (b"authorization", b"Bearer hunter2")))
    assert "bearer" in world.records.lines[-1]
    assert "hunter2" not in str(world.records.lines)


async def test_components_without_a_scheme(world: World) -> None:
    """Credentials of another place alone count as the realm's own scheme, and need not be in its form."""
    reader = CredentialReader(cookies=["c"])
    seen: list[Any] = []

    async def look(attempt: Any) -> Grant:
        seen.append((attempt.username, attempt.token.get("c")))
        return Grant.user("joe")

    realm = world.realm(Module(look), reader=reader)
    for cookie in (b"c=anything", b"c=am9lOnB3"):
        assert isinstance(await realm.authenticate(request("/", (b"cookie", cookie))), AuthenticationResult)
    assert seen == [(None, "anything"), ("joe", "am9lOnB3")]


async def test_the_chain_is_asked_without_credentials(world: World) -> None:
    """A module that declares to grant without credentials is asked; its failure is a challenge, its success a login."""

    async def by_address(attempt: Any) -> Grant:
        if attempt.remote_address != "192.0.2.9":
            raise LoginFailed("unknown address")
        return Grant.user("printer")

    module = Module(by_address, cacheable=True, grants_without_credentials=True)
    realm = world.realm(module)
    assert challenges(await realm.authenticate(request("/"))) == ['Basic realm="demo", charset="UTF-8"']
    for _ in range(2):  # and nothing is remembered that no credentials tell apart
        assert isinstance(await realm.authenticate(request("/", remote_address="192.0.2.9")), AuthenticationResult)
    assert challenges(await realm.authenticate(request("/"))) == ['Basic realm="demo", charset="UTF-8"']
    assert module.calls == 4


@pytest.mark.parametrize("silent", [True, False])
async def test_short_cut(world: World, silent: bool) -> None:
    """Not asking a chain that needs credentials gives the very answer that asking it gives."""
    answers = []
    for needs in (True, False):
        module = users(joe="")
        module.needs_credentials = needs
        modules = [module]
        if not silent:

            async def data(attempt: Any) -> None:
                attempt.challenge("nonce=1")

            modules.insert(0, Module(data, authenticates=False))
        answers.append(await world.realm(*modules).authenticate(request("/")))
        assert module.calls == (0 if needs and silent else 1)
    assert answers[0] == answers[1]
    assert challenges(answers[0]) == ['Basic realm="demo", charset="UTF-8"' + ("" if silent else " nonce=1")]


# ------------------------------------------------------------------------------------------------------------ the cache


async def asked(realm: Realm, module: Module, *headers: Any) -> tuple[object, int]:
    before = module.calls
    return await realm.authenticate(request("/", *headers)), module.calls - before


async def test_remembered(world: World) -> None:
    """AuthenticationResult credentials are not asked about again until their time is over; wrong ones always are."""
    module = users(joe="R")
    realm = world.realm(module, cache_ttl=30)
    first, calls = await asked(realm, module, basic("joe"))
    again, more = await asked(realm, module, basic("joe"))
    assert (calls, more) == (1, 0)
    assert again is first is realm.cached_result([basic("joe")], b"", "http")
    for _ in range(2):
        assert (await asked(realm, module, basic("joe", "wrong")))[1] == 1
    world.clock.advance(30)
    assert realm.cached_result([basic("joe")], b"", "http") is None
    assert (await asked(realm, module, basic("joe")))[1] == 1


@pytest.mark.parametrize(("cacheable", "ttl"), [(False, 30.0), (True, 0.0)])
async def test_not_remembered(world: World, cacheable: bool, ttl: float) -> None:
    """Nothing is remembered where a module rejects_with_403 it, or the configuration does."""
    module = users(joe="")
    module.cacheable = cacheable
    realm = world.realm(module, cache_ttl=ttl)
    for _ in range(2):
        assert (await asked(realm, module, basic("joe")))[1] == 1
        assert realm.cached_result([basic("joe")], b"", "http") is None


class Answering(BasicScheme):
    """A scheme that says something on success."""

    always = False

    def success(self, data: Any = ()) -> Headers:
        return ((b"x-final", " ".join(data).encode()),) if data or self.always else ()


@pytest.mark.parametrize("always", [True, False])
async def test_what_is_for_one_response_is_not_remembered(world: World, always: bool) -> None:
    """A success that goes with headers of its own is not remembered: the next response needs its own."""

    async def respond(attempt: Any) -> Grant:
        if not always:
            attempt.respond("final")
        return Grant.user("joe")

    module, scheme = Module(respond, cacheable=True), Answering()
    scheme.always = always
    realm = world.realm(module, schemes=[scheme])
    for _ in range(2):
        outcome, calls = await asked(realm, module, basic("joe"))
        assert isinstance(outcome, AuthenticationResult)
        assert outcome.headers == ((b"x-final", b"" if always else b"final"),)
        assert calls == 1


async def test_a_removed_user_is_out(world: World) -> None:
    """After the cache is cleared a removed user is out at once."""
    module = users(joe="R")
    realm = world.realm(module)
    assert isinstance(await realm.authenticate(request("/", basic("joe"))), AuthenticationResult)
    module.roles.clear()
    assert isinstance(await realm.authenticate(request("/", basic("joe"))), AuthenticationResult)
    realm.cache.clear()
    assert isinstance(await realm.authenticate(request("/", basic("joe"))), Challenge)


async def test_a_removed_user_whose_login_is_under_way(world: World) -> None:
    """A login that began before the cache was cleared is not remembered past it."""
    entered, go = anyio.Event(), anyio.Event()

    async def slow(attempt: Any) -> Grant:
        entered.set()
        await go.wait()
        return Grant.user("joe")

    realm = world.realm(Module(slow, cacheable=True))
    async with anyio.create_task_group() as group:
        group.start_soon(realm.authenticate, request("/", basic("joe")))
        await entered.wait()
        realm.cache.clear()
        go.set()
    assert realm.cached_result([basic("joe")], b"", "http") is None


async def test_later_factors_are_not_remembered(world: World) -> None:
    """What was decided with the subject of an earlier realm is neither remembered nor recalled."""
    module = users(joe="")
    realm = world.realm(module)
    later = LoginOptions(subjects_by_realm={"first": Subject()})
    for _ in range(2):
        assert isinstance(await realm.authenticate(request("/", basic("joe")), "", later), AuthenticationResult)
    assert module.calls == 2
    assert realm.cached_result([basic("joe")], b"", "http") is None


# ------------------------------------------------------------------------------------------------------------ the rest


async def test_limits(world: World) -> None:
    """Of the configured limit and a module's the smaller holds; 0 from a module fails the login."""

    async def limit(attempt: Any) -> Grant:
        attempt.limit_session(float(attempt.password))
        return Grant.user("joe")

    realm = world.realm(Module(limit), session_timeout=10.0, authorization_timeout=5.0)
    for seconds, holds in (("3", 3), ("30", 10)):
        outcome = await realm.authenticate(request("/", basic("joe", seconds)))
        assert isinstance(outcome, AuthenticationResult)
        assert (outcome.session_timeout, outcome.authorization_timeout) == (holds, 5)
    for seconds in ("0", "-1"):
        assert isinstance(await realm.authenticate(request("/", basic("joe", seconds))), Challenge)
    unlimited = await world.realm(users(joe="")).authenticate(request("/", basic("joe")))
    assert isinstance(unlimited, AuthenticationResult)
    assert (unlimited.session_timeout, unlimited.authorization_timeout) == (None, None)


async def test_without_authorization(world: World) -> None:
    """A later realm may be told that the Authorization header was not meant for it."""
    module = users(joe="")
    options = LoginOptions(without_authorization=True)
    outcome = await world.realm(module).authenticate(request("/", basic("joe")), options=options)
    assert isinstance(outcome, Challenge)
    assert module.calls == 0


async def test_observed(world: World) -> None:
    """An observer is told each module's steps, of failures too."""
    steps: list[Any] = []
    realm = world.realm(users(joe=""))
    await realm.authenticate(request("/", basic("joe")), options=LoginOptions(trace=lambda _, done: steps.extend(done)))
    await realm.authenticate(
        request("/", basic("joe", "wrong")), options=LoginOptions(trace=lambda _, done: steps.extend(done))
    )
    assert [(step.phase, step.outcome) for step in steps] == [
        ("login", "succeeded"),
        ("commit", "succeeded"),
        ("login", "failed"),
    ]


async def test_failed_names_are_hashed(world: World) -> None:
    """The log of a failed login shows neither the name that was typed nor the password."""
    await world.realm(users(joe="")).authenticate(request("/", basic("s3cret-name", "s3cret-pw")))
    (line,) = world.records.lines
    assert "s3cret" not in line
    assert json.loads(line)["principal"].startswith("hashed:")


async def test_description(world: World) -> None:
    """The challenge shows the description, else the name, quoted."""
    assert challenges(await world.realm(users(), name='a"b').authenticate(request("/"))) == [
        'Basic realm="a\\"b", charset="UTF-8"'
    ]
