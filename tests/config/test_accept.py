"""Accept URLs."""

from __future__ import annotations

import pytest

from asgi_gateway.config.accept import AcceptURL, parse_accept
from asgi_gateway.model import Protocol

HTTP: frozenset[Protocol] = frozenset(("http",))
WEBSOCKET: frozenset[Protocol] = frozenset(("websocket",))


@pytest.mark.parametrize(
    ("text", "accept"),
    [
        ("/", AcceptURL(HTTP | WEBSOCKET, "/")),
        ("/chat/", AcceptURL(HTTP | WEBSOCKET, "/chat")),
        ("/a b/\u00e9", AcceptURL(HTTP | WEBSOCKET, "/a b/\u00e9")),
        ("/odata/$metadata", AcceptURL(HTTP | WEBSOCKET, "/odata/$metadata")),
        ("/jobs/7:cancel", AcceptURL(HTTP | WEBSOCKET, "/jobs/7:cancel")),
        ("/c++, (and more)", AcceptURL(HTTP | WEBSOCKET, "/c++, (and more)")),
        ("http://Example.com", AcceptURL(HTTP, "/", scheme="http", host="example.com")),
        ("https://example.com:8443/a/b", AcceptURL(HTTP, "/a/b", scheme="https", host="example.com", port=8443)),
        ("ws://localhost:8000/echo", AcceptURL(WEBSOCKET, "/echo", scheme="ws", host="localhost", port=8000)),
        ("WSS://[::1]:1/x", AcceptURL(WEBSOCKET, "/x", scheme="wss", host="[::1]", port=1)),
    ],
)
def test_accepted(text: str, accept: AcceptURL) -> None:
    """A path accepts HTTP and WebSocket, a URL what its scheme says."""
    assert parse_accept(text) == accept


@pytest.mark.parametrize(
    ("text", "path", "scheme"),
    [
        ("sse://localhost:8000/events", "/events", "sse"),
        ("sse+ssl://h/a/", "/a", "sse+ssl"),
        ("WSE://h:1", "/", "wse"),
        ("wsx+ssl://h/x", "/x", "wsx+ssl"),
        ("httpx://h:80/x", "/x", "httpx"),
        ("tcp://@eth0:8000", "", "tcp"),
        ("tcp://[@eth0 1]:8000", "", "tcp"),
        ("udp://0.0.0.0:1", "", "udp"),
        ("pipe://customera", "", "pipe"),
        ("ssl://h:443", "", "ssl"),
    ],
)
def test_other_transports(text: str, path: str, scheme: str) -> None:
    """Schemes of the original that are not served are known as such; those over HTTP keep their path."""
    parsed = parse_accept(text)
    assert (parsed.path, parsed.unsupported) == (path, scheme)
    assert parsed.kinds == (HTTP if path else frozenset())


@pytest.mark.parametrize(
    "text",
    [
        *("", "chat", "//host/x", "gopher://h:1", "ws:/x", "http://", "http://u:p@h/x", "http://h:0/"),
        *("http://h:65536/", "http://h:x/", "/a/../b", "/a/.", "/a//b", "/a;b", "/a?b", "/a#b", "/a%20b", "/a\\b"),
        *("/a\nb", "http://h?x", "/a ", "/a\u00a0", "sse://h/a/../b"),
    ],
)
def test_refused(text: str) -> None:
    """What no request could ever match is refused."""
    with pytest.raises(ValueError):
        parse_accept(text)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("/admin/*", "write /admin,"),
        ("/admin*", "write /,"),
        ("/admin/**", "write /admin,"),
        ("/*", "write /,"),
        ("*", "write / for every path"),
        ("/users/{id}", "write /users,"),
        ("/files/{path:path}/raw", "write /files,"),
        ("/users/<int:id>", "write /users,"),
        ("/users/:id/photos", "write /users,"),
        ("/admin/.*", "write /admin,"),
        ("/admin$", "write /,"),
        ("/admin/[0-9]+", "write /admin,"),
        ("/api/^v1", "write /api,"),
        ("/a|b", "write /,"),
        ("ws://localhost:8000/live/*", "write /live,"),
        ("https://example.com/{tenant}/x", "write /,"),
        ("sse://h/events/*", "write /events,"),
        ("/a, /b", "write one accept for each path"),
        ("/a /b", "write one accept for each path"),
        ("/a;/b", "write one accept for each path"),
        ("/a or /b", "write one accept for each path"),
        ("/a|/b", "write one accept for each path"),
        ("http://h/a http://h/b", "write one accept for each path"),
        ("/a,ws://h/b", "write one accept for each path"),
    ],
)
def test_patterns_and_lists(text: str, instead: str) -> None:
    """A pattern of other tools would be taken literally and protect nothing, so it is an error that names the path."""
    with pytest.raises(ValueError) as caught:
        parse_accept(text)
    assert instead in str(caught.value)
