"""Origins of ``allow-origin``."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.config.origins import parse_origin
from tests.config.helpers import document, loaded, problems, service


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("*", "*"),
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com/", "https://app.example.com"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80/", "http://a.example"),
        ("https://a.example:0443", "https://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://127.0.0.1:81", "http://127.0.0.1:81"),
        ("http://[0:0:0:0:0:0:0:1]:8000", "http://[::1]:8000"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://intranet", "https://intranet"),
        ("https://a_b.example.com.", "https://a_b.example.com."),
    ],
)
def test_as_browsers_send_it(text: str, origin: str) -> None:
    """An origin counts as browsers send it, however it was written; one slash at its end is harmless."""
    assert parse_origin(text) == origin
    assert loaded(service(**{"cross-site-constraint": {"allow-origin": text}})).problems == ()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("https://*.example.com", "list each origin"),
        ("*.example.com", "write * for every origin"),
        ("https://*", "write * for all"),
        ("http://localhost:*", "write scheme://host or scheme://host:port"),
        ("example.com", "write scheme://host"),
        ("https://example.com//", "an origin has no path"),
        ("https://example.com/app", "an origin has no path"),
        ("https://example.com?x", "an origin has no path"),
        ("https://joe:hunter2@example.com", "write scheme://host"),
        ("ws://example.com", "write http://"),
        ("wss://example.com:8443", "write https://"),
        ("file:///index.html", "the origin null"),
        ("data:text/html,x", "write scheme://host"),
        ("null", "name an origin, or *"),
        ("https://b\u00fccher.example", "write xn--bcher-kva.example"),
        ("https://a..b", "write scheme://host"),
        ("https://", "write scheme://host"),
        ("https://example.com:", "write scheme://host"),
        ("https://example.com:0", "port must be 1-65535"),
        ("https://example.com:65536", "port must be 1-65535"),
        ("http://127.0.0.256", "invalid IP address"),
        ("http://127.1", "invalid IP address"),
        ("http://[::g]", "write scheme://host"),
        ("http://[1:2]", "invalid IP address"),
        ("https://a%20b", "write scheme://host"),
    ],
)
def test_no_browser_sends_it(text: str, hint: str) -> None:
    """An origin that would never match is an error with a hint, and no part of it shows a password."""
    found = problems(document(service(**{"cross-site-constraint": {"allow-origin": text}})))[0]
    assert ".allow-origin: " in found
    assert hint in found
    assert "hunter2" not in found


def test_each_of_a_list() -> None:
    """Every origin of a list is checked, and each bad one told."""
    cross: Any = {"allow-origin": "https://a.example/, https://*.b.example ws://c.example"}
    assert len(problems(document(service(**{"cross-site-constraint": cross})))) == 2
