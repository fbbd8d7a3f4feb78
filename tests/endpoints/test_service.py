"""The gateway's own endpoints: authenticating again, and tickets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.model import RevocationKey
from asgi_gateway.modules.token import TokenLoginModule, TokenOptions
from asgi_gateway.schemes import ApplicationTokenScheme
from asgi_gateway.services.model import Service, Ticket
from asgi_gateway.services.origins import CrossSite, OriginRules
from asgi_gateway.websockets.live import LiveSocket
from tests.gateways import CONNECT, Headers, Server, World, ask, basic, scope, service, users, wrapped
from tests.helpers import context

pytestmark = pytest.mark.anyio

HOST = (b"host", b"shop.example")


class Setting:
    """A gateway in front of an application: ``/chat`` with an authorization timeout, ``/live`` with tickets."""

    def __init__(
        self, tmp_path: Any, *, origins: OriginRules | None = None, ticket_roles: str = "", recycle: bool = False
    ) -> None:
        self.world = World()
        (tmp_path / "keys").write_text("k" * 32)
        (tmp_path / "keys").chmod(0o600)
        made = context(tmp_path, realm="tickets", clock=self.world.clock, state=self.world.state)
        module = TokenLoginModule(TokenOptions(keyFile="keys", audience="shop"), made.context)
        self.staff = users(joe="R", ann="")
        more: dict[str, Any] = {"recycle": (self.world.state, [b"s" * 32])} if recycle else {}
        staff = self.world.realm(self.staff, name="staff", authorization_timeout=60, session_timeout=600, **more)
        tickets = self.world.realm(
            module, name="tickets", schemes=[ApplicationTokenScheme()], reader=CredentialReader(query_parameters=["t"])
        )
        self.chat = service("chat", "/chat", staff, origins=origins)
        live = service("live", "/live", tickets, roles=ticket_roles, origins=origins)
        login = Service("live: ticket", (), (staff,), live.authorization, live.origins)
        self.live = replace(live, ticket=Ticket(login, module.issuer, "tickets", 30.0))
        self.other = service("other", "/other", tickets)
        self.public = service("public", "/public")
        self.gateway = self.world.gateway(self.chat, self.live, self.other, self.public)
        self.app, self.entered = wrapped(self.gateway)

    async def http(self, path: str, *headers: tuple[bytes, bytes], method: str = "POST", **more: Any) -> Server:
        """One HTTP request."""
        return await ask(self.app, scope(path, HOST, *headers, method=method, **more))

    async def open(self, path: str = "/chat", *headers: tuple[bytes, bytes], query: bytes = b"") -> Open:
        """A WebSocket that stays open."""
        return await Open(self, scope(path, HOST, *headers, kind="websocket", query_string=query)).begin()

    async def ticket(self, *headers: tuple[bytes, bytes]) -> str:
        """A ticket for ``/live``."""
        answer = await self.http("/live/;t", *(headers or (basic("joe"),)))
        assert answer.status == 200
        return str(json.loads(answer.body)["ticket"])


class Open:
    """A WebSocket whose application runs as a task."""

    def __init__(self, setting: Setting, scope: dict[str, Any]) -> None:
        self.server = Server(CONNECT.copy())
        self.setting = setting
        self.task = asyncio.create_task(setting.app(scope, self.server.receive, self.server.send))

    async def begin(self) -> Open:
        for _ in range(20):
            await asyncio.sleep(0)
        return self

    @property
    def header(self) -> str:
        """The name that the answer to the handshake tells."""
        name: bytes = dict(self.server.sent[0]["headers"])[b"gateway-socket"]
        return name.decode()

    @property
    def live(self) -> Any:
        """What the gateway knows of it."""
        return self.setting.gateway.sockets.by_name(self.header)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
def setting(tmp_path: Any) -> Setting:
    return Setting(tmp_path)


# ------------------------------------------------------------------------------------------------- authenticating again


async def test_the_name_is_told(setting: Setting) -> None:
    """The answer to the handshake and the application's scope have the same name; a socket that needs none has none."""
    joe = await setting.open("/chat", basic("joe"))
    assert setting.entered.scopes[0]["asgi_gateway"].socket == joe.header
    assert len(joe.header) == 44
    ticket = await setting.ticket()
    other = await setting.open("/live", query=f"t={ticket}".encode())
    assert other.server.sent[0] == {"type": "websocket.accept"}
    assert setting.entered.scopes[1]["asgi_gateway"].socket == ""
    await joe.end()
    await other.end()
    assert len(setting.gateway.sockets) == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_challenge_then_fresh_credentials(setting: Setting, method: str) -> None:
    """Without credentials there is the realm's challenge, with wrong ones again, with right ones 200 and more time."""
    joe = await setting.open("/chat", basic("joe"))
    before, path = joe.live.authorized_until, f"/chat/;a/{joe.header}"
    for headers in ((), (basic("joe", "wrong"),)):
        refused = await setting.http(path, *headers, method=method)
        assert refused.status == 401
        assert (b"www-authenticate", b'Basic realm="staff", charset="UTF-8"') in refused.headers
    assert joe.live.authorized_until == before
    joe.live.authorized_until -= 30
    answer = await setting.http(path, basic("joe"), method=method, raw_path=path.encode())
    await joe.begin()
    assert (answer.status, answer.body) == (200, b"OK\n")
    assert (b"cache-control", b"no-store") in answer.headers
    assert joe.live.authorized_until == pytest.approx(before, abs=5)
    assert len(setting.entered.scopes) == 1
    await joe.end()


async def test_only_fresh_credentials_count(tmp_path: Any) -> None:
    """A session's cookie, and credentials that were verified a moment ago, do not stand for authenticating again."""
    setting = Setting(tmp_path, recycle=True)
    joe = await setting.open("/chat", basic("joe"))
    cookie = next(value for name, value in joe.server.sent[0]["headers"] if name == b"set-cookie").partition(b";")[0]
    path = f"/chat/;a/{joe.header}"
    assert (await setting.http("/chat", (b"cookie", cookie), method="GET")).status == 200
    calls = setting.staff.calls
    assert (await setting.http(path, (b"cookie", cookie))).status == 401
    assert (await setting.http(path, (b"cookie", cookie), basic("joe"))).status == 200
    assert (await setting.http(path, (b"cookie", cookie), basic("joe"))).status == 200
    assert setting.staff.calls == calls + 2
    await joe.end()


async def test_another_user_is_refused(setting: Setting) -> None:
    """Somebody else's right credentials are refused, and the socket is left as it was."""
    joe = await setting.open("/chat", basic("joe"))
    before = joe.live.authorized_until
    assert (await setting.http(f"/chat/;a/{joe.header}", basic("ann"))).status == 403
    await joe.begin()
    assert joe.live.authorized_until == before
    assert not joe.live.ended
    assert any("another user's" in line for line in setting.world.records.lines)
    await joe.end()


async def test_a_socket_that_is_gone(setting: Setting) -> None:
    """For a name that no socket has, and for one whose socket has gone, right credentials get 403."""
    joe = await setting.open("/chat", basic("joe"))
    await joe.end()
    for name in (joe.header, "x" * 44):
        assert (await setting.http(f"/chat/;a/{name}", basic("joe"))).status == 403


async def test_the_name_is_bound_to_its_service(setting: Setting) -> None:
    """Below another service's path the name means nothing."""
    joe = await setting.open("/chat", basic("joe"))
    for path in ("/live", "/public", "/nowhere", ""):
        assert (await setting.http(f"{path}/;a/{joe.header}", basic("joe"))).status in (401, 403)
    await joe.end()


NAME = "n" * 44


@pytest.mark.parametrize(
    "path",
    [
        f"/chat/;a/{NAME}/",
        f"/chat/;a/{NAME}x",
        "/chat/;a/",
        "/chat/;a/short",
        f"/chat;a/{NAME}",
        f"/public/../chat/;a/{NAME}",
        f"//chat/;a/{NAME}",
        f"/chat;x/;a/{NAME}",
        f"/chat/;b/{NAME}",
        "/chat/;t",
        "/live/;t/",
        "/public/;t",
        "/chat/;t\n",
    ],
)
async def test_confusing_paths(setting: Setting, path: str) -> None:
    """Every other path with a parameter is refused as always, right credentials or not."""
    assert (await setting.http(path, basic("joe"))).status == 403
    assert setting.entered.scopes == []


async def test_a_path_sent_in_another_way(setting: Setting) -> None:
    """An encoded semicolon or separator is not the endpoint."""
    for sent in (b"/live/%3Bt", b"/live%2F;t", b"/%6Cive/%2E%2E/live/;t"):
        assert (await setting.http("/live/;t", basic("joe"), raw_path=sent)).status == 403
    assert (await setting.http("/live/;t", basic("joe"), raw_path=b"/live/;t?x=1")).status == 200


async def test_below_a_root_path(setting: Setting) -> None:
    """Mounted below a path, the endpoint is below it, too."""
    answer = await setting.http("/app/live/;t", basic("joe"), root_path="/app", raw_path=b"/app/live/;t")
    assert answer.status == 200


# ------------------------------------------------------------------------------------------------------------- tickets


async def test_a_ticket_opens_one_socket(setting: Setting) -> None:
    """A login is traded for a ticket that opens one WebSocket of its service, as its user with its roles, once."""
    answer = await setting.http("/live/;t", basic("joe"))
    assert answer.status == 200
    assert (b"cache-control", b"no-store") in answer.headers
    assert (b"content-type", b"application/json") in answer.headers
    said = json.loads(answer.body)
    assert said["expires_in"] == 30
    query = f"t={said['ticket']}".encode()
    first = await setting.open("/live", query=query)
    again = await setting.open("/live", query=query)
    assert first.server.sent[0]["type"] == "websocket.accept"
    assert again.server.sent[0]["status"] == 403
    (seen,) = setting.entered.scopes
    assert (seen["user"].display_name, seen["user"].roles) == ("joe", frozenset({"R"}))
    await first.end()


async def test_a_ticket_for_another_service(setting: Setting) -> None:
    """The same realm's other services do not take it, and the attempt does not use it up."""
    query = f"t={await setting.ticket()}".encode()
    refused = await setting.open("/other", query=query)
    assert refused.server.sent[0]["status"] == 403
    opened = await setting.open("/live", query=query)
    assert opened.server.sent[0]["type"] == "websocket.accept"
    await opened.end()


async def test_a_ticket_is_short_lived(setting: Setting) -> None:
    """After its life and the leeway it opens nothing."""
    ticket = await setting.ticket()
    setting.world.clock.advance(61)
    assert (await setting.open("/live", query=f"t={ticket}".encode())).server.sent[0]["status"] == 403


async def test_what_a_ticket_opens_ends_with_its_login(setting: Setting) -> None:
    """The socket ends when the login's session would, and is ended by what ends the login."""
    ticket = await setting.ticket()
    opened = await setting.open("/live", query=f"t={ticket}".encode())
    (socket,) = {s for there in setting.gateway.sockets._by_key.values() for s in [there]}
    assert isinstance(socket, LiveSocket)
    kinds = {(each.kind, each.realm) for each in socket.revocation_keys}
    assert kinds == {("user", "tickets"), ("user", "staff"), ("token", "")}
    assert socket._session_end is not None
    assert socket._session_end - socket.loop.time() == pytest.approx(600, abs=5)
    await opened.end()


async def test_a_ticket_whose_login_was_ended(setting: Setting) -> None:
    """After its user was revoked a ticket that was had before opens nothing; one that is had afterwards does."""
    before = await setting.ticket()
    other = await setting.ticket(basic("ann"))
    await setting.gateway.revocations.revoke(RevocationKey("user", "joe", "staff"))
    after = await setting.ticket()
    opened = []
    for ticket in (before, other, after):
        socket = await setting.open("/live", query=f"t={ticket}".encode())
        opened.append(socket.server.sent[0].get("status", 101))
        await socket.end()
    assert opened == [403, 101, 101]


async def test_a_ticket_whose_session_was_ended(tmp_path: Any) -> None:
    """A ticket that was had for a session opens nothing once the session is over."""
    setting = Setting(tmp_path, recycle=True)
    answer = await setting.http("/chat", basic("joe"), method="GET")
    cookie = next(value for name, value in answer.headers if name == b"set-cookie").partition(b";")[0]
    tickets = [await setting.ticket((b"cookie", cookie)) for _ in range(2)]
    sessions = setting.chat.realms[0].sessions
    assert sessions is not None
    found = await sessions.load(cookie, secure=False)
    assert found is not None
    first = await setting.open("/live", query=f"t={tickets[0]}".encode())
    assert first.server.sent[0]["type"] == "websocket.accept"
    await setting.gateway.revocations.revoke(found.revocation_keys[0])
    await first.begin()
    assert first.server.sent[-1]["code"] == 4003
    late = await setting.open("/live", query=f"t={tickets[1]}".encode())
    assert late.server.sent[0]["status"] == 403
    await first.end()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", [basic("joe")], 405),
        ("PUT", [basic("joe")], 405),
        ("POST", [], 401),
        ("POST", [basic("joe", "wrong")], 401),
        ("POST", [basic("joe"), basic("joe")], 403),
        ("POST", [basic("joe"), (b"origin", b"https://evil.example")], 403),
        ("POST", [basic("joe"), (b"origin", b"null")], 403),
        ("POST", [basic("joe"), (b"origin", b"http://shop.example")], 200),
    ],
)
async def test_who_gets_a_ticket(setting: Setting, method: str, headers: Headers, status: int) -> None:
    """Only a POST with a good login from the service's own origin gets a ticket."""
    assert (await setting.http("/live/;t", *headers, method=method)).status == status
    assert setting.entered.scopes == []


async def test_no_ticket_without_the_roles(tmp_path: Any) -> None:
    """Who could open nothing with a ticket gets none."""
    setting = Setting(tmp_path, ticket_roles="R")
    assert (await setting.http("/live/;t", basic("ann"))).status == 403
    assert (await setting.http("/live/;t", basic("joe"))).status == 200


async def test_from_another_sites_page(tmp_path: Any) -> None:
    """A listed origin gets preflight and answer with CORS headers, others neither."""
    page = (b"origin", b"https://page.example")
    setting = Setting(
        tmp_path, origins=OriginRules([CrossSite(frozenset([page[1].decode()]), ("POST",), ("authorization",))])
    )
    asked = (b"access-control-request-method", b"POST")
    preflight = await setting.http("/live/;t", page, asked, method="OPTIONS")
    assert preflight.status == 204
    assert (b"access-control-allow-headers", b"authorization") in preflight.headers
    evil = (b"origin", b"https://evil.example")
    assert (await setting.http("/live/;t", evil, asked, method="OPTIONS")).status == 403
    answer = await setting.http("/live/;t", page, basic("joe"))
    assert answer.status == 200
    assert (b"access-control-allow-origin", page[1]) in answer.headers
