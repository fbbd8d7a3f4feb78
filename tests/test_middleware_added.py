"""The gateway as ``add_middleware`` of Starlette and FastAPI builds it: when the server starts the lifespan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from asgi_gateway import ConfigError, GatewayMiddleware
from tests.asgi import get

pytestmark = pytest.mark.anyio

UNUSABLE: list[Any] = [
    "missing.yaml",
    {"services": [{"name": "a", "accept": "/", "realm-name": "unknown"}]},
    {"security": {"realms": [{"name": "a", "authentication": {"http-challenge-scheme": "Basik"}}]}},
    {"service": "text"},
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def start(app: Any) -> tuple[list[dict[str, Any]], BaseException | None]:
    """Start an application's lifespan as a server does; gives what it sent and what it raised."""
    sent: list[dict[str, Any]] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    except Exception as error:
        return sent, error
    return sent, None


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
@pytest.mark.parametrize("config", UNUSABLE, ids=["missing", "realm", "scheme", "element"])
async def test_invalid_configuration_ends_the_start(framework: type[Starlette], config: Any) -> None:
    """An invalid configuration fails the server's start with the error's own words."""
    app = framework()
    app.add_middleware(GatewayMiddleware, config=config)
    with pytest.raises(ConfigError) as expected:
        GatewayMiddleware(framework(), config)
    (failed,), error = await start(app)
    assert failed["type"] == "lifespan.startup.failed"
    assert str(expected.value) in failed["message"]
    assert isinstance(error, ConfigError)


@pytest.mark.parametrize("config", UNUSABLE, ids=["missing", "realm", "scheme", "element"])
async def test_nothing_is_served_without_lifespan(config: Any) -> None:
    """Under a server without lifespan no request enters the application, whatever its path."""
    app, entered = FastAPI(), []

    @app.get("/")
    async def home() -> None:
        entered.append("home")

    app.add_middleware(GatewayMiddleware, config=config)
    for path in ("/", "/docs", "/elsewhere", "/"):
        assert (await get(app, path, basic=("joe", "welcome"))).status in (403, 503)
    assert entered == []


async def test_valid_configuration_starts_and_stops(tmp_path: Path) -> None:
    """A valid configuration is opened with the start and closed with the stop."""
    app = FastAPI()
    app.add_middleware(GatewayMiddleware, config={"services": [{"name": "all", "accept": "/"}]})
    sent, error = await start(app)
    assert ([message["type"] for message in sent], error) == (
        ["lifespan.startup.complete", "lifespan.shutdown.complete"],
        None,
    )
