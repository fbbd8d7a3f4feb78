"""Logins are checked again while sessions, WebSockets and long responses rest on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Allow, Challenge, Grant, RevocationKey, Subject
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.websockets import monitor
from tests.gateways import Module, Server, World, basic, request, scope, service

pytestmark = pytest.mark.anyio

KEYS = [b"k" * 32]
Answer = Callable[[], bool | None]


class Directory(Module):
    """A module with one user, whose state in the back end a test changes."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__(self._log_in, needs_credentials=True)
        self.answer: bool | Exception | None = True
        self.data = {"user": "joe"} if data is None else data
        self.rechecks: list[tuple[str, Any]] = []

    async def _log_in(self, attempt: Any) -> Grant:
        return Grant.user("joe", ["R"], recheck_data=self.data or None)

    async def recheck(self, subject: Subject, data: Any) -> bool | None:
        self.rechecks.append((subject.name, data))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site:
    """A gateway with sessions whose logins are checked every 60 seconds."""

    def __init__(self, module: Directory, **settings: Any) -> None:
        self.world = World()
        self.module = module
        state = self.world.state = MemoryState(self.world.clock)
        self.realm = self.world.realm(module, recycle=(state, KEYS), **({"recheck": 60.0} | settings))
        self.gateway = self.world.gateway(service("a", "/a", self.realm))

    async def cookie(self) -> tuple[bytes, bytes]:
        allow = await self.gateway.decide(request("/a", basic("joe")))
        assert isinstance(allow, Allow)
        return b"cookie", dict(allow.headers)[b"set-cookie"].partition(b";")[0]


async def test_a_session_ends_when_its_login_no_longer_holds() -> None:
    """A session is let in while its login holds, and ends for good when it does not; each check is due once."""
    site = Site(Directory())
    cookie = await site.cookie()
    for _ in range(3):
        assert isinstance(await site.gateway.decide(request("/a", cookie)), Allow)
    assert site.module.rechecks == [("joe", {"user": "joe"})]
    site.world.clock.advance(61)
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Allow)
    assert len(site.module.rechecks) == 2
    site.module.answer = False
    site.world.clock.advance(61)
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Challenge)
    site.module.answer = True
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Challenge)


@pytest.mark.parametrize(
    ("answer", "data", "recheck", "stands"),
    [
        (False, None, 60.0, False),
        (LoginUnavailable("down"), None, 60.0, True),
        (False, {}, 60.0, True),
        (False, None, 0.0, True),
    ],
    ids=["ended", "back end down", "nothing to check", "turned off"],
)
async def test_what_ends_a_session(
    answer: bool | Exception | None, data: dict[str, Any] | None, recheck: float, stands: bool
) -> None:
    """A login that ended ends the session; a back end that is down ends none."""
    site = Site(Directory(data), recheck=recheck)
    cookie = await site.cookie()
    site.module.answer = answer
    decision = await site.gateway.decide(request("/a", cookie))
    assert isinstance(decision, Allow if stands else Challenge)


async def test_a_login_that_cannot_be_checked_is_good_for_one_interval() -> None:
    """A session whose module cannot check it ends when its login is older than the interval, on every worker."""
    site = Site(Directory())
    site.module.answer = None
    cookie = await site.cookie()
    for seconds, answer in ((0, Allow), (30, Allow), (29, Allow), (2, Challenge), (0, Challenge)):
        site.world.clock.advance(seconds)
        site.realm.sessions.invalidate(None)  # type: ignore[union-attr]  # as on a worker that has not seen it
        assert isinstance(await site.gateway.decide(request("/a", cookie)), answer), seconds
    refused = Site(Directory())
    cookie = await refused.cookie()
    refused.module.answer = False
    assert isinstance(await refused.gateway.decide(request("/a", cookie)), Challenge)


async def test_changed_data_is_looked_at_at_once() -> None:
    """When a module's data changed, sessions are checked at their next request, however lately they were checked."""
    site = Site(Directory())
    cookie = await site.cookie()
    asked = scope("/a", cookie)
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Allow)
    assert site.gateway.cached_decision(asked) is not None
    site.module.answer = False
    site.realm.invalidate()
    assert site.gateway.cached_decision(asked) is None
    assert isinstance(await site.gateway.decide(request("/a", cookie)), Challenge)


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_sockets_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebSocket whose login no longer holds is closed with 4007; equal logins are checked once for all of them."""
    monkeypatch.setattr(monitor, "_TICK", 0.01)
    site = Site(Directory())
    app = GatewayMiddleware(_echo, site.gateway)
    await site.gateway.open()
    sockets = [Server({"type": "websocket.connect"}) for _ in range(2)]
    running = [
        asyncio.create_task(app(scope("/a", basic("joe"), kind="websocket"), each.receive, each.send))
        for each in sockets
    ]
    await _until(lambda: len(site.gateway.sockets) == 2)
    assert len(site.gateway.monitor) == 1
    site.realm.invalidate()
    await _until(lambda: len(site.module.rechecks) == 1)
    assert all(each.sent[-1]["type"] == "websocket.accept" for each in sockets)
    site.module.answer = LoginUnavailable("down")
    site.realm.invalidate()
    await _until(lambda: len(site.module.rechecks) == 2)
    await asyncio.sleep(0.05)
    assert len(site.gateway.sockets) == 2
    site.module.answer = False
    site.realm.invalidate()
    await asyncio.gather(*running)
    for each in sockets:
        assert (each.sent[-1]["code"], each.sent[-1]["reason"]) == (4007, "login no longer valid")
    assert (len(site.gateway.sockets), len(site.gateway.monitor)) == (0, 0)
    await site.gateway.close()


def streaming(parts: int, pause: Callable[[], Awaitable[Any]]) -> Any:
    """An application that sends a long response and stops when its client is gone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(parts):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await pause()
        gone = await receive()
        assert gone["type"] == "http.disconnect"

    return app


REQUEST = {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("cached", [False, True], ids=["first request", "cached session"])
@pytest.mark.parametrize("how", ["session", "user", "recheck"])
async def test_streams_end(monkeypatch: pytest.MonkeyPatch, how: str, cached: bool) -> None:
    """A long response ends with logout, with the user's revocation, and when the login no longer holds."""
    monkeypatch.setattr(monitor, "_TICK", 0.01)
    site = Site(Directory())
    app = GatewayMiddleware(streaming(3, lambda: asyncio.sleep(0)), site.gateway)
    await site.gateway.open()
    cookie = await site.cookie()
    if cached:
        await site.gateway.decide(request("/a", cookie))
        assert site.gateway.cached_decision(scope("/a", cookie)) is not None
    client = Server(REQUEST)
    running = asyncio.create_task(app(scope("/a", cookie), client.receive, client.send))
    await _until(lambda: len(site.gateway.sockets) == 1)
    assert not running.done()
    if how == "session":
        await site.realm.log_out(request("/a", cookie), "a", site.gateway.revocations)
    elif how == "user":
        await site.gateway.revocations.revoke(RevocationKey("user", "joe", "demo"))
    else:
        site.module.answer = False
        site.realm.invalidate()
    await asyncio.wait_for(running, 10)
    assert client.sent[-1].get("more_body") is True
    await _until(lambda: len(site.gateway.sockets) == 0)
    assert len(site.gateway.monitor) == 0
    await site.gateway.close()


async def test_short_responses_are_not_registered() -> None:
    """A response of one body message, and one that ends with its second, leave nothing behind."""
    site = Site(Directory())
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        seen.append(len(site.gateway.sockets))
        await send({"type": "http.response.body", "body": b"y"})
        seen.append(len(site.gateway.sockets))

    client = Server(REQUEST)
    await GatewayMiddleware(app, site.gateway)(scope("/a", await site.cookie()), client.receive, client.send)
    assert seen == [0, 0]
    assert [message["type"] for message in client.sent] == ["http.response.start"] + ["http.response.body"] * 2


async def test_what_modules_keep_for_their_checks_is_not_printed() -> None:
    """No repr of a decision, or of how its login is checked, shows what a module keeps for its rechecks."""
    site = Site(Directory({"user": "joe", "password": "c4nary"}))
    allow = await site.gateway.decide(request("/a", basic("joe")))
    assert isinstance(allow, Allow)
    (check,) = allow.checks
    result = await site.realm.authenticate(request("/", basic("joe")))
    assert "c4nary" in check.key()[1]
    for shown in (allow, check, result):
        assert "c4nary" not in repr(shown)
