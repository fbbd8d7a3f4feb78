"""The middleware settles root_path before it decides, and hands on the scope that it decided with."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_gateway import ConfigError, GatewayMiddleware
from tests.gateways import App, World, ask, basic, scope, service, users, wrapped

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> World:
    return World()


def site(world: World) -> Any:
    realm = world.realm(users(joe="R"))
    return world.gateway(service("public", "/public"), service("admin", "/admin", realm), service("all", "", realm))


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "root"), [("/public/api/admin", "/api"), ("/public/c/admin", "c"), ("/publicity", "/public"), ("/x", "/y")]
)
async def test_refused(world: World, kind: str, path: str, root: str) -> None:
    """A root that does not fit is answered 403 and logged, also with right credentials."""
    app, inner = wrapped(site(world))
    for headers in ([], [basic("joe")]):
        server = await ask(app, scope(path, *headers, kind=kind, root_path=root))
        assert server.status == 403
    assert inner.scopes == []
    events = [json.loads(line) for line in world.records.lines]
    assert [event["outcome"] for event in events] == ["denial", "denial"]
    assert "root_path" in events[0]["reason"]


@pytest.mark.parametrize(("root", "seen"), [("/app", "/app"), ("/app/", "/app"), ("", ""), ("/", "")])
async def test_application_gets_what_was_decided_with(world: World, root: str, seen: str) -> None:
    """The application's scope has the root without a slash at its end, on the fast way and on the full one."""
    app, inner = wrapped(site(world))
    prefix = root.rstrip("/")
    for path in ("/public/x", "/admin", "/admin"):
        server = await ask(app, scope(prefix + path, basic("joe"), root_path=root))
        assert server.status == 200
    assert {each["root_path"] for each in inner.scopes} == {seen}
    assert [each["path"] for each in inner.scopes] == [prefix + path for path in ("/public/x", "/admin", "/admin")]


@pytest.mark.parametrize("given", ["", "/other", "c", "/api/"])
async def test_configured_root(world: World, given: str) -> None:
    """With root-path configured the server's root is replaced, and a path outside it refused."""
    gateway = site(world)
    gateway.root_path = "/api"
    app, inner = wrapped(gateway)
    assert (await ask(app, scope("/api/public", root_path=given))).status == 200
    assert inner.scopes[0]["root_path"] == "/api"
    assert (await ask(app, scope("/api/admin", root_path=given))).status == 401
    assert (await ask(app, scope("/public", root_path=given))).status == 403
    assert (await ask(app, scope("/public/api/public", root_path=given))).status == 403


@pytest.mark.parametrize(("text", "root"), [("/api", "/api"), ("/api/", "/api"), ("/a/b", "/a/b"), ("/", "")])
def test_configuration(text: str, root: str) -> None:
    """root-path is written with or without a slash at its end; a slash alone is no root."""
    assert GatewayMiddleware(App(), {"root-path": text, "services": [{"accept": "/x"}]}).gateway.root_path == root


@pytest.mark.parametrize(
    "root", ["api", "", "/a/../b", "/a//b", "/a%2Fb", "/a;b", "/a?b", "/a\\b", "/\uff0e\uff0e/b", "http://a/b"]
)
def test_configured_root_is_invalid(root: str) -> None:
    """A root-path that no canonical path can begin with is an error of the configuration."""
    with pytest.raises(ConfigError, match="root-path"):
        GatewayMiddleware(App(), {"root-path": root, "services": [{"accept": "/"}]})


class _FastAPI(Starlette):
    """Replaces the scope's root_path as FastAPI does."""

    root_path = "/api/v1"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["root_path"] = self.root_path
        await super().__call__(scope, receive, send)


async def secret(request: Request) -> PlainTextResponse:
    return PlainTextResponse("secret")


async def test_application_with_a_root_path(caplog: pytest.LogCaptureFixture) -> None:
    """A route's second path, which the application's own root_path adds, is refused; the first stays as it is."""
    inner = _FastAPI(routes=[Route("/admin", secret), Route("/public/x", secret)])
    config = {"services": [{"accept": "/"}, {"accept": "/admin"}]}
    with caplog.at_level(logging.WARNING):
        app = GatewayMiddleware(inner, config)
    assert "FastAPI(root_path=...)" in caplog.text
    assert (await ask(app, scope("/admin"))).body == b"secret"
    assert (await ask(app, scope("/public/x"))).body == b"secret"
    for path in ("/api/v1/admin", "/api/v1/public/x", "/api/v1", "/api/v1/"):
        assert (await ask(app, scope(path))).status == 403
    caplog.clear()
    app = GatewayMiddleware(inner, {**config, "root-path": "/api/v1"})
    assert "root_path" not in caplog.text
    assert (await ask(app, scope("/api/v1/admin"))).body == b"secret"
    assert (await ask(app, scope("/admin"))).status == 403
