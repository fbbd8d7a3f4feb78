"""CORS, and the Origin check of WebSockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import HeaderError
from asgi_gateway.model import AuthRequest
from asgi_gateway.services.origins import CrossSite, OriginRules
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
    ],
)
def test_foreign_origins(origin: bytes, host: str, scheme: str) -> None:
    """null, siblings, other ports, an http page before a service over TLS, and malformed origins are refused."""
    assert not OriginRules().allows(socket(host, scheme), origin)


def test_no_host() -> None:
    """Without a Host header no origin is the service's own."""
    assert not OriginRules().allows(socket(None), b"http://shop.example")


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
