"""What users of the original and attackers ran into: credentials in odd places, step-up, equal logins at once."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.errors import LoginFailed
from asgi_gateway.model import Allow, Challenge, Forbid, Grant
from asgi_gateway.plugins.login_module import SHARED_NAME, SHARED_PASSWORD
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions
from asgi_gateway.schemes import ApplicationBasicScheme, ApplicationTokenScheme, BasicScheme
from tests.gateways import Module, World, basic, request, service, tokens, users
from tests.helpers import context

pytestmark = pytest.mark.anyio


class OnePassword(PasswordLoginModule):
    """Knows joe and his password; notes what it was asked."""

    def __init__(self, options: PasswordOptions, context: Any) -> None:
        super().__init__(options, context)
        self.asked: list[tuple[str, str]] = []

    async def authenticate(self, attempt: Any, username: str, password: str) -> Grant:
        self.asked.append((username, password))
        if (username, password) != ("joe", "joe-pw"):
            raise LoginFailed("wrong")
        return Grant.user(username)


async def test_a_basic_request_is_in_the_shared_state(world: World, tmp_path: Any) -> None:
    """Name and password stand in the shared state before the first module, so that useFirstPass may come first."""
    seen: list[tuple[Any, Any]] = []

    async def look(attempt: Any) -> None:
        seen.append((attempt.shared_state.get(SHARED_NAME), attempt.shared_state.get(SHARED_PASSWORD)))

    module = OnePassword(PasswordOptions(useFirstPass=True), context(tmp_path).context)
    realm = world.realm(module)
    assert isinstance(await realm.authenticate(request("/", basic("joe"))), AuthenticationResult)
    assert isinstance(await realm.authenticate(request("/", basic("joe", "wrong"))), Challenge)
    await world.realm(Module(look), name="look").authenticate(request("/", basic("ann")))
    await world.realm(Module(look), name="token", schemes=[ApplicationTokenScheme()]).authenticate(
        request("/", (b"authorization", b"Token x"))
    )
    assert seen == [("ann", "ann-pw"), (None, None)]


@pytest.mark.parametrize("options", [{"tryFirstPass": True}, {"useFirstPass": True}, {}])
async def test_a_password_is_verified_once(world: World, tmp_path: Any, options: dict[str, bool]) -> None:
    """One module verifies one pair of name and password once per attempt, whatever the first-pass options say."""
    module = OnePassword(PasswordOptions(**options), context(tmp_path).context)
    assert isinstance(await world.realm(module).authenticate(request("/", basic("joe", "wrong"))), Challenge)
    assert module.asked == [("joe", "wrong")]


async def test_clear_pass_of_a_module_that_failed(world: World, tmp_path: Any) -> None:
    """A module with clearPass removes name and password when it fails, though the chain goes on and succeeds."""
    left: list[bool] = []

    class Other(OnePassword):
        async def authenticate(self, attempt: Any, username: str, password: str) -> Grant:
            raise LoginFailed("not mine")

    async def look(attempt: Any) -> Grant:
        left.append(SHARED_PASSWORD in attempt.shared_state)
        return Grant.user("joe")

    for clear in (True, False):
        failing = Other(PasswordOptions(clearPass=clear), context(tmp_path).context)
        realm = world.realm(failing, Module(look))
        entries = realm.chain.entries
        object.__setattr__(entries[0], "flag", "optional")
        assert isinstance(await realm.authenticate(request("/", basic("joe"))), AuthenticationResult)
    assert left == [False, True]


ENCODED = base64.b64encode(b"joe:joe-pw")


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (ENCODED, True),
        (b"Basic " + ENCODED, True),
        (b"basic   " + ENCODED, True),
        (b"Bearer " + ENCODED, False),
        (b"Basic", False),
    ],
)
async def test_a_scheme_before_a_configured_headers_value(world: World, value: bytes, passes: bool) -> None:
    """The realm's scheme before the value of a configured header is taken off; another scheme is not."""
    realm = world.realm(users(joe=""), schemes=[ApplicationBasicScheme()], reader=CredentialReader(["X-Authorization"]))
    outcome = await realm.authenticate(request("/", (b"x-authorization", value)))
    assert isinstance(outcome, AuthenticationResult) is passes


async def test_configured_places_count_beside_the_applications_header(world: World) -> None:
    """An Authorization header of another scheme does not hide credentials in a configured place."""
    reader = CredentialReader(query_parameters=["t"])

    async def by_query(attempt: Any) -> Grant:
        if attempt.token.get("t") != "good":
            raise LoginFailed("not the token")
        return Grant.user("joe")

    realm = world.realm(Module(by_query), schemes=[ApplicationTokenScheme()], reader=reader)
    own = (b"authorization", b"Digest of the application")
    assert isinstance(await realm.authenticate(request("/", own, query=b"t=good")), AuthenticationResult)
    assert isinstance(await realm.authenticate(request("/", own, query=b"t=bad")), Forbid)
    assert isinstance(await realm.authenticate(request("/", own)), Challenge)


@pytest.mark.parametrize(("roles", "answer"), [("R", Allow), ("R MORE", Challenge)])
async def test_step_up(world: World, roles: str, answer: type) -> None:
    """A module that grants and asks for more is answered 401 with its data where a role is missing, not 403."""

    async def ask_for_more(attempt: Any) -> Grant:
        attempt.challenge("code=please")
        return Grant.user("joe", ["R"])

    gateway = world.gateway(service("a", "/a", world.realm(Module(ask_for_more)), roles=roles))
    decision = await gateway.decide(request("/a", basic("joe")))
    assert isinstance(decision, answer)
    if isinstance(decision, Challenge):
        assert b"code=please" in dict(decision.headers)[b"www-authenticate"]


async def test_a_missing_role_is_403_without_step_up(world: World) -> None:
    """Where no module asks for more, a missing role is 403."""
    gateway = world.gateway(service("a", "/a", world.realm(users(joe="R")), roles="MORE"))
    assert isinstance(await gateway.decide(request("/a", basic("joe"))), Forbid)


@pytest.mark.parametrize(
    ("sent", "fallback", "passes"),
    [
        ("jörg:päss".encode(), False, True),
        ("jörg:päss".encode("latin-1"), False, False),
        ("jörg:päss".encode("latin-1"), True, True),
        ("jörg:päss".encode(), True, True),
    ],
)
async def test_charset_of_basic(world: World, sent: bytes, fallback: bool, passes: bool) -> None:
    """UTF-8 is read always, ISO-8859-1 where it is configured and the credentials are not UTF-8."""

    async def jörg(attempt: Any) -> Grant:
        if (attempt.username, attempt.password) != ("jörg", "päss"):
            raise LoginFailed("wrong")
        return Grant.user(attempt.username)

    realm = world.realm(Module(jörg), schemes=[BasicScheme(latin1_fallback=fallback)])
    header = (b"authorization", b"Basic " + base64.b64encode(sent))
    assert isinstance(await realm.authenticate(request("/", header)), AuthenticationResult) is passes


async def _at_once(realm: Any, *headers: tuple[bytes, bytes]) -> list[Any]:
    return await asyncio.gather(*(realm.authenticate(request("/", each)) for each in headers))


@pytest.mark.parametrize("password", ["joe-pw", "wrong"])
async def test_equal_logins_at_once_are_verified_once(world: World, password: str) -> None:
    """200 equal requests at once cost one verification; each has its answer and its audit event."""

    async def slow(attempt: Any) -> Grant:
        await asyncio.sleep(0.01)
        if attempt.password != "joe-pw":
            raise LoginFailed("wrong")
        return Grant.user("joe")

    module = Module(slow, cacheable=True)
    outcomes = await _at_once(world.realm(module), *[basic("joe", password)] * 200)
    assert module.calls == 1
    assert {type(outcome) for outcome in outcomes} == {AuthenticationResult if password == "joe-pw" else Challenge}
    assert len(world.records.lines) == 200


async def test_what_is_not_equal_is_verified_apart(world: World) -> None:
    """Other credentials, and logins whose outcome does not depend on them alone, are verified each by itself."""
    module = users(joe="", ann="")
    await _at_once(world.realm(module), basic("joe"), basic("ann"), basic("joe", "x"))
    assert module.calls == 3
    once = tokens()
    headers = [(b"authorization", b"Token good")] * 5
    await _at_once(world.realm(once, schemes=[ApplicationTokenScheme()]), *headers)
    assert once.calls == 5


async def test_a_reload_is_not_shared(world: World) -> None:
    """A login that begins after a module's data changed does not share the outcome of one that began before."""
    go = asyncio.Event()

    async def slow(attempt: Any) -> Grant:
        await go.wait()
        return Grant.user("joe")

    module = Module(slow, cacheable=True)
    realm = world.realm(module)
    before = asyncio.create_task(realm.authenticate(request("/", basic("joe"))))
    await asyncio.sleep(0)
    realm.invalidate()
    after = asyncio.create_task(realm.authenticate(request("/", basic("joe"))))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(before, after)
    assert module.calls == 2


async def test_a_first_caller_that_leaves_passes_the_work_on(world: World) -> None:
    """If the request that verifies is cancelled, one of those that wait verifies again; nobody waits for ever."""
    entered = asyncio.Event()

    async def slow(attempt: Any) -> Grant:
        entered.set()
        await asyncio.sleep(0.02)
        return Grant.user("joe")

    module = Module(slow, cacheable=True)
    realm = world.realm(module)
    first = asyncio.create_task(realm.authenticate(request("/", basic("joe"))))
    await entered.wait()
    others = [asyncio.create_task(realm.authenticate(request("/", basic("joe")))) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*others), 10)
    assert {type(outcome) for outcome in outcomes} == {AuthenticationResult}
    assert module.calls == 2


@pytest.mark.parametrize(
    ("first", "second", "same_user", "passes"),
    [
        ("alice", "alice", True, True),
        ("alice", "bob", True, False),
        ("alice", "ALICE", True, True),
        ("alice", "alice ", True, True),
        ("alice", None, True, True),
        ("alice", "bob", False, True),
    ],
)
async def test_two_realms_are_one_person(
    world: World, first: str, second: str | None, same_user: bool, passes: bool
) -> None:
    """All realms of a service must authenticate the same user, unless it is configured otherwise."""

    async def password(attempt: Any) -> Grant:
        return Grant.user(first)

    async def code(attempt: Any) -> Grant:
        if attempt.token.get("code") is None:
            raise LoginFailed("no code")
        return Grant() if second is None else Grant.user(second)

    realms = (
        world.realm(Module(password), name="first"),
        world.realm(
            Module(code), name="second", schemes=[ApplicationTokenScheme()], reader=CredentialReader(cookies=["code"])
        ),
    )
    from dataclasses import replace

    gateway = world.gateway(replace(service("a", "/a", *realms), same_user=same_user))
    at_once = await gateway.decide(request("/a", basic("x"), (b"cookie", b"code=1")))
    challenge = await gateway.decide(request("/a", basic("x")))
    assert isinstance(challenge, Challenge)
    identity = (b"sec-challenge-identity", dict(challenge.headers)[b"sec-challenge-identity"])
    later = await gateway.decide(request("/a", identity, (b"cookie", b"code=1")))
    assert isinstance(at_once, Allow) is isinstance(later, Allow) is passes
