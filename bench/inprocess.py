"""What the gateway costs in one process, without sockets: paired ratios to bare Starlette, medians of rounds in turn.

Peers: Starlette's AuthenticationMiddleware with Basic against a dict, and Starlette answering 404.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_gateway import GatewayMiddleware
from asgi_gateway.passwords import hash_password

App = Callable[..., Awaitable[None]]
ROUNDS, RUNS, REQUESTS = 25, 5, 400
BASIC = b"Basic " + base64.b64encode(b"user1:pw1")


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


def scope(path: str, *, authorization: bytes | None = None) -> dict[str, Any]:
    """A scope as uvicorn makes it for a browser-like request."""
    headers = [
        (b"host", b"localhost:8000"),
        (b"user-agent", b"bench/1.0"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate"),
        (b"connection", b"keep-alive"),
    ]
    if authorization is not None:
        headers.append((b"authorization", authorization))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


def starlette() -> Starlette:
    """The application under all of them."""

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    return Starlette(routes=[Route(path, hello) for path in ("/public", "/app/hello", "/chat/hello", "/admin/hello")])


class DictBackend(AuthenticationBackend):
    """What a hand-written backend does at the least: decode Basic and look into a dict."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        value = conn.headers.get("Authorization")
        if value is None:
            return None
        name, _, password = base64.b64decode(value.split()[1]).decode().partition(":")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if password == "pw1" else None


def gateway(directory: Path, *, users: int = 10, services: int = 4, mode: str = "challenge") -> GatewayMiddleware:
    """The gateway before Starlette's application."""
    return behind_gateway(starlette(), directory, users=users, services=services, mode=mode)


def behind_gateway(
    app: App, directory: Path, *, users: int = 10, services: int = 4, mode: str = "challenge"
) -> GatewayMiddleware:
    """The gateway with a file realm before an application."""
    stored = hash_password("pw1")
    lines = ["roles: [{name: AUTHORIZED}, {name: ADMIN}]", "users:"]
    lines += [f"  - {{name: user{i}, password: '{stored}', roles: [AUTHORIZED]}}" for i in range(1, users + 1)]
    (directory / "users.yaml").write_text("\n".join(lines))
    constraint = {"require-role": ["AUTHORIZED"]}
    return GatewayMiddleware(
        app,
        {
            "security": {
                "realms": [
                    {
                        "name": "demo",
                        "credential-cache": "1 hour",
                        "authentication": {
                            "http-challenge-scheme": "Basic",
                            "authorization-mode": mode,
                            "login-modules": [
                                {
                                    "type": "file",
                                    "success": "required",
                                    "options": {"file": str(directory / "users.yaml")},
                                }
                            ],
                        },
                    }
                ]
            },
            "extended-handshake": True,
            "services": [
                {"name": "public", "accept": "/public"},
                *(
                    {"name": f"s{i}", "accept": path, "realm-name": "demo", "authorization-constraint": constraint}
                    for i, path in enumerate(["/app", "/chat", "/admin", *(f"/more{n}" for n in range(services - 4))])
                ),
            ],
        },
    )


async def log_in(app: App, template: dict[str, Any]) -> dict[str, Any]:
    """A scope that carries the session cookie of a login instead of the credentials."""
    cookies: list[bytes] = []

    async def send(message: Any) -> None:
        cookies.extend(value for name, value in message.get("headers", ()) if name == b"set-cookie")

    await app(template.copy(), _receive, send)
    headers = [header for header in template["headers"] if header[0] != b"authorization"]
    return {**template, "headers": [*headers, (b"cookie", cookies[0].partition(b";")[0])]}


async def batch(app: App, template: dict[str, Any]) -> float:
    """Seconds for one request, the mean of a batch."""
    start = time.perf_counter()
    for _ in range(REQUESTS):
        await app(template.copy(), _receive, _send)
    return (time.perf_counter() - start) / REQUESTS


async def compare(subject: tuple[App, dict[str, Any]], base: tuple[App, dict[str, Any]]) -> tuple[float, float]:
    """The median over runs of the median paired ratio, and the smallest seconds added."""
    medians, added = [], []
    for app, template in (subject, base):
        await batch(app, template)
    for _ in range(RUNS):
        ratios = []
        for _ in range(ROUNDS):
            ours, theirs = await batch(*subject), await batch(*base)
            ratios.append(ours / theirs)
            added.append(ours - theirs)
        medians.append(statistics.median(ratios))
    return statistics.median(medians), statistics.median(added)


async def main() -> list[tuple[str, float, float, float | None]]:
    """Measure; each row is what was measured, its ratio, the microseconds added, and the bound asked for."""
    logging.disable(logging.WARNING)
    rows: list[tuple[str, float, float, float | None]] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        app = gateway(directory)
        hello = scope("/app/hello", authorization=BASIC)
        bare = (starlette(), hello)

        async def row(what: str, ours: tuple[App, dict[str, Any]], base: Any, bound: float | None) -> None:
            ratio, added = await compare(ours, base)
            rows.append((what, ratio, added * 1e6, bound))

        await row("verified Basic, role required / bare Starlette", (app, hello), bare, 1.30)
        sessions = gateway(directory, mode="recycle")
        with_session = await log_in(sessions, hello)
        await row("valid session, role required / bare Starlette", (sessions, with_session), bare, 1.30)
        peer = AuthenticationMiddleware(starlette(), backend=DictBackend())
        await row("peer: AuthenticationMiddleware on a dict / bare Starlette", (peer, hello), bare, None)
        public = scope("/public")
        await row("public path / bare Starlette", (app, public), (starlette(), public), 1.10)
        unknown = scope("/nothing")
        await row("challenge / Starlette's 404", (app, scope("/app/hello")), (starlette(), unknown), 1.00)
        await row("10,000 users / 10 users", (gateway(directory, users=10_000), hello), (app, hello), 1.05)
        many = gateway(directory, services=1000)
        await row("1,000 services / 4 services", (many, hello), (app, hello), 1.05)
    return rows


def report(title: str, rows: list[tuple[str, float, float, float | None]]) -> None:
    """Print ratios as a table."""
    print(f"\n{title}")
    for what, ratio, added, bound in rows:
        asked = f"at most {bound:.2f}" if bound else ""
        print(f"  {what:<62} {ratio:6.3f}  {added:+8.2f} µs  {asked}")


if __name__ == "__main__":
    report("In one process, no sockets (medians of paired ratios)", asyncio.run(main()))
