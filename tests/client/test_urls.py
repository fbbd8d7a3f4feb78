"""What the client asks of a URL."""

from __future__ import annotations

import pytest

from asgi_gateway.client.urls import is_confidential, origin


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
def test_origins(one, other, same):
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
def test_what_counts_as_confidential(location, confidential):
    """TLS and this machine do; nothing else does."""
    assert is_confidential(location) is confidential
