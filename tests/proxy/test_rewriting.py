"""What clients see of a back end's address, and where paths lead."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.proxy.connect import parse_connect
from asgi_gateway.proxy.mapping import MappedPath, PathMapping
from asgi_gateway.proxy.rewriting import InvalidResponse, ResponseHeaders
from asgi_gateway.proxy.settings import CredentialNames, ProxySettings, Rewriting

BACKEND = parse_connect("http://backend.internal:9000/x")
MAPPED = MappedPath("/app", "/here")


def responses(url: str = "http://backend.internal:9000/x", **changes: Any) -> ResponseHeaders:
    connects = (parse_connect(url), parse_connect("https://other.internal/x"))
    credentials = CredentialNames(session_cookie="asgi-gateway")
    given: dict[str, Any] = {"service": "s", "accepts": ("/app",), "connects": connects, "public": True, **changes}
    return ResponseHeaders(ProxySettings(credentials=credentials, **given))


@pytest.mark.parametrize(
    ("location", "rewritten"),
    [
        ("http://backend.internal:9000/x/a?b=/x#c", "/app/a?b=/x#c"),
        ("HTTP://BACKEND.internal:9000/x", "/app"),
        ("https://other.internal/x/a", "/app/a"),
        ("https://other.internal:443/x/a", "/app/a"),
        ("//backend.internal:9000/x/a", "/app/a"),
        ("/x/a", "/app/a"),
        ("/x", "/app"),
        ("/x?y", "/app?y"),
        ("/x//evil.example", "/app//evil.example"),
        ("/xy", "/xy"),
        ("http://backend.internal:9000/login", "/login"),
        ("http://backend.internal:9000", "/"),
        ("a/b", "a/b"),
        ("?q", "?q"),
        ("https://elsewhere.example/x/a", "https://elsewhere.example/x/a"),
        ("http://backend.internal/x/a", "http://backend.internal/x/a"),
        ("http://user@backend.internal:9000/x", "http://user@backend.internal:9000/x"),
        ("ftp://backend.internal:9000/x", "ftp://backend.internal:9000/x"),
        ("", ""),
    ],
)
def test_location(location: str, rewritten: str) -> None:
    """What leads to the back end leads to the service; everything else is kept."""
    assert responses().location(location, BACKEND, MAPPED) == rewritten


def test_location_at_the_root() -> None:
    """A service at the root yields no path with two slashes, which would be another host."""
    root = parse_connect("http://backend.internal:9000")
    assert (
        responses("http://backend.internal:9000").location("//backend.internal:9000//evil", root, MappedPath("", ""))
        == "/evil"
    )


def test_location_with_the_clients_host() -> None:
    """Where the back end gets the client's Host, that names it too."""
    location = "https://public.example/x/a"
    assert responses(preserve_host=True).location(location, BACKEND, MAPPED, "public.example") == "/app/a"
    assert responses().location(location, BACKEND, MAPPED, "public.example") == location


def test_headers() -> None:
    """Location and Content-Location are rewritten unless that is disabled."""
    received = [(b"Location", b"/x/a"), (b"Content-Location", b"/x/b"), (b"Content-Length", b"0")]
    changed = dict(responses().write(received, 201, BACKEND, MAPPED))
    assert (changed[b"location"], changed[b"content-location"]) == (b"/app/a", b"/app/b")
    kept = responses(rewriting=Rewriting(location=False)).write(received, 201, BACKEND, MAPPED)
    assert dict(kept)[b"location"] == b"/x/a"


@pytest.mark.parametrize(
    ("cookie", "rewritten"),
    [
        (b"a=1", b"a=1"),
        (b"a=1; Path=/x", b"a=1; Path=/app"),
        (b"a=1; path=/x/y; HttpOnly", b"a=1; path=/app/y; HttpOnly"),
        (b"a=1; Path=/", b"a=1; Path=/app"),
        (b"a=1; Path=/x/", b"a=1; Path=/app"),
        (b"a=1; Path=/other", b"a=1; Path=/other"),
        (b"a=1; Domain=backend.internal; Secure", b"a=1; Secure"),
        (b"a=1;Domain=.INTERNAL;Secure", b"a=1;Secure"),
        (b"a=1; Domain=public.example", b"a=1; Domain=public.example"),
        (b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure"),
        (b"a=x%3BPath=/x; Max-Age=1", b"a=x%3BPath=/x; Max-Age=1"),
        (b"asgi-gateway-0123456789ab=1", None),
        (b" __Secure-asgi-gateway-0123456789ab=1; Path=/", None),
        (b"=asgi-gateway-0123456789ab=1", None),
        (b"ASGI-gateway-0123456789AB=1", None),
    ],
)
def test_cookies(cookie: bytes, rewritten: bytes | None) -> None:
    """A cookie is for the service; none has the gateway's names."""
    found = dict(responses().write([(b"Set-Cookie", cookie)], 200, BACKEND, MAPPED))
    assert found.get(b"set-cookie") == rewritten


def test_cookies_as_they_are() -> None:
    """Path and Domain are kept where rewriting is disabled."""
    cookie = b"a=1; Path=/x; Domain=backend.internal"
    rewriting = Rewriting(cookie_path=False, cookie_domain=False)
    assert (
        dict(responses(rewriting=rewriting).write([(b"Set-Cookie", cookie)], 200, BACKEND, MAPPED))[b"set-cookie"]
        == cookie
    )


@pytest.mark.parametrize(
    "received",
    [
        [(b"content-length", b"1"), (b"Content-Length", b"1")],
        [(b"content-length", b"1,1")],
        [(b"content-length", b"")],
        [(b"x", b"a\nb")],
        [(b"x y", b"a")],
        [(b"", b"a")],
    ],
)
def test_invalid_headers(received: list[tuple[bytes, bytes]]) -> None:
    """A response whose headers could be read in two ways is not passed on."""
    with pytest.raises(InvalidResponse):
        responses().write(received, 200, BACKEND, MAPPED)


@pytest.mark.parametrize(
    ("path", "raw", "root", "target"),
    [
        ("/app/a", b"/app/a", "", "/x/a"),
        ("/app", b"/app", "", "/x"),
        ("/app/", b"/app/", "", "/x/"),
        ("/app/a/b", b"/app/a%2Fb", "", "/x/a%2Fb"),
        ("/app/a b", b"/app/a%20b", "", "/x/a%20b"),
        ("/app/ü", b"/app/%c3%bc", "", "/x/%c3%bc"),
        ("/app/a;b+c", b"/%61pp/a;b+c", "", "/x/a;b+c"),
        ("/app/a", b"http://public.example/app/a", "", "/x/a"),
        ("/app/a", b"/app/a?q=1", "", "/x/a"),
        ("/app/ü?#", None, "", "/x/%C3%BC%3F%23"),
        ("/app/a", b"/other/b", "", "/x/a"),
        ("/mnt/app/a", b"/mnt/app/a", "/mnt", "/x/a"),
        ("/mnt/app/a%", b"/app/a%25", "/mnt", "/x/a%25"),
        ("/app/ü", "/app/ü".encode(), "", "/x/%C3%BC"),
        ("/app/a#b", b"/app/a#b", "", "/x/a%23b"),
        ('/app/"<>\\^`{|}', b'/app/"<>\\^`{|}', "", '/x/"<>\\^`{|}'),
    ],
)
def test_paths(path: str, raw: bytes | None, root: str, target: str) -> None:
    """The accept's path is replaced by the connect's, and the rest goes on byte for byte."""
    scope = {"path": path, "raw_path": raw, "root_path": root}
    assert PathMapping(("/app",)).split(scope).target(BACKEND) == target


def test_longest_accept() -> None:
    """The longest accept path is the one that is replaced; the root replaces nothing."""
    mapping = PathMapping(("", "/app", "/app/deep"))
    assert mapping.split({"path": "/app/deep/a"}).target(BACKEND) == "/x/a"
    assert mapping.split({"path": "/app/deeper"}).target(BACKEND) == "/x/deeper"
    assert mapping.split({"path": "/apple"}).target(BACKEND) == "/x/apple"


@pytest.mark.parametrize("query", [b"a=%zz&&b=+;c", b"?x", b'a="<>'])
def test_queries(query: bytes) -> None:
    """A query goes on byte for byte."""
    assert MAPPED.target(BACKEND, query) == f"/x/here?{query.decode()}"


def test_what_a_request_line_cannot_carry() -> None:
    """Bytes that would end the target are percent-encoded."""
    assert MAPPED.target(BACKEND, b"a b\r\n#\xff") == "/x/here?a%20b%0D%0A%23%FF"


def test_another_path() -> None:
    """A path below no accept path is an error."""
    with pytest.raises(ValueError, match="no accept path"):
        PathMapping(("/app",)).split({"path": "/other"})
