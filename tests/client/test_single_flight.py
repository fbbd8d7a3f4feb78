"""One question for all requests that are challenged alike at the same time, in every form of the client."""

from __future__ import annotations

import base64
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from asgi_gateway.client import (
    BasicChallengeHandler,
    ChallengeHandler,
    ChallengeResponse,
    DispatchChallengeHandler,
    GatewayAuth,
    Httpx2GatewayAuth,
    PasswordAuthentication,
    TokenChallengeHandler,
    connect,
)
from asgi_gateway.client.flow import _LOGINS, AskHandler, FlowOptions, HttpReply, WaitForLogin, authenticate
from asgi_gateway.client.single_flight import LoginOutcome, LoginResult
from asgi_gateway.client.sync import connect as connect_in_thread
from tests.client.test_websocket import guarded, server

RIGHT = "Basic " + base64.b64encode(b"joe:welcome").decode()
URL = "https://gateway.example"
BOTH_LOOPS = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
BOTH_LIBRARIES = pytest.mark.parametrize(
    ("library", "auth_class"), [(httpx, GatewayAuth), (httpx2, Httpx2GatewayAuth)], ids=["httpx", "httpx2"]
)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[Any]:
    """After each test no login is under way, whichever way the requests ended."""
    yield
    gc.collect()
    assert _LOGINS._logins == {}


class Person:
    """Gives these passwords in turn, slowly, and counts how often it was asked."""

    def __init__(self, *passwords: Any, seconds: float = 0.05) -> None:
        self.passwords = list(passwords)
        self.seconds = seconds
        self.asked: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self.asked.append(request)
        password = self.passwords.pop(0) if self.passwords else None
        time.sleep(self.seconds)
        return PasswordAuthentication("joe", password) if password is not None else None

    async def slowly(self, request: Any) -> Any:
        self.asked.append(request)
        password = self.passwords.pop(0) if self.passwords else None
        await anyio.sleep(self.seconds)
        return PasswordAuthentication("joe", password) if password is not None else None


def reply_of(library: Any, statuses: dict[str, int] | None = None) -> Any:
    """A server that lets the right password in, and answers some paths with another status then."""

    def reply(request: Any) -> Any:
        if request.headers.get("Authorization") == RIGHT:
            return library.Response((statuses or {}).get(request.url.path, 200))
        return library.Response(401, headers={"WWW-Authenticate": 'Basic realm="demo"'})

    return reply


PATHS = [f"/folder{number % 5}/{number}" for number in range(20)]


async def get_all(auth: Any, library: Any = httpx, paths: list[str] = PATHS, reply: Any = None) -> Any:
    """The statuses of GETs that all start at once, through one client."""
    statuses = {}

    async def get(client: Any, path: str) -> None:
        statuses[path] = (await client.get(URL + path)).status_code

    transport = library.MockTransport(reply or reply_of(library))
    async with library.AsyncClient(transport=transport, auth=auth) as client, anyio.create_task_group() as tasks:
        for path in paths:
            tasks.start_soon(get, client, path)
    return [statuses[path] for path in paths]


def get_all_in_threads(auth: Any, library: Any = httpx, paths: list[str] = PATHS, reply: Any = None) -> Any:
    """The same from as many threads."""
    transport = library.MockTransport(reply or reply_of(library))
    barrier = threading.Barrier(len(paths))
    with library.Client(transport=transport, auth=auth) as client, ThreadPoolExecutor(len(paths)) as pool:

        def get(path: str) -> Any:
            barrier.wait()
            return client.get(URL + path).status_code

        return list(pool.map(get, paths))


@pytest.mark.anyio
@BOTH_LOOPS
@BOTH_LIBRARIES
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "coroutine"])
async def test_twenty_requests_ask_once_in_a_loop(library: Any, auth_class: Any, plain: bool) -> None:
    """Twenty requests at once, to five folders of one realm, ask one question, and all are answered."""
    person = Person("welcome")
    handler = BasicChallengeHandler(person if plain else person.slowly)
    assert await get_all(auth_class(handler), library) == [200] * 20
    assert len(person.asked) == 1


@BOTH_LIBRARIES
def test_twenty_requests_ask_once_in_threads(library: Any, auth_class: Any) -> None:
    """Twenty threads through one synchronous client ask one question."""
    person = Person("welcome")
    assert get_all_in_threads(auth_class(BasicChallengeHandler(person)), library) == [200] * 20
    assert len(person.asked) == 1


@pytest.mark.anyio
async def test_wrong_passwords_are_asked_for_once_more() -> None:
    """A wrong password of the shared login is asked for again in it, and the attempt is told."""
    person = Person("typo", "welcome")
    assert await get_all(GatewayAuth(BasicChallengeHandler(person))) == [200] * 20
    assert [request.attempt for request in person.asked] == [1, 2]


@pytest.mark.anyio
@BOTH_LOOPS
@pytest.mark.parametrize("passwords", [(), ("a", "b", "c", "d")], ids=["cancelled", "all wrong"])
async def test_the_end_of_the_login_is_the_end_for_all(passwords: Any) -> None:
    """A person who cancels, or has no right password, is not asked again by the requests that waited."""
    person = Person(*passwords)
    assert await get_all(GatewayAuth(BasicChallengeHandler(person))) == [401] * 20
    assert len(person.asked) == (3 if passwords else 1)


def test_the_end_of_the_login_is_the_end_for_all_threads() -> None:
    """The same for threads; a later request asks anew."""
    person = Person()
    auth = GatewayAuth(BasicChallengeHandler(person))
    assert get_all_in_threads(auth) == [401] * 20
    assert len(person.asked) == 1
    person.passwords.append("welcome")
    assert get_all_in_threads(auth, paths=PATHS[:2]) == [200, 200]
    assert len(person.asked) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("status", [302, 404, 405, 422])
async def test_a_missing_page_is_not_a_wrong_password(status: int) -> None:
    """Where the first request's page is missing or moved, its accepted password serves the others all the same."""
    person = Person("welcome")
    reply = reply_of(httpx, dict.fromkeys(PATHS[:10], status))
    statuses = await get_all(GatewayAuth(BasicChallengeHandler(person)), reply=reply)
    assert statuses == [status] * 10 + [200] * 10
    assert len(person.asked) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", [403, 500, 503])
async def test_what_was_neither_accepted_nor_refused_is_not_shared(status: int) -> None:
    """A missing role or a broken server says nothing about the password: the next request asks, and shares."""
    person = Person(*["welcome"] * 20)
    reply = reply_of(httpx, {PATHS[0]: status})
    statuses = await get_all(GatewayAuth(BasicChallengeHandler(person.slowly)), reply=reply)
    assert statuses == [status] + [200] * 19
    assert len(person.asked) == 2


@pytest.mark.anyio
async def test_tokens_are_not_shared() -> None:
    """A token is good for one request, so each asks for its own, and none waits for the others' logins."""
    given: list[Any] = []

    async def token(request: Any) -> Any:
        given.append(f"t{len(given)}")
        answer = given[-1]
        await anyio.sleep(0.1)
        return answer

    seen: list[Any] = []

    def reply(request: Any) -> Any:
        if "Authorization" in request.headers:
            seen.append(request.headers["Authorization"])
            return httpx.Response(200)
        return httpx.Response(401, headers={"WWW-Authenticate": "Application Token"})

    with anyio.fail_after(1.5):  # one after the other would take two seconds
        assert await get_all(GatewayAuth(TokenChallengeHandler(token)), reply=reply) == [200] * 20
    assert sorted(seen) == sorted(f"Token t{number}" for number in range(20))


@pytest.mark.anyio
async def test_remember_false_shares_nothing() -> None:
    """Whoever wants to be asked for each request is."""
    person = Person(*["welcome"] * 20, seconds=0)
    auth = GatewayAuth(BasicChallengeHandler(person.slowly), remember=False)
    assert await get_all(auth) == [200] * 20
    assert len(person.asked) == 20


@pytest.mark.anyio
async def test_one_question_for_each_handler_and_realm() -> None:
    """Handlers that a DispatchChallengeHandler chooses by path never send each other's passwords."""
    people = {"a": Person("welcome"), "b": Person("hidden")}
    dispatch = DispatchChallengeHandler()
    for name, person in people.items():
        dispatch.register(f"gateway.example:443/{name}/*", BasicChallengeHandler(person))
    seen: dict[str, set[bytes]] = {"a": set(), "b": set()}

    def reply(request: Any) -> Any:
        if "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="demo"'})
        seen[request.url.path[1]].add(base64.b64decode(request.headers["Authorization"][6:]))
        return httpx.Response(200)

    paths = [f"/{name}/{number}/x" for name in "ab" for number in range(5)]
    assert await get_all(GatewayAuth(dispatch), paths=paths, reply=reply) == [200] * 10
    assert [len(person.asked) for person in people.values()] == [1, 1]
    assert seen == {"a": {b"joe:welcome"}, "b": {b"joe:hidden"}}


@pytest.mark.anyio
@BOTH_LOOPS
async def test_a_cancelled_leader_leaves_the_question_to_the_next() -> None:
    """If the request that asks is cancelled, another one asks, and none waits for ever."""
    person = Person("lost", "welcome", seconds=0.2)
    auth = GatewayAuth(BasicChallengeHandler(person.slowly))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def leader() -> None:
                with first:
                    await get_all(auth, paths=["/leader"])

            tasks.start_soon(leader)
            while not person.asked:
                await anyio.sleep(0.01)
            async with anyio.create_task_group() as others:
                others.start_soon(get_all, auth, httpx, ["/x", "/y"])
                await anyio.sleep(0.05)
                first.cancel()
    assert len(person.asked) == 2


@pytest.mark.anyio
async def test_an_error_of_the_leader_is_its_own() -> None:
    """What the handler raises reaches the request that asked; each of the others asks for itself."""
    asked: list[Any] = []

    async def login(request: Any) -> Any:
        asked.append(request)
        await anyio.sleep(0.01)
        if len(asked) == 1:
            raise RuntimeError("no terminal")
        return PasswordAuthentication("joe", "welcome")

    auth = GatewayAuth(BasicChallengeHandler(login))
    outcomes = []

    async def get(client: Any, path: str) -> None:
        try:
            outcomes.append((await client.get(URL + path)).status_code)
        except RuntimeError as error:
            outcomes.append(str(error))

    transport = httpx.MockTransport(reply_of(httpx))
    async with httpx.AsyncClient(transport=transport, auth=auth) as client, anyio.create_task_group() as tasks:
        for path in PATHS[:4]:
            tasks.start_soon(get, client, path)
    assert sorted(map(str, outcomes)) == ["200", "200", "200", "no terminal"]
    assert len(asked) == 2


@pytest.mark.anyio
async def test_several_factors_are_not_shared() -> None:
    """The answers of several realms belong together, so each request gives its own, and none waits for ever."""
    realms = []

    async def login(request: Any) -> Any:
        realms.append(request.realm)
        await anyio.sleep(0.01)
        return PasswordAuthentication("joe", request.realm)

    def reply(request: Any) -> Any:
        given = request.headers.get("Authorization", "Basic ")
        password = base64.b64decode(given[6:]).partition(b":")[2].decode()
        if password == "second" and request.headers.get("Sec-Challenge-Identity") == "1":
            return httpx.Response(200)
        identity = {"Sec-Challenge-Identity": "1" if password == "first" else "0"}
        realm = "second" if password == "first" else "first"
        return httpx.Response(401, headers={"WWW-Authenticate": f'Basic realm="{realm}"', **identity})

    with anyio.fail_after(5):
        auth = GatewayAuth(BasicChallengeHandler(login))
        assert await get_all(auth, paths=PATHS[:6], reply=reply) == [200] * 6
    assert sorted(realms) == ["first"] * 6 + ["second"] * 6


def sockets(extended: bool) -> Any:
    return server(subprotocols=["x-kaazing-handshake"]) if extended else server(guarded)


@pytest.mark.anyio
@pytest.mark.parametrize("extended", [False, True], ids=["plain", "extended"])
async def test_twenty_sockets_ask_once_in_a_loop(extended: bool) -> None:
    """Sockets that open at once ask one question; a later one asks again, since nothing is kept."""
    person = Person("welcome", "welcome", seconds=0.3)
    handler = BasicChallengeHandler(person)

    async def talk(heard: list[Any]) -> None:
        async with connect(running.uri, handler=handler, extended=extended, proxy=None) as socket:
            await socket.send("hi")
            heard.append(await socket.recv())

    with sockets(extended) as running:
        heard: list[str] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(talk, heard)
        assert heard == ["hi"] * 20
        assert len(person.asked) == 1
        await talk(heard)
        assert len(person.asked) == 2


@pytest.mark.parametrize("extended", [False, True], ids=["plain", "extended"])
def test_sockets_in_threads_ask_once(extended: bool) -> None:
    """The same for threads, and for a person who cancels."""
    person = Person("welcome", seconds=0.5)
    handler = BasicChallengeHandler(person)
    barrier = threading.Barrier(8)

    def talk(_: int) -> Any:
        barrier.wait()
        try:
            with connect_in_thread(running.uri, handler=handler, extended=extended, proxy=None) as socket:
                socket.send("hi")
                return socket.recv(timeout=5)
        except InvalidStatus as error:
            return error.response.status_code

    with sockets(extended) as running:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(talk, range(8))) == ["hi"] * 8
            assert len(person.asked) == 1
            assert list(pool.map(talk, range(8))) == [401] * 8
            assert len(person.asked) == 2


@pytest.mark.anyio
async def test_threads_and_loops_share_one_question() -> None:
    """A synchronous client in a thread waits for the login that a loop's request leads."""
    person = Person("welcome", seconds=0.3)
    auth = GatewayAuth(BasicChallengeHandler(person.slowly))
    statuses = []

    async def in_thread() -> None:
        statuses.extend(await anyio.to_thread.run_sync(get_all_in_threads, auth, httpx, ["/a/b", "/c/d"]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_thread)
        statuses.extend(await get_all(auth, paths=["/e/f"]))
    assert statuses == [200] * 3
    assert len(person.asked) == 1


@pytest.mark.anyio
async def test_a_synchronous_client_in_the_loops_own_thread_does_not_wait() -> None:
    """It would block the loop that the leading request needs; it asks for itself."""
    person = Person("welcome", seconds=0.2)

    def slowly_then_at_once(request: Any) -> Any:
        return PasswordAuthentication("joe", "welcome") if person.asked else person.slowly(request)

    handler = BasicChallengeHandler(slowly_then_at_once)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get_all, GatewayAuth(handler), httpx, ["/leads"])
            while not person.asked:
                await anyio.sleep(0.01)
            transport = httpx.MockTransport(reply_of(httpx))
            with httpx.Client(transport=transport, auth=GatewayAuth(handler)) as client:
                assert client.get(URL + "/blocks").status_code == 200


def test_a_handler_without_hash_can_answer() -> None:
    """A handler that compares by value, as a dataclass does, answers and shares as any other."""

    class Equal(ChallengeHandler):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        def can_handle(self, request: Any) -> Any:
            return True

        def handle(self, request: Any) -> Any:
            return ChallengeResponse(RIGHT, reusable=True)

    assert get_all_in_threads(GatewayAuth(Equal()), paths=PATHS[:3]) == [200] * 3


def test_an_abandoned_flow_wakes_the_others() -> None:
    """A flow that is closed while its handler is asked lets the next one lead."""
    handler = BasicChallengeHandler(lambda request: None)
    challenge = HttpReply(401, [("WWW-Authenticate", "Basic realm=a")], URL)
    first, second = (authenticate(handler, URL, FlowOptions()) for _ in range(2))
    next(first), next(second)
    assert isinstance(first.send(challenge), AskHandler)
    waiting = second.send(challenge)
    assert isinstance(waiting, WaitForLogin)
    first.close()
    outcome = waiting.login.wait()
    assert outcome.result is LoginResult.ABANDONED
    assert isinstance(second.send(outcome), AskHandler)
    second.close()


def test_outcomes_print_no_secret() -> None:
    """An outcome's credentials are not printed."""
    assert "canary" not in repr(LoginOutcome(LoginResult.ACCEPTED, "canary"))


def test_a_forked_process_does_not_wait_for_the_logins_of_its_parent() -> None:
    """A login that the parent leads is unknown in the child, which asks for itself."""
    script = """
import os
from asgi_gateway.client import BasicChallengeHandler
from asgi_gateway.client.flow import HttpReply, authenticate
handler = BasicChallengeHandler(lambda request: None)
challenge = HttpReply(401, [("WWW-Authenticate", "Basic realm=a")], "https://h/")
def step():
    flow = authenticate(handler, "https://h/")
    next(flow)
    return flow, type(flow.send(challenge)).__name__
leader, asked = step()
if (child := os.fork()) == 0:
    print(asked, step()[1], flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(step()[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["AskHandler", "AskHandler", "WaitForLogin"]
