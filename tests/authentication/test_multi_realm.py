"""Several realms on one service: each must succeed, in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.multi_realm import CHALLENGE_IDENTITY_TTL, IDENTITY_HEADER, MAX_ATTEMPTS
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.errors import LoginFailed, LoginUnavailable, StateUnavailable
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import (
    Allow,
    Challenge,
    Decision,
    Forbid,
    Grant,
    GroupPrincipal,
    Principal,
    RolePrincipal,
    Unavailable,
    UserPrincipal,
)
from asgi_gateway.schemes import ApplicationTokenScheme, BasicScheme
from tests.gateways import Module, World, basic, request, service, tokens, users
from tests.helpers import OnePartState

pytestmark = pytest.mark.anyio

CODE, BAD_CODE = (b"cookie", b"code=good"), (b"cookie", b"code=bad")


class Moody(OnePartState):
    """A store that can be taken down."""

    down = False

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        return await super().put_if_absent(key, value, ttl) if not self._check() else None

    async def get(self, key: str) -> str | None:
        return await super().get(key) if not self._check() else None

    def _check(self) -> bool:
        if self.down:
            raise StateUnavailable("redis is down")
        return False


@pytest.fixture
def world() -> World:
    world = World()
    world.state = Moody(world.clock)
    return world


def second(world: World, module: Module | None = None, *, rejects_with_403: bool = False, **more: Any) -> Any:
    scheme = ApplicationTokenScheme()
    scheme.rejects_with_403 = rejects_with_403  # type: ignore[misc]
    return world.realm(
        module or code(), name="second", schemes=[scheme], reader=CredentialReader(cookies=["code"]), **more
    )


def code() -> Module:
    async def login(attempt: Any) -> Grant:
        if attempt.token.get("code") != "good":
            raise LoginFailed("not the code")
        return Grant((RolePrincipal("CODE"),))

    return Module(login)


def two(world: World, **more: Any) -> Gateway:
    first = world.realm(users(joe="A", ann="A"), name="first")
    return world.gateway(
        service("vault", "/vault", first, second(world, **more), roles="A CODE"),
        service("other", "/other", first, second(world, **more)),
    )


def identity(decision: Decision) -> tuple[bytes, bytes]:
    assert isinstance(decision, Challenge)
    (value,) = [value for name, value in decision.headers if name == IDENTITY_HEADER]
    return IDENTITY_HEADER, value


async def begun(gateway: Gateway, path: str = "/vault") -> tuple[bytes, bytes]:
    return identity(await gateway.decide(request(path, basic("joe"))))


async def test_two_steps(world: World) -> None:
    """The first realm's success gives the second's challenge and an identity, with which the second decides alone."""
    gateway = two(world)
    decision = await gateway.decide(request("/vault", basic("joe")))
    assert isinstance(decision, Challenge)
    assert decision.headers[0] == (b"www-authenticate", b"Application Token")
    assert decision.realm == "second"
    allowed = await gateway.decide(request("/vault", identity(decision), CODE))
    assert isinstance(allowed, Allow)
    assert allowed.subject is not None
    assert (allowed.subject.name, allowed.subject.roles, allowed.realm) == ("joe", frozenset({"A", "CODE"}), "second")


async def test_at_once(world: World) -> None:
    """A request that carries the credentials of both realms passes in one step."""
    assert isinstance(await two(world).decide(request("/vault", basic("joe"), CODE)), Allow)


@pytest.mark.parametrize("headers", [[], [CODE], [basic("joe", "wrong"), CODE], [(b"authorization", b"Token x"), CODE]])
async def test_the_first_is_needed(world: World, headers: list[Any]) -> None:
    """Without the first realm's success the second is not asked, and no identity is given."""
    decision = await two(world).decide(request("/vault", *headers))
    assert isinstance(decision, Challenge)
    assert decision.headers == ((b"www-authenticate", b'Basic realm="first", charset="UTF-8"'), (b"vary", b"Cookie"))


async def test_used_once(world: World) -> None:
    """An identity opens once; shown again it counts as none."""
    gateway = two(world)
    this = await begun(gateway)
    assert isinstance(await gateway.decide(request("/vault", this, CODE)), Allow)
    again = await gateway.decide(request("/vault", this, CODE))
    assert isinstance(again, Challenge)
    assert again.realm == "first"


async def test_used_up_by_failing(world: World) -> None:
    """A wrong code uses the identity up; the next try needs the new one."""
    gateway = two(world)
    this = await begun(gateway)
    new = identity(await gateway.decide(request("/vault", this, BAD_CODE)))
    assert new != this
    assert isinstance(await gateway.decide(request("/vault", this, CODE)), Challenge)
    assert isinstance(await gateway.decide(request("/vault", new, CODE)), Allow)


async def test_bound_to_the_service(world: World) -> None:
    """An identity of one service is nothing to another, and is used up by being shown there."""
    gateway = two(world)
    this = await begun(gateway, "/other")
    for path in ("/vault", "/other"):
        decision = await gateway.decide(request(path, this, CODE))
        assert isinstance(decision, Challenge)
        assert decision.realm == "first"


async def test_expires(world: World) -> None:
    """An identity lives thirty seconds."""
    gateway = two(world)
    this, other = await begun(gateway), await begun(gateway)
    world.clock.advance(CHALLENGE_IDENTITY_TTL - 0.1)
    assert isinstance(await gateway.decide(request("/vault", this, CODE)), Allow)
    world.clock.advance(0.1)
    assert isinstance(await gateway.decide(request("/vault", other, CODE)), Challenge)


@pytest.mark.parametrize("value", [b"", b"x", b"\xff", b"challenge-identity:x", b"A" * 65536])
async def test_invented(world: World, value: bytes) -> None:
    """An identity that nobody gave is none."""
    decision = await two(world).decide(request("/vault", (IDENTITY_HEADER, value), CODE))
    assert isinstance(decision, Challenge)
    assert decision.realm == "first"


async def test_tries_are_bounded(world: World) -> None:
    """After so many wrong codes the first realm is asked for again, and no identity is given."""
    gateway = two(world)
    this = await begun(gateway)
    for _ in range(MAX_ATTEMPTS - 1):
        this = identity(await gateway.decide(request("/vault", this, BAD_CODE)))
    last = await gateway.decide(request("/vault", this, BAD_CODE))
    assert isinstance(last, Challenge)
    assert last.headers == ((b"www-authenticate", b'Basic realm="first", charset="UTF-8"'), (b"vary", b"Cookie"))


async def test_forbidden(world: World) -> None:
    """A second realm that refuses for good ends it: no identity, and back to the first."""
    gateway = two(world, rejects_with_403=True)
    this = await begun(gateway)
    assert isinstance(await gateway.decide(request("/vault", this, BAD_CODE)), Forbid)
    assert isinstance(await gateway.decide(request("/vault", this, CODE)), Challenge)


async def test_doubled_identity(world: World) -> None:
    """Two identities in one request are refused, neither is used up, and one event is written."""
    gateway = two(world)
    one, other = await begun(gateway), await begun(gateway)
    world.records.lines.clear()
    assert isinstance(await gateway.decide(request("/vault", one, other, CODE)), Forbid)
    assert [json.loads(line)["outcome"] for line in world.records.lines] == ["denial"]
    assert isinstance(await gateway.decide(request("/vault", one, CODE)), Allow)


async def test_store_down(world: World) -> None:
    """Where the store cannot be asked, neither step is taken: 503, and one event that says so."""
    gateway = two(world)
    this = await begun(gateway)
    assert isinstance(world.state, Moody)
    world.state.down = True
    for headers, events in (((basic("joe"),), ["unavailable"]), ((this, CODE), ["unavailable"])):
        world.records.lines.clear()
        decision = await gateway.decide(request("/vault", *headers))
        assert isinstance(decision, Unavailable)
        assert [json.loads(line)["outcome"] for line in world.records.lines][-1:] == events
    world.state.down = False
    assert isinstance(await gateway.decide(request("/vault", this, CODE)), Allow)


async def test_back_end_down(world: World) -> None:
    """A second realm whose back end is down is 503, without an identity."""

    async def down(attempt: Any) -> None:
        raise LoginUnavailable("down")

    decision = await two(world, module=Module(down)).decide(request("/vault", basic("joe")))
    assert isinstance(decision, Unavailable)


async def test_limits_are_carried(world: World) -> None:
    """The smallest limit of all realms holds, also of those that succeeded in an earlier request."""
    first = world.realm(users(joe=""), name="first", session_timeout=10.0, authorization_timeout=50.0)
    gateway = world.gateway(
        service("vault", "/vault", first, second(world, session_timeout=20.0, authorization_timeout=5.0))
    )
    for headers in ((basic("joe"), CODE), (await begun(gateway), CODE)):
        allowed = await gateway.decide(request("/vault", *headers))
        assert isinstance(allowed, Allow)
        assert (allowed.session_timeout, allowed.authorization_timeout) == (10, 5)


async def test_subject_of(world: World) -> None:
    """A module of the second realm finds the first's subject, its kinds of principals kept, in either step."""
    seen: list[Any] = []

    class Certificate(UserPrincipal):
        pass

    granted = (Certificate("CN=joe"), UserPrincipal("joe"), RolePrincipal("R"), GroupPrincipal("G"), Principal("p"))

    async def first(attempt: Any) -> Grant:
        assert attempt.subject_of("second") is None
        if not attempt.username:
            raise LoginFailed("who?")
        return Grant(granted, private_credentials=("s3cret",))

    async def look(attempt: Any) -> Grant:
        seen.append((attempt.subject_of("first"), attempt.subject_of("second")))
        return await code().login(attempt) or Grant()

    gateway = world.gateway(
        service("vault", "/vault", world.realm(Module(first), name="first"), second(world, Module(look)))
    )
    await gateway.decide(request("/vault", basic("joe"), CODE))
    allowed = await gateway.decide(request("/vault", await begun(gateway), CODE))
    assert isinstance(allowed, Allow)
    at_once, _, later = seen
    assert at_once[0].principals == granted
    assert later[0].principals == (UserPrincipal("CN=joe"), *granted[1:])
    assert later[0].roles == {"R", "G"}
    assert later[1] is None


async def test_nothing_secret_is_stored(world: World) -> None:
    """Between two steps the store holds principals, and no credential of anybody."""
    stored: list[str] = []

    class Looking(OnePartState):
        async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
            stored.append(key + value)
            return await super().put_if_absent(key, value, ttl)

    world.state = Looking(world.clock)
    await begun(two(world))
    assert len(stored) == 1
    assert "joe" in stored[0]
    assert "joe-pw" not in stored[0]


async def test_one_password_is_not_two_factors(world: World) -> None:
    """The Authorization header that one realm took is not given to a later one, not even past one in between."""
    module = users(joe="")
    three = (
        world.realm(users(joe=""), name="first"),
        second(world),
        world.realm(module, name="third", schemes=[BasicScheme()]),
    )
    gateway = world.gateway(service("vault", "/vault", *three))
    decision = await gateway.decide(request("/vault", basic("joe"), CODE))
    assert isinstance(decision, Challenge)
    assert decision.realm == "third"
    assert module.calls == 0
    assert isinstance(await gateway.decide(request("/vault", identity(decision), basic("joe"))), Allow)


async def test_authorization_of_the_second(world: World) -> None:
    """An Authorization header that no earlier realm took is the later one's: cookie first, then a token."""
    cookie = world.realm(code(), name="first", schemes=[BasicScheme()], reader=CredentialReader(cookies=["code"]))
    bearer = world.realm(tokens(), name="second", schemes=[ApplicationTokenScheme()])
    gateway = world.gateway(service("vault", "/vault", cookie, bearer))
    assert isinstance(await gateway.decide(request("/vault", CODE, (b"authorization", b"Basic x"))), Challenge)
    this = identity(await gateway.decide(request("/vault", CODE)))
    assert isinstance(await gateway.decide(request("/vault", this, (b"authorization", b"Token good"))), Allow)


async def test_observed(world: World) -> None:
    """An observer is told the steps of each realm with the realm."""
    seen: list[tuple[str, int]] = []
    await two(world).decide(
        request("/vault", basic("joe"), CODE),
        LoginOptions(trace=lambda realm, steps: seen.append((realm.name, len(steps)))),
    )
    assert seen == [("first", 2), ("second", 2)]


async def test_the_merged_roles_decide(world: World) -> None:
    """Roles are looked for in what all realms granted together; nothing of it is remembered as one login."""
    first, other = world.realm(users(joe="A"), name="first"), second(world)
    gateway = world.gateway(service("vault", "/vault", first, other, roles="A CODE X"), service("one", "/one", first))
    assert isinstance(await gateway.decide(request("/vault", basic("joe"), CODE)), Forbid)
    allowed = await gateway.decide(request("/one", basic("joe")))
    assert isinstance(allowed, Allow)
    assert allowed.subject is not None
    assert allowed.subject.roles == {"A"}
