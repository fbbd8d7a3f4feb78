"""Several realms in one extended handshake, for clients that do not know of ``Sec-Challenge-Identity``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asgi_gateway import GatewayMiddleware
from asgi_gateway.authentication.multi_realm import CHALLENGE_IDENTITY_TTL
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.errors import LoginFailed
from asgi_gateway.gateway import Gateway, GatewayServices
from asgi_gateway.http.http1 import ResponseHead
from asgi_gateway.model import Grant, RevocationKey
from asgi_gateway.schemes import ApplicationBasicScheme
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.websockets.kaazing_handshake import LoginLimits
from tests.gateways import Module, World
from tests.helpers import OnePartState
from tests.websockets.test_login import MARKER, Echo, Socket, basic, request

pytestmark = pytest.mark.anyio

IDENTITY = b"sec-challenge-identity"


class Store(OnePartState):
    """A store that tells what it holds and how often it was asked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.given: dict[str, float] = {}
        self.asked = 0

    async def put_if_absent(self, key: str, value: str, ttl: float) -> str | None:
        self.given[key] = ttl
        return await super().put_if_absent(key, value, ttl)

    async def get(self, key: str) -> str | None:
        self.asked += 1
        return await super().get(key)

    async def held(self) -> list[str]:
        return [key for key in self.given if await super(Store, self).get(key) is not None]


class Site:
    """A gateway whose service has three realms or fewer; ``joe`` has another password in each."""

    def __init__(self, *names: str) -> None:
        self.world = World()
        self.store = Store(self.world.clock)
        self.modules = {name: Module(self._login(name)) for name in names}
        self.realms = [self._realm(name) for name in names]
        self.echo = Echo()
        services = [Service("echo", (Mount("/echo"),), tuple(self.realms), Authorization(()))]
        runtime = GatewayServices(
            state=self.store, pools=self.world.pools, clock=self.world.clock, audit=self.world.audit
        )
        self.gateway = Gateway(services, runtime, extended_handshake=True)
        self.app = GatewayMiddleware(self.echo, self.gateway)

    @staticmethod
    def _login(realm: str) -> Any:
        async def login(attempt: Any) -> Grant:
            if attempt.username is None or attempt.password != f"{attempt.username}-{realm}":
                raise LoginFailed("no such user and password")
            return Grant.user(attempt.username, [realm])

        return login

    def _realm(self, name: str) -> Realm:
        return self.world.realm(self.modules[name], name=name, schemes=[ApplicationBasicScheme()])

    async def opened(self, **more: Any) -> Socket:
        """A socket whose first request, without credentials, was challenged for the first realm."""
        socket = await Socket(self.app, query=b"", **more).opened()
        assert realm_of(await socket.ask(request())) == self.realms[0].name
        return socket


@pytest.fixture
def site() -> Site:
    return Site("first", "second")


def realm_of(response: ResponseHead) -> str:
    """The realm that a 401 asks for."""
    assert response.status == 401
    return dict(response.headers)[b"www-authenticate"].decode().partition('realm="')[2].rstrip('"')


def login(realm: str, user: str = "joe", password: str | None = None) -> str:
    """A request with a user's credentials for a realm, in the manner of a client that knows of one realm only."""
    return request(basic(user, f"{user}-{realm}" if password is None else password))


async def left(socket: Socket) -> None:
    """The client goes away."""
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(socket.task, 5)


async def test_realms_in_turn() -> None:
    """After each realm the next one is asked for, and after the last the application is entered with all roles."""
    site = Site("first", "second", "third")
    socket = await site.opened()
    assert realm_of(await socket.ask(login("first"))) == "second"
    assert realm_of(await socket.ask(login("second"))) == "third"
    assert (await socket.ask(login("third"))).status == 101
    (scope,) = site.echo.scopes
    assert scope["user"].display_name == "joe"
    assert {"first", "second", "third"} <= set(scope["auth"].scopes)
    assert IDENTITY not in dict(scope["headers"])
    socket.say("hi")
    assert (await socket.next())["text"] == "hi"
    assert await site.store.held() == []
    await left(socket)


async def test_markers_and_binary_messages(site: Site) -> None:
    """The same with the messages of the Java client, which asks for the marker."""
    socket = await Socket(site.app, query=b".kl=Y").opened()
    assert realm_of(await socket.ask(request(protocol=None).encode())) == "first"
    assert realm_of(await socket.ask(login("first").encode())) == "second"
    assert (await socket.ask(login("second").encode())).status == 101
    assert (await socket.next())["bytes"] == MARKER
    await left(socket)


async def test_a_wrong_password_for_the_second(site: Site) -> None:
    """A wrong password for the second realm asks for the second realm again; that of the first is wrong there."""
    socket = await site.opened()
    assert realm_of(await socket.ask(login("first"))) == "second"
    assert realm_of(await socket.ask(login("second", password="wrong"))) == "second"
    assert realm_of(await socket.ask(login("first"))) == "second"
    assert (await socket.ask(login("second"))).status == 101
    assert site.modules["first"].calls == 2  # without credentials, and with them
    await left(socket)


async def test_no_credentials_for_the_second(site: Site) -> None:
    """A request without credentials asks for the second realm again."""
    socket = await site.opened()
    await socket.ask(login("first"))
    assert realm_of(await socket.ask(request())) == "second"
    assert (await socket.ask(login("second"))).status == 101
    await left(socket)


async def test_another_user(site: Site) -> None:
    """Another user's password for the second realm is refused for good, and the application is not entered."""
    socket = await site.opened()
    await socket.ask(login("first"))
    assert (await socket.ask(login("second", "ann"))).status == 403
    assert await socket.closed() == 1008
    assert site.echo.scopes == []
    assert await site.store.held() == []


async def test_wrong_answers_are_bounded(site: Site) -> None:
    """Three wrong passwords for the second realm ask for the first again; the fourth wrong one ends the login."""
    socket = await site.opened()
    assert realm_of(await socket.ask(login("first"))) == "second"
    for expected in ("second", "second", "first"):
        assert realm_of(await socket.ask(login("second", password="wrong"))) == expected
    assert (await socket.ask(login("second", password="wrong"))).status == 403
    assert await socket.closed() == 1008
    assert await site.store.held() == []


async def test_right_answers_are_not_counted_as_wrong() -> None:
    """Right passwords leave the client as many wrong ones as it has for one realm."""
    site = Site("first", "second", "third")
    socket = await site.opened()
    for name, following in (("first", "second"), ("second", "third")):
        assert realm_of(await socket.ask(login(name, password="wrong"))) == name
        assert realm_of(await socket.ask(login(name))) == following
    assert realm_of(await socket.ask(login("third", password="wrong"))) == "third"
    assert (await socket.ask(login("third"))).status == 101
    await left(socket)


async def test_requests_are_bounded() -> None:
    """However right and wrong passwords take turns, the number of requests that one socket may make is bounded."""
    site = Site("first", "second", "third")
    socket = await site.opened()
    right = {name: login(name) for name in ("first", "second", "third")}
    bogus = request("Sec-Challenge-Identity: x", basic("joe", "joe-first"))
    requests = 1
    while True:
        requests += 1
        message = bogus if requests % 2 else right["second"]
        if (await socket.ask(message)).status == 403:
            break
    assert requests <= LoginLimits().answers + len(site.realms) + 1
    await socket.closed()
    assert await site.store.held() == []


async def test_time_for_the_second(site: Site) -> None:
    """A client has as long for the second realm's credentials as for the first's; a store forgets them afterwards."""
    socket = await site.opened()
    await socket.ask(login("first"))
    assert list(site.store.given.values()) == [LoginLimits().later]
    site.world.clock.advance(LoginLimits().later - 1)
    assert LoginLimits().later - 1 > CHALLENGE_IDENTITY_TTL
    assert (await socket.ask(login("second"))).status == 101
    await left(socket)
    slow = await site.opened()
    await slow.ask(login("first"))
    site.world.clock.advance(LoginLimits().later + 1)
    assert realm_of(await slow.ask(login("second"))) == "first"
    await left(slow)


@pytest.mark.parametrize("end", ["leave", "broken"])
async def test_nothing_is_kept_beyond_the_socket(site: Site, end: str) -> None:
    """When the login ends, what the first realm's success gave can be used nowhere else."""
    socket = await site.opened()
    given = dict((await socket.ask(login("first"))).headers)[IDENTITY].decode()
    assert len(await site.store.held()) == 1
    if end == "leave":
        await left(socket)
    else:
        assert (await socket.ask("no request")).status == 400
        await socket.closed()
    assert await site.store.held() == []
    other = await site.opened()
    for lines in ((), (f"Sec-Challenge-Identity: {given}",)):
        assert realm_of(await other.ask(request(*lines, basic("joe", "joe-second")))) == "first"
    await left(other)


async def test_each_socket_has_its_own(site: Site) -> None:
    """What one socket reached counts in no other, though both are one client's."""
    one, other = await site.opened(), await site.opened()
    assert realm_of(await one.ask(login("first"))) == "second"
    assert realm_of(await other.ask(login("second"))) == "first"
    assert (await one.ask(login("second"))).status == 101
    await left(one)
    await left(other)


async def test_a_client_that_knows_the_header(site: Site) -> None:
    """A client's own identity counts; one that nobody gave is none, and that of the last challenge is removed."""
    socket = await site.opened()
    given = dict((await socket.ask(login("first"))).headers)[IDENTITY].decode()
    shown = request(f"Sec-Challenge-Identity: {given}", basic("joe", "joe-second"))
    assert (await socket.ask(shown)).status == 101
    await left(socket)
    other = await site.opened()
    await other.ask(login("first"))
    invented = request("Sec-Challenge-Identity: invented", basic("joe", "joe-second"))
    assert realm_of(await other.ask(invented)) == "first"
    await left(other)
    assert await site.store.held() == []


async def test_one_realm_asks_no_store() -> None:
    """A login to a service with one realm puts nothing into the store and asks it nothing."""
    site = Site("first")
    socket = await site.opened()
    assert (await socket.ask(login("first"))).status == 101
    assert site.store.given == {}
    assert site.store.asked == 0
    await left(socket)


async def test_revoked_between_two_realms(site: Site) -> None:
    """A user who is revoked after the first realm's success is out, though the second realm's password is right."""
    socket = await site.opened()
    await socket.ask(login("first"))
    await site.gateway.revocations.revoke(RevocationKey("user", "joe", "first"))
    socket.say(login("second"))
    messages = [await socket.next()]
    while messages[-1]["type"] != "websocket.close":
        messages.append(await socket.next())
    assert messages[-1]["code"] == 4004
    await asyncio.wait_for(socket.task, 5)
