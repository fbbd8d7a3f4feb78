"""The service that redirects."""

from __future__ import annotations

import pytest

from asgi_gateway.proxy.redirect import STATUS_CODES, Redirect, check_location
from tests.gateways import ask, scope


@pytest.mark.anyio
@pytest.mark.parametrize("status", STATUS_CODES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_every_request_is_redirected(status: int, method: str) -> None:
    """Any method gets the status and the location as they are configured, with a short body unless it is HEAD."""
    found = await ask(Redirect("https://localhost:8443/", status), scope("/any/path", method=method))
    headers = dict(found.headers)
    assert (found.status, headers[b"location"]) == (status, b"https://localhost:8443/")
    assert found.body == (b"" if method == "HEAD" else b"See https://localhost:8443/\n")
    assert headers[b"content-length"] == str(len(found.body)).encode()


@pytest.mark.anyio
async def test_nothing_of_the_request_is_in_it() -> None:
    """Neither Host, path, query nor forwarding headers of a client become part of the location."""
    headers = [
        (b"host", b"evil.example"),
        (b"x-forwarded-host", b"evil.example"),
        (b"x-forwarded-proto", b"javascript"),
        (b"forwarded", b"host=evil.example"),
        (b"x-original-url", b"https://evil.example/"),
        (b"referer", b"https://evil.example/"),
    ]
    for path in ("//evil.example", "/\\evil.example", "/x\r\nlocation: https://evil.example"):
        found = await ask(Redirect("/moved"), scope(path, *headers, query_string=b"next=https://evil.example"))
        assert [value for name, value in found.headers if name == b"location"] == [b"/moved"]
        assert b"evil" not in found.body


@pytest.mark.anyio
async def test_a_websocket_is_refused() -> None:
    """A WebSocket handshake is refused, with the location for clients that can follow it."""
    found = await ask(Redirect("wss://a.example/"), scope("/", kind="websocket"))
    assert (found.types[0], found.status) == ("websocket.http.response.start", 302)


@pytest.mark.parametrize(
    "location",
    [
        "https://localhost:8443/",
        "http://a.example",
        "HTTPS://A.example:443/x?y=1#z",
        "wss://[::1]:8443/feed",
        "ws://192.0.2.1/",
        "/",
        "/docs/start.html?x=1",
        "/caf%C3%A9",
        "https://a.example?x",
    ],
)
def test_locations(location: str) -> None:
    """Absolute URLs of HTTP and WebSockets, and paths of the own site, are locations as they stand."""
    assert check_location(location) == location


@pytest.mark.parametrize(
    "location",
    [
        "",
        "docs/",
        "../x",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https:///x",
        "https://",
        "https://:8443/",
        "https://user:pw@a.example/",
        "https://a.example:0/",
        "https://a.example:70000/",
        "https://a.example:x/",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://a.example/",
        "tcp://a.example:1",
        "https://a.example/\r\nset-cookie: x=1",
        "https://a.example/ x",
        "https://a.example/%zz",
        "https://ü.example/",
        "https://a.example/<b>",
        "/x\ny",
        "/x\x00",
    ],
)
def test_what_is_no_location(location: str) -> None:
    """Other schemes, hosts in disguise, credentials, and characters that a header or URL cannot have are refused."""
    with pytest.raises(ValueError, match=r"."):
        check_location(location)
