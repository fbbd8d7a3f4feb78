"""Application Token."""

from __future__ import annotations

from asgi_gateway.model import AuthenticationToken
from asgi_gateway.schemes.token import ApplicationTokenScheme


def test_challenge() -> None:
    """The challenge has no realm parameter; data is appended."""
    assert ApplicationTokenScheme().challenge("Demo") == "Application Token"
    assert ApplicationTokenScheme().challenge("Demo", ("nonce=1", "x")) == "Application Token nonce=1 x"


def test_what_it_says_of_itself() -> None:
    """It reads no user name, refuses wrong tokens for good, and recycles nothing."""
    scheme = ApplicationTokenScheme()
    assert scheme.read(AuthenticationToken("token", [(None, "am9lOnB3")])) is None
    assert (scheme.wire_name, scheme.forbids, scheme.recycles) == ("token", True, False)
    assert scheme.success(("x",)) == ()
