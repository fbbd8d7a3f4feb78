"""Sessions over HTTP and WebSocket under every server, with TLS ended by a proxy and without TLS."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.process import LOOPBACK, Process
from tests.integration.servers import basic, connect, serve

pytestmark = pytest.mark.integration

OPTIONS = {
    "daphne": ["--proxy-headers"],
    "uvicorn": ["--proxy-headers", "--forwarded-allow-ips", LOOPBACK],
}
"""Servers that take X-Forwarded-Proto from a proxy. daphne says no scheme for WebSockets."""


@pytest.fixture(scope="module", params=sorted(OPTIONS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp(request.param) / "log"
    with serve("session_app:app", request.param, log=log, options=OPTIONS[request.param]) as process:
        yield process


def log_in(server: Process, scheme: str) -> str:
    """Log in over HTTP behind a proxy that was asked by a scheme. Return the cookie."""
    headers = {**basic("alice", "wonderland"), "X-Forwarded-Proto": scheme, "X-Forwarded-For": "192.0.2.1"}
    answer = httpx.get(f"http://{LOOPBACK}:{server.port}/page", headers=headers, trust_env=False)
    assert answer.text == "alice"
    return answer.headers["set-cookie"].partition(";")[0]


def opened(server: Process, cookie: str, scheme: str, **headers: str) -> str:
    sent = {"Cookie": cookie, "X-Forwarded-Proto": scheme, "X-Forwarded-For": "192.0.2.1", **headers}
    with connect(server, "/echo", additional_headers=sent) as socket:
        socket.send("hi")
        return str(socket.recv(timeout=5))


@pytest.mark.parametrize(("scheme", "websocket"), [("https", "wss"), ("http", "ws")])
def test_a_session_opens_sockets(server: Process, scheme: str, websocket: str) -> None:
    """A session that began over HTTP opens a WebSocket of the same site, with a page's Origin and without."""
    cookie = log_in(server, scheme)
    assert cookie.startswith("__Host-") is (scheme == "https")
    assert opened(server, cookie, websocket) == "alice: hi"
    assert opened(server, cookie, websocket, Origin=f"{scheme}://{LOOPBACK}:{server.port}") == "alice: hi"


def test_a_page_without_tls_uses_no_cookie_for_tls(server: Process) -> None:
    """A page that an attacker on the network could have written opens nothing with the cookie for TLS."""
    cookie = log_in(server, "https")
    with pytest.raises(InvalidStatus):
        opened(server, cookie, "wss", Origin=f"http://{LOOPBACK}:{server.port}")


def test_a_client_without_cookies(server: Process) -> None:
    """A hundred logins without a cookie all succeed, and the last one's session is good."""
    for _ in range(100):
        cookie = log_in(server, "http")
    answer = httpx.get(f"http://{LOOPBACK}:{server.port}/page", headers={"Cookie": cookie}, trust_env=False)
    assert answer.text == "alice"
