"""GatewayAuth: httpx against the gateway in memory, and against servers that misbehave."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from asgi_gateway import GatewayMiddleware
from asgi_gateway.client import BasicChallengeHandler, GatewayAuth, Httpx2GatewayAuth, PasswordAuthentication
from asgi_gateway.client.http_auth import MAX_BODY

USERS = """<jaas-config>
  <user><name>joe</name><password>welcome</password><role-name>USER</role-name></user>
  <role><name>USER</name></role>
</jaas-config>"""
URL = "https://gateway.example/echo"


def handler(*passwords: Any, asked: list[Any] | None = None) -> Any:
    """Gives these passwords in turn, then none."""
    left = iter(passwords)

    def login(request: Any) -> Any:
        if asked is not None:
            asked.append(request)
        password = next(left, None)
        return password and PasswordAuthentication("joe", password)

    return BasicChallengeHandler(login)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["user"].display_name.encode() + b":" + body})

    (tmp_path / "users.xml").write_text(USERS)

    def realm(name: str) -> Any:
        module = {"type": "file", "success": "required", "options": {"file": str(tmp_path / "users.xml")}}
        scheme = "Application Basic"
        return {"name": name, "authentication": {"http-challenge-scheme": scheme, "login-modules": [module]}}

    services = [
        {"name": "echo", "accept": "/echo", "realm-name": "one"},
        {"name": "both", "accept": "/both", "realm-name": ["one", "two"]},
    ]
    config = {"security": {"realms": [realm("one"), realm("two")]}, "services": services}
    middleware = GatewayMiddleware(app, config)
    yield middleware
    await middleware.gateway.close()


async def post(gateway: GatewayMiddleware, auth: Any, url: str = URL, **options: Any) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), auth=auth) as client:
        return await client.post(url, **options)


@pytest.mark.anyio
async def test_round_trip(gateway: GatewayMiddleware) -> None:
    """Our handler answers our gateway's challenge, and the body is sent again."""
    response = await post(gateway, GatewayAuth(handler("welcome")), content=b"hello")
    assert (response.status_code, response.text) == (200, "joe:hello")


@pytest.mark.anyio
async def test_a_streamed_body_is_sent_again(gateway: GatewayMiddleware) -> None:
    """A body that can be read once reaches the application with the answer."""

    async def body() -> AsyncIterator[Any]:
        yield b"he"
        yield b"llo"

    response = await post(gateway, GatewayAuth(handler("welcome")), content=body())
    assert response.text == "joe:hello"


@pytest.mark.anyio
async def test_wrong_passwords(gateway: GatewayMiddleware) -> None:
    """After a wrong password the handler is asked again, until attempts or answers end."""
    asked: list[Any] = []
    assert (await post(gateway, GatewayAuth(handler("a", "welcome", asked=asked)))).status_code == 200
    assert [request.attempt for request in asked] == [1, 2]
    assert (await post(gateway, GatewayAuth(handler("a", "b", "c", "welcome")))).status_code == 401
    assert (await post(gateway, GatewayAuth(handler("a", "b", "c", "welcome"), 4))).status_code == 200
    assert (await post(gateway, GatewayAuth(handler()))).status_code == 401
    assert (await post(gateway, GatewayAuth(handler("welcome"), 0))).status_code == 401


@pytest.mark.anyio
async def test_two_factors(gateway: GatewayMiddleware) -> None:
    """Each realm of a service is answered in turn, with the identity that the gateway gave in between."""
    asked: list[Any] = []
    response = await post(
        gateway, GatewayAuth(handler("welcome", "welcome", asked=asked)), "https://gateway.example/both"
    )
    assert response.status_code == 200
    assert [request.realm for request in asked] == ["one", "two"]


@pytest.mark.anyio
async def test_nobody_is_asked_twice(gateway: GatewayMiddleware) -> None:
    """Accepted credentials go with later requests to the same place at once, until they are refused or forgotten."""
    asked: list[Any] = []
    auth = GatewayAuth(handler(*["welcome"] * 9, asked=asked))
    for _ in range(3):
        assert (await post(gateway, auth)).status_code == 200
    assert len(asked) == 1
    auth.forget()
    assert (await post(gateway, auth)).status_code == 200
    assert len(asked) == 2
    asked.clear()
    auth = GatewayAuth(handler(*["welcome"] * 9, asked=asked), remember=False)
    auth.forget()
    for _ in range(2):
        assert (await post(gateway, auth)).status_code == 200
    assert len(asked) == 2


@pytest.mark.anyio
async def test_one_factor_of_several_is_not_remembered(gateway: GatewayMiddleware) -> None:
    """The password of a further realm would be wrong for the first one, so none of them is kept."""
    asked: list[Any] = []
    auth = GatewayAuth(handler(*["welcome"] * 9, asked=asked))
    for _ in range(2):
        assert (await post(gateway, auth, "https://gateway.example/both")).status_code == 200
    assert [request.realm for request in asked] == ["one", "two", "one", "two"]


def served(reply: Any, auth: Any, **options: Any) -> Any:
    """A request to a server that is a function."""
    with httpx.Client(transport=httpx.MockTransport(reply), auth=auth, **options) as client:
        return client.get(URL)


def test_synchronous_clients() -> None:
    """The same works without an event loop, and the request is sent with the answer."""
    sent: list[Any] = []

    def reply(request: Any) -> Any:
        sent.append(request.headers.get("Authorization"))
        return httpx.Response(200 if sent[-1] else 401, headers={"WWW-Authenticate": 'Basic realm="x"'}, content=b"no")

    assert served(reply, GatewayAuth(handler("welcome"))).status_code == 200
    assert sent == [None, "Basic am9lOndlbGNvbWU="]


def test_redirects_to_another_origin_take_nothing_along() -> None:
    """Neither a first nor a later request's credentials reach another origin, nor the same one without TLS."""
    for target in ("https://evil.example/", "http://gateway.example/"):
        sent: list[Any] = []
        asked: list[Any] = []

        def reply(request: Any, sent: list[Any] = sent, target: str = target) -> Any:
            sent.append(request)
            if request.url != URL:
                return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            if "Authorization" in request.headers:
                return httpx.Response(302, headers={"Location": target})
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

        response = served(reply, GatewayAuth(handler("welcome", "welcome", asked=asked)), follow_redirects=True)
        assert response.status_code == 401
        assert len(asked) == 1
        assert "Authorization" not in sent[-1].headers
        assert sent[-1].url == target


class Recorder:
    """A server on a loopback port of its own that answers with a function and keeps the header lines it got."""

    def __init__(self, reply: Any) -> None:
        recorder = self
        self.seen: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder.seen.append([(name.lower(), value) for name, value in self.headers.items()])
                status, headers = reply(dict(recorder.seen[-1]))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def names(self) -> Any:
        return [{name for name, _ in lines} for lines in self.seen]


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["another origin", "the same origin"])
@pytest.mark.parametrize(("library", "auth_class"), [(httpx, GatewayAuth), (httpx2, Httpx2GatewayAuth)])
async def test_nothing_of_the_login_follows_a_redirect(library: Any, auth_class: Any, where: str) -> None:
    """Neither Sec-Challenge-Identity nor Authorization reaches another origin; the identity goes nowhere but back."""
    elsewhere = {"here": ""}

    def front(headers: Any) -> Any:
        if "authorization" not in headers:
            return 401, {"WWW-Authenticate": 'Basic realm="x"', "Sec-Challenge-Identity": "opaque"}
        return 302, {"Location": elsewhere["here"]}

    with Recorder(lambda headers: (200, {})) as other, Recorder(front) as server:
        elsewhere["here"] = other.url if where == "another origin" else "/other"
        with contextlib.suppress(library.TooManyRedirects):
            auth = auth_class(handler("welcome"))
            with library.Client(auth=auth, follow_redirects=True, trust_env=False, max_redirects=2) as client:
                client.get(server.url)
        with contextlib.suppress(library.TooManyRedirects):
            auth = auth_class(handler("welcome"))
            async with library.AsyncClient(
                auth=auth, follow_redirects=True, trust_env=False, max_redirects=2
            ) as client:
                await client.get(server.url)
        assert len(other.seen) == (2 if where == "another origin" else 0)
        assert all(names.isdisjoint({"authorization", "sec-challenge-identity"}) for names in other.names())
        identities = [value for lines in server.seen for name, value in lines if name == "sec-challenge-identity"]
        assert identities == ["opaque", "opaque"]


def test_the_application_sees_the_identity_that_is_sent() -> None:
    """A request's headers show the further line, once, in every way in which they can be read."""
    sent: list[Any] = []

    def reply(request: Any) -> Any:
        sent.append(request)
        if len(sent) < 3:
            headers = {"WWW-Authenticate": f'Basic realm="{len(sent)}"', "Sec-Challenge-Identity": f"id{len(sent)}"}
            return httpx.Response(401, headers=headers)
        return httpx.Response(200, text=request.headers.get("sec-challenge-identity", ""))

    headers: list[Any] = []
    with httpx.Client(transport=httpx.MockTransport(reply), auth=GatewayAuth(handler("a", "b"))) as client:
        client.event_hooks = {"request": [lambda request: headers.append(list(request.headers.raw))]}
        assert client.get(URL).text == "id2"
    names = [[name.lower() for name, _ in each] for each in headers]
    assert [each.count(b"sec-challenge-identity") for each in names] == [0, 1, 1]
    assert [each.count(b"authorization") for each in names] == [0, 1, 1]
    assert "SEC-CHALLENGE-IDENTITY" in sent[-1].headers
    assert "X-Other" not in sent[-1].headers


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body without end."""

    def __init__(self, size: int = 1024) -> None:
        self.given = 0
        self.size = size
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.given += self.size
            yield b"x" * self.size

    async def __aiter__(self) -> AsyncIterator[Any]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def endless(bodies: list[Any], size: int = 1024) -> Any:
    def reply(request: Any) -> Any:
        if "Authorization" in request.headers and len(bodies) > 1:
            return httpx.Response(200)
        bodies.append(Endless(size))
        return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'}, stream=bodies[-1])

    return reply


def test_endless_bodies_end() -> None:
    """Of a 401's body only so much is read, whether it is answered or returned."""
    bodies: list[Any] = []
    response = served(endless(bodies), GatewayAuth(handler("a", "b")))
    assert response.status_code == 200
    assert [body.given for body in bodies] == [MAX_BODY, MAX_BODY]
    assert all(body.closed for body in bodies)
    response = served(endless([]), GatewayAuth(handler()))
    assert (response.status_code, len(response.content)) == (401, MAX_BODY)


@pytest.mark.anyio
async def test_endless_bodies_end_in_a_loop_too() -> None:
    """The asynchronous client reads no more than the other."""
    bodies: list[Any] = []
    transport = httpx.MockTransport(endless(bodies))
    async with httpx.AsyncClient(transport=transport, auth=GatewayAuth(handler("a", "b"))) as client:
        assert (await client.get(URL)).status_code == 200
    assert [body.given for body in bodies] == [MAX_BODY, MAX_BODY]
    async with httpx.AsyncClient(transport=transport, auth=GatewayAuth(handler())) as client:
        bodies.clear()
        assert len((await client.get(URL)).content) == MAX_BODY


@pytest.mark.anyio
async def test_dripping_bodies_end() -> None:
    """A body that comes byte by byte is given up after a few seconds, in both kinds of client."""
    now = 0.0

    def clock() -> Any:
        nonlocal now
        now += 1.0
        return now

    bodies: list[Any] = []
    served(endless(bodies, 1), GatewayAuth(handler("a", "b"), clock=clock))
    transport = httpx.MockTransport(endless(bodies, 1))
    async with httpx.AsyncClient(transport=transport, auth=GatewayAuth(handler("a", "b"), clock=clock)) as client:
        await client.get(URL)
    assert all(body.given < 10 and body.closed for body in bodies)


def test_an_error_of_a_handler_comes_out() -> None:
    """What a login handler raises reaches the caller, and the connection is let go."""

    def login(request: Any) -> None:
        raise RuntimeError("no terminal")

    bodies: list[Any] = []
    with pytest.raises(RuntimeError, match="no terminal"):
        served(endless(bodies), GatewayAuth(BasicChallengeHandler(login)))
    assert bodies[0].closed


def test_a_negative_number_of_attempts_is_refused() -> None:
    """The number of attempts is 0 or more."""
    with pytest.raises(ValueError, match="0 or more"):
        GatewayAuth(handler(), -1)
