"""The challenge schemes on the wire: Basic (RFC 7617), Negotiate (RFC 4559) and Token."""

from __future__ import annotations

import base64

import pytest

from asgi_gateway.config import registry
from asgi_gateway.errors import HeaderError
from asgi_gateway.model import AuthenticationToken
from asgi_gateway.plugins.scheme import UserNamePassword
from asgi_gateway.schemes import (
    ApplicationBasicScheme,
    ApplicationBearerScheme,
    ApplicationNegotiateScheme,
    ApplicationTokenScheme,
    BasicScheme,
    BearerScheme,
    NegotiateScheme,
)

SCHEMES = [NegotiateScheme(), ApplicationNegotiateScheme()]


def test_basic_challenges() -> None:
    """The challenge names the realm, quoted, as the configured scheme has it; data is appended."""
    assert BasicScheme().challenge("Demo") == 'Basic realm="Demo", charset="UTF-8"'
    assert ApplicationBasicScheme().challenge("Demo", ("a", "b=c")) == 'Application Basic realm="Demo" a b=c'
    assert BasicScheme().challenge('a"b\\c\r\nd') == 'Basic realm="a\\"b\\\\c  d", charset="UTF-8"'


@pytest.mark.parametrize("scheme", [BasicScheme(), ApplicationBasicScheme()])
def test_read_basic(scheme: BasicScheme) -> None:
    """The first component holds user name and password; no component is no credentials, others are refused."""
    encoded = base64.b64encode(b"joe:s3cret").decode()
    read = scheme.read(AuthenticationToken("basic", [(None, encoded)]))
    assert read == UserNamePassword("joe", "s3cret")
    assert "s3cret" not in repr(read)
    assert scheme.read(AuthenticationToken("")) is None
    with pytest.raises(HeaderError):
        scheme.read(AuthenticationToken("basic", [(None, "!")]))


def test_one_scheme_on_the_line() -> None:
    """Both are basic on the Authorization line, challenge again, and add nothing to a success."""
    for scheme in (BasicScheme(), ApplicationBasicScheme()):
        assert (scheme.wire_name, scheme.rejects_with_403) == ("basic", False)
        assert scheme.success(("x",)) == ()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_negotiate_challenge(scheme: NegotiateScheme) -> None:
    """The first challenge is bare, without a realm; a later one carries the mechanism's token."""
    assert scheme.challenge("a realm") == scheme.name
    assert scheme.challenge("a realm", ["YWJj"]) == f"{scheme.name} YWJj"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_negotiate_success(scheme: NegotiateScheme) -> None:
    """The final token stands on the success response, if there is one."""
    assert scheme.success(["YWJj"]) == ((b"www-authenticate", f"{scheme.name} YWJj".encode()),)
    assert scheme.success() == ()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_password(scheme: NegotiateScheme) -> None:
    """Neither scheme carries a user name and password."""
    assert scheme.read(AuthenticationToken("negotiate", [(None, "YWJj")])) is None
    assert scheme.wire_name == "negotiate"
    assert not scheme.rejects_with_403


@pytest.mark.parametrize("scheme", SCHEMES)
def test_registered(scheme: NegotiateScheme) -> None:
    """The registry knows both by their configured names."""
    assert type(registry.scheme(scheme.name)) is type(scheme)


def test_token_challenge() -> None:
    """The challenge has no realm parameter; data is appended."""
    assert ApplicationTokenScheme().challenge("Demo") == "Application Token"
    assert ApplicationTokenScheme().challenge("Demo", ("nonce=1", "x")) == "Application Token nonce=1 x"


def test_token_refuses_for_good() -> None:
    """It reads no user name and refuses wrong tokens for good."""
    scheme = ApplicationTokenScheme()
    assert scheme.read(AuthenticationToken("token", [(None, "am9lOnB3")])) is None
    assert (scheme.wire_name, scheme.rejects_with_403) == ("token", True)
    assert scheme.success(("x",)) == ()


METADATA = "https://example.com/.well-known/oauth-protected-resource"


@pytest.mark.parametrize("made", [BearerScheme, ApplicationBearerScheme])
def test_bearer_challenges(made: type[BearerScheme]) -> None:
    """The challenge of RFC 6750 has the realm, then error, then where the metadata are and the scopes, with commas."""
    assert made().challenge("Demo") == f'{made.name} realm="Demo"'
    scheme = made(METADATA, ("read", "write"))
    rest = f'resource_metadata="{METADATA}", scope="read write"'
    assert scheme.challenge("Demo") == f'{made.name} realm="Demo", {rest}'
    assert scheme.challenge('a"b', scheme.refusal_data) == f'{made.name} realm="a\\"b", error="invalid_token", {rest}'
    assert scheme.forbidden("Demo") == f'{made.name} realm="Demo", error="insufficient_scope", {rest}'
    assert made().forbidden("Demo") == f'{made.name} realm="Demo", error="insufficient_scope"'
    assert (scheme.wire_name, scheme.rejects_with_403, scheme.recycles) == ("bearer", False, False)
    assert scheme.read(AuthenticationToken("bearer", [(None, "x")])) is None
    assert scheme.success(("x",)) == ()


@pytest.mark.parametrize(
    ("metadata", "scope"),
    [
        ('https://a/"', ()), ("https://a/ b", ()), ("https://a/\n", ()), ("https://é/", ()), ("https://a/\\", ()),
        ("", ("a b",)), ("", ('a"',)), ("", ("",)), ("", ("é",)), ("", ("a\\b",)),
    ],
)  # fmt: skip
def test_bearer_parameters_that_may_not_stand_there(metadata: str, scope: tuple[str, ...]) -> None:
    """A URL or scope with characters that would end the parameter is an error."""
    with pytest.raises(ValueError, match=r"metadata URL|scope"):
        BearerScheme(metadata, scope)


def test_others_have_no_line_for_403() -> None:
    """Only Bearer has a line for a client that lacks a role."""
    for scheme in (BasicScheme(), NegotiateScheme(), ApplicationTokenScheme()):
        assert scheme.forbidden("Demo") is None
