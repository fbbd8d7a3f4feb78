"""``trusted-proxies``: whose headers about the client count, and what of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.services.original_request import ForwardAuthSettings
from asgi_gateway.services.rewriting_servers import rewriting_server
from asgi_gateway.services.trusted_proxies import PEER_KEY, PeerSettler, TrustedProxies, real_peer
from tests.gateways import World, ask, basic, scope, service, users, wrapped

LISTED = TrustedProxies(["10.0.0.0/8", "::1", "fd00::/8"])


def forwarded(*values: str, name: str = "for") -> list[tuple[bytes, bytes]]:
    """A line X-Forwarded-For, or another one, for each value."""
    return [(f"x-forwarded-{name}".encode(), value.encode()) for value in values]


def settled(*headers: tuple[bytes, bytes], peer: Any = ("10.0.0.1", 4711), kind: str = "http") -> dict[str, Any]:
    """The scope of a request from a peer, settled."""
    return dict(LISTED.settle(scope("/", *headers, kind=kind, client=peer)))


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7", "10.0.0.9"], "192.0.2.7"),
        (["203.0.113.1, 192.0.2.7, 10.0.0.9"], "192.0.2.7"),
        (["203.0.113.1", "192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7,10.0.0.9", "10.0.0.8"], "192.0.2.7"),
        (["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (["192.0.2.7:51234"], "192.0.2.7"),
        (["[2001:DB8::7]:443"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["fe80::7%eth0"], "fe80::7"),
        (["[fe80::7%eth0]:1"], "fe80::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, ::ffff:10.0.0.9"], "192.0.2.7"),
        (["192.0.2.7, , \t,"], "192.0.2.7"),
        (["192.0.2.7, nonsense, 10.0.0.8"], "10.0.0.8"),
        (["192.0.2.7, unix:, 10.0.0.8"], "10.0.0.8"),
    ],
)
def test_the_client_is_the_rightmost_entry_that_is_no_proxy(lines: list[str], address: str) -> None:
    """All lines count as one list; an entry that is no address ends it at the last one that is."""
    assert settled(*forwarded(*lines))["client"] == (address, 0)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", ",", "unknown", "_hidden", "192.0.2.7, unknown", "192.0.2", "010.0.0.1", "192.0.2.7:"),
        *("192.0.2.7:123456", "[2001:db8::7", "2001:db8::7]", "192.0.2.7 10.0.0.1", '"192.0.2.7"', "192.0.2.7%eth0"),
        *("for=192.0.2.7", "é"),
    ],
)
def test_what_is_no_address_leaves_the_peer(value: str) -> None:
    """A list without an address at its end names nobody, so the peer stays the client."""
    scope = settled(*forwarded(value))
    assert scope["client"] == ("10.0.0.1", 4711)
    assert PEER_KEY not in scope


@pytest.mark.parametrize(
    "peer", [("192.0.2.1", 1), ("11.0.0.1", 1), ("::2", 1), ("testclient", 50000), None, ("10.0.0.1", 0)]
)
def test_others_are_not_believed(peer: Any) -> None:
    """Nothing is taken from a peer that is not listed, from one of a Unix socket, or from an address with port 0."""
    before = scope("/", *forwarded("192.0.2.7"), *forwarded("https", name="proto"), client=peer)
    assert LISTED.settle(before) is before
    assert not LISTED.trusts_peer(before)


def test_an_empty_list_trusts_nobody() -> None:
    """Without trusted-proxies no header is believed, whoever sends it."""
    for peer in (None, ("127.0.0.1", 1), ("", 1)):
        before = scope("/", *forwarded("192.0.2.7"), client=peer)
        assert TrustedProxies().settle(before) is before
    assert not TrustedProxies()


def test_peers_of_a_unix_socket() -> None:
    """They have no address: ``unix`` lists them, here and in the chain."""
    listed = TrustedProxies(["unix"])
    after = listed.settle(scope("/", *forwarded("192.0.2.7, unix:"), client=None))
    assert (after["client"], after[PEER_KEY], real_peer(after)) == (("192.0.2.7", 0), None, None)
    assert listed.trusts_peer(after)
    assert not listed.trusts("127.0.0.1")


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "fd00::1%eth0", "::1"])
def test_forms_of_a_listed_address(peer: str) -> None:
    """IPv4 mapped into IPv6 and a zone do not hide a listed address."""
    assert settled(*forwarded("192.0.2.7"), peer=(peer, 1))["client"][0] == "192.0.2.7"


@pytest.mark.parametrize(
    ("values", "http", "websocket"),
    [
        (["https"], "https", "wss"),
        (["http"], "http", "ws"),
        (["wss"], "https", "wss"),
        (["ws"], "http", "ws"),
        ([" HTTPS\t"], "https", "wss"),
        (["https, http"], "http", "ws"),
        (["https", "https"], "http", "ws"),
        (["ftp"], "http", "ws"),
        ([""], "http", "ws"),
        ([], "http", "ws"),
    ],
)
def test_the_scheme(values: list[str], http: str, websocket: str) -> None:
    """X-Forwarded-Proto counts if it occurs once and has one value; for a WebSocket it is told in its own words."""
    lines = forwarded(*values, name="proto")
    assert settled(*lines)["scheme"] == http
    assert settled(*lines, kind="websocket")["scheme"] == websocket


def test_nothing_else_is_taken_from_headers() -> None:
    """Forwarded, host, port, prefix and other names for the address change nothing."""
    names = ("forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip", "x-client-ip")
    before = scope("/", *((name.encode(), b"192.0.2.7") for name in names), client=("10.0.0.1", 1))
    assert LISTED.settle(before) is before


def test_the_peer_is_kept() -> None:
    """A settled scope says who opened the connection, also when it is settled a second time."""
    before = scope("/", *forwarded("192.0.2.7"), client=["10.0.0.1", 4711])
    once = LISTED.settle(before)
    assert (real_peer(once), before["client"]) == (("10.0.0.1", 4711), ["10.0.0.1", 4711])
    twice = LISTED.settle(once)
    assert (twice["client"], real_peer(twice)) == (("192.0.2.7", 0), ("10.0.0.1", 4711))
    assert real_peer(before) == ("10.0.0.1", 4711)
    assert not LISTED.trusts(once["client"][0])


def test_a_long_chain_is_cheap() -> None:
    """The search takes a time that grows with the header's length, and no more."""
    address = LISTED.client_address(b"192.0.2.7," + b"10.0.0.1," * 7000)
    assert address == "192.0.2.7"


def test_other_scopes_are_left_alone() -> None:
    """A lifespan has no peer, although ``unix`` lists those without an address."""
    lifespan = {"type": "lifespan"}
    assert TrustedProxies(["unix"]).settle(lifespan) is lifespan


@pytest.mark.anyio
async def test_the_middleware_settles_first() -> None:
    """The application, the audit log and session cookies see the client; its peer is in the scope beside them."""
    world = World()
    assert world.state is not None
    realm = world.realm(users(joe="", ann=""), recycle=(world.state, [b"k" * 32]))
    app, entered = wrapped(world.gateway(service("s", "/", realm), trusted_proxies=LISTED))
    headers = [basic("joe"), *forwarded("192.0.2.7"), *forwarded("https", name="proto")]
    response = await ask(app, scope("/", *headers, client=("10.0.0.1", 1)))
    assert b"Secure" in dict(response.headers)[b"set-cookie"]
    assert entered.scopes[0]["client"] == ("192.0.2.7", 0)
    assert entered.scopes[0]["scheme"] == "https"
    assert '"peer": "192.0.2.7"' in world.records.lines[-1]
    response = await ask(app, scope("/", basic("ann"), *headers[1:], client=("192.0.2.200", 1)))
    assert b"Secure" not in dict(response.headers)[b"set-cookie"]
    assert '"peer": "192.0.2.200"' in world.records.lines[-1]


@pytest.mark.anyio
@pytest.mark.parametrize("trusted", ["*", "192.0.2.66"])
async def test_a_server_that_rewrites_the_peer_is_seen(trusted: str, caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn's middleware lets a client choose the peer: nothing is believed then, and a warning says what to do."""
    world = World()
    app, entered = wrapped(world.gateway(service("s", "/"), trusted_proxies=LISTED))
    server: Any = ProxyHeadersMiddleware(app, trusted)  # type: ignore[arg-type]
    headers = [*forwarded("10.0.0.1:5555"), *forwarded("https", name="proto")]
    await ask(server, scope("/", *headers, client=("192.0.2.66", 4711)))
    assert entered.scopes[0]["client"] == ("10.0.0.1", 5555)  # what uvicorn made of it
    assert not LISTED.trusts_peer(entered.scopes[0])
    await ask(server, scope("/", *headers, client=("10.0.0.1", 4711)))
    assert not LISTED.trusts_peer(entered.scopes[1])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in warnings if "--no-proxy-headers" in text] == warnings
    assert len(warnings) == 1


@pytest.mark.anyio
async def test_a_server_that_rewrites_is_told_of_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    """The lifespan goes through the server's middleware too, so the warning comes before the first request."""
    forward_auth = ForwardAuthSettings("/check", "nginx")
    app = GatewayMiddleware(None, World().gateway(trusted_proxies=LISTED, forward_auth=forward_auth))
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    server: Any = ProxyHeadersMiddleware(app, "*")  # type: ignore[arg-type]
    await server({"type": "lifespan"}, receive, send)
    assert "uvicorn (ProxyHeadersMiddleware) replaces the address of the peer" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("nobody", [[], ""])
async def test_a_server_that_was_told_to_trust_nobody_rewrites_nothing(
    nobody: list[str] | str, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn's middleware with an empty list leaves the peer as it is, so trusted-proxies decides."""
    app, entered = wrapped(World().gateway(service("s", "/"), trusted_proxies=LISTED))
    server: Any = ProxyHeadersMiddleware(app, nobody)  # type: ignore[arg-type]
    await ask(server, scope("/", *forwarded("192.0.2.7"), client=("10.0.0.1", 1)))
    assert entered.scopes[0]["client"] == ("192.0.2.7", 0)
    assert caplog.text == ""


def test_a_server_that_rewrites_without_a_client() -> None:
    """A peer without an address is not taken for one of a Unix socket."""
    settler = PeerSettler(TrustedProxies(["unix"]))
    middleware: Any = ProxyHeadersMiddleware(lambda *_: None, "*")  # type: ignore[arg-type]
    code = "def call(self, f):\n    return f()"
    namespace: dict[str, Any] = {"__name__": "uvicorn.middleware.proxy_headers"}
    exec(code, namespace)
    after = namespace["call"](middleware, lambda: settler.settle(scope("/", client=None)))
    assert real_peer(after) == ("unknown", 0)
    assert not TrustedProxies(["unix"]).trusts_peer(after)


def test_daphne(monkeypatch: pytest.MonkeyPatch) -> None:
    """daphne rewrites the peer by itself; its option tells."""
    monkeypatch.setattr("sys.modules", {**__import__("sys").modules, "daphne.server": object()})
    monkeypatch.setattr("sys.argv", ["daphne", "--proxy-headers", "main:app"])
    found = rewriting_server()
    assert found is not None
    assert found[0] == "daphne --proxy-headers"
    monkeypatch.setattr("sys.argv", ["daphne", "main:app"])
    assert rewriting_server() is None
