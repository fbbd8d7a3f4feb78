"""ASGI in, ASGI out: exact answers, what the application is given, opening and closing."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.model import Grant
from asgi_gateway.schemes import ApplicationBasicScheme, ApplicationTokenScheme, BasicScheme
from asgi_gateway.services.identity import SCOPE_KEY
from asgi_gateway.services.origins import CrossSite, OriginRules
from tests.gateways import (
    CONNECT,
    DISCONNECT,
    Module,
    Server,
    World,
    ask,
    basic,
    scope,
    service,
    tokens,
    users,
    wrapped,
)

pytestmark = pytest.mark.anyio

PLAIN = (b"content-type", b"text/plain; charset=utf-8")
NO_STORE = (b"cache-control", b"no-store")
ORIGIN = (b"origin", b"https://a.example")
LISTED = OriginRules([CrossSite(frozenset(("https://a.example",)))])
BODIES = {401: b"Unauthorized\n", 403: b"Forbidden\n", 503: b"Service Unavailable\n"}


async def down(attempt: Any) -> None:
    raise LoginUnavailable("ldap://secret-host is down", retry_after=7)


async def again(attempt: Any) -> None:
    attempt.challenge("nonce=1")
    raise LoginFailed("again")


def site(world: World) -> Gateway:
    """One service for each row of the table of answers."""
    token = [ApplicationTokenScheme()]
    realms = {
        "basic": world.realm(users(joe="R"), name="basic"),
        "abasic": world.realm(users(joe="R"), name="abasic", schemes=[ApplicationBasicScheme()]),
        "token": world.realm(tokens(), name="token", schemes=token),
        "again": world.realm(tokens(again), name="again", schemes=token),
        "down": world.realm(Module(down), name="down"),
        "two": world.realm(users(joe=""), name="two", schemes=[*token, BasicScheme()]),
        "short": world.realm(users(joe=""), name="short", session_timeout=0.01),
    }
    return world.gateway(
        service("public", "/public"),
        service("admin", "/admin", realms["basic"], roles="ADMIN"),
        *(service(name, f"/{name}", realm) for name, realm in realms.items()),
        service("shared", "/shared", realms["basic"], origins=LISTED),
    )


BASIC = b'Basic realm="basic", charset="UTF-8"'
ROWS = [
    ("/basic", [], 401, [BASIC]),
    ("/basic", [(b"authorization", b"Bearer x")], 401, [BASIC]),
    ("/basic", [basic("joe", "wrong")], 401, [BASIC]),
    ("/basic", [(b"authorization", b"Basic !")], 401, [BASIC]),
    ("/basic", [basic("joe"), basic("joe", "wrong")], 403, []),
    ("/basic", [basic("joe", "wrong"), basic("joe")], 403, []),
    ("/abasic", [], 401, [b'Application Basic realm="abasic"']),
    ("/abasic", [basic("joe", "wrong")], 401, [b'Application Basic realm="abasic"']),
    ("/token", [], 401, [b"Application Token"]),
    ("/token", [basic("joe")], 401, [b"Application Token"]),
    ("/token", [(b"authorization", b"Token bad")], 403, []),
    ("/again", [], 401, [b"Application Token nonce=1"]),
    ("/again", [(b"authorization", b"Token bad")], 401, [b"Application Token nonce=1"]),
    ("/two", [], 401, [b"Application Token", b'Basic realm="two", charset="UTF-8"']),
    ("/admin", [basic("joe")], 403, []),
    ("/down", [basic("joe")], 503, []),
    ("/nowhere", [basic("joe")], 403, []),
    ("/public/../basic", [], 403, []),
    ("/public", [], 200, []),
    ("/public", [basic("joe", "wrong")], 200, []),
    ("/basic", [basic("joe")], 200, []),
    ("/abasic", [basic("joe")], 200, []),
    ("/token", [(b"authorization", b"Token good")], 200, []),
]


@pytest.mark.parametrize(("path", "headers", "status", "challenges"), ROWS)
async def test_http(world: World, path: str, headers: list[Any], status: int, challenges: list[bytes]) -> None:
    """Each row of the table of answers, over HTTP: status, headers and body to the byte, and who is entered."""
    app, inner = wrapped(site(world))
    answer = await ask(app, scope(path, *headers))
    assert answer.status == status
    if status == 200:
        assert (answer.headers, answer.body) == ([(b"x-app", b"1")], b"hello")
        assert len(inner.scopes) == 1
        return
    assert inner.scopes == []
    body = BODIES[status]
    expected = [PLAIN, (b"content-length", str(len(body)).encode()), NO_STORE]
    expected += [(b"retry-after", b"7")] if status == 503 else [(b"www-authenticate", value) for value in challenges]
    assert sorted(answer.headers) == sorted(expected)
    assert answer.body == body
    assert [message["type"] for message in answer.sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize(("path", "headers", "status", "challenges"), ROWS)
async def test_websocket(world: World, path: str, headers: list[Any], status: int, challenges: list[bytes]) -> None:
    """Each row over WebSocket: the same answer before accept where the server can send it."""
    app, inner = wrapped(site(world))
    answer = await ask(app, scope(path, *headers, kind="websocket"))
    if status == 200:
        assert answer.sent == [{"type": "websocket.accept"}]
        return
    assert inner.scopes == []
    assert [message["type"] for message in answer.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert (answer.status, answer.body) == (status, BODIES[status])
    names = [name for name, _ in answer.headers]
    assert len(names) == len(set(names))
    assert dict(answer.headers).get(b"www-authenticate", b"") == b", ".join(challenges)
    assert NO_STORE in answer.headers
    assert (b"content-length", str(len(BODIES[status])).encode()) in answer.headers


@pytest.mark.parametrize(("path", "headers", "status", "challenges"), ROWS)
@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
async def test_websocket_close(
    world: World, path: str, headers: list[Any], status: int, challenges: list[bytes], extensions: Any
) -> None:
    """Where the server does not offer to send a response, a refusal is a close before accept and nothing else."""
    app, inner = wrapped(site(world))
    answer = await ask(app, scope(path, *headers, kind="websocket", extensions=extensions))
    if status != 200:
        assert inner.scopes == []
        assert answer.sent == [{"type": "websocket.close", "code": 1008}]
    else:
        assert answer.sent == [{"type": "websocket.accept"}]


async def test_no_extensions(world: World) -> None:
    """A server that knows no extensions at all is sent a close."""
    app, _ = wrapped(site(world))
    asked = scope("/basic", kind="websocket")
    del asked["extensions"]
    assert (await ask(app, asked)).sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_client_that_went_away(world: World) -> None:
    """A client that went away before the handshake is sent nothing, and no frame is read."""
    app, _ = wrapped(site(world))
    server = Server(DISCONNECT.copy(), CONNECT.copy())
    await app(scope("/basic", kind="websocket"), server.receive, server.send)
    assert server.sent == []
    assert len(server._messages) == 1


async def test_one_body(world: World) -> None:
    """Unknown user, wrong password and malformed credentials get the same bytes."""
    app, _ = wrapped(site(world))
    answers = []
    for header in (basic("joe", "wrong"), basic("nobody"), basic("joe", ""), (b"authorization", b"Basic !")):
        answer = await ask(app, scope("/basic", header))
        answers.append(answer.sent)
    assert all(sent == answers[0] for sent in answers)


# ----------------------------------------------------------------------------------------------------- the inner scope

INHERITED = {"user": "root", "auth": "all", SCOPE_KEY: "mine"}


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(("path", "name"), [("/public", ""), ("/basic", "joe"), ("/short", "joe")])
async def test_scope(world: World, kind: str, path: str, name: str) -> None:
    """The application's scope is a copy; whatever stood under the gateway's keys is gone, on public services too."""
    app, inner = wrapped(site(world))
    for _ in range(2):  # decided, then remembered
        asked = scope(path, basic("joe"), kind=kind, **INHERITED)
        before = copy.deepcopy(asked)
        await ask(app, asked)
        assert asked == before
        seen = inner.scopes[-1]
        assert seen is not asked
        assert seen["user"].display_name == name
        assert seen["auth"].scopes[:1] == (("authenticated",) if name else ())
        assert (seen[SCOPE_KEY].service, seen[SCOPE_KEY].realm) == (path[1:], path[1:] if name else "")
        assert {key: value for key, value in seen.items() if key not in INHERITED} == {
            key: value for key, value in before.items() if key not in INHERITED
        }


async def test_nothing_is_shared(world: World) -> None:
    """What an application puts into its scope, or tries to put on its user, is not there for the next request."""
    app, inner = wrapped(site(world))
    for path in ("/public", "/basic"):
        for _ in range(3):
            await ask(app, scope(path, basic("joe")))
            seen = inner.scopes[-1]
            assert "mine" not in seen
            seen["mine"] = 1
            assert not hasattr(seen["user"], "mine")
            seen["user"].mine = 1  # its own, as of a middleware that marks users
            for key in INHERITED.keys() - {"user"}:
                with pytest.raises((AttributeError, TypeError)):
                    seen[key].mine = 1


async def test_credentials_reach_the_application(world: World) -> None:
    """The request itself is the application's as it was sent."""
    app, inner = wrapped(site(world))
    await ask(app, scope("/basic", basic("joe"), query_string=b"x=1"))
    assert basic("joe") in inner.scopes[0]["headers"]
    assert inner.scopes[0]["query_string"] == b"x=1"


def test_request_of() -> None:
    """Of a scope with no more than ASGI demands there is a request; the root is taken off."""
    bare = request_of({"type": "websocket", "path": "/a", "headers": []})
    assert (bare.protocol, bare.method, bare.path, bare.query) == ("websocket", "GET", "/a", b"")
    assert (bare.remote_address, bare.scheme, bare.raw_path) == (None, "", None)
    full = request_of(scope("/app/a", root_path="/app", method="PUT", raw_path=b"/app/a", scheme="https"))
    assert (full.path, full.method, full.remote_address, full.scheme) == ("/a", "PUT", "192.0.2.1", "https")


# ----------------------------------------------------------------------------------------------------------- headers


class Answering(BasicScheme):
    """A scheme that says something on success."""

    def success(self, data: Any = ()) -> Any:
        return ((b"x-final", " ".join(data).encode()),) if data else ()


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_success_headers(world: World, kind: str) -> None:
    """What a scheme says on success goes with the application's response or its accept, every time."""

    async def respond(attempt: Any) -> Grant:
        attempt.respond("final", "token")
        return Grant.user("joe")

    realm = world.realm(Module(respond, cacheable=True), schemes=[Answering()])
    app, _ = wrapped(world.gateway(service("one", "", realm)))
    for _ in range(2):
        answer = await ask(app, scope("/", basic("joe"), kind=kind))
        expected = [(b"x-final", b"final token")]
        assert answer.headers == ([(b"x-app", b"1"), *expected] if kind == "http" else expected)


async def test_other_messages_pass() -> None:
    """Only the start of a response and the accept get headers; an application's own denial of a socket, too."""
    from asgi_gateway.websockets.stream import adding_headers

    server = Server()
    send = adding_headers(server.send, ((b"x", b"1"),))
    for kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
        await send({"type": kind})
        assert server.sent.pop() == {"type": kind, "headers": [(b"x", b"1")]}
    for kind in ("http.response.body", "websocket.send", "websocket.close"):
        await send({"type": kind})
        assert server.sent.pop() == {"type": kind}


async def test_cors(world: World) -> None:
    """A listed page's preflight is answered without the application; its request's answer lets it read it."""
    app, inner = wrapped(site(world))
    asked = (ORIGIN, (b"access-control-request-method", b"POST"))
    answer = await ask(app, scope("/shared", *asked, method="OPTIONS"))
    assert (answer.status, answer.body, inner.scopes) == (204, b"", [])
    names = {name for name, _ in answer.headers}
    assert b"access-control-allow-origin" in names
    assert not {b"content-length", b"content-type"} & names  # RFC 9110 section 8.6
    for headers, status in (([], 401), ([basic("joe")], 200)):
        answer = await ask(app, scope("/shared", ORIGIN, *headers))
        assert answer.status == status
        assert (b"access-control-allow-origin", b"https://a.example") in answer.headers
    foreign = await ask(app, scope("/shared", (b"origin", b"null"), basic("joe"), method="OPTIONS"))
    assert foreign.status == 403


# ------------------------------------------------------------------------------------ refused anyhow


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_unexpected_errors_deny(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """An error that nobody expected refuses with 503 and one event; the client is told nothing of it."""
    gateway = site(world)

    async def broken(*args: Any) -> Any:
        raise RuntimeError("s3cret detail")

    monkeypatch.setattr(gateway, "decide", broken)
    app, inner = wrapped(gateway)
    answer = await ask(app, scope("/basic", basic("joe"), kind=kind))
    assert (answer.status, answer.body, inner.scopes) == (503, BODIES[503], [])
    assert "s3cret" not in str(answer.sent)
    assert "s3cret" in caplog.text
    assert len(world.records.lines) == 1


@pytest.mark.parametrize("kind", ["quic", "", "HTTP"])
async def test_unknown_scopes(world: World, kind: str) -> None:
    """What is neither HTTP nor WebSocket nor lifespan is refused, on public services too."""
    app, inner = wrapped(site(world))
    server = Server()
    with pytest.raises(ValueError, match="is refused"):
        await app(scope("/public", kind="http") | {"type": kind}, server.receive, server.send)
    assert (inner.scopes, server.sent) == ([], [])


async def test_a_stop_during_a_login_is_503(world: World) -> None:
    """A login that the server cancels when it stops is answered 503, and goes on being cancelled."""
    entered = asyncio.Event()

    async def slow(attempt: Any) -> Grant:
        entered.set()
        await asyncio.Event().wait()
        return Grant.user("joe")

    app, inside = wrapped(world.gateway(service("a", "/a", world.realm(Module(slow)))))
    server = Server({"type": "http.request", "body": b"", "more_body": False})
    running = asyncio.create_task(app(scope("/a", basic("joe")), server.receive, server.send))
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [message.get("status") for message in server.sent] == [503, None]
    assert inside.scopes == []
