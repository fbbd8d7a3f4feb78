"""``allow-origin``: origins that no browser sends are errors of the configuration."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.config.build import build
from asgi_gateway.config.load import load
from tests.config.helpers import document, loaded, problems, service
from tests.config.test_build import plugin
from tests.gateways import request


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("*", b"https://any.example"),
        ("https://App.Example.com", b"https://app.example.com"),
        ("https://app.example.com/", b"https://app.example.com"),
        ("http://localhost:8000/", b"http://localhost:8000"),
        ("https://a.example:443", b"https://a.example"),
        ("http://a.example:80/", b"http://a.example"),
        ("https://xn--bcher-kva.example", b"https://xn--bcher-kva.example"),
        ("capacitor://localhost", b"capacitor://localhost"),
    ],
)
def test_as_browsers_send_it(text: str, origin: bytes) -> None:
    """An origin counts as browsers send it, however it was written; one slash at its end is harmless."""
    one = service(**{"cross-site-constraint": {"allow-origin": text}})
    assert loaded(one).problems == ()
    chain = {"http-challenge-scheme": "Basic", "login-modules": [plugin()]}
    source = {**document(one), "security": {"realms": [{"name": "demo", "authentication": chain}]}}
    asked = [(b"origin", origin), (b"access-control-request-method", b"GET")]
    assert build(load(source, environment={})).preflight(request("/one", *asked, method="OPTIONS")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "https://*.example.com",
        "*.example.com",
        "http://localhost:*",
        "example.com",
        "https://example.com//",
        "https://example.com/app",
        "https://joe:hunter2@example.com",
        "ws://example.com",
        "wss://example.com:8443",
        "file:///index.html",
        "null",
        "https://b\u00fccher.example",
        "https://example.com:65536",
        "http://127.1",
    ],
)
def test_no_browser_sends_it(text: str) -> None:
    """An origin that would never match is one error with a hint, at its place, and shows no password."""
    (found,) = problems(document(service(**{"cross-site-constraint": {"allow-origin": text}})))
    assert "services[0].cross-site-constraint[0].allow-origin: " in found
    assert not found.endswith("()")
    assert "hunter2" not in found


def test_each_of_a_list() -> None:
    """Every origin of a list is checked, and each invalid one told."""
    cross: Any = {"allow-origin": "https://a.example/, https://*.b.example ws://c.example"}
    assert len(problems(document(service(**{"cross-site-constraint": cross})))) == 2
