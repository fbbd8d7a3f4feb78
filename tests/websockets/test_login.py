"""The extended handshake through the middleware, over ASGI messages in memory."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import CoroutineType
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asgi_gateway import GatewayMiddleware
from asgi_gateway.http.http1 import ResponseHead, parse_response
from asgi_gateway.model import Decision, Headers
from asgi_gateway.websockets.kaazing_handshake import LoginLimits
from asgi_gateway.websockets.login import SocketLogin
from asgi_gateway.websockets.pending import PendingLogins

USERS = """<jaas-config>
  <user><name>joe</name><password>welcome</password><role-name>USER</role-name></user>
  <user><name>ann</name><password>welcome</password></user>
  <role><name>USER</name></role>
</jaas-config>"""

MARKER = b"\xef\x83\xbfN"


def basic(user: str = "joe", password: str = "welcome") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(*lines: str, protocol: str | None = "") -> str:
    """A request of the JavaScript client; with ``protocol=None`` one of the Java client, which names none there."""
    protocols = [] if protocol is None else [f"Sec-WebSocket-Protocol: {protocol}"]
    return "\r\n".join(["GET /echo HTTP/1.1", *protocols, *lines, "", ""])


class Socket:
    """A WebSocket as an ASGI server shows it, played by hand."""

    def __init__(
        self,
        app: ASGIApp,
        path: str = "/echo",
        query: bytes = b".kl=Y",
        headers: Iterable[tuple[bytes, bytes]] = (),
        protocols: Iterable[str] = ("x-kaazing-handshake",),
        **scope: Any,
    ) -> None:
        self.scope: Scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [(b"host", b"host"), *headers],
            "subprotocols": list(protocols),
            "scheme": "wss",
            "client": ("192.0.2.1", 5),
            "extensions": {"websocket.http.response": {}},
            **scope,
        }
        self.inward: asyncio.Queue[Message] = asyncio.Queue()
        self.outward: asyncio.Queue[Message] = asyncio.Queue()
        self.inward.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(self._run(app))

    async def _run(self, app: ASGIApp) -> None:
        await app(self.scope, self.inward.get, self.outward.put)

    def say(self, message: str | bytes) -> None:
        key = "text" if isinstance(message, str) else "bytes"
        self.inward.put_nowait({"type": "websocket.receive", key: message})

    async def next(self) -> Message:
        return await asyncio.wait_for(self.outward.get(), 5)

    async def opened(self) -> Socket:
        """Take the early accept and, if asked for, the marker."""
        assert (await self.next())["subprotocol"] == "x-kaazing-handshake"
        if b".kl=Y" in self.scope["query_string"]:
            assert (await self.next())["bytes"] == MARKER
        return self

    async def response(self) -> ResponseHead:
        """Take one response and the empty message after it."""
        response = parse_response((await self.next())["bytes"])
        assert (await self.next())["bytes"] == b""
        return response

    async def ask(self, message: str | bytes) -> ResponseHead:
        self.say(message)
        return await self.response()

    async def closed(self) -> int:
        message = await self.next()
        assert message["type"] == "websocket.close"
        await asyncio.wait_for(self.task, 5)
        code: int = message["code"]
        return code


Make = Callable[..., GatewayMiddleware]


class Echo:
    """An application that records its scope, accepts with the first subprotocol offered, and echoes."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"app"})
            return
        assert await receive() == {"type": "websocket.connect"}
        subprotocol = next(iter(scope["subprotocols"]), None)
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": [(b"set-cookie", b"a=b")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make a gateway in front of an application; it is closed after the test."""
    made: list[GatewayMiddleware] = []

    def gateway(app: ASGIApp, **more: object) -> GatewayMiddleware:
        (tmp_path / "users.xml").write_text(USERS)
        modules = [{"type": "file", "success": "required", "options": {"file": str(tmp_path / "users.xml")}}]

        def realm(name: str, **different: str) -> dict[str, Any]:
            scheme: dict[str, Any] = {"http-challenge-scheme": "Application Basic", "login-modules": modules}
            return {"name": name, "authentication": {**scheme, **different}}

        realms = [realm("demo", **{"http-header": "X-Token"}), realm("brief", **{"session-timeout": "1 ms"})]
        realms.append(realm("kept", **{"authorization-mode": "recycle"}))
        users = {"require-role": "USER"}
        services = [
            {"name": "echo", "accept": "/echo", "realm-name": "demo", "authorization-constraint": users},
            {"name": "brief", "accept": "/brief", "realm-name": "brief"},
            {"name": "both", "accept": "/both", "realm-name": ["demo", "brief"], "same-user": False},
            {"name": "public", "accept": "/public"},
            {"name": "kept", "accept": "/kept", "realm-name": "kept"},
        ]
        config = {"security": {"realms": [*realms]}, "services": services, "extended-handshake": True, **more}
        made.append(GatewayMiddleware(app, config))
        return made[-1]

    yield gateway
    for each in made:
        await each.gateway.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.mark.anyio
async def test_a_login_inside_the_socket(make: Make, echo: Echo) -> None:
    """Challenge, wrong password, right password: then the application sees an ordinary WebSocket, and echoes."""
    socket = await Socket(make(echo), query=b"a=1&.kl=Y", headers=[(b"cookie", b"c=d")]).opened()
    for answer in ([], [basic(password="wrong")]):
        response = await socket.ask(request(*answer))
        assert response.status == 401
        assert response.headers == ((b"www-authenticate", b'Application Basic realm="demo"'),)
    assert echo.scopes == []
    response = await socket.ask(request(basic(), protocol="chat,other").encode())
    assert response.status == 101
    assert dict(response.headers)[b"sec-websocket-protocol"] == b"chat"
    assert b"set-cookie" not in dict(response.headers)
    assert (await socket.next())["bytes"] == MARKER
    for message in ("text", b"\xef\x83\xbfR", b"", "GET / HTTP/1.1\r\n\r\n"):
        socket.say(message)
        echoed = await socket.next()
        assert echoed.get("text", echoed.get("bytes")) == message
    scope = echo.scopes[0]
    assert (scope["path"], scope["query_string"], scope["subprotocols"]) == ("/echo", b"a=1", ["chat", "other"])
    assert scope["user"].display_name == "joe"
    assert "USER" in scope["auth"].scopes
    assert (b"cookie", b"c=d") in scope["headers"]
    assert (b"sec-websocket-protocol", b"chat,other") in scope["headers"]
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await asyncio.wait_for(socket.task, 5)


@pytest.mark.anyio
async def test_once_open_nothing_stands_between(make: Make, echo: Echo) -> None:
    """After the login the application's calls are the server's own: no coroutine is added to any message."""
    socket = await Socket(make(echo)).opened()
    login = SocketLogin(b"", socket.inward.get, socket.outward.put)
    login._connected = login._open = True
    sent, received = login.send({"type": "x"}), login.receive()
    assert isinstance(sent, CoroutineType)
    assert isinstance(received, CoroutineType)
    assert sent.cr_code is asyncio.Queue.put.__code__
    assert received.cr_code is asyncio.Queue.get.__code__
    sent.close()
    received.close()
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await socket.task


@pytest.mark.anyio
async def test_missing_roles_are_refused_inside(make: Make, echo: Echo) -> None:
    """A user without the role gets 403 inside the socket, which is then closed; the application is not entered."""
    socket = await Socket(make(echo)).opened()
    assert (await socket.ask(request(basic("ann")))).status == 403
    assert await socket.closed() == 1008
    assert echo.scopes == []


@pytest.mark.anyio
async def test_wrong_passwords_end(make: Make, echo: Echo) -> None:
    """After four wrong passwords the answer is 403, and the socket is closed."""
    socket = await Socket(make(echo)).opened()
    statuses = [(await socket.ask(request())).status]
    statuses += [(await socket.ask(request(basic(password=str(n))))).status for n in range(4)]
    assert statuses == [401, 401, 401, 401, 403]
    assert await socket.closed() == 1008
    assert echo.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "message",
    ["hello", b"\xff\xfe", "x" * 70_000, request("Authorization: Basic x\ny")],
    ids=["text", "binary", "long", "broken"],
)
async def test_what_is_no_request_is_answered_400(make: Make, echo: Echo, message: str | bytes) -> None:
    """Any other message is answered 400 and closes the socket."""
    socket = await Socket(make(echo)).opened()
    assert (await socket.ask(message)).status == 400
    assert await socket.closed() == 1008
    assert echo.scopes == []


@pytest.mark.anyio
async def test_credentials_named_twice_are_refused(make: Make, echo: Echo) -> None:
    """Two Authorization headers in one request are refused."""
    socket = await Socket(make(echo)).opened()
    assert (await socket.ask(request(basic(), basic()))).status == 403
    await socket.closed()


@pytest.mark.anyio
async def test_the_origin_is_checked_at_the_opening(make: Make, echo: Echo) -> None:
    """A page of another site, or none, is refused before the socket is accepted."""
    for origin in (b"https://evil.example", b"null", b"http://host"):
        socket = Socket(make(echo), headers=[(b"origin", origin)])
        assert (await socket.next())["status"] == 403
    socket = await Socket(make(echo), headers=[(b"origin", b"https://host")]).opened()
    assert (await socket.ask(request(basic()))).status == 101
    assert len(echo.scopes) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/elsewhere", "/echo/../public", "/echo;x", "//echo"])
async def test_paths_are_judged_at_the_opening(make: Make, echo: Echo, path: str) -> None:
    """A path of no service, or one with two readings, is refused before the socket is accepted."""
    assert (await Socket(make(echo), path).next())["status"] == 403


@pytest.mark.anyio
async def test_inner_headers_cannot_vouch(make: Make, echo: Echo) -> None:
    """Headers other than credentials do not pass from the message into the application's scope."""
    socket = await Socket(make(echo)).opened()
    lines = ("Origin: https://host", "X-Forwarded-User: root", "X-Token: t", "Host: evil")
    assert (await socket.ask(request(basic(), *lines))).status == 101
    headers = echo.scopes[0]["headers"]
    assert {name for name, _ in headers} == {b"host", b"authorization", b"x-token"}
    assert (b"host", b"host") in headers


@pytest.mark.anyio
async def test_two_factors_inside(make: Make, echo: Echo) -> None:
    """Several realms are answered in turn, each with the identity of its challenge."""
    socket = await Socket(make(echo), "/both").opened()
    assert b'realm="demo"' in dict((await socket.ask(request())).headers)[b"www-authenticate"]
    second = dict((await socket.ask(request(basic()))).headers)
    assert b'realm="brief"' in second[b"www-authenticate"]
    identity = f"Sec-Challenge-Identity: {second[b'sec-challenge-identity'].decode()}"
    assert (await socket.ask(request(basic(), identity))).status == 101


@pytest.mark.anyio
async def test_public_services_answer_too(make: Make, echo: Echo) -> None:
    """The original's clients ask for the extended handshake everywhere, so public services give it as well."""
    socket = await Socket(make(echo), "/public").opened()
    assert (await socket.ask(request())).status == 101
    assert not echo.scopes[0]["user"].is_authenticated


@pytest.mark.anyio
async def test_session_timeouts_hold(make: Make, echo: Echo) -> None:
    """A socket opened this way is closed when its session ends, as any other."""
    socket = await Socket(make(echo), "/brief").opened()
    assert (await socket.ask(request(basic()))).status == 101
    assert (await socket.next())["bytes"] == MARKER
    assert await socket.closed() == 1008


@pytest.mark.anyio
async def test_a_client_that_leaves(make: Make, echo: Echo) -> None:
    """A client that goes away during the login ends it, and nothing is sent any more."""
    socket = await Socket(make(echo)).opened()
    await socket.ask(request())
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(socket.task, 5)
    assert socket.outward.empty()
    assert echo.scopes == []


@pytest.mark.anyio
async def test_a_client_that_says_nothing() -> None:
    """A login that takes too long ends, and the socket is closed."""

    async def decide(scope: Scope) -> Decision:
        raise AssertionError("there is no request to decide on")

    def answer(decision: Decision) -> tuple[int, Headers, bytes]:
        raise AssertionError("there is no decision to answer with")

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        login = SocketLogin(b"", receive, send, limits=LoginLimits(first=0.01))
        assert await login.run(scope, decide, answer) is None

    socket = await Socket(run, query=b"").opened()
    assert await socket.closed() == 1008


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ([{"type": "websocket.close"}], 403, 1008),
        ([{"type": "websocket.close"}, {"type": "websocket.close"}], 403, 1008),
        (
            [
                {"type": "websocket.http.response.start", "status": 404, "headers": [(b"x-a", b"b")]},
                {"type": "websocket.http.response.body", "body": b"no", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"thing"},
            ],
            404,
            1008,
        ),
        (
            [{"type": "websocket.http.response.start", "status": 401}, {"type": "websocket.http.response.body"}],
            401,
            1008,
        ),
    ],
)
async def test_an_application_that_refuses(make: Make, answer: list[Message], status: int, code: int) -> None:
    """What the application answers to the opening becomes a response inside the socket, which is then closed."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in answer:
            await send(message)

    socket = await Socket(make(app)).opened()
    assert (await socket.ask(request(basic()))).status == status
    assert await socket.closed() == code
    assert socket.outward.empty()


@pytest.mark.anyio
async def test_an_application_that_fails(make: Make) -> None:
    """An exception before the answer reaches the server, which closes the socket as it does any other."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": "too early"})

    socket = await Socket(make(app)).opened()
    socket.say(request(basic()))
    with pytest.raises(RuntimeError, match="before the WebSocket was accepted"):
        await asyncio.wait_for(socket.task, 5)
    assert socket.outward.empty()


@pytest.mark.anyio
async def test_nobody_connects(make: Make, echo: Echo) -> None:
    """A server that says the client is gone already gets no answer."""
    app = make(echo)
    socket = Socket(app)
    socket.inward.get_nowait()
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await asyncio.wait_for(socket.task, 5)
    assert socket.outward.empty()


async def get(app: ASGIApp, path: str, method: str = "GET") -> tuple[int, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is to be received")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"cookie", b"secret=1")], "scheme": "http"}
    with contextlib.suppress(StopIteration):
        await app({**scope, "query_string": b".krn=0.5&.kl=Y"}, receive, send)
    return sent[0]["status"], sent[-1]["body"]


@pytest.mark.anyio
async def test_the_java_clients_request_for_cookies(make: Make, echo: Echo) -> None:
    """It gets 200 and no cookie, so that no script ever reads one; elsewhere the path stays refused."""
    app = make(echo)
    assert await get(app, "/echo/;e/cookies") == (200, b"")
    assert await get(app, "/public/;e/cookies") == (200, b"")
    for path in ("/elsewhere/;e/cookies", "/echo/;x/;e/cookies", "/echo/;e/cookies/more", "/;e/cookies"):
        assert (await get(app, path))[0] == 403
    assert (await get(app, "/echo/;e/cookies", "POST"))[0] == 403
    assert echo.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/echo/;e/cookies", "/public/;e/cookies", "/echo/;o", "/echo/;t", "/echo/;a/x"])
@pytest.mark.parametrize("protocols", [(), ("x-kaazing-handshake",), ("chat",)])
async def test_the_gateways_own_paths_are_no_websockets(
    make: Make, echo: Echo, path: str, protocols: tuple[str, ...]
) -> None:
    """A WebSocket to a path of the gateway's own is refused with messages of WebSockets, and enters nothing."""
    socket = Socket(make(echo), path, protocols=protocols)
    answer = await socket.next()
    assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 403)
    await asyncio.wait_for(socket.task, 5)
    bare = Socket(make(echo), path, protocols=protocols, extensions={})
    assert await bare.next() == {"type": "websocket.close", "code": 1008}
    await asyncio.wait_for(bare.task, 5)
    assert echo.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("opening", "inner", "expected"),
    [
        (["x-kaazing-handshake", "chat"], None, ["chat"]),
        (["chat", "x-kaazing-handshake", "stomp"], None, ["chat", "stomp"]),
        (["x-kaazing-handshake"], None, []),
        (["x-kaazing-handshake", "chat"], "", []),
        (["x-kaazing-handshake", "chat"], "stomp", ["stomp"]),
        (["x-kaazing-handshake", "chat"], "x-kaazing-handshake, stomp", ["stomp"]),
    ],
)
async def test_subprotocols_of_the_opening(
    make: Make, echo: Echo, opening: list[str], inner: str | None, expected: list[str]
) -> None:
    """The application is offered the inner request's subprotocols; the opening's if the inner request has no list."""
    headers = [(b"sec-websocket-protocol", ", ".join(opening).encode())]
    socket = await Socket(make(echo), protocols=opening, headers=headers).opened()
    response = await socket.ask(request(basic(), protocol=inner))
    assert response.status == 101
    assert dict(response.headers).get(b"sec-websocket-protocol") == (expected[0].encode() if expected else None)
    scope = echo.scopes[0]
    assert scope["subprotocols"] == expected
    sent = b", ".join(value for name, value in scope["headers"] if name == b"sec-websocket-protocol").decode()
    assert [name for name in sent.replace(" ", "").split(",") if name not in ("", "x-kaazing-handshake")] == expected
    socket.inward.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await asyncio.wait_for(socket.task, 5)


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/kept", "/kept/below"])
async def test_no_session_begins_inside(make: Make, echo: Echo, path: str) -> None:
    """A login inside a socket sets no cookie and begins no session; a session from before opens the socket."""
    app = make(echo)
    (realm,) = (realm for realm in app.gateway.realms if realm.name == "kept")
    assert realm.sessions is not None
    begun: list[object] = []
    begin = realm.sessions.begin

    async def counting(*args: Any, **more: Any) -> bytes:
        begun.append(more)
        return await begin(*args, **more)

    realm.sessions.begin = counting  # type: ignore[method-assign]
    socket = await Socket(app, path).opened()
    assert b"set-cookie" not in dict((await socket.ask(request())).headers)
    response = await socket.ask(request(basic()))
    assert response.status == 101
    assert b"set-cookie" not in dict(response.headers)
    assert begun == []
    cookie = (await begin(echo.scopes[0]["user"].subject, secure=True)).partition(b";")[0]
    for headers, lines in (([(b"cookie", cookie)], []), ([], [f"Cookie: {cookie.decode()}"])):
        again = await Socket(app, path, headers=headers).opened()
        assert (await again.ask(request(*lines))).status == 101


@pytest.mark.anyio
@pytest.mark.parametrize("more", [{"extended-handshake": False}, {"extended-handshake": "false"}])
async def test_off_unless_configured(make: Make, echo: Echo, more: dict[str, bool | str]) -> None:
    """Without the setting no socket is accepted before its login, and the subprotocol is one like others."""
    socket = Socket(make(echo, **more))
    assert (await socket.next())["status"] == 401
    await asyncio.wait_for(socket.task, 5)
    public = Socket(make(echo, **more), "/public")
    assert (await public.next())["subprotocol"] == "x-kaazing-handshake"
    assert [scope["path"] for scope in echo.scopes] == ["/public"]
    encoded = base64.b64encode(b"joe:welcome")
    plain = Socket(make(echo, **more), headers=[(b"authorization", b"Basic " + encoded)])
    assert (await plain.next())["type"] == "websocket.accept"


@pytest.mark.anyio
async def test_logins_under_way_are_bounded(make: Make, echo: Echo) -> None:
    """One client holds so many sockets without a login and no more; others get theirs; ended ones make space."""
    app = make(echo)
    app._pending_logins = PendingLogins(per_client=3, total=5)

    def opening(client: str | None) -> Socket:
        return Socket(app, client=None if client is None else (client, 5))

    held = [await opening("192.0.2.1").opened() for _ in range(3)]
    refused = await opening("192.0.2.1").next()
    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 503)
    assert any(name == b"retry-after" for name, _ in refused["headers"])
    held += [await opening(client).opened() for client in ("2001:db8::1", None)]
    assert (await opening("198.51.100.7").next())["status"] == 503
    assert (await held[0].ask(request(basic()))).status == 101
    held[1].inward.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(held[1].task, 5)
    assert (await held[2].ask("no request")).status == 400
    await held[2].closed()
    await opening("192.0.2.1").opened()
    assert len(app._pending_logins) == 3


@pytest.mark.anyio
async def test_a_hint_where_it_is_off(make: Make, echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    """The first refused client that wants to log in inside its socket is a warning that names the setting."""
    app = make(echo, **{"extended-handshake": False})
    for protocols in ((), ("chat",), ("x-kaazing-handshake",), ("x-kaazing-handshake", "chat")):
        socket = Socket(app, protocols=protocols)
        assert (await socket.next())["status"] == 401
        await asyncio.wait_for(socket.task, 5)
    hints = [record.getMessage() for record in caplog.records if "extended-handshake: true" in record.getMessage()]
    assert len(hints) == 1
