"""Cross-site requests, and CORS of the application behind that of the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_gateway import ConfigError, GatewayMiddleware
from asgi_gateway.config import load_config
from asgi_gateway.services.model import Service
from asgi_gateway.services.origins import CrossSite, OriginRules
from tests.gateways import World, ask, basic, scope, service, users, wrapped

pytestmark = pytest.mark.anyio

PAGE = b"https://a.example"
ORIGIN = (b"origin", PAGE)
FOREIGN = (b"origin", b"https://evil.example")
HOST = (b"host", b"shop.example")
ASKED = (b"access-control-request-method", b"PUT")
LISTED = CrossSite(frozenset((PAGE.decode(),)), ("PUT",), ("authorization",))


@pytest.fixture
def world() -> World:
    return World()


# -------------------------------------------------------------------------------------------------- cross-site requests


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (None, 200),
        ((b"origin", b"http://shop.example"), 200),
        ((b"sec-fetch-site", b"same-origin"), 200),
        (FOREIGN, 403),
        ((b"origin", b"null"), 403),
        ((b"sec-fetch-site", b"cross-site"), 403),
        ((b"sec-fetch-site", b"same-site"), 403),
    ],
)
async def test_forged_requests(world: World, method: str, line: Any, status: int) -> None:
    """A page of another site changes nothing, though the browser sends credentials that were verified a moment ago."""
    realm = world.realm(users(joe="R"))
    app, inner = wrapped(world.gateway(service("api", "/api", realm), service("public", "/public")))
    await ask(app, scope("/api", basic("joe")))
    lines = [HOST] if line is None else [HOST, line]
    for _ in range(2):
        assert (await ask(app, scope("/api", basic("joe"), *lines, method=method))).status == status
        assert (await ask(app, scope("/api", basic("joe"), *lines))).status == 200
        assert (await ask(app, scope("/public", *lines, method=method))).status == 200
    assert [each["method"] for each in inner.scopes].count(method) == (4 if status == 200 else 2)


async def test_forged_requests_without_credentials(world: World) -> None:
    """A cross-site request that changes something is refused before anything is asked of its credentials."""
    app, _ = wrapped(world.gateway(service("api", "/api", world.realm(users(joe="R")))))
    for lines in ([], [basic("joe", "wrong")]):
        server = await ask(app, scope("/api", HOST, FOREIGN, *lines, method="POST"))
        assert server.status == 403
    assert "evil.example" in world.records.lines[0]


# ------------------------------------------------------------------------------------- CORS of gateway or application


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name or "nobody", headers={"X-Total": "1"})


def application() -> Starlette:
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[PAGE.decode()],
        allow_methods=["PUT"],
        allow_headers=["Authorization"],
        allow_credentials=True,
        expose_headers=["X-Total"],
    )
    return Starlette(routes=[Route("/{path:path}", hello, methods=["GET", "PUT"])], middleware=[cors])


def site(world: World, *constraints: CrossSite, by_application: bool = False) -> GatewayMiddleware:
    realm = world.realm(users(joe="R"))
    rules = OriginRules(constraints, by_application=by_application)
    services: list[Service] = [
        service("api", "/api", realm, origins=rules),
        service("public", "/public", origins=rules),
    ]
    return GatewayMiddleware(application(), world.gateway(*services))


def cors_of(server: Any) -> list[tuple[bytes, bytes]]:
    return sorted(each for each in server.headers if each[0].startswith(b"access-control-"))


@pytest.mark.parametrize("path", ["/api", "/public"])
async def test_gateway_replaces_the_application(world: World, path: str) -> None:
    """With constraints the gateway's headers of CORS stand alone, each once; the application's are removed."""
    server = await ask(site(world, LISTED), scope(path, ORIGIN, basic("joe")))
    assert server.status == 200
    assert cors_of(server) == [
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-origin", PAGE),
        (b"access-control-expose-headers", b"WWW-Authenticate, Sec-Challenge-Identity"),
    ]
    assert (b"x-total", b"1") in server.headers


@pytest.mark.parametrize("constraints", [(), (LISTED,)])
async def test_application_answers(world: World, constraints: tuple[CrossSite, ...]) -> None:
    """With cors: application its headers stand alone, and it answers preflights, which have no credentials."""
    app = site(world, *constraints, by_application=True)
    server = await ask(app, scope("/api", ORIGIN, basic("joe")))
    assert (server.status, server.body) == (200, b"joe")
    assert cors_of(server) == [
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-origin", PAGE),
        (b"access-control-expose-headers", b"X-Total"),
    ]
    asked = (b"access-control-request-headers", b"authorization")
    server = await ask(app, scope("/api", ORIGIN, ASKED, asked, method="OPTIONS"))
    assert server.status == 200
    assert (b"access-control-allow-origin", PAGE) in server.headers
    assert len(cors_of(server)) == len(dict(cors_of(server)))


@pytest.mark.parametrize(
    ("method", "lines"),
    [("OPTIONS", [ORIGIN]), ("OPTIONS", [ASKED]), ("GET", [ORIGIN, ASKED]), ("PUT", [ORIGIN, ASKED])],
)
async def test_only_preflights_are_let_through(world: World, method: str, lines: list[Any]) -> None:
    """With cors: application everything but a preflight needs credentials as before."""
    server = await ask(site(world, LISTED, by_application=True), scope("/api", *lines, method=method))
    assert server.status == 401
    assert cors_of(server) == []


async def test_preflight_of_an_unlisted_origin(world: World) -> None:
    """With cors: application and constraints a preflight of another origin does not reach the application."""
    app, inner = wrapped(site(world, LISTED, by_application=True).gateway)
    server = await ask(app, scope("/api", FOREIGN, ASKED, method="OPTIONS"))
    assert server.status == 403
    assert inner.scopes == []


async def test_preflight_without_the_setting(world: World) -> None:
    """Without cors: application a preflight to a protected service without constraints needs credentials."""
    assert (await ask(site(world), scope("/api", ORIGIN, ASKED, method="OPTIONS"))).status == 401


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cors": "both"}, "invalid value"),
        ({"cors": "application", "cross-site-constraint": {"allow-origin": "*", "allow-methods": "PUT"}}, "no effect"),
        ({"cors": "application", "cross-site-constraint": {"allow-origin": "*", "maximum-age": 5}}, "no effect"),
        ({"cross-site-constraint": {"allow-origin": "https://*.example.com"}}, "write each origin in full"),
        ({"cross-site-constraint": {"allow-origin": "https://a.example b.example"}}, "write https://b.example"),
        ({"cross-site-constraint": {"allow-origin": "wss://b.example"}}, "write https://b.example"),
    ],
)
def test_invalid_configuration(more: dict[str, Any], message: str) -> None:
    """An unknown value of cors, an element without effect, and an origin that no browser sends are errors."""
    with pytest.raises(ConfigError, match=message):
        load_config({"services": [{"accept": "/x", **more}]})


def test_configuration() -> None:
    """cors: application and an origin with one slash at its end are taken."""
    cross = {"allow-origin": "http://localhost:8000/, HTTPS://A.example:443/"}
    services = [{"accept": "/x", "cors": "application"}, {"accept": "/y", "cross-site-constraint": cross}]
    one, two = load_config({"services": services}).services
    assert one.origins.response(PAGE) == ()
    for origin in (b"http://localhost:8000", b"https://a.example"):
        assert (b"access-control-allow-origin", origin) in two.origins.response(origin)
