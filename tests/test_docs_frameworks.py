"""docs/how-to/frameworks.md: its examples and its claims on path prefixes, CORS and other sites' requests are true."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from asgi_gateway import GatewayMiddleware
from asgi_gateway.passwords import hash_password
from tests.asgi import Answer, get, started

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")]

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "frameworks.md").read_text()
ORIGIN = "https://www.example.com"
JOE = ("joe", "welcome")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def block(info: str) -> str:
    """The page's code block with these words behind its fence."""
    (text,) = re.findall(rf"^```{info}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a users file; joe is no administrator."""
    (tmp_path / "users.yaml").write_text(f"users: [{{name: joe, password: '{hash_password('welcome')}'}}]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Serve = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def serve(folder: Path) -> AsyncIterator[Serve]:
    """Starts applications of the working directory, and stops them after the test."""
    async with AsyncExitStack() as stack:

        async def start(app: Any) -> Any:
            await stack.enter_async_context(started(app))
            return app

        yield start


def configure(part: str) -> None:
    """Write gateway.yaml: a part of one as the page shows it, with the realm that it names."""
    module = {"type": "file", "success": "required", "options": {"file": "users.yaml"}}
    realm = {"name": "demo", "authentication": {"http-challenge-scheme": "Basic", "login-modules": [module]}}
    config = yaml.safe_load(part) | {"security": {"realms": [realm]}}
    Path("gateway.yaml").write_text(yaml.safe_dump(config))


def application(info: str) -> Any:
    """The application of one of the page's examples, with routes that say that they were reached."""
    module = ModuleType("main")
    exec(compile(block(info), "frameworks.md", "exec"), module.__dict__)
    return with_routes(module.__dict__["app"])


def with_routes(app: FastAPI) -> FastAPI:
    """The same application with two routes."""

    @app.api_route("/admin", include_in_schema=False)
    @app.api_route("/api", methods=["GET", "PUT", "POST"], include_in_schema=False)
    async def reached() -> str:
        return "reached"

    return app


def cors_of(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The answer's headers of CORS."""
    return [each for each in answer.headers if each[0].startswith(b"access-control-")]


async def preflight(app: Any, method: str = "GET", origin: str = ORIGIN) -> Answer:
    """A preflight, as browsers send it: without credentials."""
    asked = (("access-control-request-method", method), ("access-control-request-headers", "authorization"))
    return await get(app, "/api", method="OPTIONS", headers=(("origin", origin), *asked))


ADMIN = "services: [{name: admin, accept: /admin, realm-name: demo, authorization-constraint: {require-role: A}}]"
OPEN = f"{ADMIN[:-1]}, {{name: rest, accept: /}}]"
"""As above, with a public service for all other paths."""


# ------------------------------------------------------------------------------------------------------- path prefixes


async def test_added_middleware_protects(serve: Serve) -> None:
    """The example for FastAPI challenges, and lets in with credentials."""
    configure("services: [{name: admin, accept: /admin, realm-name: demo}]")
    app = await serve(application("python fastapi"))
    assert (await get(app, "/admin")).status == 401
    assert (await get(app, "/admin", basic=JOE)).status == 200


@pytest.mark.parametrize(("path", "status"), [("/api/v1/admin", 403), ("/admin", 403), ("/api/v1x/admin", 403)])
async def test_root_path(serve: Serve, path: str, status: int) -> None:
    """With ``root-path`` a service's path is written without the prefix, and paths outside the prefix are refused."""
    configure(block("yaml root-path"))
    app = with_routes(FastAPI())
    app.add_middleware(GatewayMiddleware, config="gateway.yaml")
    await serve(app)
    inside = path.startswith("/api/v1/")
    assert (await get(app, path)).status == (401 if inside else 403)
    assert (await get(app, path, basic=JOE)).status == status


async def test_servers_change_no_routing(serve: Serve) -> None:
    """With ``servers`` the application has no second paths, and its OpenAPI document names the prefix."""
    configure(OPEN)
    app = await serve(application("python servers"))
    assert (await get(app, "/admin")).status == 401
    assert (await get(app, "/api/v1/admin")).status == 404
    assert b'"url":"/api/v1"' in (await get(app, "/openapi.json")).body


@pytest.mark.parametrize("path", ["/api/v1/admin", "/api/v1/", "/api/v1"])
async def test_second_paths_of_a_wrapped_application_are_refused(
    serve: Serve, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """FastAPI(root_path=...) is warned of at the start; each route's second path is refused, the first works."""
    configure(OPEN)
    app = await serve(GatewayMiddleware(with_routes(FastAPI(root_path="/api/v1")), "gateway.yaml"))
    assert "FastAPI(root_path=...)" in caplog.text
    assert (await get(app, path, basic=JOE)).status == 403
    assert (await get(app, "/admin")).status == 401
    assert (await get(app, "/api")).status == 200


@pytest.mark.parametrize(("path", "status"), [("/admin", 403), ("/api", 403), ("/api/v1/admin", 401)])
async def test_second_paths_with_the_middleware_inside(serve: Serve, path: str, status: int) -> None:
    """With add_middleware a request without the prefix of FastAPI(root_path=...) is refused."""
    configure(OPEN)
    app = with_routes(FastAPI(root_path="/api/v1"))
    app.add_middleware(GatewayMiddleware, config="gateway.yaml")
    await serve(app)
    assert (await get(app, path)).status == status


# ---------------------------------------------------------------------------------------------------------------- CORS


@pytest.mark.parametrize("own", [False, True], ids=["alone", "beside CORSMiddleware"])
async def test_cors_by_the_gateway(serve: Serve, own: bool) -> None:
    """The gateway answers preflights, and its headers stand alone, whatever the application adds."""
    configure(block("yaml cors-gateway"))
    app = with_routes(FastAPI())
    if own:
        app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True, expose_headers=["X-Own"])
    app.add_middleware(GatewayMiddleware, config="gateway.yaml")
    await serve(app)
    asked = await preflight(app, "PUT")
    assert (asked.status, asked.header("access-control-allow-origin")) == (204, [ORIGIN])
    assert "DELETE" in asked.header("access-control-allow-methods")[0]
    origin = (("origin", ORIGIN),)
    for answer in (await get(app, "/api", basic=JOE, headers=origin), await get(app, "/api", headers=origin)):
        assert answer.header("access-control-allow-origin") == [ORIGIN]
        assert answer.header("access-control-allow-credentials") == ["true"]
        assert len(cors_of(answer)) == len(dict(cors_of(answer)))
    assert (await get(app, "/api", basic=JOE, headers=[("origin", "https://other.example")])).status == 403


async def test_cors_by_the_application(serve: Serve) -> None:
    """With ``cors: application`` CORSMiddleware answers preflights, and its headers stand alone."""
    configure(block("yaml cors-application"))
    app = await serve(application("python cors-application"))
    asked = await preflight(app)
    assert (asked.status, asked.header("access-control-allow-origin")) == (200, [ORIGIN])
    answer = await get(app, "/api", basic=JOE, headers=[("origin", ORIGIN)])
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, [ORIGIN])
    assert len(cors_of(answer)) == len(dict(cors_of(answer)))
    refusal = await get(app, "/api", headers=[("origin", ORIGIN)])
    assert (refusal.status, cors_of(refusal)) == (401, [])
    for other in ("https://other.example", "null", "https://www.example.com.other.example"):
        assert (await get(app, "/api", basic=JOE, headers=[("origin", other)])).status == 403
        assert (await preflight(app, origin=other)).status == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_preflights_need_one_of_the_two(serve: Serve, method: str) -> None:
    """Without a constraint and without ``cors: application`` a preflight for a protected service ends in 401."""
    configure("services: [{name: api, accept: /api, realm-name: demo}]")
    app = await serve(application("python cors-application"))
    assert (await preflight(app, method)).status == 401


# ------------------------------------------------------------------------------------------ requests of other sites


@pytest.mark.parametrize(
    ("method", "header", "status"),
    [
        ("POST", ("sec-fetch-site", "cross-site"), 403),
        ("PUT", ("sec-fetch-site", "same-site"), 403),
        ("POST", ("origin", "https://other.example"), 403),
        ("POST", ("sec-fetch-site", "same-origin"), 200),
        ("POST", ("origin", "http://testserver"), 200),
        ("POST", ("user-agent", "curl"), 200),
        ("GET", ("sec-fetch-site", "cross-site"), 200),
    ],
)
async def test_forged_requests(serve: Serve, method: str, header: tuple[str, str], status: int) -> None:
    """A request that changes something is refused if another site's page made it; programs and own pages pass."""
    configure("services: [{name: api, accept: /api, realm-name: demo}]")
    app = with_routes(FastAPI())
    app.add_middleware(GatewayMiddleware, config="gateway.yaml")
    await serve(app)
    assert (await get(app, "/api", method=method, basic=JOE, headers=[header])).status == status
