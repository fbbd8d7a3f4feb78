"""Sessions where the server does not say by which scheme a request came, as daphne does not for WebSockets."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.middleware import GatewayMiddleware
from tests.gateways import World, basic, scope, service, users
from tests.helpers import ManualClock

pytestmark = pytest.mark.anyio

HTTPS, HTTP = b"https://app.example", b"http://app.example"


class Site:
    """An application behind a realm with sessions."""

    def __init__(self) -> None:
        self.world = World(ManualClock(1_800_000_000.0))
        assert self.world.state is not None
        realm = self.world.realm(users(joe="R"), recycle=(self.world.state, [b"k" * 32]))
        self.app = GatewayMiddleware(self.entered, self.world.gateway(service("app", "/a", realm)))

    @staticmethod
    async def entered(scope: Any, receive: Any, send: Any) -> None:
        kind = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
        await send({"type": kind, "status": 200, "headers": []})

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the first message that answers a request."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect" if asked["type"] == "websocket" else "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(asked, receive, send)
        return sent[0]

    async def cookie(self, scheme: str) -> bytes:
        """Log in over HTTP. Return the cookie."""
        message = await self.ask(scope("/a", basic("joe"), scheme=scheme))
        return bytes(dict(message["headers"])[b"set-cookie"].partition(b";")[0])

    async def opens(self, cookie: bytes, origin: bytes | None = None, **more: Any) -> bool:
        """Return whether a WebSocket opens with a cookie."""
        headers = [(b"host", b"app.example"), (b"cookie", cookie)]
        headers += [] if origin is None else [(b"origin", origin)]
        asked = scope("/a", *headers, kind="websocket")
        del asked["scheme"]
        return bool((await self.ask({**asked, **more}))["type"] == "websocket.accept")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize(
    ("begun", "origin", "opens"),
    [
        ("https", None, True),
        ("http", None, True),
        ("https", HTTPS, True),
        ("http", HTTP, True),
        ("https", HTTP, False),  # a page that an attacker on the network could have written
        ("http", HTTPS, False),  # a cookie that an attacker on the network could have set
    ],
)
async def test_unknown(site: Site, begun: str, origin: bytes | None, opens: bool) -> None:
    """A session begun over https or http opens a WebSocket without a scheme, if the page that asks agrees."""
    cookie = await site.cookie(begun)
    for _ in range(2):
        assert await site.opens(cookie, origin) is opens


@pytest.mark.parametrize(
    ("begun", "scheme", "opens"),
    [("https", "wss", True), ("https", "ws", False), ("http", "ws", True), ("http", "wss", False)],
)
async def test_known(site: Site, begun: str, scheme: str, opens: bool) -> None:
    """Where the server says the scheme, the cookie of the other one is not valid."""
    assert await site.opens(await site.cookie(begun), scheme=scheme) is opens


async def test_http_without_a_scheme(site: Site) -> None:
    """An HTTP request without a scheme is let in by either cookie, and its own session is for TLS only."""
    for begun in ("https", "http"):
        asked = scope("/a", (b"cookie", await site.cookie(begun)))
        del asked["scheme"]
        for _ in range(2):
            assert (await site.ask(asked))["status"] == 200
    asked = scope("/a", basic("joe"))
    del asked["scheme"]
    cookie = dict((await site.ask(asked))["headers"])[b"set-cookie"]
    assert cookie.startswith(b"__Host-")
    assert b"; Secure" in cookie


async def test_two_origins(site: Site) -> None:
    """A request with two Origin lines is refused, also where the scheme is unknown."""
    headers = [
        (b"host", b"app.example"),
        (b"origin", HTTPS),
        (b"origin", HTTPS),
        (b"cookie", await site.cookie("https")),
    ]
    asked = scope("/a", *headers, kind="websocket")
    del asked["scheme"]
    message = await site.ask(asked)
    assert (message["type"], message["status"]) == ("websocket.http.response.start", 403)
