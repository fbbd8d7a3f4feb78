"""From a request to a decision."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.model import Allow, Challenge, Forbid, Unavailable
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.origins import CrossSite, OriginRules
from asgi_gateway.telemetry.audit import Audit
from tests.gateways import Module, World, basic, request, scope, service, users

pytestmark = pytest.mark.anyio

ORIGIN = (b"origin", b"https://a.example")
LISTED = OriginRules([CrossSite(frozenset(("https://a.example",)), ("PUT",))])


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


def events(world: World) -> list[dict[str, str]]:
    found = [json.loads(line) for line in world.records.lines]
    world.records.lines.clear()
    return found


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "headers", "answer"),
    [
        ("/public/x", [], Allow),
        ("/public", [basic("joe", "wrong")], Allow),
        ("/a", [], Challenge),
        ("/a", [basic("joe", "wrong")], Challenge),
        ("/a", [basic("joe")], Allow),
        ("/a/b", [basic("joe")], Forbid),
        ("/a/b/c", [basic("ann")], Allow),
        ("/a/bc", [basic("joe")], Allow),
        ("/", [basic("ann")], Forbid),
        ("", [basic("ann")], Forbid),
        ("/publicity", [], Forbid),
        ("/public/../a", [basic("ann")], Forbid),
        ("/public//a", [], Forbid),
        ("/public/%2e%2e/a", [], Forbid),
    ],
)
async def test_decisions(world: World, kind: str, path: str, headers: list[Any], answer: type) -> None:
    """The service of the path decides who gets in, over HTTP and WebSocket alike; each refusal leaves one event."""
    decision = await site(world).decide(request(path, *headers, kind=kind))
    assert isinstance(decision, answer)
    if answer is not Allow:
        assert [event["outcome"] for event in events(world) if event["outcome"] != "success"] == [
            "denial" if answer is Forbid else "failure" if headers else "challenge"
        ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "get", "X"])
async def test_no_method_is_exempt(world: World, method: str) -> None:
    """Every method needs the same credentials."""
    assert isinstance(await site(world).decide(request("/a", method=method)), Challenge)


async def test_missing_roles_are_logged(world: World) -> None:
    """The log says who lacks which roles where; the decision names neither role nor user in its headers."""
    decision = await site(world).decide(request("/a/b", basic("joe")))
    assert isinstance(decision, Forbid)
    assert decision.headers == ()
    denial = events(world)[-1]
    assert (denial["principal"], denial["reason"], denial["service"], denial["realm"]) == (
        "joe",
        "missing roles: B",
        "b",
        "demo",
    )


async def test_encoded_separators(world: World) -> None:
    """A separator that was sent encoded is refused, public or not, by the first request and by every other."""
    gateway = site(world)
    assert gateway.cached_decision(scope("/public/x", raw_path=b"/public/x")) is not None
    for raw in (b"/public%2fx", b"/public/x%00", b"/public/%2e"):
        asked = scope("/public/x", raw_path=raw)
        assert gateway.cached_decision(asked) is None
        assert isinstance(await gateway.decide(request_of(asked)), Forbid)


# -------------------------------------------------------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("path", "kind", "origin", "allowed"),
    [
        ("/a", "websocket", b"http://shop.example", True),
        ("/a", "websocket", b"https://a.example", False),
        ("/a", "websocket", b"null", False),
        ("/a", "http", b"https://evil.example", True),
        ("/api", "websocket", b"https://a.example", True),
        ("/api", "websocket", b"https://b.example", False),
        ("/api", "http", b"https://a.example", True),
        ("/api", "http", b"https://b.example", False),
        ("/api", "http", b"http://shop.example", True),
        ("/shared", "http", b"https://a.example", True),
        ("/shared", "websocket", b"https://b.example", False),
        ("/public", "websocket", b"https://b.example", True),
    ],
)
async def test_origins(world: World, path: str, kind: str, origin: bytes, allowed: bool) -> None:
    """A page of another site opens no protected WebSocket, and nothing of a service that lists who may."""
    headers = (basic("joe"), (b"host", b"shop.example"), (b"origin", origin))
    decision = await site(world).decide(request(path, *headers, kind=kind))
    assert isinstance(decision, Allow if allowed else Forbid)


async def test_headers_for_other_sites(world: World) -> None:
    """A listed page may read every answer, the challenge included; what is remembered for all is unchanged."""
    gateway = site(world)
    for headers, answer in (([], Challenge), ([basic("joe")], Allow), ([basic("joe")], Allow)):
        decision = await gateway.decide(request("/api", ORIGIN, *headers))
        assert isinstance(decision, answer)
        assert decision.headers.count((b"access-control-allow-origin", b"https://a.example")) == 1
    own = await gateway.decide(request("/api", basic("joe")))
    assert own.headers == ((b"vary", b"Origin"),)
    public = await gateway.decide(request("/shared", ORIGIN))
    assert isinstance(public, Allow)
    assert (await gateway.decide(request("/shared"))).headers == ((b"vary", b"Origin"),)
    refused = await gateway.decide(request("/api", (b"origin", b"https://b.example")))
    assert refused.headers == ((b"vary", b"Origin"),)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_doubled_origin(world: World, kind: str) -> None:
    """Two Origin headers are refused where a rule looks at the origin, and nobody's business elsewhere."""
    two = (ORIGIN, (b"origin", b"http://shop.example"))
    gateway = site(world)
    assert isinstance(await gateway.decide(request("/api", basic("joe"), *two, kind=kind)), Forbid)
    assert isinstance(await gateway.decide(request("/public", *two, kind=kind)), Allow)
    decision = await gateway.decide(request("/a", basic("joe"), *two, kind=kind))
    assert isinstance(decision, Forbid if kind == "websocket" else Allow)


def preflight(gateway: Gateway, path: str, *headers: Any, **more: Any) -> Any:
    asked = (b"access-control-request-method", b"PUT")
    return gateway.preflight(request(path, *(headers or (ORIGIN, asked)), **({"method": "OPTIONS"} | more)))


def test_preflight(world: World) -> None:
    """A preflight for a service that answers it needs no credentials."""
    for path in ("/api", "/shared/x"):
        assert dict(preflight(site(world), path))[b"access-control-allow-methods"] == b"PUT"
    assert not world.records.lines


@pytest.mark.parametrize(
    ("path", "headers", "more"),
    [
        ("/a", (), {}),
        ("/nowhere", (), {}),
        ("/api/../api", (), {}),
        ("/api", (), {"raw_path": b"/%2e/api"}),
        ("/api", (), {"method": "PUT"}),
        ("/api", (), {"kind": "websocket"}),
        ("/api", (ORIGIN,), {}),
        ("/api", ((b"access-control-request-method", b"PUT"),), {}),
        ("/api", (ORIGIN, ORIGIN, (b"access-control-request-method", b"PUT")), {}),
        ("/api", ((b"origin", b"https://b.example"), (b"access-control-request-method", b"PUT")), {}),
    ],
)
def test_no_preflight(world: World, path: str, headers: Any, more: Any) -> None:
    """What is no preflight, or not for such a service, or not from a listed page, goes the way of all requests."""
    assert preflight(site(world), path, *headers, **more) is None


async def test_hosts(world: World) -> None:
    """A service that matches the host takes only its own requests; two Host headers are refused."""
    realm = world.realm(users(joe=""))
    named = Service("named", (Mount("", frozenset(("http",)), "h"),))
    gateway = world.gateway(named, service("rest", "", realm))
    assert isinstance(await gateway.decide(request("/", (b"host", b"H"))), Allow)
    assert isinstance(await gateway.decide(request("/", (b"host", b"g"))), Challenge)
    assert isinstance(await gateway.decide(request("/")), Challenge)
    assert isinstance(await gateway.decide(request("/", (b"host", b"h"), (b"host", b"g"))), Forbid)
    assert gateway.cached_decision(scope("/", (b"host", b"h"))) is None
    asked = request(
        "/", ORIGIN, (b"host", b"h"), (b"host", b"h"), (b"access-control-request-method", b"PUT"), method="OPTIONS"
    )
    assert gateway.preflight(asked) is None


# ------------------------------------------------------------------------------------ the rest


def test_two_services_of_one_place(world: World) -> None:
    """A gateway in which two services accept the same is not made."""
    with pytest.raises(ValueError, match="accept the same"):
        world.gateway(service("a", "/x"), service("b", "/x"))


async def test_unavailable(world: World) -> None:
    """What could not be decided is refused with one event."""
    assert site(world).unavailable(request("/a"), "unexpected error") == Unavailable(reason="unexpected error")
    assert [event["outcome"] for event in events(world)] == ["unavailable"]


async def test_observed(world: World) -> None:
    """An observer is told what each module did."""
    seen: list[Any] = []
    await site(world).decide(
        request("/a", basic("joe")), LoginOptions(trace=lambda realm, steps: seen.append((realm.name, len(steps))))
    )
    assert seen == [("demo", 2)]


async def test_nothing_secret_is_printed(world: World) -> None:
    """No part of a gateway prints a credential that went through it."""

    async def down(attempt: Any) -> None:
        seen.append(repr(attempt) + repr(attempt.token) + repr(attempt.__dict__["token"]))
        raise LoginUnavailable("down")

    seen: list[str] = []
    gateway = world.gateway(
        service("x", "/x", world.realm(Module(down))), service("a", "/a", world.realm(users(joe=""), name="a"))
    )
    for path in ("/x", "/a"):
        asked = request(path, basic("joe"), (b"cookie", b"joe-pw"), query=b"joe-pw")
        decision = await gateway.decide(asked)
        seen += [
            repr(asked),
            repr(decision),
            repr(gateway),
            repr(gateway.realms),
            repr(gateway.services),
            repr(Audit(world.clock)),
        ]
    assert "joe-pw" not in "".join(seen)
    assert basic("joe")[1].decode()[6:] not in "".join(seen)
