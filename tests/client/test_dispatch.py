"""Choosing challenge handlers by location."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.client import ChallengeHandler, ChallengeRequest, ChallengeResponse, DispatchChallengeHandler


class Named(ChallengeHandler):
    def __init__(self, name: str, scheme: str = "basic") -> None:
        self.name = name
        self.scheme = scheme

    def can_handle(self, request: Any) -> Any:
        return request.scheme == self.scheme

    def handle(self, request: Any) -> Any:
        return ChallengeResponse(self.name)


def found(description: str, location: str) -> bool:
    return bool(DispatchChallengeHandler().register(description, Named("x")).lookup(location))


@pytest.mark.parametrize(
    ("description", "location"),
    [
        ("http://foo.example.com", "http://foo.example.com"),
        ("foo.example.com", "ws://foo.example.com"),
        ("FOO.example.com", "ws://foo.EXAMPLE.com"),
        ("*", "foo.example.com"),
        ("*", "foo.example.com:80"),
        ("*", "foo.example.com/"),
        ("*", "ws://foo.example.com/"),
        ("*/", "http://foo.example.com?query#fragment"),
        ("*:443", "https://foo.example.com"),
        ("wss://*", "https://foo.example.com"),
        ("*:*", "foo.example.com:8000"),
        ("*:*", "foo.example.com"),
        ("*:*", "wss://foo.example.com"),
        ("*/*", "ws://foo.example.com/path1/path2"),
        ("*/*", "ws://foo.example.com:80/path1/path2"),
        ("*@*", "ws://user:pass@foo.example.com"),
        ("*:*@*", "ws://user:pass@foo.example.com"),
        ("*@*/*", "ws://user:pass@foo.example.com/path"),
        ("admin:*@*/*", "admin:pass@foo.example.com/path"),
        ("admin:admin@*/*", "admin:admin@foo.example.com/path"),
        ("*:*/*", "ws://foo.example.com:8000/path1/path2"),
        ("*@*:*/*", "ws://user:pass@foo.example.com:8000/path1/path2"),
        ("foo.example.com:80/path", "ws://foo.example.com/path"),
        ("foo.example.com:*/*", "ws://foo.example.com:8181/path"),
        ("*.hostname.com:8000", "ws://foo.hostname.com:8000"),
        ("*.hostname.com:8000", "ws://a.b.hostname.com:8000"),
        ("*.hostname.com:8000/path", "ws://foo.hostname.com:8000/path"),
        ("http://sub.hostname.com:8000/path1/path2/*", "http://sub.hostname.com:8000/path1/path2"),
        ("http://sub.hostname.com/path1/*", "http://sub.hostname.com/path1"),
        ("http://echo.example.org/;e/*", "http://echo.example.org/;e/cb"),
        ("[::1]:8000/*", "ws://[::1]:8000/echo"),
        ("host/a%20b", "http://host/a b"),
        ("host/path/", "http://host/path"),
        ("tcp://host", "tcp://host"),
    ],
)
def test_locations_that_match(description: str, location: str) -> None:
    """What the original matches is matched."""
    assert found(description, location)


@pytest.mark.parametrize(
    ("description", "location"),
    [
        ("*", "ws://foo.example.com:8000"),
        ("*", "ws://foo.example.com/path"),
        ("*", "ws://foo.example.com:80/path"),
        ("*", "ws://user:pass@foo.example.com"),
        ("*", "https://foo.example.com"),
        ("*:*", "foo.example.com/path"),
        ("*:*", "user:pass@foo.example.com"),
        ("*/*", "ws://foo.example.com:8000/path1/path2"),
        ("*/*", "ws://foo.example.com:80"),
        ("*@*", "ws://user:pass@foo.example.com/path"),
        ("admin:admin@*/*", "admin:pass@foo.example.com/path"),
        ("*:admin@*/*", "admin:foo@foo.example.com/path"),
        ("*:*/*", "ws://user:pass@foo.example.com:8000/path1/path2"),
        ("*@*:*/*", "ws://foo.example.com:8000/path1/path2"),
        ("foo.example.com:*/*", "ws://foo2.example.com:8181/path"),
        ("http://localhost:8000", "http://localhost"),
        ("*.hostname.com:8000", "ws://hostname.com:8000"),
        ("*.hostname.com:8000", "ws://evilhostname.com:8000"),
        ("http://sub.hostname.com:8000/path1/path2/*", "http://sub2.hostname.com:8000/path1/path2"),
        ("host/path", "http://host/path/more"),
        ("host/path", "http://host/PATH"),
    ],
)
def test_locations_that_do_not_match(description: str, location: str) -> None:
    """What the original does not match is not matched."""
    assert not found(description, location)


def chosen(dispatch: DispatchChallengeHandler, location: str, challenge: str = "Basic realm=x") -> str | None:
    response = dispatch.handle(ChallengeRequest(location, challenge))
    assert response is None or isinstance(response, ChallengeResponse)
    return response.credentials if response else None


def test_the_most_specific_location_wins() -> None:
    """More parts beat fewer, and names beat wildcards, in whatever order they were registered."""
    dispatch = DispatchChallengeHandler()
    dispatch.register("*.example.com/*", Named("sub"))
    dispatch.register("*:*/*", Named("any"))
    dispatch.register("a.example.com/*", Named("host"))
    dispatch.register("a.example.com/deep/*", Named("deep"))
    assert chosen(dispatch, "http://x.org/p") == "any"
    assert chosen(dispatch, "http://b.example.com/p") == "sub"
    assert chosen(dispatch, "http://a.example.com/p") == "host"
    assert chosen(dispatch, "http://a.example.com/deep/er") == "deep"


def test_the_first_handler_that_can_is_asked() -> None:
    """Among a location's handlers the first that can handle the challenge is chosen; none of another location."""
    dispatch = DispatchChallengeHandler().register("*/*", Named("any", "negotiate"))
    dispatch.register("host/p", Named("token", "token")).register("host/p", Named("one")).register("host/p", Named("2"))
    assert chosen(dispatch, "http://host/p") == "one"
    assert chosen(dispatch, "http://host/p", "Application Token") == "token"
    assert chosen(dispatch, "http://host/p", "Negotiate") is None
    assert not dispatch.can_handle(ChallengeRequest("http://host/p", "Negotiate"))


def test_unregister_removes_one_handler() -> None:
    """A handler taken away is not asked again; taking away what is not there does nothing."""
    handler = Named("x")
    dispatch = DispatchChallengeHandler().register("host", handler)
    dispatch.unregister("host", Named("other")).unregister("elsewhere", handler)
    assert chosen(dispatch, "http://host") == "x"
    dispatch.unregister("http://host/", handler)
    assert dispatch.lookup("http://host") == ()


@pytest.mark.parametrize("location", ["", "http://", "http:///path", "user@", ":80"])
def test_a_location_needs_a_host(location: str) -> None:
    """A location without a host is refused."""
    with pytest.raises(ValueError, match="host"):
        DispatchChallengeHandler().register(location, Named("x"))


def test_a_handler_must_be_one() -> None:
    """Anything but a ChallengeHandler is refused."""
    with pytest.raises(TypeError, match="str"):
        DispatchChallengeHandler().register("*", "handler")  # type: ignore[arg-type]
