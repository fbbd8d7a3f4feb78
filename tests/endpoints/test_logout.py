"""The gateway's own endpoints: logging out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.errors import StateUnavailable
from asgi_gateway.model import Protocol, Subject
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.origins import CrossSite, OriginRules
from asgi_gateway.stores.memory import MemoryState
from tests.endpoints.test_service import HOST, Setting
from tests.gateways import App, Headers, Server, World, ask, basic, scope, users, wrapped
from tests.helpers import OnePartState

pytestmark = pytest.mark.anyio

GONE = b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


class Site:
    """A gateway with sessions in front of an application, at ``/a``."""

    def __init__(self, protocol: Protocol | None = None, *, state: MemoryState | None = None, origin: str = "") -> None:
        self.world = World(state=state)
        self.ended: list[Subject] = []
        module = users(joe="R", ann="")
        module.logout = self._logout  # type: ignore[method-assign]
        assert self.world.state is not None
        realm = self.world.realm(module, recycle=(self.world.state, [b"k" * 32]), reader=CredentialReader())
        protocols: frozenset[Protocol] = frozenset((protocol,) if protocol is not None else ("http", "websocket"))
        origins = OriginRules([CrossSite(frozenset((origin,)))] if origin else ())
        app = Service("app", (Mount("/a", protocols),), (realm,), origins=origins)
        public = Service("public", (Mount("/public"),))
        plain = Service("plain", (Mount("/plain"),), (self.world.realm(users(joe="R"), name="plain"),))
        self.gateway = self.world.gateway(app, public, plain)
        self.app: Any
        self.entered: App
        self.app, self.entered = wrapped(self.gateway)

    async def _logout(self, subject: Subject) -> None:
        self.ended.append(subject)

    async def http(self, path: str, *headers: tuple[bytes, bytes], method: str = "POST", **more: Any) -> Server:
        """One HTTP request."""
        return await ask(self.app, scope(path, HOST, *headers, method=method, **more))

    async def login(self, name: str = "joe", **more: Any) -> tuple[bytes, bytes]:
        """The header with a session's cookie."""
        answer = await self.http("/a", basic(name), method="GET", **more)
        return b"cookie", dict(answer.headers)[b"set-cookie"].partition(b";")[0]

    def logouts(self) -> list[dict[str, str]]:
        """The audit log's events of logging out."""
        events = [json.loads(line) for line in self.world.records.lines]
        return [event for event in events if event["outcome"] == "logout"]


async def test_logout() -> None:
    """The session ends on the server at once, the client drops its cookie, the modules are told, and so is the log."""
    site = Site()
    joe, other = await site.login(), await site.login()
    answer = await site.http("/a/;o", joe)
    assert (answer.status, answer.body) == (204, b"")
    headers = dict(answer.headers)
    assert headers[b"set-cookie"] == joe[1].partition(b"=")[0] + b"=" + GONE
    assert (headers[b"cache-control"], headers[b"vary"]) == (b"no-store", b"Cookie")
    assert (await site.http("/a", joe, method="GET")).status == 401
    assert (await site.http("/a", other, method="GET")).status == 200
    assert [subject.name for subject in site.ended] == ["joe"]
    (event,) = site.logouts()
    assert (event["principal"], event["realm"], event["service"]) == ("joe", "demo", "app")
    assert joe[1].decode().partition("=")[2] not in "".join(site.world.records.lines)


async def test_cookie_over_tls() -> None:
    """Over TLS it is the cookie for TLS that ends and is dropped."""
    site = Site()
    joe = await site.login(scheme="https")
    answer = await site.http("/a/;o", joe, scheme="https")
    assert dict(answer.headers)[b"set-cookie"].startswith(b"__Host-asgi-gateway-")
    assert b"; Secure" in dict(answer.headers)[b"set-cookie"]
    assert (await site.http("/a", joe, method="GET", scheme="https")).status == 401


async def test_idempotent() -> None:
    """Without a session, with one that has ended and with a forged cookie the answer is the same, and nothing ends."""
    site = Site()
    joe = await site.login()
    for cookie in (joe, joe, (b"cookie", joe[1] + b"x"), (b"cookie", b"other=1")):
        assert (await site.http("/a/;o", cookie)).status == 204
    assert (await site.http("/a/;o")).status == 204
    assert len(site.logouts()) == 1


async def test_sockets_end(tmp_path: Any) -> None:
    """The session's WebSockets are closed; another session's of the same user stays open."""
    setting = Setting(tmp_path, recycle=True)
    sockets = [await setting.open("/chat", basic("joe")) for _ in range(2)]
    cookies = [dict(each.server.sent[0]["headers"])[b"set-cookie"].partition(b";")[0] for each in sockets]
    for socket in sockets:
        await socket.end()
    sockets = [await setting.open("/chat", (b"cookie", cookie)) for cookie in cookies]
    assert (await setting.http("/chat/;o", (b"cookie", cookies[0]))).status == 204
    await sockets[0].begin()
    last = sockets[0].server.sent[-1]
    assert (last["type"], last["code"]) == ("websocket.close", 4003)
    assert sockets[1].server.sent[-1]["type"] == "websocket.accept"
    for socket in sockets:
        await socket.end()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_post_only(method: str) -> None:
    """No link, image or prefetch logs anybody out."""
    site = Site()
    joe = await site.login()
    answer = await site.http("/a/;o", joe, method=method)
    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"POST")
    assert (await site.http("/a", joe, method="GET")).status == 200


@pytest.mark.parametrize("origins", [[b"https://evil.example"], [b"null"], [b"http://shop.example"] * 2])
async def test_foreign_pages(origins: list[bytes]) -> None:
    """A page of another origin logs nobody out, though the browser should send the cookie."""
    site = Site()
    joe = await site.login()
    answer = await site.http("/a/;o", joe, *((b"origin", origin) for origin in origins))
    assert answer.status == 403
    assert b"set-cookie" not in dict(answer.headers)
    assert (await site.http("/a", joe, method="GET")).status == 200
    assert (await site.http("/a/;o", joe, (b"origin", b"http://shop.example"))).status == 204


async def test_listed_origin() -> None:
    """A page of a listed origin may, and can read the answer."""
    site = Site(origin="https://page.example")
    answer = await site.http("/a/;o", await site.login(), (b"origin", b"https://page.example"))
    assert answer.status == 204
    assert dict(answer.headers)[b"access-control-allow-origin"] == b"https://page.example"
    assert len(site.logouts()) == 1


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_services_of_one_kind(kind: Protocol) -> None:
    """A service of HTTP requests alone has the endpoint, and so has one of WebSockets alone."""
    assert (await Site(kind).http("/a/;o")).status == 204


@pytest.mark.parametrize("path", ["/public/;o", "/plain/;o", "/nowhere/;o", "/a/;o/", "/a;o", "/a/;o;x"])
async def test_where_there_are_no_sessions(path: str) -> None:
    """Without sessions there is no such endpoint, nor at any other path with a parameter."""
    site = Site()
    assert (await site.http(path, basic("joe"))).status == 403
    assert site.entered.scopes == []


async def test_no_redirect() -> None:
    """What a client says of where to go next is not looked at."""
    answer = await Site().http("/a/;o", (b"referer", b"https://evil.example"), query_string=b"next=//evil.example")
    assert answer.status == 204
    assert b"evil" not in repr(answer.headers).encode()


async def test_doubled_cookie() -> None:
    """Two cookies of the name are refused: nobody knows whose session is meant."""
    site = Site()
    cookies: Headers = [await site.login(), await site.login("ann")]
    assert (await site.http("/a/;o", *cookies)).status == 403
    assert site.logouts() == []


class Down(OnePartState):
    """A store that can be down."""

    down = False

    async def get(self, key: str) -> str | None:
        if self.down:
            raise StateUnavailable("down")
        return await super().get(key)


async def test_store_down() -> None:
    """While the store is down nobody is told that they are logged out, and the cookie stays, to try again."""
    state = Down()
    site = Site(state=state)
    joe = await site.login()
    state.down = True
    answer = await site.http("/a/;o", joe)
    assert answer.status == 503
    assert b"set-cookie" not in dict(answer.headers)
    state.down = False
    assert (await site.http("/a/;o", joe)).status == 204
    assert len(site.logouts()) == 1
