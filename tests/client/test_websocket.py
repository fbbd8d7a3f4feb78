"""connect, in an event loop and without one, against servers that answer the handshake with 401."""

from __future__ import annotations

import base64
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.server import serve

from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeResponse,
    HandshakeError,
    MutualAuthenticationError,
    PasswordAuthentication,
    connect,
)
from asgi_gateway.client.connect_common import Timer
from asgi_gateway.client.sync import connect as connect_in_thread
from asgi_gateway.websockets.kaazing_handshake import (
    HANDSHAKE_PROTOCOL,
    LoginLimits,
    ServerHandshake,
    State,
    offered_subprotocols,
)

Talk = Callable[..., Awaitable[Any]]


def handler(*passwords: Any, asked: list[Any] | None = None) -> Any:
    left = iter(passwords)

    def login(request: Any) -> Any:
        if asked is not None:
            asked.append(request)
        password = next(left, None)
        return password and PasswordAuthentication("joe", password)

    return BasicChallengeHandler(login)


RIGHT = "Basic " + base64.b64encode(b"joe:welcome").decode()


def log_in_inside(connection: Any) -> Any:
    """The server's side of the extended handshake; whether the client was let in with the right password."""
    handshake = ServerHandshake(urlsplit(connection.request.path).query.encode(), LoginLimits(answers=3))
    for message in handshake.greeting:
        connection.send(message)
    while handshake.state is State.EXPECTING:
        head = handshake.request(connection.recv(timeout=5))
        if head.get_all(b"authorization") == [RIGHT.encode()]:
            answer = handshake.admit(next(iter(offered_subprotocols((), head)), None), ())
        else:
            answer = handshake.refuse(401, [(b"www-authenticate", b'Application Basic realm="demo"')])
        for message in answer:
            connection.send(message)
    return handshake.state is State.OPEN


@contextmanager
def server(check: Any = None, subprotocols: Any = None) -> Iterator[Any]:
    """A WebSocket echo server behind a function from request headers to None or a status with headers."""
    seen: list[Any] = []

    def process_request(connection: Any, request: Any) -> Any:
        seen.append(request)
        refused = check and check(request)
        if not refused:
            return None
        status, headers = refused
        return Response(status, "Refused", Headers([*headers, ("Content-Length", "0")]), b"")

    def echo(connection: Any) -> None:
        if connection.subprotocol == HANDSHAKE_PROTOCOL and not log_in_inside(connection):
            return
        for message in connection:
            connection.send(message)

    running: Any = serve(echo, "127.0.0.1", 0, process_request=process_request, subprotocols=subprotocols)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    running.uri = f"ws://127.0.0.1:{running.socket.getsockname()[1]}/echo"
    running.seen = seen
    try:
        yield running
    finally:
        running.shutdown()
        thread.join()


def guarded(request: Any) -> Any:
    if request.headers.get("Authorization") == RIGHT:
        return None
    return 401, [("WWW-Authenticate", "Application Token"), ("WWW-Authenticate", 'Application Basic realm="demo"')]


async def in_loop(uri: str, **options: Any) -> Any:
    async with connect(uri, proxy=None, **options) as socket:
        await socket.send("hi")
        return await socket.recv(), socket.subprotocol


def in_thread(uri: str, **options: Any) -> Any:
    with connect_in_thread(uri, proxy=None, **options) as socket:
        socket.send("hi")
        return socket.recv(timeout=5), socket.subprotocol


@pytest.fixture(params=["loop", "thread"])
def talk(request: Any) -> Any:
    """Open a socket, say hi, return what came back and the subprotocol; by both clients."""

    async def run(uri: str, **options: Any) -> Any:
        return await in_loop(uri, **options) if request.param == "loop" else in_thread(uri, **options)

    return run


@pytest.mark.anyio
async def test_a_401_is_answered(talk: Talk) -> None:
    """A handshake refused with a challenge is made again with the answer; the application's headers stay."""
    with server(guarded, subprotocols=["chat"]) as running:
        options = {"additional_headers": {"X-Own": "1", "Authorization": "mine"}, "subprotocols": ["chat"]}
        assert await talk(running.uri, handler=handler("welcome"), **options) == ("hi", "chat")
        assert [request.headers.get_all("Authorization") for request in running.seen] == [["mine"], [RIGHT]]
        assert all(request.headers["X-Own"] == "1" for request in running.seen)


def with_credentials(uri: str, credentials: Any) -> Any:
    return uri.replace("ws://", f"ws://{credentials}@")


@pytest.mark.anyio
@pytest.mark.parametrize("extended", [False, True], ids=["plain", "extended"])
@pytest.mark.parametrize("credentials", ["joe:wrong", "joe:", "joe", ":x", "joe:w%2frong", "j%C3%B6e:p%20w"])
async def test_wrong_credentials_in_the_url(talk: Talk, credentials: Any, extended: bool) -> None:
    """They go first, and the handler's go in place of them: never are there two Authorization lines."""
    with server(None if extended else guarded, subprotocols=["x-kaazing-handshake"] if extended else None) as running:
        uri = with_credentials(running.uri, credentials)
        assert (await talk(uri, handler=handler("welcome"), extended=extended))[0] == "hi"
        lines = [request.headers.get_all("Authorization") for request in running.seen]
        username, _, password = unquote(credentials).partition(":")
        first = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        assert lines == ([[]] if extended else [[first], [RIGHT]])


@pytest.mark.anyio
@pytest.mark.parametrize("extended", [False, True], ids=["plain", "extended"])
async def test_right_credentials_in_the_url(talk: Talk, extended: bool) -> None:
    """The handler is not asked; the location that a handler sees keeps them, since dispatch goes by them."""
    asked: list[Any] = []
    with server(None if extended else guarded, subprotocols=["x-kaazing-handshake"] if extended else None) as running:
        uri = with_credentials(running.uri, "joe:welcome")
        assert (await talk(uri, handler=handler(asked=asked), extended=extended))[0] == "hi"
        assert asked == []
        uri = with_credentials(running.uri, "joe:wrong")
        with pytest.raises(InvalidStatus):
            await talk(uri, handler=handler("wrong", "welcome", asked=asked), extended=extended)
        assert [request.location for request in asked] == [uri]


@pytest.mark.anyio
async def test_credentials_of_a_redirect_are_not_sent(talk: Talk) -> None:
    """A Location with credentials in it adds no second line to the handler's."""

    def moved(request: Any) -> Any:
        location = with_credentials(running.uri, "joe:other").replace("/echo", "/there")
        return (307, [("Location", location)]) if request.path == "/echo" else guarded(request)

    with server(moved) as running:
        assert (await talk(running.uri, handler=handler("welcome")))[0] == "hi"
        assert [request.headers.get_all("Authorization") for request in running.seen] == [[], [], [RIGHT], [RIGHT]]


@pytest.mark.anyio
async def test_the_applications_own_header_goes_before_the_url(talk: Talk) -> None:
    """Where the application gives an Authorization header, the URL's credentials are not sent."""
    with server(guarded) as running:
        options = {"additional_headers": {"Authorization": "mine"}, "handler": handler("welcome")}
        assert (await talk(with_credentials(running.uri, "joe:wrong"), **options))[0] == "hi"
        assert [request.headers.get_all("Authorization") for request in running.seen] == [["mine"], [RIGHT]]


@pytest.mark.anyio
async def test_the_user_agent_is_the_gateways(talk: Talk) -> None:
    """Handshakes name the gateway's client, unless the application gives another name."""
    with server() as running:
        await talk(running.uri, handler=handler())
        await talk(running.uri, handler=handler(), user_agent_header="mine/1")
        names = [request.headers.get_all("User-Agent") for request in running.seen]
    assert names[0][0].startswith("asgi-gateway")
    assert names[1] == ["mine/1"]
    assert len(names[0]) == 1


@pytest.mark.anyio
async def test_several_rounds(talk: Talk) -> None:
    """As long as the server goes on asking and there are answers and attempts, they are given."""
    asked: list[Any] = []
    with server(guarded) as running:
        assert (await talk(running.uri, handler=handler("a", "b", "welcome", asked=asked)))[0] == "hi"
        assert [request.attempt for request in asked] == [1, 2, 3]
        for giving, attempts in ((handler("a", "b", "c", "welcome"), 3), (handler("a"), 9), (handler("welcome"), 0)):
            with pytest.raises(InvalidStatus) as caught:
                await talk(running.uri, handler=giving, max_authentication_attempts=attempts)
            assert caught.value.response.status_code == 401


@pytest.mark.anyio
async def test_other_refusals_are_not_answered(talk: Talk) -> None:
    """A 403 comes out as websockets raises it, and nobody is asked."""
    asked: list[Any] = []
    with server(lambda request: (403, [])) as running:
        with pytest.raises(InvalidStatus) as caught:
            await talk(running.uri, handler=handler("welcome", asked=asked))
        assert caught.value.response.status_code == 403
        assert asked == []


@pytest.mark.anyio
async def test_no_redirect_to_another_origin(talk: Talk) -> None:
    """A redirect to another origin is refused, even before there are credentials; within the origin it is followed."""
    with server() as other:
        with server(lambda request: (302, [("Location", other.uri)])) as running:
            with pytest.raises(InvalidStatus):
                await talk(running.uri, handler=handler("welcome"))
        assert other.seen == []

    def moved(request: Any) -> Any:
        return (307, [("Location", "/there")]) if request.path == "/echo" else guarded(request)

    with server(moved) as running:
        assert (await talk(running.uri, handler=handler("welcome")))[0] == "hi"


@pytest.mark.anyio
async def test_a_server_that_proves_nothing_is_left(talk: Talk) -> None:
    """A socket whose server fails to prove its identity is closed and never given to the application."""

    class Doubting(ChallengeHandler):
        def can_handle(self, request: Any) -> Any:
            return True

        def handle(self, request: Any) -> Any:
            return ChallengeResponse(RIGHT, confirm=self.confirm)

        def confirm(self, challenges: Any) -> None:
            raise MutualAuthenticationError("no proof")

    with server(guarded) as running:
        with pytest.raises(MutualAuthenticationError):
            await talk(running.uri, handler=Doubting())


@pytest.mark.anyio
async def test_the_extended_handshake(talk: Talk) -> None:
    """Inside the socket the rounds go on until the password is right; the application's subprotocol shows, and
    nothing of the login was in the opening.
    """
    with server(subprotocols=[HANDSHAKE_PROTOCOL]) as running:
        options = {"handler": handler("a", "welcome"), "extended": True, "subprotocols": ["chat"]}
        assert await talk(running.uri + "?a=b", **options) == ("hi", "chat")
        assert await talk(running.uri, handler=handler("welcome"), extended=True) == ("hi", None)
        opening = running.seen[0]
        assert opening.path == "/echo?a=b&.kl=Y"
        assert "Authorization" not in opening.headers
        for giving, status in ((handler("a"), 401), (handler("a", "b", "c", "d"), 403)):
            with pytest.raises(InvalidStatus) as caught:
                await talk(running.uri, handler=giving, extended=True, max_authentication_attempts=9)
            assert caught.value.response.status_code == status


@pytest.mark.anyio
async def test_an_opening_that_is_refused(talk: Talk) -> None:
    """A server that answers the opening itself with 401 is not given credentials outside the socket."""
    asked: list[Any] = []
    with server(guarded, subprotocols=[HANDSHAKE_PROTOCOL]) as running:
        with pytest.raises(InvalidStatus):
            await talk(running.uri, handler=handler("welcome", asked=asked), extended=True)
    assert asked == []


@pytest.mark.anyio
async def test_a_server_without_the_extended_handshake_is_an_error(talk: Talk) -> None:
    """A server that does not know the subprotocol is not sent anything."""
    with server() as running:
        with pytest.raises(HandshakeError, match="does not offer"):
            await talk(running.uri, handler=handler("welcome"), extended=True)


@pytest.mark.anyio
async def test_bad_arguments(talk: Talk) -> None:
    """A negative number of attempts, or a socket that could serve one attempt only, is refused."""
    with pytest.raises(ValueError, match="0 or more"):
        await talk("ws://127.0.0.1:1/", handler=handler(), max_authentication_attempts=-1)
    with pytest.raises(ValueError, match="one handshake"):
        await talk("ws://127.0.0.1:1/", handler=handler(), sock=object())


def test_the_timer_stands_still_between_its_runs() -> None:
    """Only the time in which the timer runs counts, and when none is left it says so."""
    now = 0.0
    timer = Timer(10, lambda: now)
    with timer.running() as left:
        assert left == 10
        now += 4
    now += 1000  # a person is asked
    with timer.running() as left:
        assert left == 6
        now += 6
    with pytest.raises(TimeoutError), timer.running():
        pass
    with Timer(None).running() as left:
        assert left is None


@pytest.mark.anyio
async def test_the_connect_timer_stands_still_while_a_person_is_asked(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that takes longer than the open timeout does not time out, but a slow network does."""
    now, slow_network = 0.0, 0.0

    def clock() -> Any:
        nonlocal now
        now += slow_network
        return now

    def slow_person(request: Any) -> Any:
        nonlocal now
        now += 1000
        return PasswordAuthentication("joe", "welcome")

    for module in ("websocket", "sync"):
        monkeypatch.setattr(f"asgi_gateway.client.{module}.Timer", lambda seconds: Timer(seconds, clock))
    with server(guarded) as running:
        assert (await talk(running.uri, handler=BasicChallengeHandler(slow_person)))[0] == "hi"
        slow_network = 11.0
        with pytest.raises(TimeoutError):
            await talk(running.uri, handler=BasicChallengeHandler(slow_person))
