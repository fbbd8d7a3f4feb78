"""Checks of other proxies: who may ask, what the original request was, and what the proxy is told."""

from __future__ import annotations

import json
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest

from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.endpoints.responses import response_to
from asgi_gateway.errors import LoginFailed, LoginUnavailable
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.middleware import GatewayMiddleware
from asgi_gateway.model import Allow, Grant, RevocationKey
from asgi_gateway.proxy.identity import IdentityWriter
from asgi_gateway.schemes import ApplicationTokenScheme, BasicScheme, NegotiateScheme
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.original_request import PROXY_KINDS, ForwardAuthSettings
from asgi_gateway.services.origins import CrossSite, OriginRules
from asgi_gateway.services.trusted_proxies import TrustedProxies
from tests.gateways import Headers, Module, Server, World, ask, basic, scope, service, tokens, users

pytestmark = pytest.mark.anyio

HOST = (b"host", b"www.example.com")
PROXY = ("10.0.0.1", 4711)
WEBSOCKET: Headers = [
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]
FORWARDING_KINDS = ("traefik", "caddy", "haproxy")


async def down(attempt: Any) -> Grant:
    raise LoginUnavailable("ldap://secret-host is down", retry_after=7)


class Site:
    """A gateway that other proxies ask at ``/auth``; nothing stands behind its services."""

    def __init__(self, kind: str = "nginx", **settings: Any) -> None:
        self.world = world = World()
        assert world.state is not None
        realm = world.realm(users(joe="R", ann=""))
        sessions = world.realm(users(joe="R"), name="sessions", recycle=(world.state, [b"k" * 32]))
        steps = world.realm(tokens(self._last), name="steps", schemes=[NegotiateScheme()])
        two = world.realm(users(joe=""), name="two", schemes=[ApplicationTokenScheme(), BasicScheme()])
        listed = OriginRules([CrossSite(frozenset(("https://a.example",)))])
        left = OriginRules([CrossSite(frozenset(("https://a.example",)))], by_application=True)
        services = [
            service("public", "/public"),
            service("private", "/private", realm, roles="R"),
            service("sessions", "/sessions", sessions),
            service("steps", "/steps", steps),
            service("two", "/two", two),
            service("down", "/down", world.realm(Module(down), name="down")),
            service("shared", "/shared", realm, origins=listed),
            service("left", "/left", realm, origins=left),
            Service("of host", (Mount("/host", host="www.example.com:*"),), (realm,)),
            Service("of other host", (Mount("/host", host="open.example:*"),)),
            Service("plain part", (Mount("/mixed", frozenset({"http"})),), (realm,)),
            Service("socket part", (Mount("/mixed", frozenset({"websocket"})),)),
            Service("sockets", (Mount("/sockets", frozenset({"websocket"})),), (realm,)),
            Service("encoded", (Mount("/encoded"),), allow_encoded_slash=True),
        ]
        names = [("user", "X-User"), ("roles", "X-Roles")]
        write = IdentityWriter(names, None, world.clock).headers
        identities = dict.fromkeys(("private", "public", "sockets", "sessions"), write)
        self.gateway: Gateway = world.gateway(
            *services,
            trusted_proxies=TrustedProxies(["10.0.0.0/8"]),
            forward_auth=ForwardAuthSettings("/auth", kind, identities),
            **settings,
        )
        self.app: Any = GatewayMiddleware(None, self.gateway)
        self.kind = kind

    async def _last(self, attempt: Any) -> Grant:
        attempt.respond("bGFzdA==")
        return Grant.user("joe")

    def request(self, uri: str | None, method: str | None = "GET", host: str = "www.example.com") -> Headers:
        """The headers in which a proxy of the site's kind names the original request."""
        kind = PROXY_KINDS[self.kind]
        named = [
            (kind.uri, uri),
            (kind.method, method),
            (kind.host or b"host", host),
        ]
        return [(name, value.encode("latin-1")) for name, value in named if name is not None and value is not None]

    async def check(self, uri: str | None, *headers: tuple[bytes, bytes], method: str = "GET", **more: Any) -> Server:
        """What the site's proxy is told of a request."""
        client = more.pop("client", PROXY)
        return await ask(self.app, scope("/auth", *self.request(uri, method), *headers, client=client, **more))

    @property
    def reason(self) -> str:
        """Why the last request was refused."""
        return str(json.loads(self.world.records.lines[-1])["reason"])


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
async def test_decisions_are_those_of_direct_requests(kind: str) -> None:
    """Public, challenged, let in, refused for a role, refused for no service: as without the proxy."""
    site = Site(kind)
    assert (await site.check("/public/a?b=c")).status == 200
    challenged = await site.check("/private/a")
    assert (challenged.status, challenged.body) == (401, b"" if kind == "nginx" else b"Unauthorized\n")
    assert dict(challenged.headers)[b"www-authenticate"] == b'Basic realm="demo", charset="UTF-8"'
    for _ in range(2):  # decided in full, then from the cache
        granted = await site.check("/private/a", basic("joe"))
        assert (granted.status, granted.body) == (200, b"")
        assert [each for each in granted.headers if each[0][:2] == b"x-"] == [(b"x-user", b"joe"), (b"x-roles", b"R")]
        assert dict(granted.headers)[b"cache-control"] == b"no-store"
    assert (await site.check("/private/a", basic("joe", "wrong"))).status == 401
    assert (await site.check("/private/a", basic("ann"))).status == 403
    assert (await site.check("/nowhere")).status == 403
    assert (await site.check("/private/a", basic("joe"), basic("joe"))).status == 403


async def test_envoy_asks_by_path_and_method() -> None:
    """Envoy appends the original path to its path_prefix and keeps the method."""
    site = Site("envoy")

    async def check(path: str, *headers: tuple[bytes, bytes], query: bytes = b"", method: str = "GET") -> Server:
        raw: dict[str, Any] = {"raw_path": path.encode(), "query_string": query, "method": method}
        return await ask(site.app, scope(path, HOST, *headers, client=PROXY, **raw))

    assert (await check("/auth/public")).status == 200
    assert (await check("/auth/private", query=b"a=b")).status == 401
    assert (await check("/auth/private", basic("joe"), method="DELETE")).status == 200
    cross_site = ((b"origin", b"https://evil.example"), basic("joe"))
    assert (await check("/auth/private", *cross_site)).status == 200
    assert (await check("/auth/private", *cross_site, method="POST")).status == 403
    head = await check("/auth/private", method="HEAD")
    assert (head.status, head.body) == (401, b"")
    for path in (
        "/auth",
        "/auth/",
        "/auth//evil",
        "/auth/../auth/public",
        "/auth/public/..;/private",
        "/auth/x#/public",
    ):
        assert (await check(path)).status == 403, path
    others = [(b"x-original-uri", b"/public"), (b"x-forwarded-uri", b"/public"), (b"x-envoy-original-path", b"/public")]
    assert (await check("/auth/private", *others)).status == 401


@pytest.mark.parametrize("client", [("192.0.2.1", 1), None, ("10.0.0.1", 0), ("testclient", 50000)])
async def test_only_listed_proxies_may_ask(client: Any) -> None:
    """A peer that is not listed gets 403 whatever it asks for, and the audit log says so."""
    site = Site()
    assert (await site.check("/public", client=client)).status == 403
    assert site.reason == "the peer that asks forward-auth is not one of trusted-proxies"
    headers = [(b"x-forwarded-for", b"10.0.0.1"), basic("joe")]
    assert (await site.check("/private", *headers, client=client)).status == 403


async def test_the_peer_counts_and_not_what_it_says_of_its_client() -> None:
    """A proxy that names the client's address is still the one that asks; the audit log has the client's address."""
    site = Site()
    spoofed = (b"x-forwarded-for", b"203.0.113.9, 192.0.2.7, 10.0.0.2")
    assert (await site.check("/private", spoofed)).status == 401
    event = json.loads(site.world.records.lines[-1])
    assert (event["peer"], event["service"], event["outcome"]) == ("192.0.2.7", "private", "challenge")


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
@pytest.mark.parametrize(
    "uri",
    [
        *(
            None,
            "",
            "private",
            "*",
            "www.example.com:443",
            "http://www.example.com/public",
            "//evil",
            "//public",
            "/\\evil",
        ),
        *(
            "/public/../private",
            "/public/%2e%2e/private",
            "/public/..;/private",
            "/public;x",
            "/public//x",
            "/public/%2f",
        ),
        *("/public/%5c", "/public/%00", "/public%0a", "/public/%252e%252e/private", "/public#/private", "/public?a#b"),
        *("/public/%ff", "/public /x", "/public\t", "/public\x00", "/publi\xe7", "/public/\xe2\x80\xae", "/public\r\n"),
    ],
)
async def test_a_check_without_a_sound_original_uri(kind: str, uri: str | None) -> None:
    """What is missing, relative, absolute, ambiguous or not printable ASCII is 403, with the best credentials too."""
    site = Site(kind)
    assert (await site.check(uri)).status == 403
    assert (await site.check(uri, basic("joe"))).status == 403


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
async def test_duplicates(kind: str) -> None:
    """A header that decides something and occurs twice is 403, even with the same value."""
    for index, _ in enumerate(Site(kind).request("/public")):
        site = Site(kind)
        headers = site.request("/public", host="open.example")
        headers.append(headers[index])
        uri = b"/host"
        if headers[index][0] in (b"host", b"x-forwarded-host"):  # where no service asks for it, Host decides nothing
            headers = [(name, uri if name.endswith(b"-uri") else value) for name, value in headers]
        assert (await ask(site.app, scope("/auth", *headers, client=PROXY))).status == 403, headers[index]


@pytest.mark.parametrize("kind", [*PROXY_KINDS])
async def test_headers_of_other_kinds_are_ignored(kind: str) -> None:
    """What a client may have sent under the names of other proxies changes nothing, missing ones included."""
    site = Site(kind)
    own = {name for name, _ in site.request("/private")}
    names = (
        "x-original-uri",
        "x-original-url",
        "x-forwarded-uri",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-auth-uri",
    )
    others = [(name.encode(), b"/public") for name in names if name.encode() not in own]
    path = "/auth/private" if kind == "envoy" else "/auth"
    raw: dict[str, Any] = {"raw_path": path.encode(), "client": PROXY}
    assert (await ask(site.app, scope(path, *site.request("/private"), *others, **raw))).status == 401
    assert (await ask(site.app, scope("/auth", HOST, *others, raw_path=b"/auth", client=PROXY))).status == 403


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
async def test_the_host_is_the_one_that_the_kind_names(kind: str) -> None:
    """Services that match the host see the original one, never the one of another header."""
    site = Site(kind)
    wrong = b"x-forwarded-host" if kind == "nginx" else b"host"
    own = site.request("/host", host="www.example.com:8443")
    assert (await ask(site.app, scope("/auth", *own, (wrong, b"open.example"), client=PROXY))).status == 401
    other = site.request("/host", host="open.example")
    assert (await ask(site.app, scope("/auth", *other, (wrong, b"www.example.com"), client=PROXY))).status == 200
    for bad in ("open.example, open.example", "open.example/", "", "open.example:x", "user@open.example"):
        malformed = site.request("/host", host=bad)
        assert (await ask(site.app, scope("/auth", *malformed, client=PROXY))).status == 403, bad


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
async def test_without_a_host_nothing_matches_it(kind: str) -> None:
    """Where the proxy names no host, no service that matches one is found, and no page has the service's origin."""
    site = Site(kind)
    kept = [each for each in site.request("/host") if b"host" not in each[0]]
    own = [] if kind == "nginx" else [(b"host", b"open.example")]  # the check's own, which is the gateway's address
    assert (await ask(site.app, scope("/auth", *kept, *own, client=PROXY))).status == 403


@pytest.mark.parametrize("kind", ["nginx", *FORWARDING_KINDS])
async def test_the_method_opens_nothing(kind: str) -> None:
    """OPTIONS, HEAD and unknown methods need the same login; a malformed one is 403; a missing one counts as POST."""
    site = Site(kind)
    for method in ("OPTIONS", "HEAD", "TRACE", "PROPFIND", "get"):
        assert (await site.check("/private", method=method)).status == 401, method
    for method in ("", "GET ", "GET, POST", "GE\tT", "X" * 65):
        assert (await site.check("/public", method=method)).status == 403, method
    page: Headers = [(b"origin", b"https://evil.example"), basic("joe")]
    assert (await site.check("/private", *page, method="GET")).status == 200
    assert (await site.check("/private", *page, method="POST")).status == 403
    unnamed = site.request("/private", method=None)
    assert (await ask(site.app, scope("/auth", *unnamed, *page, client=PROXY))).status == 403
    assert (await ask(site.app, scope("/auth", *unnamed, basic("joe"), client=PROXY))).status == 200


async def test_the_method_of_the_check_itself_does_not_matter() -> None:
    """A kind that names the original method has no other one; X-HTTP-Method-Override is no method."""
    site = Site()
    headers = [*site.request("/private"), (b"x-http-method-override", b"POST"), (b"origin", b"https://evil.example")]
    answer = await ask(site.app, scope("/auth", *headers, basic("joe"), method="POST", client=PROXY))
    assert answer.status == 200


async def test_preflights_need_a_login_unless_the_application_answers_them() -> None:
    """A preflight that the gateway would answer cannot be answered here; one left to the application passes."""
    site = Site()
    preflight = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")]
    assert (await site.check("/shared", *preflight, method="OPTIONS")).status == 401
    assert (await site.check("/left", *preflight, method="OPTIONS")).status == 200
    assert (await site.check("/left", preflight[0], method="OPTIONS")).status == 401
    evil = [(b"origin", b"https://evil.example"), preflight[1]]
    assert (await site.check("/left", *evil, method="OPTIONS")).status == 403


async def test_headers_of_cors_are_told() -> None:
    """What a page of a listed origin needs to read the response is on 200 and on 401."""
    site = Site()
    origin = (b"origin", b"https://a.example")
    for headers in ((origin,), (origin, basic("joe"))):
        answer = await site.check("/shared", *headers)
        assert dict(answer.headers)[b"access-control-allow-origin"] == b"https://a.example"
    assert (await site.check("/shared", (b"origin", b"https://evil.example"), basic("joe"))).status == 403


async def test_sessions() -> None:
    """The cookie of a new session is on 200, and a check with it needs no password; 401 has one line per challenge."""
    site = Site("traefik")
    granted = await site.check("/sessions", basic("joe"), (b"x-forwarded-proto", b"https"))
    cookie = dict(granted.headers)[b"set-cookie"]
    assert cookie.startswith(b"__Host-")
    assert b"Secure" in cookie
    kept = [(b"cookie", cookie.partition(b";")[0]), (b"x-forwarded-proto", b"https")]
    again = await site.check("/sessions", *kept)
    assert (again.status, dict(again.headers)[b"x-user"]) == (200, b"joe")
    assert (await site.check("/sessions")).status == 401
    challenges = [value for name, value in (await site.check("/two")).headers if name == b"www-authenticate"]
    assert challenges == [b"Application Token", b'Basic realm="two", charset="UTF-8"']


async def test_the_last_token_is_told() -> None:
    """What a scheme sends with its success, such as SPNEGO's last token, is on 200."""
    granted = await Site().check("/steps", (b"authorization", b"Negotiate Zmlyc3Q="))
    assert (granted.status, dict(granted.headers)[b"www-authenticate"]) == (200, b"Negotiate bGFzdA==")


@pytest.mark.parametrize("kind", [*PROXY_KINDS])
async def test_errors_that_the_proxy_does_not_know(kind: str) -> None:
    """nginx would answer 500 to 503, and Envoy may be told to let requests in on it: they get 403."""
    site = Site(kind)
    path = "/auth/down" if kind == "envoy" else "/auth"
    answer = await ask(
        site.app, scope(path, *site.request("/down"), basic("joe"), client=PROXY, raw_path=path.encode())
    )
    knows = kind in FORWARDING_KINDS
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (503 if knows else 403, b"7")
    assert answer.body == {"nginx": b"", "envoy": b"Forbidden\n"}.get(kind, b"Service Unavailable\n")


async def test_a_failure_of_the_gateway_is_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error while deciding refuses the request."""
    site = Site()

    async def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(site.gateway, "decide", fail)
    assert (await site.check("/private", basic("joe"))).status == 403


@pytest.mark.parametrize("header", [(b"content-length", b"17"), (b"transfer-encoding", b"chunked")])
async def test_a_body_is_not_waited_for(header: tuple[bytes, bytes]) -> None:
    """A check that announces a body is answered without a look at it, and its connection is closed."""
    site = Site()

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    server = Server()
    await site.app(scope("/auth", *site.request("/public"), header, client=PROXY), receive, server.send)
    assert (server.status, dict(server.headers)[b"connection"]) == (200, b"close")
    empty = await site.check("/public", (b"content-length", b"0"))
    assert b"connection" not in dict(empty.headers)
    over_http2 = await site.check("/public", header, http_version="2")
    assert b"connection" not in dict(over_http2.headers)


@pytest.mark.parametrize(("uri", "status"), [("/public", 200), ("/private", 401), ("/sockets", 401)])
async def test_a_check_that_is_a_handshake_itself(uri: str, status: int) -> None:
    """A proxy that keeps Upgrade makes a handshake of its check: it gets a response like another one, never 101."""
    server = await Site("caddy").check(uri, *WEBSOCKET, kind="websocket")
    assert server.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert server.status == status


async def test_handshakes_are_decided_on_as_handshakes() -> None:
    """The Origin rule of WebSockets holds for a check whose request is a handshake by any of its headers."""
    site = Site()
    foreign = [(b"origin", b"https://evil.example"), basic("joe")]
    assert (await site.check("/private", *foreign)).status == 200
    for sign in (*WEBSOCKET, (b"upgrade", b"WebSocket"), (b"sec-websocket-protocol", b"chat")):
        assert (await site.check("/private", *foreign, sign)).status == 403
        assert site.reason == "origin https://evil.example is not allowed"
    own = [(b"origin", b"https://www.example.com"), basic("joe"), *WEBSOCKET]
    answer = await site.check("/private", *own)
    assert (answer.status, dict(answer.headers)[b"x-user"]) == (200, b"joe")
    over_tls = (b"x-forwarded-proto", b"https")
    assert (await site.check("/private", *own, over_tls)).status == 200
    plain_page = [(b"origin", b"http://www.example.com"), *own[1:]]
    assert (await site.check("/private", *plain_page, over_tls)).status == 403


async def test_a_service_for_sockets_alone() -> None:
    """Its path takes handshakes and no other requests."""
    site = Site()
    assert (await site.check("/sockets", basic("joe"))).status == 403
    assert (await site.check("/sockets", basic("joe"), *WEBSOCKET)).status == 200
    assert (await site.check("/sockets", *WEBSOCKET)).status == 401


async def test_headers_of_a_handshake_change_no_other_method() -> None:
    """A handshake is a GET: with another method, or without one, the rules for that method hold too."""
    site = Site()
    cross_site: Headers = [(b"sec-fetch-site", b"cross-site"), basic("joe"), *WEBSOCKET]
    assert (await site.check("/private", *cross_site)).status == 200
    for method in ("POST", "DELETE", "CONNECT"):
        assert (await site.check("/private", *cross_site, method=method)).status == 403
        assert (await site.check("/sockets", *cross_site, method=method)).status == 403
    unnamed = site.request("/private", method=None)
    assert (await ask(site.app, scope("/auth", *unnamed, *cross_site, client=PROXY))).status == 403
    assert (await ask(site.app, scope("/auth", *unnamed, *cross_site[1:], client=PROXY))).status == 200


async def test_headers_of_a_handshake_open_no_other_service() -> None:
    """The back end may take the handshake for a plain request, so the service of those has to let it in too."""
    site = Site()
    assert (await site.check("/mixed")).status == 401
    assert (await site.check("/mixed", *WEBSOCKET)).status == 401
    assert (await site.check("/mixed", *WEBSOCKET, basic("joe"))).status == 200


async def test_credentials_in_the_original_query_and_subprotocol() -> None:
    """Configured parameters and subprotocols are read from the original request, not from the check."""
    world = World()
    reader = CredentialReader(query_parameters=("ticket",), subprotocols=("bearer",))
    realm = world.realm(tokens(_named), name="t", schemes=[ApplicationTokenScheme()], reader=reader)
    gateway = world.gateway(
        service("s", "/s", realm),
        trusted_proxies=TrustedProxies(["10.0.0.1"]),
        forward_auth=ForwardAuthSettings("/auth", "nginx"),
    )
    app = GatewayMiddleware(None, gateway)

    async def status(uri: bytes, *headers: tuple[bytes, bytes], query: bytes = b"") -> int:
        sent = scope("/auth", HOST, (b"x-original-uri", uri), *headers, client=PROXY, query_string=query)
        return (await ask(app, sent)).status

    assert await status(b"/s?ticket=good") == 200
    assert await status(b"/s", query=b"ticket=good") == 401
    assert await status(b"/s?ticket=good&ticket=good") == 403
    assert await status(b"/s", (b"sec-websocket-protocol", b"chat, bearer.good")) == 200
    assert await status(b"/s", (b"sec-websocket-protocol", b"chat")) == 401


async def _named(attempt: Any) -> Grant:
    if "good" not in (attempt.token.get("ticket"), attempt.token.get("bearer")):
        raise LoginFailed("not the token")
    return Grant.user("joe")


async def test_encoded_slashes_as_for_direct_requests() -> None:
    """A service that takes them takes them from a check too."""
    site = Site()
    assert (await site.check("/encoded/a%2Fb")).status == 200
    assert (await site.check("/encoded/..%2Fprivate")).status == 403
    assert (await site.check("/public/a%2Fb")).status == 403


async def test_the_configured_root_is_cut_off() -> None:
    """With ``root-path`` the original path lies below the root, as that of a direct request does."""
    site = Site(root_path="/api")

    async def status(uri: str) -> int:
        sent = scope("/api/auth", *site.request(uri), client=PROXY, root_path="/api")
        return (await ask(site.app, sent)).status

    assert await status("/api/public") == 200
    assert await status("/api/private") == 401
    assert await status("/public") == 403
    assert await status("/apipublic") == 403


async def test_the_gateways_own_paths_are_no_services() -> None:
    """A check for one of the gateway's endpoints is 403: the proxy passes those requests to the gateway."""
    site = Site()
    for uri in ("/private/;o", "/private/;t", "/sockets/;e/cookies"):
        assert (await site.check(uri, basic("joe"), method="POST")).status == 403


async def test_other_requests_find_no_application() -> None:
    """Without an application a direct request is decided on all the same, and ends at 404."""
    site = Site()
    assert (await ask(site.app, scope("/public", HOST))).status == 404
    assert (await ask(site.app, scope("/private", HOST))).status == 401
    assert (await ask(site.app, scope("/auth/x", HOST, client=PROXY))).status == 403
    socket = await ask(site.app, scope("/public", HOST, kind="websocket"))
    assert (socket.status, socket.types[0]) == (404, "websocket.http.response.start")


async def test_revocation_ends_a_permission() -> None:
    """Each check is decided on anew: a revoked user's next one is refused."""
    site = Site()
    await site.gateway.open()
    try:
        granted = await site.check("/sessions", basic("joe"))
        cookie = (b"cookie", dict(granted.headers)[b"set-cookie"].partition(b";")[0])
        assert (await site.check("/sessions", cookie)).status == 200
        await site.gateway.revocations.revoke(RevocationKey("user", "joe", "sessions"))
        assert (await site.check("/sessions", cookie)).status == 401
    finally:
        await site.gateway.close()


PIECES = (
    *(
        "public",
        "private",
        "encoded",
        "sockets",
        "mixed",
        "a",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        ";x",
    ),
    *("%252e", "%25", "%", "%zz", "%00", "%c3%a9", "%ff", "~", "a b", "a+b", "%20", "%E2%80%AE", "%ef%bc%8f", "P%C3"),
)


async def test_checks_agree_with_direct_requests() -> None:
    """A path of any pieces gets in by a check if and only if it gets in directly, with a login and without."""
    site = Site("traefik")
    random = Random(12)
    granted = 0
    for _ in range(3000):
        raw = "".join(f"/{random.choice(PIECES)}" for _ in range(random.randint(1, 4)))
        query = random.choice(("", "a=b", "a=/../b"))
        kind: Any = random.choice(("http", "websocket"))
        headers = [*(WEBSOCKET if kind == "websocket" else []), *random.choice(([], [basic("joe")], [basic("ann")]))]
        sent: dict[str, Any] = {"raw_path": raw.encode(), "query_string": query.encode()}
        request = request_of(scope(unquote(raw), HOST, *headers, kind=kind, **sent))
        decision = await site.gateway.decide(request)
        if kind == "websocket" and isinstance(decision, Allow) and raw.startswith("/mixed"):
            decision = await site.gateway.decide(request.replace(protocol="http"))
        answer = await site.check(f"{raw}?{query}" if query else raw, *headers)
        if " " in raw:  # no server passes it on
            assert answer.status == 403
        else:
            assert answer.status == (200 if isinstance(decision, Allow) else response_to(decision).status), (raw, kind)
            granted += answer.status == 200
    assert granted > 50
