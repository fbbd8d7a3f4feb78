from __future__ import annotations

import pytest

from asgi_gateway.keystores.hostnames import host_names, matches_hostname
from asgi_gateway.keystores.load import load_keystore
from tests.keystores import PASSWORD, STORES


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("www.example.com", "WWW.Example.com."),
        ("*.example.com", "www.example.com"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("0:0:0:0:0:0:0:1", "::1"),
    ],
)
def test_match(pattern: str, host: str) -> None:
    """A name covers itself in any spelling, and a star covers exactly one label."""
    assert matches_hostname(pattern, host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("www.example.com", "example.com"),
        ("*.example.com", "example.com"),
        ("*.example.com", "a.b.example.com"),
        ("*.example.com", ".example.com"),
        ("*.example.com", "*.example.com"),
        ("*.com", "example.com"),
        ("*", "localhost"),
        ("w*.example.com", "www.example.com"),
        ("www.*.com", "www.example.com"),
        ("*.*.com", "www.example.com"),
        ("*.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.2"),
        ("a" * 70 + "ü.example", "example"),
    ],
)
def test_no_match(pattern: str, host: str) -> None:
    """A star covers neither several labels, nor none, nor a part of one, nor a top-level domain, nor an address."""
    assert not matches_hostname(pattern, host)


def test_names_of_a_certificate() -> None:
    """DNS names and addresses of subjectAltName count, the common name does not."""
    store = load_keystore(STORES / "server.p12", PASSWORD)
    assert host_names(store.chain("server")[0]) == ("localhost", "127.0.0.1", "::1")
    store = load_keystore(STORES / "hosts.p12", PASSWORD)
    assert host_names(store.chain("common-name")[0]) == ()
