"""root_path of real servers and real frameworks: no request reaches a page that the gateway did not decide on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from asgi_gateway.services.paths import path_below_root
from asgi_gateway.services.root_path import RootPath
from tests.integration.process import Process
from tests.integration.servers import ask, basic, connect, serve

FRAMEWORKS = ("starlette", "fastapi", "litestar", "quart", "django", "channels", "a2wsgi", "asgiref")
SOCKETS = ("starlette", "fastapi", "litestar", "quart", "channels")
ALICE = basic("alice", "wonderland")
ROOTED = {
    "uvicorn": ("--root-path", "/api"),
    "uvicorn-websockets": ("--root-path", "/api"),
    "hypercorn": ("--root-path", "/api"),
    "granian": ("--url-path-prefix", "/api"),
    "gunicorn-asgi": ("--root-path", "/api"),
}
ADDS_ROOT = ("uvicorn", "uvicorn-websockets")
"""Servers that put their root_path in front of the path that the client sent."""


@pytest.fixture(scope="module", params=ROOTED)
def rooted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp(request.param) / "log"
    with serve("root_path_app:app", request.param, log=log, options=ROOTED[request.param]) as process:
        yield process


@pytest.fixture(scope="module", params=["", "/api"])
def daphne(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    log = tmp_path_factory.mktemp("daphne") / "log"
    environment = {"GATEWAY_ROOT_PATH": request.param}
    with serve("root_path_app:app", "daphne", log=log, env=environment) as process:
        yield process, request.param


def get(server: Process, path: str, framework: str, **headers: str) -> tuple[int, bytes]:
    lines = {"x-framework": framework, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return ask(server, path, *lines.items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_root_of_the_server(rooted: Process, framework: str) -> None:
    """Below the server's root each page is where the gateway decides it is; no other path reaches one."""
    root = "" if rooted.name in ADDS_ROOT else "/api"
    assert get(rooted, f"{root}/public/x", framework) == (200, b"public")
    assert get(rooted, f"{root}/admin/secret", framework)[0] == 401
    assert get(rooted, f"{root}/admin/secret", framework, **ALICE) == (200, b"secret")
    moved = [
        "/public/api/admin/secret",
        "/public/x/api/admin/secret",
        "/api/public/api/admin/secret",
        "/apiadmin/secret",
    ]
    for path in (*moved, "/public/../admin/secret", "/api", "/public/api"):
        status, body = get(rooted, path, framework)
        assert b"secret" not in body
        assert status in (200, 400, 401, 403, 404)
        assert status != 200 or body == b"public"


@pytest.mark.parametrize("framework", SOCKETS)
def test_sockets_below_the_root(rooted: Process, framework: str) -> None:
    """A WebSocket below the server's root opens with credentials alone, and not at another path."""
    root = "" if rooted.name in ADDS_ROOT else "/api"
    headers = {"x-framework": framework}
    for path in (f"{root}/admin/socket", "/public/api/admin/socket", f"{root}/public/api/admin/socket"):
        try:
            with connect(rooted, path, additional_headers=headers) as socket:
                assert socket.recv(timeout=5) == "public"
        except InvalidStatus as refused:
            assert 400 <= refused.response.status_code < 500 or "/public/" in path  # noqa: PT017
    with connect(rooted, f"{root}/admin/socket", additional_headers={**headers, **ALICE}) as socket:
        assert socket.recv(timeout=5) == "secret"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/public/%D9%85%DB%8C%E2%80%8C%D8%AE%D9%88%D8%A7%D9%87%D9%85", (200, "public")),
        ("/public/%E0%A4%95%E0%A5%8D%E2%80%8D%E0%A4%B7", (200, "public")),
        ("/public/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB", (200, "public")),
        ("/public/cafe%CC%81%E2%80%AFAM.png", (200, "public")),
        ("/public/%EF%BC%8E%EF%BC%8E/admin/secret", (403, "Forbidden\n")),
        ("/public/.%E2%80%8D./admin/secret", (403, "Forbidden\n")),
        ("/%EF%BD%81dmin/secret", (403, "Forbidden\n")),
        ("/files/a%2Fb", (200, "a/b")),
        ("/files/http%3A%2F%2fx%2Fy", (200, "http://x/y")),
        ("/files/..%2Fadmin/secret", (403, "Forbidden\n")),
        ("/files/%2e%2e%2Fadmin%2Fsecret", (403, "Forbidden\n")),
        ("/files/closed%2Fx", (403, "Forbidden\n")),
        ("/files%2Fclosed/x", (403, "Forbidden\n")),
        ("/public/a%2Fb", (403, "Forbidden\n")),
    ],
)
def test_unusual_paths(rooted: Process, path: str, expected: tuple[int, str]) -> None:
    """Names of other scripts and allowed encoded slashes reach the application; what has two readings is refused."""
    root = "" if rooted.name in ADDS_ROOT else "/api"
    status, body = get(rooted, root + path, "starlette")
    assert (status, body.decode()) == expected


CHOSEN = [
    "/public",
    "/public/",
    "c",
    "/c",
    "/R",
    "R/",
    "/",
    "//",
    "%2Fpublic",
    "/public/admin",
    "/api",
    "/api/public",
    "/x",
]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_root_of_a_client(daphne: tuple[Process, str], framework: str) -> None:
    """daphne's header for root_path moves no path, for any client: each answer is that without the header."""
    server, root = daphne
    paths = ("/public/admin/secret", "/public/R/admin/secret", "/public/c/admin/secret", "/admin/secret", "/public/x")
    for path in paths:
        for prefix in ("", root):
            for credentials in ({}, ALICE):
                expected = get(server, prefix + path, framework, **credentials)
                if not credentials:
                    assert b"secret" not in expected[1]
                for chosen in CHOSEN:
                    answer = get(server, prefix + path, framework, Daphne_Root_Path=chosen, **credentials)
                    assert answer == expected, (path, chosen)
    assert get(server, f"{root}/admin/secret", framework, Daphne_Root_Path="/x", **ALICE) == (200, b"secret")


@pytest.mark.parametrize(
    "framework", [name for name in SOCKETS if name != "quart"]
)  # needs a scheme, which daphne omits
@pytest.mark.parametrize("chosen", ["/public", "/public/", "c", "/R", "/"])
def test_sockets_and_the_root_of_a_client(daphne: tuple[Process, str], framework: str, chosen: str) -> None:
    """A client's root_path opens no protected WebSocket at a public path."""
    server, root = daphne
    headers = {"x-framework": framework, "Daphne-Root-Path": chosen}
    for path in ("/public/admin", "/public/admin/socket", "/public/R/admin/socket", "/admin/socket"):
        try:
            with connect(server, root + path, additional_headers=headers) as socket:
                assert socket.recv(timeout=5) == "public"
        except InvalidStatus as refused:
            assert refused.response.status_code >= 400  # noqa: PT017
    with connect(server, f"{root}/admin/socket", additional_headers={**headers, **ALICE}) as socket:
        assert socket.recv(timeout=5) == "secret"


# ------------------------------------------------------------------------------------------- every framework, any scope

words = st.lists(st.sampled_from(["public", "admin", "secret", "api", "c", "x"]), max_size=5)
roots = st.sampled_from(
    ["", "/", "/api", "/api/", "/public", "/public/", "c", "/api/public", "/admin", "/public/api", "//"]
)


def page(path: str, framework: str) -> bytes | None:
    """The page that a path below the root has; None for no page."""
    if path == "/admin/secret" or (path == "/admin" and framework == "channels"):
        return b"secret"
    return b"public" if path.startswith("/public/") and len(path) > len("/public/") else None


@pytest.fixture(scope="module")
def applications() -> dict[str, Any]:
    from tests.integration.apps import root_path_app  # configures Django

    return root_path_app.FRAMEWORKS


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "quart", "django", "channels"])
@settings(max_examples=150, deadline=None)
@given(words=words, root=roots)
def test_every_framework_reads_what_is_decided(
    applications: dict[str, Any], framework: str, words: list[str], root: str
) -> None:
    """A settled scope is routed to the page of the path that the gateway decides on, whatever path and root are."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/" + "/".join(words),
        "raw_path": ("/" + "/".join(words)).encode(),
        "root_path": root,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "extensions": {},
    }
    settled = RootPath().settle(scope)
    if settled.refusal is not None:
        return
    expected = page(path_below_root(settled.scope), framework)
    assert asyncio.run(call(applications[framework], dict(settled.scope))) == expected


async def call(app: Any, scope: dict[str, Any]) -> bytes | None:
    """The body of a 200; None for every other answer."""
    answers: list[Any] = []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if asked.is_set():
            await answered.wait()
            return {"type": "http.disconnect"}
        asked.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    try:
        await app(scope, receive, send)
    except ValueError:  # Channels' URLRouter: no route
        return None
    start = next(answer for answer in answers if answer["type"] == "http.response.start")
    body = b"".join(answer.get("body", b"") for answer in answers if answer["type"] == "http.response.body")
    return body if start["status"] == 200 else None
