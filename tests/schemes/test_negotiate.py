"""Negotiate and Application Negotiate on the wire (RFC 4559)."""

from __future__ import annotations

import pytest

from asgi_gateway import registry
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.schemes.negotiate import ApplicationNegotiateScheme, NegotiateScheme

SCHEMES = [NegotiateScheme(), ApplicationNegotiateScheme()]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_challenge(scheme: NegotiateScheme) -> None:
    """The first challenge is bare, without a realm; a later one carries the mechanism's token."""
    assert scheme.challenge("a realm") == scheme.name
    assert scheme.challenge("a realm", ["YWJj"]) == f"{scheme.name} YWJj"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_success(scheme: NegotiateScheme) -> None:
    """The final token stands on the success response, if there is one."""
    assert scheme.success(["YWJj"]) == ((b"www-authenticate", f"{scheme.name} YWJj".encode()),)
    assert scheme.success() == ()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_password(scheme: NegotiateScheme) -> None:
    """Neither scheme carries a user name and password."""
    assert scheme.read(AuthenticationToken("negotiate", [(None, "YWJj")])) is None
    assert scheme.wire_name == "negotiate"
    assert not scheme.forbids
    assert scheme.recycles


def test_stronger_than_passwords() -> None:
    """A client that can choose should prefer Negotiate."""
    assert NegotiateScheme.strength > max(registry.scheme(name).strength for name in ("Basic", "Application Token"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_registered(scheme: NegotiateScheme) -> None:
    """The registry knows both by their configured names."""
    assert type(registry.scheme(scheme.name)) is type(scheme)
