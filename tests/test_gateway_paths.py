"""Paths that the gateway decides on: encoded slashes, and two readings that belong to two services."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asgi_gateway.config import load_config
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.model import Allow, Challenge, Forbid
from asgi_gateway.services.origins import CrossSite, OriginRules
from tests.gateways import World, ask, basic, scope, service, users, wrapped

pytestmark = pytest.mark.anyio

A = (b"origin", b"https://a.example")


@pytest.fixture
def world() -> World:
    return World()


def site(world: World) -> Gateway:
    realm = world.realm(users(joe="R"))
    rules = OriginRules([CrossSite(frozenset(("https://a.example",)))])
    return world.gateway(
        replace(service("files", "/files", realm, origins=rules), allow_encoded_slash=True),
        replace(service("open", "/open"), allow_encoded_slash=True),
        service("secret", "/files/secret", world.realm(users(ann="R"), name="other")),
        service("hidden", "/open/hidden", realm),
        service("strict", "/strict"),
        service("admin", "/admin", realm),
        service("all", ""),
    )


CASES = [
    ("/files/a/b", b"/files/a%2Fb", Challenge),
    ("/files/http://x/y", b"/files/http%3A%2F%2fx%2Fy", Challenge),
    ("/open/a/b", b"/open/a%2fb", Allow),
    ("/open/a/b", b"/open/a%2fb/../c", Forbid),
    ("/open/../admin", b"/open/..%2Fadmin", Forbid),
    ("/open/a/../b", b"/open/a%2F..%2Fb", Forbid),
    ("/open/hidden/x", b"/open/hidden%2Fx", Forbid),
    ("/open/hidden/x", b"/open%2Fhidden/x", Forbid),
    ("/open/x", b"/open%2Fx", Forbid),
    ("/files/secret/x", b"/files/secret%2Fx", Forbid),
    ("/files/secret/a/b", b"/files/secret/a%2Fb", Forbid),
    ("/strict/a/b", b"/strict/a%2Fb", Forbid),
    ("/open/a\\b", b"/open/a%5Cb%2F", Forbid),
    ("/a/b", b"/a%2Fb", Forbid),
]


@pytest.mark.parametrize(("path", "raw_path", "expected"), CASES)
@pytest.mark.parametrize("root", ["", "/api"])
async def test_encoded_slash(world: World, path: str, raw_path: bytes, expected: type[Any], root: str) -> None:
    """An encoded slash is taken where its service allows it and is the same in both readings of the path."""
    gateway = site(world)
    asked = scope(root + path, root_path=root, raw_path=root.encode() + raw_path)
    for _ in range(2):
        assert type(await gateway.decide(request_of(asked))) is expected
    app, inner = wrapped(gateway)
    await ask(app, asked)
    assert bool(inner.scopes) is (expected is Allow)
    if expected is Challenge:
        await ask(app, {**asked, "headers": [basic("joe")]})
        assert inner.scopes[0]["raw_path"] == root.encode() + raw_path


async def test_preflight_of_an_encoded_slash(world: World) -> None:
    """A preflight is answered for a path with an encoded slash just where the path is taken."""
    app, _ = wrapped(site(world))
    asked = [A, (b"access-control-request-method", b"GET")]
    for path, raw_path, status in (("/files/a/b", b"/files/a%2Fb", 204), ("/strict/a/b", b"/strict/a%2Fb", 403)):
        server = await ask(app, scope(path, *asked, method="OPTIONS", raw_path=raw_path))
        assert server.status == status


@pytest.mark.parametrize("path", ["/ad\u200cmin", "/\uff41dmin/x", "/adm\u0131\u0307n", "/admin\ufe0f/x"])
async def test_two_readings(world: World, path: str) -> None:
    """A public path that is a protected one once it is normalised is refused, however often it is asked for."""
    gateway = site(world)
    expected = Allow if path == "/adm\u0131\u0307n" else Forbid  # NFKC knows no other case and no other letter
    for _ in range(2):
        assert type(await gateway.decide(request_of(scope(path)))) is expected
        assert (gateway.cached_decision(scope(path)) is None) is (expected is Forbid)


@pytest.mark.parametrize(("written", "expected"), [(True, True), ("TRUE", True), ("false", False), (None, False)])
def test_configuration(written: Any, expected: bool) -> None:
    """allow-encoded-slash is off unless a service turns it on."""
    more = {} if written is None else {"allow-encoded-slash": written}
    one, two = load_config({"services": [{"accept": "/one", **more}, {"accept": "/two"}]}).services
    assert (one.allow_encoded_slash, two.allow_encoded_slash) == (expected, False)
