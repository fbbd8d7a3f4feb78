"""What a gateway remembers, and what a flood of logins does not touch."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.gateway import _KNOWN_PATHS, Gateway, request_of
from asgi_gateway.model import Allow, Grant, Unavailable
from asgi_gateway.services.origins import CrossSite, OriginRules
from tests.gateways import Module, World, basic, request, scope, service, users

pytestmark = pytest.mark.anyio

ORIGIN = (b"origin", b"https://a.example")
LISTED = OriginRules([CrossSite(frozenset(("https://a.example",)), ("PUT",))])


@pytest.fixture
def world() -> World:
    return World()


def site(world: World) -> Gateway:
    """A public part, two protected ones, and one of each for pages of another site."""
    realm = world.realm(users(joe="A", ann="A B"))
    return world.gateway(
        service("public", "/public"),
        service("a", "/a", realm, roles="A"),
        service("b", "/a/b", realm, roles="A B"),
        service("shared", "/shared", origins=LISTED),
        service("api", "/api", realm, origins=LISTED),
    )


lines = st.sampled_from(
    [
        basic("joe"),
        basic("ann"),
        basic("joe", "wrong"),
        (b"authorization", b""),
        ORIGIN,
        (b"origin", b"null"),
        (b"host", b"shop.example"),
    ]
)
pieces = st.sampled_from(["public", "a", "b", "api", "shared", "..", "", "%2e", ";", "x", "\u2025", "\x00"])
requests = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["http", "websocket"]),
        "path": st.lists(pieces, max_size=3).map(lambda parts: "/" + "/".join(parts)),
        "root_path": st.sampled_from(["", "", "/public", "/a", "/x"]),
        "raw_path": st.none() | st.sampled_from([b"/public", b"/%61", b"/a%2fb", b"/%2E"]),
        "headers": st.lists(lines, max_size=3),
        "method": st.sampled_from(["GET", "OPTIONS"]),
    }
)


@given(st.lists(requests, max_size=12))
def test_recall_never_differs(asked: list[dict[str, Any]]) -> None:
    """Whatever was asked before, recall knows nothing, or what decide decides."""

    async def main() -> None:
        world = World()
        gateway = site(world)
        for each in asked:
            each = dict(each)
            path = each["root_path"] + each.pop("path")  # the middleware refuses every other root
            this = scope(path, *each.pop("headers"), kind=each.pop("kind"), **each)
            remembered = gateway.cached_decision(this)
            decided = await gateway.decide(request_of(this))
            if remembered is not None:
                assert remembered == decided
                assert remembered.headers == ()
                assert remembered.additions is decided.additions
            assert gateway.cached_decision(this) in (None, decided)

    anyio.run(main)


async def test_recall_forgets(world: World) -> None:
    """AuthenticationResult credentials are recalled until their time is over or the realm's data changed."""
    gateway = site(world)
    asked = scope("/a", basic("joe"))
    assert gateway.cached_decision(asked) is None
    decided = await gateway.decide(request_of(asked))
    assert gateway.cached_decision(asked) is decided
    assert gateway.cached_decision(scope("/a/b", basic("joe"))) is None
    gateway.realms[0].cache.clear()
    assert gateway.cached_decision(asked) is None
    await gateway.decide(request_of(asked))
    world.clock.advance(30)
    assert gateway.cached_decision(asked) is None


async def test_recall_of_sockets_and_other_scopes(world: World) -> None:
    """A protected WebSocket is always decided, since its Origin counts; so is a scope of another type."""
    gateway = site(world)
    await gateway.decide(request("/a", basic("joe")))
    assert gateway.cached_decision(scope("/a", basic("joe"))) is not None
    assert gateway.cached_decision(scope("/a", basic("joe"), kind="websocket")) is None
    assert gateway.cached_decision(scope("/public", kind="websocket")) is not None
    assert gateway.cached_decision(scope("/shared")) is None
    await gateway.decide(request("/api", basic("joe")))
    assert gateway.cached_decision(scope("/api", basic("joe"), (b"origin", b"https://evil.example"))) is None
    assert gateway.cached_decision({"type": "lifespan"}) is None
    assert gateway.cached_decision({"type": "quic", "path": "/public"}) is None


def test_a_flood_of_paths(world: World) -> None:
    """Paths that clients make up are remembered up to a bound, and long ones never."""
    gateway = site(world)
    for number in range(2 * _KNOWN_PATHS + 1):
        assert gateway.cached_decision(scope(f"/public/{number}")) is not None
    assert gateway.cached_decision(scope("/public/" + "x" * 60_000)) is not None
    routes = gateway._any_port
    assert routes is not None
    known = routes.known["http"]
    assert len(known) <= _KNOWN_PATHS
    assert known.get("/public/" + "x" * 60_000) is None


async def test_flood(world: World) -> None:
    """When all threads are busy, more logins are told 503 and none is let in; public and remembered requests go on."""
    world.pools = ThreadPools(threads=2, waiting=0)
    entered, go = threading.Semaphore(0), threading.Event()

    def check() -> None:
        entered.release()
        assert go.wait(20)

    async def slow(attempt: Any) -> Grant:
        if attempt.username != "joe":
            await attempt.run_blocking(check)
        return Grant.user(attempt.username)

    gateway = world.gateway(service("a", "/a", world.realm(Module(slow, cacheable=True))), service("public", ""))
    await gateway.decide(request("/a", basic("joe")))
    decisions: list[Any] = []

    async def ask(number: int) -> None:
        decisions.append(await gateway.decide(request("/a", basic(f"u{number}"))))

    try:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)
            await anyio.to_thread.run_sync(entered.acquire)
            with anyio.fail_after(5):
                while len(decisions) < 18:
                    await anyio.sleep(0.001)
            assert {type(decision) for decision in decisions} == {Unavailable}
            assert gateway.cached_decision(scope("/a", basic("joe"))) is not None
            assert isinstance(await gateway.decide(request("/a", basic("joe"))), Allow)
            assert gateway.cached_decision(scope("/elsewhere")) is not None
            go.set()
    finally:
        go.set()
    assert [type(decision) for decision in decisions[18:]] == [Allow, Allow]
