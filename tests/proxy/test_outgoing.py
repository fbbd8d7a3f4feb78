"""What back ends get of a request's headers, query and subprotocols."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.model import GroupPrincipal, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.identity import IdentityWriter
from asgi_gateway.proxy.outgoing import OutgoingRequest, RequestRefused, may_carry_identity
from asgi_gateway.proxy.settings import CredentialNames, ProxySettings
from asgi_gateway.services.identity import GatewayContext
from asgi_gateway.services.trusted_proxies import TrustedProxies
from tests.helpers import ManualClock

BACKEND = parse_connect("http://backend.internal:9000/app")
ALICE = GatewayContext("s", "demo", Subject((UserPrincipal("alice"), RolePrincipal("r"), GroupPrincipal("a,b"))))
NAMES = (("user", "X-Forwarded-User"), ("groups", "X-Groups"))
CREDENTIALS = CredentialNames(
    headers=frozenset((b"x-api-key",)),
    parameters=frozenset(("token", "größe")),
    cookies=frozenset(("jwt",)),
    subprotocols=frozenset(("bearer",)),
    session_cookie="asgi-gateway",
)
SESSION = b"asgi-gateway-0123456789ab"


def outgoing(**changes: Any) -> OutgoingRequest:
    """What writes the requests of a protected service."""
    given: dict[str, Any] = {
        "service": "s",
        "accepts": ("",),
        "connects": (BACKEND,),
        "public": False,
        "credentials": CREDENTIALS,
        **changes,
    }
    return OutgoingRequest(ProxySettings(**given), IdentityWriter(NAMES, None, ManualClock()))


def written(
    *headers: tuple[bytes, bytes], context: Any = None, scope: Any = (), **changes: Any
) -> dict[str, list[str]]:
    """The headers that a back end gets, by name."""
    given = {
        "type": "http",
        "headers": [(b"host", b"public.example:8443"), *headers],
        "client": ("192.0.2.7", 1234),
        "scheme": "https",
        "http_version": "1.1",
        "asgi_gateway": context,
        **dict(scope),
    }
    found: dict[str, list[str]] = {}
    for name, value in outgoing(**changes).headers(given, BACKEND):
        found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return found


def test_what_the_gateway_writes() -> None:
    """Host, Via, X-Forwarded-* and Forwarded are the gateway's."""
    assert written() == {
        "host": ["backend.internal:9000"],
        "via": ["1.1 asgi-gateway"],
        "x-forwarded-for": ["192.0.2.7"],
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": ["public.example:8443"],
        "forwarded": ['for=192.0.2.7;host="public.example:8443";proto=https'],
    }


def test_ipv6_is_quoted() -> None:
    """An IPv6 address is quoted and in brackets in Forwarded; its zone is left out."""
    found = written(scope={"client": ("fe80::1%eth0", 1), "headers": [(b"host", b"h")]})
    assert found["forwarded"] == ['for="[fe80::1]";host=h;proto=https']
    assert found["x-forwarded-for"] == ["fe80::1"]


def test_peer_of_a_unix_socket() -> None:
    """A peer without an address is unknown."""
    found = written(scope={"client": None})
    assert "x-forwarded-for" not in found
    assert found["forwarded"][0].startswith("for=unknown;")


CLAIMS = (
    (b"x-forwarded-for", b"198.51.100.1, 10.0.0.1"),
    (b"x-forwarded-for", b"10.0.0.2"),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-forwarded-proto", b"ftp"),
    (b"x-forwarded-port", b"1"),
    (b"x-real-ip", b"198.51.100.1"),
    (b"x-original-url", b"/admin"),
    (b"x_forwarded_for", b"198.51.100.1"),
    (b"x.forwarded.host", b"evil.example"),
)


def test_claims_of_clients_are_dropped() -> None:
    """What a client says of itself and its request is dropped, and aliases of it too."""
    assert written(*CLAIMS, (b"forwarded", b"for=evil")) == written()


def test_claims_of_listed_proxies() -> None:
    """A listed proxy's list is continued, and what else it says passes; aliases of its headers do not."""
    found = written(*CLAIMS, trusted_proxies=TrustedProxies(["192.0.2.0/24"]))
    assert found["x-forwarded-for"] == ["198.51.100.1, 10.0.0.1, 10.0.0.2, 192.0.2.7"]
    assert found["x-forwarded-host"] == ["evil.example"]
    assert found["x-forwarded-proto"] == ["https"]  # the scope's: the middleware took it from the proxy's
    assert found["x-real-ip"] == ["198.51.100.1"]
    assert found["forwarded"][0].startswith("for=198.51.100.1, for=10.0.0.1, for=10.0.0.2, for=192.0.2.7;host=")
    assert not {"x_forwarded_for", "x.forwarded.host"} & found.keys()


@pytest.mark.parametrize(("mode", "names"), [("ignore", {"x-forwarded-for"}), ("exclude", set())])
@pytest.mark.parametrize("trusted", [True, False])
def test_use_forwarded(mode: str, names: set[str], trusted: bool) -> None:
    """With ignore a listed proxy's headers pass as they are, with exclude none do; a client's never pass."""
    proxies = TrustedProxies(["192.0.2.7"] if trusted else [])
    found = written((b"x-forwarded-for", b"10.0.0.1"), forwarded=mode, trusted_proxies=proxies)
    assert {name for name in found if "forwarded" in name} == (names if trusted else set())


def test_hop_by_hop() -> None:
    """Headers of the connection stay behind, with those that any line of Connection names."""
    found = written(
        (b"connection", b"Keep-Alive, X-One"),
        (b"connection", b"x-two,upgrade, X-Forwarded-User, Host, cookie"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"trailer", b"X-Late"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"5"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABk"),
        (b"proxy-authorization", b"Basic x"),
        (b"proxy-connection", b"close"),
        (b"proxy", b"http://evil"),
        (b"sec-websocket-key", b"x"),
        (b"expect", b"100-continue"),
        (b"sec-challenge-identity", b"x"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"cookie", b"a=1"),
        context=ALICE,
    )
    assert found == written(context=ALICE)
    assert found["x-forwarded-user"] == ["alice"]


@pytest.mark.parametrize(
    "name",
    [
        b"x-forwarded-user",
        b"X-Forwarded-User",
        b"x_forwarded_user",
        b"x.forwarded-user",
        b"X-FORWARDED_USER",
        b"x_groups",
    ],
)
def test_identity_is_the_gateways(name: bytes) -> None:
    """Aliases of the identity headers are stripped, on public services too."""
    found = written((name, b"root"), context=ALICE)
    assert (found["x-forwarded-user"], found["x-groups"]) == (["alice"], ["a%2Cb"])
    assert "root" not in str(found)
    public = written((name, b"root"), public=True, credentials=CredentialNames(authorization=False))
    assert "root" not in str(public)


def test_credentials_stay_behind() -> None:
    """What authenticated the client at the gateway stays there; other cookies pass byte for byte."""
    found = written(
        (b"authorization", b"Basic x"),
        (b"x-api-key", b"k"),
        (b"x_api_key", b"k"),
        (b"cookie", b'a="1";  jwt=secret; b=2;c'),
        (b"cookie", b"__Host-" + SESSION + b"=v; d=4; __host-" + SESSION + b"=w;" + SESSION + b"=u"),
    )
    assert found["cookie"] == ['a="1"; b=2;c; d=4']
    assert not {"authorization", "x-api-key", "x_api_key"} & found.keys()


def test_cookie_alone_goes() -> None:
    """Where all cookies are credentials, there is no Cookie header."""
    assert "cookie" not in written((b"cookie", b"jwt=secret"))


def test_credentials_that_pass() -> None:
    """With pass-credentials the client's credentials pass; the gateway's own cookies, tickets and identity never do."""
    changes: dict[str, Any] = {
        "pass_credentials": True,
        "credentials": CredentialNames(
            headers=CREDENTIALS.headers,
            parameters=CREDENTIALS.parameters,
            cookies=CREDENTIALS.cookies,
            subprotocols=CREDENTIALS.subprotocols,
            session_cookie="asgi-gateway",
            is_ticket=lambda text: text == "ticket",
        ),
    }
    found = written(
        (b"authorization", b"Basic x"),
        (b"authorization", b"Bearer ticket"),
        (b"x-api-key", b"ticket"),
        (b"cookie", b"jwt=ok; " + SESSION + b"=v"),
        (b"cookie", b"jwt=ticket"),
        (b"sec-challenge-identity", b"x"),
        **changes,
    )
    assert found["authorization"] == ["Basic x"]
    assert found["cookie"] == ["jwt=ok"]
    assert not {"x-api-key", "sec-challenge-identity"} & found.keys()
    request = outgoing(**changes)
    assert request.query(b"token=1&token=ticket&t%6Fken=tick%65t") == b"token=1"
    assert request.subprotocols(["bearer.a", "bearer.ticket", "chat"]) == ["bearer.a", "chat"]


def test_public_service() -> None:
    """On a public service Authorization passes, and the gateway's own cookies do not."""
    credentials = CredentialNames(authorization=False, session_cookie="asgi-gateway")
    found = written(
        (b"authorization", b"Basic x"), (b"cookie", SESSION + b"=v; a=1"), public=True, credentials=credentials
    )
    assert (found["authorization"], found["cookie"]) == (["Basic x"], ["a=1"])


def test_names_that_only_resemble_session_cookies() -> None:
    """Cookies whose names only begin like the gateway's pass."""
    cookies = b"asgi-gateway=1; asgi-gateway-theme=dark; x" + SESSION + b"=1; " + SESSION + b"0=1"
    assert written((b"cookie", cookies))["cookie"] == [cookies.decode()]


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        (b"a=1&token=x&b=%2F+%zz&&c", b"a=1&b=%2F+%zz&&c"),
        (b"t%6fken=x", b""),
        (b"gr%C3%B6%C3%9Fe=x&a", b"a"),
        (b"Token=x&token%00=x&tokens=1", b"Token=x&token%00=x&tokens=1"),
        (b"", b""),
    ],
)
def test_query(query: bytes, passed: bytes) -> None:
    """Parameters that are credentials are taken out, all else stays byte for byte."""
    assert outgoing().query(query) == passed


def test_subprotocols() -> None:
    """Subprotocols that are credentials are taken out."""
    assert outgoing().subprotocols(["bearer.x", "chat", "bearer", "Bearer.x"]) == ["chat", "bearer", "Bearer.x"]


@pytest.mark.parametrize(
    ("changes", "host", "origin"),
    [
        ({}, "backend.internal:9000", ["https://public.example"]),
        ({"preserve_host": True}, "public.example:8443", ["https://public.example"]),
        ({"origin": "rewrite"}, "backend.internal:9000", ["http://backend.internal:9000"]),
        ({"origin": "remove"}, "backend.internal:9000", None),
    ],
)
def test_host_and_origin(changes: Any, host: str, origin: list[str] | None) -> None:
    """Host and Origin towards the back end are as configured."""
    found = written((b"origin", b"https://public.example"), **changes)
    assert (found["host"], found.get("origin")) == ([host], origin)


def test_via_is_continued_and_ends_loops() -> None:
    """Via is continued; a request that passed the gateway ten times is in a loop."""
    assert written((b"via", b"1.0 a"), (b"via", b"1.1 b"))["via"] == ["1.0 a, 1.1 b, 1.1 asgi-gateway"]
    with pytest.raises(RequestRefused) as refused:
        written((b"via", b", ".join([b"1.1 asgi-gateway"] * 10)))
    assert refused.value.status == 508


@pytest.mark.parametrize(
    "header",
    [
        (b"x\x0b", b"1"),
        (b"content-length\x85", b"1"),
        (b"\xa0x", b"1"),
        (b"x y", b"1"),
        (b"", b"1"),
        (b"x:", b"1"),
        (b"content_length", b"1"),
        (b"transfer.encoding", b"chunked"),
        (b"x", b"a\r\nb: c"),
        (b"x", b"\x00"),
        (b"host", b"other.example"),
    ],
)
def test_refused_headers(header: tuple[bytes, bytes]) -> None:
    """A name is never trimmed or repaired; what could be read in two ways is refused."""
    with pytest.raises(RequestRefused) as refused:
        written(header)
    assert refused.value.status == 400


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"[::1", b"a,b:x", b"\xff"])
def test_malformed_host(host: bytes) -> None:
    """A Host header that is no host is refused."""
    with pytest.raises(RequestRefused):
        written(scope={"headers": [(b"host", host)]})


def test_names_of_clients_are_bounded() -> None:
    """Names that clients make up take a bounded memory, and still get the right rule."""
    request = outgoing()
    scope = {"headers": [(b"x-%d" % number, b"") for number in range(5000)], "client": None}
    assert len(request.headers(scope, BACKEND)) > 5000
    assert len(request._rules) <= 2000
    found = dict(request.headers({"headers": [(b"x_groups", b"root"), (b"x-1", b"")], "client": None}, BACKEND))
    assert b"x_groups" not in found
    assert b"x-1" in found


@pytest.mark.parametrize("name", [b"Host", b"X_Forwarded_For", b"cookie", b"Content-Type", b"te", b"Proxy-User"])
def test_what_cannot_carry_the_identity(name: bytes) -> None:
    """Headers with another meaning cannot be chosen for the user's identity."""
    assert not may_carry_identity(name)
    assert may_carry_identity(b"X-Forwarded-User")
    assert may_carry_identity(b"Remote-User")
