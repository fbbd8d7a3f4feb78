"""Services that are told apart by the port on which a request comes in, and services with back ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Allow, Challenge, Forbid
from asgi_gateway.services.backend import Backend
from asgi_gateway.services.model import Mount, Service
from tests.asgi import get
from tests.gateways import App, Server, World, basic, scope, service, users

pytestmark = pytest.mark.anyio

LIES = [(b"host", b"localhost:8001"), (b"x-forwarded-port", b"8001"), (b"x-forwarded-host", b"localhost:8001")]


def on(given: Service, port: int | None) -> Service:
    return replace(given, mounts=tuple(replace(mount, port=port) for mount in given.mounts))


def service_on(port: int | None, path: str = "/x", kind: str = "http", *headers: Any) -> dict[str, Any]:
    return scope(path, *headers, kind=kind, server=["127.0.0.1", port])


@pytest.fixture
def gateway() -> Gateway:
    world = World()
    realm = world.realm(users(joe="A"))
    return world.gateway(
        on(service("open", ""), 8000),
        on(service("closed", "", realm), 8001),
    )


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("headers", [[], LIES, [*LIES, (b"forwarded", b"host=localhost:8001")]])
async def test_the_sockets_port_decides(gateway: Gateway, kind: str, headers: list[Any]) -> None:
    """Only the port of the server's own socket counts, whatever the headers say, and again once the path is known."""
    for _ in range(2):
        decision = await gateway.decide(request_of(service_on(8000, "/x", kind, *headers)))
        assert isinstance(decision, Allow)
        assert decision.service == "open"
        assert isinstance(await gateway.decide(request_of(service_on(8001, "/x", kind, *headers))), Challenge)
        found = gateway.cached_decision(service_on(8000, "/x", kind, *headers))
        assert found is not None
        assert found.service == "open"
        assert gateway.cached_decision(service_on(8001, "/x", kind, *headers)) is None


@pytest.mark.parametrize("server", [None, [], ["127.0.0.1", 8002], ["127.0.0.1", None], ["/run/x.sock", None]])
async def test_other_ports_and_sockets_are_refused(gateway: Gateway, server: Any) -> None:
    """A request on a port that no service has, on a Unix socket, or from a server that reports none, is refused."""
    for kind in ("http", "websocket"):
        asked = scope("/x", basic("joe"), kind=kind, server=server)
        decision = await gateway.decide(request_of(asked))
        assert isinstance(decision, Forbid)
        assert "port" in decision.reason
        assert gateway.cached_decision(asked) is None


async def test_logins_of_one_port_say_nothing_of_another(gateway: Gateway) -> None:
    """Good credentials open the service of the port they are sent to, and their cache does not cross."""
    app = App()
    wrapped = GatewayMiddleware(app, gateway)
    for port, status in ((8001, 200), (8000, 200), (8002, 403), (8001, 200)):
        server = Server()
        await wrapped(service_on(port, "/x", "http", basic("joe")), server.receive, server.send)
        assert server.status == status, port
    assert [each["asgi_gateway"].service for each in app.scopes] == ["closed", "open", "closed"]


class Behind(Backend):
    """A back end that says that it answered, and counts how often it is open."""

    description = "a back end of the test's"

    def __init__(self) -> None:
        self.open_count = 0
        self.asked: list[Any] = []

    async def open(self) -> None:
        self.open_count += 1

    async def close(self) -> None:
        self.open_count -= 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        await send({"type": "http.response.start", "status": 203, "headers": []})
        await send({"type": "http.response.body", "body": b"behind"})


async def test_a_service_with_a_back_end_never_enters_the_application() -> None:
    """A service's back end answers what was let in, with the decision in its scope, and nothing that was refused."""
    world, behind, app = World(), Behind(), App()
    realm = world.realm(users(joe="A"))
    gateway = world.gateway(
        replace(service("proxied", "/p", realm, roles="A"), backend=behind),
        replace(service("public", "/q"), backend=behind),
        service("own", "", realm),
    )
    wrapped = GatewayMiddleware(app, gateway)
    await gateway.open()
    assert behind.open_count == 2  # each service has a back end of its own; here they share one
    for _ in range(2):
        assert (await get(wrapped, "/p/x")).status == 401
        assert (await get(wrapped, "/p/x", basic=("joe", "joe-pw"))).status == 203
        assert (await get(wrapped, "/q")).status == 203
    assert (await get(wrapped, "/own", basic=("joe", "joe-pw"))).status == 200
    assert [each["path"] for each in behind.asked] == ["/p/x", "/q"] * 2
    assert [each["asgi_gateway"].service for each in behind.asked] == ["proxied", "public"] * 2
    assert [each["path"] for each in app.scopes] == ["/own"]
    await gateway.close()
    assert behind.open_count == 0


def test_without_an_application_every_service_needs_a_back_end() -> None:
    """A gateway without an application names the services that nothing would answer."""
    world = World()
    realm = world.realm(users(joe="A"))
    proxied = replace(service("proxied", "/p", realm), backend=Behind())
    assert GatewayMiddleware(None, world.gateway(proxied))
    refused = Service(name="refused", mounts=(Mount("/r"),), refusal="not served")
    assert GatewayMiddleware(None, world.gateway(proxied, refused))
    with pytest.raises(ConfigError, match="no application for the service own, other"):
        GatewayMiddleware(None, world.gateway(proxied, service("own", "/own"), service("other", "/other")))
