"""Sessions as clients see them: cookies through the realm, the gateway and the middleware, and sockets that end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.errors import ConfigError, StateUnavailable
from asgi_gateway.gateway import Gateway
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Allow, Challenge, Forbid, Grant, RevocationKey, Unavailable
from asgi_gateway.stores.memory import MemoryState
from tests.gateways import CONNECT, DISCONNECT, Module, Server, World, basic, request, scope, service, users
from tests.helpers import ManualClock, OnePartState

pytestmark = pytest.mark.anyio

KEYS = [b"k" * 32]


class State(OnePartState):
    """A memory store that can be down."""

    error: Exception | None = None

    async def get(self, key: str) -> str | None:
        if self.error is not None:
            raise self.error
        return await super().get(key)


@dataclass
class Site:
    """A gateway with one realm that recycles logins."""

    world: World
    module: Module
    state: State
    gateway: Gateway

    @classmethod
    def made(cls, module: Module | None = None, **more: Any) -> Site:
        clock = ManualClock(1_800_000_000.0)
        state = State(clock)
        world = World(clock, state=state)
        module = module or users(joe="R", ann="")
        realm = world.realm(module, recycle=(state, KEYS), **more)
        gateway = world.gateway(service("app", "/a", realm, roles="R"), service("public", "/public"))
        return cls(world, module, state, gateway)

    async def login(self, *headers: tuple[bytes, bytes], **more: Any) -> tuple[bytes, bytes]:
        """Log in; the header with the cookie."""
        allow = await self.gateway.decide(request("/a", *(headers or (basic("joe"),)), **more))
        assert isinstance(allow, Allow), allow
        return b"cookie", dict(allow.headers)[b"set-cookie"].split(b";")[0]


async def test_session_instead_of_credentials() -> None:
    """After a login the cookie stands for the credentials, the module is asked no more, and roles are still checked."""
    site = Site.made()
    cookie = await site.login()
    for _ in range(3):
        allow = await site.gateway.decide(request("/a", cookie))
        assert isinstance(allow, Allow)
        assert allow.subject is not None
        assert allow.subject.name == "joe"
        assert dict(allow.headers) == {b"cache-control": b"no-store", b"vary": b"Cookie"}
    assert site.module.calls == 1
    ann = await site.gateway.decide(request("/a", basic("ann")))
    assert isinstance(ann, Forbid)


async def test_cookie_goes_to_one_response_only() -> None:
    """Each response to remembered credentials has a session of its own, and a client that keeps none gets few."""
    site = Site.made(cache_ttl=30)
    cookies = {await site.login() for _ in range(16)}
    assert len(cookies) == 16
    assert site.module.calls == 1
    assert site.gateway.cached_decision(scope("/a", basic("joe"))) is None
    for _ in range(3):
        again = await site.gateway.decide(request("/a", basic("joe")))
        assert isinstance(again, Allow)
        assert b"set-cookie" not in dict(again.headers)
    assert site.gateway.cached_decision(scope("/a", basic("joe"))) is again
    for cookie in cookies:
        assert isinstance(await site.gateway.decide(request("/a", cookie)), Allow)


async def test_decided_without_waiting() -> None:
    """A request with a session that was verified a moment ago is decided at once, as it would be with waiting."""
    site = Site.made()
    cookie = await site.login()
    asked = scope("/a", cookie)
    assert site.gateway.cached_decision(asked) is None
    decided = await site.gateway.decide(request("/a", cookie))
    assert site.gateway.cached_decision(asked) is decided
    assert site.gateway.cached_decision(scope("/a")) is None
    assert site.gateway.cached_decision(scope("/a", cookie, basic("joe"), basic("joe"))) is None
    assert site.gateway.cached_decision(scope("/a", cookie, scheme="https")) is None


async def test_refusals_depend_on_the_cookie_too() -> None:
    """A 401 and a 403 of a service with sessions say that they depend on the cookie; a public service says nothing."""
    site = Site.made()
    for decision in (
        await site.gateway.decide(request("/a")),
        await site.gateway.decide(request("/a", basic("joe", "wrong"))),
        await site.gateway.decide(request("/a", basic("ann"))),
    ):
        assert isinstance(decision, Challenge | Forbid)
        assert (b"vary", b"Cookie") in decision.headers
    public = await site.gateway.decide(request("/public"))
    assert isinstance(public, Allow)
    assert public.headers == ()


async def test_bad_cookies() -> None:
    """A forged cookie is as none; the cookie twice is refused, whatever else is there."""
    site = Site.made()
    name, value = await site.login()
    assert isinstance(await site.gateway.decide(request("/a", (name, value[:-3]))), Challenge)
    assert isinstance(await site.gateway.decide(request("/a", (name, value + b"; " + value))), Forbid)
    assert isinstance(await site.gateway.decide(request("/a", (name, value), (name, value), basic("joe"))), Forbid)
    lines = [(name, b"a=1"), (name, value), (name, b"b=1")]
    for _ in range(2):
        assert isinstance(await site.gateway.decide(request("/a", *lines)), Allow)


async def test_session_beside_doubled_credentials() -> None:
    """A good session does not hide credentials that are there twice, wherever the realm reads them."""
    site = Site.made(reader=CredentialReader(["x-auth"]))
    cookie = await site.login()
    once = (cookie, (b"accept", b"*/*"), (b"x-auth", b"a"))
    assert isinstance(await site.gateway.decide(request("/a", *once)), Allow)
    assert site.gateway.cached_decision(scope("/a", *once)) is not None
    for twice in ((cookie, (b"x-auth", b"a"), (b"x-auth", b"a")), (cookie, basic("joe"), basic("joe"))):
        assert site.gateway.cached_decision(scope("/a", *twice)) is None
        assert isinstance(await site.gateway.decide(request("/a", *twice)), Forbid)


async def test_cookie_over_tls() -> None:
    """Over TLS the cookie has the prefix that binds it to this host, and one from plain HTTP is nothing."""
    site = Site.made(cache_ttl=0)
    plain = await site.login()
    secure = await site.login(scheme="https")
    assert secure[1].startswith(b"__Host-")
    assert isinstance(await site.gateway.decide(request("/a", plain, scheme="https")), Challenge)
    assert isinstance(await site.gateway.decide(request("/a", secure, scheme="https")), Allow)
    assert isinstance(await site.gateway.decide(request("/a", secure, kind="websocket", scheme="wss")), Allow)


async def test_limits_of_the_login() -> None:
    """A module's limits hold for the session that its login began, and a socket ends with what is left of it."""

    async def login(attempt: Any) -> Grant:
        attempt.limit_session(100)
        attempt.limit_authorization(50)
        return Grant.user("joe", ["R"])

    site = Site.made(Module(login, needs_credentials=True), session_timeout=1000.0)
    cookie = await site.login()
    site.world.clock.advance(40)
    allow = await site.gateway.decide(request("/a", cookie, kind="websocket"))
    assert isinstance(allow, Allow)
    assert (allow.session_timeout, allow.authorization_timeout) == (60, 50)
    site.world.clock.advance(56)
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Challenge)


async def test_store_is_down() -> None:
    """With the store down a session is 503, credentials still work, and public services do not notice."""
    site = Site.made()
    cookie = await site.login()
    site.state.error = StateUnavailable("down")
    unavailable = await site.gateway.decide(request("/a", cookie))
    assert isinstance(unavailable, Unavailable)
    for headers in ((basic("joe"),), (cookie, basic("joe"))):
        allow = await site.gateway.decide(request("/a", *headers))
        assert isinstance(allow, Allow)
        assert b"set-cookie" not in dict(allow.headers)
    assert isinstance(await site.gateway.decide(request("/public")), Allow)


async def test_second_factor_is_never_recycled() -> None:
    """A login with two factors begins the first realm's session alone; the second factor is asked for each time."""
    clock = ManualClock(1_800_000_000.0)
    state = MemoryState(clock)
    world = World(clock, state=state)
    first = world.realm(users(joe="R"), name="first", recycle=(state, KEYS))
    second = world.realm(users(joe="R"), name="second", recycle=(state, KEYS))
    gateway = world.gateway(service("app", "/a", first, second))
    challenge = await gateway.decide(request("/a", basic("joe")))
    assert isinstance(challenge, Challenge)
    identity = (b"sec-challenge-identity", dict(challenge.headers)[b"sec-challenge-identity"])
    assert b"set-cookie" not in dict(challenge.headers)
    allow = await gateway.decide(request("/a", identity, basic("joe")))
    assert isinstance(allow, Allow)
    (set_cookie,) = [value for name, value in allow.headers if name == b"set-cookie"]
    cookie = (b"cookie", set_cookie.partition(b";")[0])
    again = await gateway.decide(request("/a", cookie))
    assert isinstance(again, Challenge)
    assert again.realm == "second"
    identity = (b"sec-challenge-identity", dict(again.headers)[b"sec-challenge-identity"])
    assert isinstance(await gateway.decide(request("/a", cookie, identity, basic("joe"))), Allow)


async def test_shared_state_is_needed() -> None:
    """Sessions in a store of one process are named among what several workers would have to share."""
    assert Site.made().gateway.needs_shared_state() == ["realm demo: sessions"]


async def test_revoked_user() -> None:
    """A revoked user's sessions are over at once, and remembered credentials are checked again."""
    site = Site.made()
    cookie = await site.login()
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Allow)
    await site.gateway.revocations.revoke(RevocationKey("user", "joe", "demo"))
    assert site.gateway.cached_decision(scope("/a", cookie)) is None
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Challenge)
    assert isinstance(await site.gateway.decide(request("/a", basic("joe"))), Allow)
    assert site.module.calls == 2


# -------------------------------------------------------------------------------------------------------------- sockets


class Socket(Server):
    """A client's WebSocket, or its request, with a scope."""

    def __init__(self, scope: dict[str, Any]) -> None:
        super().__init__(CONNECT.copy())
        self._scope = scope

    async def run(self, app: Any) -> None:
        await app(self._scope, self.receive, self.send)

    def leave(self) -> None:
        self.say(DISCONNECT.copy())


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b""})


async def _until(condition: Any) -> None:
    with anyio.fail_after(2):
        while not condition():
            await anyio.sleep(0.001)


@pytest.mark.parametrize("how", ["user", "session", "unknown"])
async def test_sockets_end_with_their_login(how: str) -> None:
    """The sockets of a revoked user or session end with a code that tells which, nobody else's do, nothing is left."""
    module = users(joe="R", ann="R")
    site = Site.made(module)
    app = GatewayMiddleware(_echo, site.gateway)
    cookie = await site.login()
    one, other = (Socket(scope("/a", header, kind="websocket")) for header in (cookie, basic("ann")))
    async with anyio.create_task_group() as group:
        group.start_soon(one.run, app)
        group.start_soon(other.run, app)
        await _until(lambda: one.types == other.types == ["websocket.accept"])
        if how == "session":
            verified = site.gateway.services[0].realms[0].sessions
            assert verified is not None
            found = await verified.load(cookie[1], secure=False)
            assert found is not None
            await site.gateway.revocations.revoke(found.revocation_keys[0])
        elif how == "user":
            await site.gateway.revocations.revoke(RevocationKey("user", "joe", "demo"))
        else:
            site.gateway.revocations._tell(None)
        await _until(lambda: one.types[-1] == "websocket.close")
        assert one.sent[-1]["code"] == {"user": 4004, "session": 4003, "unknown": 4006}[how]
        assert (other.types[-1] == "websocket.close") is (how == "unknown")
        if how != "unknown":
            other.leave()
    assert len(site.gateway.sockets) == 0


async def test_token_ends_the_sockets_it_opened() -> None:
    """A module that grants what can end the login has its sockets closed by that."""

    async def login(attempt: Any) -> Grant:
        return Grant.user("joe", ["R"], revocation_keys=(RevocationKey("token", "t1"),))

    site = Site.made(Module(login))
    app = GatewayMiddleware(_echo, site.gateway)
    socket = Socket(scope("/a", basic("joe"), kind="websocket"))
    async with anyio.create_task_group() as group:
        group.start_soon(socket.run, app)
        await _until(lambda: socket.types == ["websocket.accept"])
        await site.gateway.revocations.revoke(RevocationKey("token", "t2"))
        await anyio.sleep(0.01)
        assert socket.types == ["websocket.accept"]
        await site.gateway.revocations.revoke(RevocationKey("token", "t1"))
    assert socket.sent[-1]["reason"] == "token revoked"


async def test_answers_are_not_kept_by_caches() -> None:
    """Every answer to a session says that it depends on the cookie and is not to be stored, whoever says otherwise."""
    site = Site.made()
    app = GatewayMiddleware(_echo, site.gateway)
    cookie = await site.login()
    for _ in range(2):
        socket = Socket(scope("/a", cookie))
        await socket.run(app)
        headers = socket.sent[0]["headers"]
        assert (b"vary", b"Cookie") in headers
        assert (b"cache-control", b"no-store") in headers


def test_trio_is_refused() -> None:
    """On trio the gateway does not start, and says why; a server without lifespan gets refusals only."""

    async def start() -> None:
        site = Site.made(users(joe="R"), cache_ttl=0)
        with pytest.raises(ConfigError, match=r"runs on asyncio, not on trio .*run the server on asyncio"):
            await site.gateway.open()
        socket = Socket(scope("/a", basic("joe"), kind="websocket"))
        socket.leave()
        await socket.run(GatewayMiddleware(_echo, site.gateway))
        assert "websocket.accept" not in socket.types

    anyio.run(start, backend="trio")
