"""CORS, and the Origin check of WebSockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import HeaderError
from asgi_gateway.model import AuthRequest
from asgi_gateway.services.origins import CrossSite, OriginRules, canonical_origin, check_origin, without_cors
from tests.gateways import request

LISTED = CrossSite(frozenset(("https://a.example",)), ("PUT", "DELETE"), ("authorization", "x-a"), 60)
ANY = CrossSite(frozenset(("*",)))


def socket(host: str | None = "shop.example", scheme: str = "ws") -> AuthRequest:
    headers = [] if host is None else [(b"host", host.encode())]
    return request("/", *headers, kind="websocket", scheme=scheme)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (b"http://shop.example", "shop.example", "ws"),
        (b"http://shop.example:80", "shop.example", "ws"),
        (b"http://shop.example", "shop.example:80", "ws"),
        (b"http://shop.example:8000", "shop.example:8000", "ws"),
        (b"HTTP://Shop.Example", "SHOP.example", "http"),
        (b"https://shop.example", "shop.example", "wss"),
        (b"https://shop.example", "shop.example", "ws"),  # a proxy ends TLS
        (b"https://shop.example", "shop.example:443", "https"),
        (b"http://[::1]:8000", "[::1]:8000", "ws"),
    ],
)
def test_own_origin(origin: bytes, host: str, scheme: str) -> None:
    """Pages of the service's own host and port are allowed, also where a proxy ends TLS."""
    assert OriginRules().allows(socket(host, scheme), origin)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (b"null", "shop.example", "ws"),
        (b"", "shop.example", "ws"),
        (b"null", "null", "ws"),
        (b"http://evil.example", "shop.example", "ws"),
        (b"http://www.shop.example", "shop.example", "ws"),
        (b"http://example", "shop.example", "ws"),
        (b"http://shop.example.evil.example", "shop.example", "ws"),
        (b"http://shop.example.", "shop.example", "ws"),
        (b"http://shop.example:8001", "shop.example:8000", "ws"),
        (b"http://shop.example:8000", "shop.example", "ws"),
        (b"https://shop.example:8443", "shop.example", "ws"),
        (b"http://shop.example", "shop.example", "wss"),
        (b"http://shop.example", "shop.example", "https"),
        (b"file://shop.example", "shop.example", "ws"),
        (b"chrome-extension://shop.example", "shop.example", "ws"),
        (b"shop.example", "shop.example", "ws"),
        (b"http://joe@shop.example", "shop.example", "ws"),
        (b"http://shop.example@evil.example", "shop.example", "ws"),
        (b"http://shop.example/", "shop.example", "ws"),
        (b"http://shop.example?x", "shop.example", "ws"),
        (b"http://shop.example#x", "shop.example", "ws"),
        (b"http://shop.example http://evil.example", "shop.example", "ws"),
        (b"http://shop.example:99999", "shop.example:99999", "ws"),
        (b"http://", "", "ws"),
        (b"http://shop.example", "", "ws"),
        (b"http://[::1", "[::1", "ws"),
        (b"http://shop.example:0", "shop.example", "ws"),
    ],
)
def test_foreign_origins(origin: bytes, host: str, scheme: str) -> None:
    """null, siblings, other ports, an http page before a service over TLS, and malformed origins are refused."""
    assert not OriginRules().allows(socket(host, scheme), origin)


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (b"privileged://shop.example:8000", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8000", "shop.example:8000", "http"),
        (b"PRIVILEGED://Shop.Example:8000", "shop.EXAMPLE:8000", "ws"),
        (b"privileged://shop.example:80", "shop.example", "ws"),
        (b"privileged://shop.example:80", "shop.example:80", "ws"),
        (b"privileged://shop.example:443", "shop.example", "wss"),
        (b"privileged://shop.example:443", "shop.example", "https"),
        (b"privileged://shop.example:443", "shop.example:443", "wss"),
        (b"privileged://shop.example:443", "shop.example", "ws"),  # a proxy ends TLS
        (b"privileged://shop.example:8443", "shop.example:8443", "ws"),  # so here
        (b"privileged://shop.example:8443", "shop.example:8443", "wss"),
        (b"privileged://shop.example:80", "shop.example:80", "wss"),
        (b"privileged://shop.example", "shop.example", "ws"),
        (b"privileged://shop.example", "shop.example:443", "wss"),
        (b"privileged://192.0.2.7:8000", "192.0.2.7:8000", "ws"),
        (b"privileged://[::1]:8000", "[::1]:8000", "ws"),
        (b"privileged://[2001:DB8::1]:80", "[2001:db8::1]", "ws"),
        (b"privileged://shop.example:8000", "shop.example:8000", ""),  # the server does not report it
        (b"privileged://shop.example:443", "shop.example", ""),
    ],
)
def test_clients_outside_browsers(origin: bytes, host: str, scheme: str) -> None:
    """The scheme privileged, with the host and the port of the request, is the service's own origin."""
    assert OriginRules().allows(socket(host, scheme), origin)
    assert OriginRules([LISTED]).allows(socket(host, scheme), origin)
    headers = (b"host", host.encode()), (b"origin", origin)
    for method, kind in (("GET", "websocket"), ("POST", "http"), ("DELETE", "http")):
        asked = request("/", *headers, method=method, kind=kind, scheme=scheme)
        assert OriginRules([LISTED]).refusal(asked, protected=True) is None


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (b"privileged://evil.example:8000", "shop.example:8000", "ws"),
        (b"privileged://www.shop.example:8000", "shop.example:8000", "ws"),
        (b"privileged://shop.example.:8000", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8001", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8000", "shop.example", "ws"),
        (b"privileged://shop.example:80", "shop.example", "wss"),
        (b"privileged://shop.example:443", "shop.example:80", "ws"),
        (b"privileged://shop.example", "shop.example:8000", "ws"),
        (b"privileged://shop.example:0", "shop.example", "ws"),
        (b"privileged://shop.example:8000/", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8000?x", "shop.example:8000", "ws"),
        (b"privileged://joe@shop.example:8000", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8000@evil.example", "shop.example:8000", "ws"),
        (b"privileged://shop.example:8000 http://evil.example", "shop.example:8000", "ws"),
        (b"privileged:shop.example:8000", "shop.example:8000", "ws"),
        (b"privileged://", "shop.example", "ws"),
        (b"privileged://:8000", ":8000", "ws"),
        (b"privileged://null:8000", "shop.example:8000", "ws"),
        (b"privileged://shop.example:99999", "shop.example:99999", "ws"),
        (b"privileged://shop.example:80", "", "ws"),
        (b"privileged://[::2]:8000", "[::1]:8000", "ws"),
        (b"privileged2://shop.example:8000", "shop.example:8000", "ws"),
        (b"xprivileged://shop.example:8000", "shop.example:8000", "ws"),
    ],
)
def test_clients_outside_browsers_of_another_target(origin: bytes, host: str, scheme: str) -> None:
    """The scheme privileged with another host or port, or with anything more, is no origin of the service."""
    assert not OriginRules().allows(socket(host, scheme), origin)
    asked = request("/", (b"host", host.encode()), (b"origin", origin), method="POST", scheme=scheme)
    assert OriginRules().refusal(asked, protected=True) is not None


def test_clients_outside_browsers_behind_a_proxy() -> None:
    """Where a proxy rewrites Host, the origin of such clients can be listed, with its port."""
    origin = "privileged://Gateway.example:443"
    assert check_origin(origin) is None
    rules = OriginRules([CrossSite(frozenset((canonical_origin(origin),)))])
    assert rules.allows(socket("10.0.0.1:8000"), b"privileged://gateway.example:443")
    assert not rules.allows(socket("10.0.0.1:8000"), b"privileged://gateway.example:8443")


def test_no_host() -> None:
    """Without a Host header no origin is the service's own."""
    assert not OriginRules().allows(socket(None), b"http://shop.example")
    assert not OriginRules().allows(socket(None), b"privileged://shop.example:80")


def test_doubled_host() -> None:
    """Two Host headers raise HeaderError."""
    doubled = request("/", (b"host", b"a"), (b"host", b"b"), kind="websocket")
    with pytest.raises(HeaderError):
        OriginRules().allows(doubled, b"http://a")


def test_listed() -> None:
    """A listed origin is allowed exactly, in any case of its letters; null never, not even by a star."""
    rules = OriginRules([LISTED])
    assert rules.allows(socket(), b"https://A.example")
    for origin in (b"https://a.example:444", b"http://a.example", b"https://b.a.example", b"null"):
        assert not rules.allows(socket(), origin)
    assert OriginRules([ANY]).allows(socket(), b"https://anything.example")
    assert not OriginRules([ANY]).allows(socket(), b"null")
    assert not CrossSite(frozenset(("null",))).allows("null")


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_never_an_error(origin: bytes, host: bytes) -> None:
    """Any bytes in the two headers give True or False, and the origin null is never allowed."""
    this = request("/", (b"host", host), kind="websocket", scheme="ws")
    assert OriginRules().allows(this, b"http://" + origin) in (True, False)
    assert OriginRules().allows(this, b"privileged://" + origin) in (True, False)
    assert OriginRules([LISTED, ANY]).allows(this, b"null") is False


def preflight(rules: OriginRules, origin: bytes, method: bytes | None) -> dict[bytes, bytes] | None:
    asked = [] if method is None else [(b"access-control-request-method", method)]
    headers = rules.preflight(request("/", *asked, method="OPTIONS"), origin)
    return None if headers is None else dict(headers)


def test_preflight() -> None:
    """The answer to a listed origin that asks for an allowed method holds everything that the constraint allows."""
    assert preflight(OriginRules([LISTED]), b"https://a.example", b"PUT") == {
        b"access-control-allow-origin": b"https://a.example",
        b"access-control-allow-credentials": b"true",
        b"access-control-expose-headers": b"WWW-Authenticate, Sec-Challenge-Identity",
        b"access-control-allow-methods": b"PUT, DELETE",
        b"access-control-allow-headers": b"authorization, x-a",
        b"access-control-max-age": b"60",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize(
    ("origin", "method"),
    [
        (b"https://b.example", b"PUT"),
        (b"null", b"GET"),
        (b"https://a.example", b"PATCH"),
        (b"https://a.example", None),
        (b"https://a.example", b"put"),
    ],
)
def test_preflight_refused(origin: bytes, method: bytes | None) -> None:
    """A preflight of a foreign origin, of an unlisted method or of none is not answered."""
    assert preflight(OriginRules([LISTED]), origin, method) is None


def test_preflight_of_what_is_always_allowed() -> None:
    """Without listed methods and headers, GET, HEAD and POST are answered, and no list is sent."""
    for method in (b"GET", b"HEAD", b"POST"):
        answer = preflight(OriginRules([ANY]), b"https://b.example", method)
        assert answer is not None
        assert answer.keys() == {b"access-control-allow-origin", b"access-control-expose-headers", b"vary"}


def test_response() -> None:
    """A listed origin is named and may send credentials, one that only * allows may not; others get Vary alone."""
    listed = dict(OriginRules([LISTED]).response(b"https://a.example"))
    assert listed[b"access-control-allow-origin"] == b"https://a.example"
    assert listed[b"access-control-allow-credentials"] == b"true"
    star = dict(OriginRules([LISTED, ANY]).response(b"https://b.example"))
    assert star[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in star
    assert OriginRules([LISTED]).response(b"https://b.example") == ((b"vary", b"Origin"),)
    assert OriginRules().response(b"https://b.example") == ()


def test_truth() -> None:
    """Rules without a constraint are false."""
    assert OriginRules([LISTED])
    assert not OriginRules()


# ------------------------------------------------------------------------------------- requests that change something

RULES = OriginRules()
OWN, FOREIGN, A = b"http://shop.example", b"https://evil.example", b"https://a.example"


def refused(rules: OriginRules, method: str, *headers: tuple[bytes, bytes], protected: bool = True) -> bool:
    asked = request("/", (b"host", b"shop.example"), *headers, method=method)
    return rules.refusal(asked, protected=protected) is not None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "get"])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({b"origin": OWN}, False),
        ({b"origin": b"https://shop.example"}, False),
        ({b"origin": FOREIGN}, True),
        ({b"origin": b"http://sub.shop.example"}, True),
        ({b"origin": b"null"}, True),
        ({b"origin": b""}, True),
        ({b"sec-fetch-site": b"same-origin"}, False),
        ({b"sec-fetch-site": b"none"}, False),
        ({b"sec-fetch-site": b"cross-site"}, True),
        ({b"sec-fetch-site": b"same-site"}, True),
        ({b"sec-fetch-site": b"Same-Origin"}, True),
        ({b"sec-fetch-site": b""}, True),
        ({b"sec-fetch-site": b"same-origin", b"origin": b"https://behind-a-proxy.example"}, False),
        ({b"sec-fetch-site": b"same-origin", b"origin": b"null"}, False),
        ({b"sec-fetch-site": b"cross-site", b"origin": OWN}, True),
        ({b"sec-fetch-site": b"cross-site", b"origin": A}, True),
    ],
)
def test_change(method: str, headers: dict[bytes, bytes], expected: bool) -> None:
    """A cross-site request that changes something is refused: by Sec-Fetch-Site where it is sent, else by Origin."""
    assert refused(RULES, method, *headers.items()) is expected
    assert not refused(RULES, method, *headers.items(), protected=False)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods(method: str) -> None:
    """A request that changes nothing is not looked at where the service has no constraints, nor its headers."""
    twice = [(b"origin", FOREIGN)] * 2 + [(b"sec-fetch-site", b"cross-site")] * 2
    assert not refused(RULES, method, *twice)


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"same-origin", None])
def test_listed_origin_may_change(site: bytes | None) -> None:
    """A page of a listed origin may change something, one of another may not."""
    rules = OriginRules([LISTED])
    fetched = [] if site is None else [(b"sec-fetch-site", site)]
    assert not refused(rules, "POST", (b"origin", A), *fetched)
    assert not refused(OriginRules([ANY]), "POST", (b"origin", FOREIGN), *fetched)
    assert refused(rules, "POST", (b"origin", FOREIGN), *fetched) is (site != b"same-origin")


def test_constraints_hold_for_every_method() -> None:
    """Where the service has constraints a foreign Origin is refused for every method, on public services, too."""
    rules = OriginRules([LISTED])
    for method in ("GET", "POST", "OPTIONS"):
        for protected in (True, False):
            assert refused(rules, method, (b"origin", FOREIGN), protected=protected)
            assert not refused(rules, method, (b"origin", A), protected=protected)
            assert not refused(rules, method, protected=protected)
    rewritten = [(b"origin", b"https://behind-a-proxy.example"), (b"sec-fetch-site", b"same-origin")]
    assert not refused(rules, "GET", *rewritten)
    assert not refused(rules, "GET", (b"sec-fetch-site", b"cross-site"))  # a link


@pytest.mark.parametrize("name", [b"origin", b"sec-fetch-site", b"host"])
def test_doubled_headers_of_a_change(name: bytes) -> None:
    """A header of the rule that occurs twice raises HeaderError."""
    lines = {b"origin": OWN, b"host": b"shop.example"} if name == b"host" else {name: b"none"}
    asked = request("/", *lines.items(), (name, b"x"), method="POST")
    with pytest.raises(HeaderError):
        RULES.refusal(asked, protected=True)


@pytest.mark.parametrize("site", [b"same-origin", b"none"])
def test_sockets_go_by_origin(site: bytes) -> None:
    """A handshake is decided by its Origin, since browsers differ in what Sec-Fetch-Site says of one."""
    asked = request("/", (b"host", b"a"), (b"origin", FOREIGN), (b"sec-fetch-site", site), kind="websocket")
    assert RULES.refusal(asked, protected=True) is not None
    assert RULES.refusal(asked, protected=False) is None


# ---------------------------------------------------------------------------------------------- CORS of the application


def test_application_answers() -> None:
    """Where the application does CORS, the gateway sends no header and answers no preflight, but refuses as before."""
    rules = OriginRules([LISTED], by_application=True)
    assert rules.response(A) == ()
    assert rules.response(None) == ()
    assert preflight(rules, A, b"PUT") is None
    assert refused(rules, "GET", (b"origin", FOREIGN))
    assert refused(rules, "POST", (b"origin", FOREIGN), protected=False)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", [(b"origin", A), (b"access-control-request-method", b"PUT")], True),
        ("GET", [(b"origin", A), (b"access-control-request-method", b"PUT")], False),
        ("OPTIONS", [(b"access-control-request-method", b"PUT")], False),
        ("OPTIONS", [(b"origin", A)], False),
        ("OPTIONS", [(b"origin", A), (b"origin", A), (b"access-control-request-method", b"PUT")], False),
    ],
)
def test_left_to_application(method: str, headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    """Only a preflight is left to the application, and only by configuration."""
    asked = request("/", *headers, method=method)
    assert OriginRules(by_application=True).left_to_application(asked) is expected
    assert not OriginRules([LISTED]).left_to_application(asked)
    assert not OriginRules(by_application=True).left_to_application(request("/", *headers, kind="websocket"))


def test_without_cors() -> None:
    """The headers of CORS are removed in any letter case, and no others."""
    kept = ((b"vary", b"Origin"), (b"x-access-control", b"1"))
    cors = ((b"Access-Control-Allow-Origin", b"*"), (b"access-control-max-age", b"1"))
    assert without_cors((*kept, *cors)) == kept


# --------------------------------------------------------------------------------------------- origins that are written


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*"),
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.Example:443/", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://xn--mller-kva.example", "https://xn--mller-kva.example"),
        ("https://under_score.example.", "https://under_score.example."),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("app://.", "app://."),
    ],
)
def test_written_origins(text: str, canonical: str) -> None:
    """An origin may be written in capitals, with the scheme's own port and with one slash at its end."""
    assert check_origin(text) is None
    assert canonical_origin(text) == canonical


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://*.example.com", "write each origin in full"),
        ("http://*", "write each origin in full"),
        ("https://a.*.example", "write each origin in full"),
        ("app://*", "write each origin in full"),
        ("a.example", "write https://a.example"),
        ("localhost", "write https://localhost"),
        ("https://a.example/x", "scheme://host"),
        ("https://a.example//", "scheme://host"),
        ("https://joe@a.example", "scheme://host"),
        ("https://a.example?x", "scheme://host"),
        ("https://a.example#x", "scheme://host"),
        ("https://", "scheme://host"),
        ("//a.example", "scheme://host"),
        ("null", "scheme://host"),
        ("", "scheme://host"),
        ("wss://a.example:8443", "write https://a.example:8443"),
        ("ws://a.example", "write http://a.example"),
        ("file://", "scheme://host"),
        ("file://host", "origin null"),
        ("https://a.example:0", "port"),
        ("https://a.example:65536", "port"),
        ("https://a.example:99999999999", "port"),
        ("https://a.example:0443", "port"),
        ("https://m\u00fcller.example", "xn--mller-kva.example"),
        ("https://a..example", "digits"),
        ("https://.example", "digits"),
        ("https://a%20b.example", "digits"),
        ("http://127.1", "IP address"),
        ("http://1.2.3.4.", "IP address"),
        ("http://a.example.256", "IP address"),
        ("http://010.0.0.1", "IP address"),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]"),
        ("http://[::g]", "scheme://host"),
        ("http://[1:2]", "IP address"),
    ],
)
def test_origins_that_no_browser_sends(text: str, hint: str) -> None:
    """An origin that no browser sends has a hint that says what to write."""
    assert hint in (check_origin(text) or "")


@given(st.text(max_size=20) | st.from_regex(r"[a-z]{1,5}://[\[\]0-9a-z.:*-]{0,12}(:[0-9]{0,7})?/?", fullmatch=True))
def test_check_origin_never_fails(text: str) -> None:
    """Every text has a hint or a canonical form that is its own."""
    if check_origin(text) is None:
        assert canonical_origin(canonical_origin(text)) == canonical_origin(text)
        assert check_origin(canonical_origin(text)) is None
