"""URLs as the client needs them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from asgi_gateway.client.urls import is_confidential, origin, url_credentials, without_credentials
from asgi_gateway.errors import HeaderError


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h/a", "http://h:80/b", True),
        ("ws://h/a", "http://h/b", True),
        ("wss://H/a", "https://h:443/", True),
        ("http://h/", "https://h/", False),
        ("http://h/", "http://h:81/", False),
        ("http://h/", "http://h.evil/", False),
        ("http://h@evil/", "http://h/", False),
    ],
)
def test_origins(one: Any, other: Any, same: bool) -> None:
    """Scheme, host and port make an origin; sockets count as their HTTP."""
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize(
    ("location", "confidential"),
    [
        ("https://a/", True),
        ("wss://a/", True),
        ("http://localhost:8/", True),
        ("ws://app.localhost/", True),
        ("http://127.0.0.7/", True),
        ("http://[::1]:8000/", True),
        ("http://a/", False),
        ("ws://localhost.evil.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://10.0.0.1/", False),
        ("http://localhost@evil.example/", False),
        ("ftp://a/", False),
    ],
)
def test_what_counts_as_confidential(location: str, confidential: bool) -> None:
    """TLS and this machine do; nothing else does."""
    assert is_confidential(location) is confidential


@pytest.mark.parametrize(
    ("location", "expected", "bare"),
    [
        ("wss://joe:pw@h:1/a?b#c", b"joe:pw", "wss://h:1/a?b#c"),
        ("ws://joe:p%40w@[::1]:1/a", b"joe:p@w", "ws://[::1]:1/a"),
        ("https://j%C3%B6e:@h", "jöe:".encode(), "https://h"),
        ("https://:pw@h/", b":pw", "https://h/"),
        ("ws://localhost/a", None, "ws://localhost/a"),
        ("ws://@localhost/a", None, "ws://localhost/a"),
        ("ws://joe:pw@host.example/a", None, "ws://host.example/a"),
        ("http://joe:pw@10.0.0.1/", None, "http://10.0.0.1/"),
    ],
)
def test_credentials_in_a_url(location: str, expected: Any, bare: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are read as Basic credentials, percent-decoded, and left out where others could read them on the way."""
    given = url_credentials(location)
    assert (given and base64.b64decode(given.removeprefix("Basic "))) == expected
    assert without_credentials(location) == bare
    assert ("not sent" in caplog.text) is ("pw@" in location and expected is None)
    assert "pw" not in caplog.text


@pytest.mark.parametrize("location", ["wss://a%3Ab:c@h/", "wss://a:%0d%0aX@h/", "wss://a%00:b@h/"])
def test_credentials_that_basic_cannot_carry(location: str) -> None:
    """A colon in the name or a control character is an error and is not sent as something else."""
    with pytest.raises(HeaderError, match="Basic"):
        url_credentials(location)
