"""AcceptURL URLs."""

from __future__ import annotations

import pytest

from asgi_gateway.config.accept import AcceptURL, parse_accept

HTTP, WEBSOCKET = frozenset(("http",)), frozenset(("websocket",))


@pytest.mark.parametrize(
    ("text", "accept"),
    [
        ("/", AcceptURL(HTTP | WEBSOCKET, "/")),
        ("/chat/", AcceptURL(HTTP | WEBSOCKET, "/chat")),
        ("/a b/\u00e9", AcceptURL(HTTP | WEBSOCKET, "/a b/\u00e9")),
        ("http://Example.com", AcceptURL(HTTP, "/", "example.com")),
        ("https://example.com:8443/a/b", AcceptURL(HTTP, "/a/b", "example.com", 8443)),
        ("ws://localhost:8000/echo", AcceptURL(WEBSOCKET, "/echo", "localhost", 8000)),
        ("WSS://[::1]:1/x", AcceptURL(WEBSOCKET, "/x", "[::1]", 1)),
    ],
)
def test_accepted(text: str, accept: AcceptURL) -> None:
    """A path takes HTTP and WebSocket, a URL what its scheme says."""
    assert parse_accept(text) == accept


@pytest.mark.parametrize(
    "text",
    [
        *("", "chat", "//host/x", "tcp://h:1", "ws:/x", "http://", "http://u:p@h/x", "http://h:0/", "http://h:65536/"),
        *("http://h:x/", "/a/../b", "/a/.", "/a//b", "/a;b", "/a?b", "/a#b", "/a%20b", "/a\\b", "/a\nb", "http://h?x"),
    ],
)
def test_refused(text: str) -> None:
    """What no request could ever match is refused."""
    with pytest.raises(ValueError):
        parse_accept(text)
