"""Real applications with a root path of their own, in memory."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any

import httpx
import pytest

from asgi_gateway import ConfigError, GatewayMiddleware

pytestmark = pytest.mark.anyio

CONFIG: dict[str, Any] = {"services": [{"name": "all", "accept": "/"}, {"name": "closed", "accept": "/admin"}]}


def fastapi() -> Any:
    from fastapi import FastAPI

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parameter is deprecated, and used
        app = FastAPI(root_path="/api/v1")

    @app.get("/admin/secret")
    async def secret() -> str:
        return "secret"

    return app


def django() -> Any:
    from tests.integration.apps import root_path_app

    return root_path_app.FRAMEWORKS["django"]


def django_below_channels() -> Any:
    from channels.routing import ProtocolTypeRouter

    return ProtocolTypeRouter({"http": django()})


@pytest.fixture(params=[fastapi, django, django_below_channels], ids=lambda make: make.__name__)
def application(request: pytest.FixtureRequest) -> Any:
    from django.test import override_settings

    importlib.import_module("tests.integration.apps.root_path_app")  # configures Django
    with override_settings(FORCE_SCRIPT_NAME="/api/v1"):
        yield request.param()


async def get(app: Any, path: str, root_path: str = "") -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, root_path=root_path), base_url="http://a"
    ) as client:
        return await client.get(path)


async def test_second_path(application: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The second path of a route is refused, a warning at start names the setting, and the first path works."""
    assert "secret" in (await get(application, "/api/v1/admin/secret")).text  # what the gateway has to know
    assert "secret" in (await get(application, "/admin/secret")).text
    with caplog.at_level(logging.WARNING, "asgi_gateway"):
        app = GatewayMiddleware(application, CONFIG)
    (warning,) = (each.getMessage() for each in caplog.records if "root-path" in each.getMessage())
    assert "/api/v1" in warning
    assert "secret" in (await get(app, "/admin/secret")).text
    for path in ("/api/v1/admin/secret", "/api/v1", "/api/v1/", "/api/v1/admin"):
        assert (await get(app, path)).status_code == 403


async def test_configured_root(application: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With root-path as the application has it, each route has one path, below it, and there is no warning."""
    with caplog.at_level(logging.WARNING, "asgi_gateway"):
        app = GatewayMiddleware(application, {**CONFIG, "root-path": "/api/v1"})
    assert not caplog.records
    assert "secret" in (await get(app, "/api/v1/admin/secret")).text
    for path in ("/admin/secret", "/api/v1x/admin/secret", "/x/api/v1/admin/secret"):
        assert (await get(app, path)).status_code == 403


async def test_root_of_the_server(application: Any) -> None:
    """Where the server's root is the application's, the pages below it work without root-path."""
    app = GatewayMiddleware(application, CONFIG)
    assert "secret" in (await get(app, "/api/v1/admin/secret", "/api/v1")).text
    assert (await get(app, "/admin/secret", "/api/v1")).status_code == 403
    assert (await get(app, "/other/api/v1/admin/secret", "/other")).status_code == 403


@pytest.mark.parametrize("outer", ["^(?P<tenant>[^/]+)/", "^"])
async def test_below_a_router_of_channels(outer: str) -> None:
    """The gateway below an outer URLRouter decides on the path that the inner one routes."""
    from channels.routing import URLRouter
    from django.urls import re_path

    from tests.integration.apps import root_path_app

    root = "/public" if "tenant" in outer else ""
    gateway = GatewayMiddleware(root_path_app.FRAMEWORKS["channels"], root_path_app.config)
    app = URLRouter([re_path(outer, gateway)])
    assert (await get(app, f"{root}/public/x")).text == "public"
    assert (await get(app, f"{root}/admin/secret")).status_code == 401
    assert (await get(app, f"{root}/elsewhere")).status_code == 403


def test_another_configured_root(application: Any) -> None:
    """A root-path that the application replaces by its own stops the start."""
    with pytest.raises(ConfigError, match="/api/v1"):
        GatewayMiddleware(application, {**CONFIG, "root-path": "/other"})
