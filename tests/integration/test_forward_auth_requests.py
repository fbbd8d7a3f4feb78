"""The documented requests of Traefik and Envoy, sent by hand to the gateway, and checks that no proxy should send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import yaml

from tests.integration.checks import JOE, Reply, asked, blocks, reply
from tests.integration.process import LOOPBACK, Process
from tests.integration.raw import UPGRADE, head

HOP = "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n"
ALIASES = {f"X{mark}{name}" for mark in "-_." for name in ("User", "Roles")}


@pytest.fixture(scope="module")
def traefik(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The gateway with the page's configuration for Traefik."""
    with asked(tmp_path_factory.mktemp("traefik"), "traefik") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The gateway with the page's configuration for Envoy."""
    with asked(tmp_path_factory.mktemp("envoy"), "envoy") as gateway:
        yield gateway


def check(gateway: Process, uri: str, *lines: str, method: str = "GET", proto: str = "http") -> Reply:
    """What Traefik sends: GET to the address, the client's headers, and five of its own."""
    own = (
        f"X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: {proto}\r\nX-Forwarded-Host: www.example.com\r\n"
        f"X-Forwarded-Uri: {uri}\r\nX-Forwarded-For: 192.0.2.7\r\n"
    )
    return reply(gateway, "/gateway-check", HOP, own, *lines)


def test_traefik(traefik: Process) -> None:
    """Public, challenged, let in with who it is and a session, refused for a foreign page."""
    assert check(traefik, "/public/a?b=c").status == 200
    refused = check(traefik, "/private")
    assert (refused.status, refused.body) == (401, b"Unauthorized\n")
    assert refused.all("www-authenticate") == ['Basic realm="demo", charset="UTF-8"']
    granted = check(traefik, "/private?x", JOE, proto="https")
    assert (granted.status, granted.all("x-user"), granted.all("x-roles")) == (200, ["joe"], ["AUTHORIZED"])
    (cookie,) = granted.all("set-cookie")
    assert cookie.startswith("__Host-asgi-gateway-")
    session = f"Cookie: {cookie.partition(';')[0]}\r\n"
    assert check(traefik, "/private", session, proto="https").all("x-user") == ["joe"]
    assert check(traefik, "/private", session, "Origin: https://evil.example\r\n", method="POST").status == 403
    assert check(traefik, "/private", session, "Sec-WebSocket-Version: 13\r\n", "Origin: null\r\n").status == 403


def test_envoy(envoy: Process) -> None:
    """The original path follows the prefix, the method is the check's, the host its Host."""
    own = "Content-Length: 0\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Envoy-Internal: true\r\n"
    assert reply(envoy, "/gateway-check/public/a?b=c", own).status == 200
    assert reply(envoy, "/gateway-check/private", own).status == 401
    assert reply(envoy, "/gateway-check/private", own, JOE, method="DELETE").all("x-user") == ["joe"]
    assert reply(envoy, "/gateway-check//public", own).status == 403
    assert reply(envoy, "/gateway-check/public/%2e%2e/private", own).status == 403
    assert (
        reply(envoy, "/gateway-check/private", own, JOE, "Origin: https://evil.example\r\n", method="PUT").status == 403
    )
    handshake = ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", "Origin: https://gateway.example\r\n")
    assert reply(envoy, "/gateway-check/private", own, JOE, *handshake).status == 200


@pytest.mark.parametrize(
    "announced",
    ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 10\r\nExpect: 100-continue\r\n"],
)
def test_a_body_that_never_comes(traefik: Process, announced: str) -> None:
    """A check that announces a body is answered at once, and its connection is closed."""
    own = "X-Forwarded-Uri: /public\r\nX-Forwarded-Method: POST\r\n"
    data = head("/gateway-check", announced, own, method="POST")
    with socket.create_connection((LOOPBACK, traefik.port), timeout=5) as connection:
        connection.sendall(data)
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(("uri", "status"), [("/public", 200), ("/private", 401)])
def test_a_check_that_asks_for_an_upgrade(traefik: Process, uri: str, status: int) -> None:
    """It gets a plain response, whatever it asks to upgrade to, and never 101."""
    own = f"X-Forwarded-Uri: {uri}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: gateway.example\r\n"
    assert reply(traefik, "/gateway-check", UPGRADE, own).status == status
    h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    assert reply(traefik, "/gateway-check", h2c, own).status == status


def test_many_checks_over_one_connection(traefik: Process) -> None:
    """A proxy keeps its connections: the answers come in order, with and without a login."""
    own = "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /private\r\n"
    data = b"".join(head("/gateway-check", own, *lines) for lines in ((), (JOE,)) * 20)
    with socket.create_connection((LOOPBACK, traefik.port), timeout=5) as connection:
        connection.sendall(data)
        received = b""
        while received.count(b"HTTP/1.1 ") < 40:
            received += connection.recv(65536)
    statuses = [part.split(b" ")[0] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"401", b"200"] * 20


def test_the_recipes_delete_every_alias() -> None:
    """Those that cannot be run here name each identity header with dash, underscore and dot, or refuse such names."""
    traefik, envoy = (yaml.safe_load(text) for text in blocks("yml"))
    middlewares = traefik["http"]["middlewares"]
    order = traefik["http"]["routers"]["site"]["middlewares"]
    assert set(middlewares[order[0]]["headers"]["customRequestHeaders"]) == ALIASES
    assert "forwardAuth" in middlewares[order[1]]
    assert set(middlewares[order[1]]["forwardAuth"]["authResponseHeaders"]) == {"X-User", "X-Roles"}
    mutations = envoy["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    removed = {each["remove"] for each in mutations}
    assert removed == {name.lower() for name in ALIASES if "_" not in name}
    assert envoy["common_http_protocol_options"]["headers_with_underscores_action"] == "REJECT_REQUEST"
    told = envoy["http_filters"][0]["typed_config"]["http_service"]["authorization_response"][
        "allowed_upstream_headers"
    ]
    assert {each["exact"] for each in told["patterns"]} == {"x-user", "x-roles"}
