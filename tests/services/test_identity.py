"""What the application finds in its scope."""

from __future__ import annotations

import dataclasses

import pytest
from starlette.authentication import has_required_scope
from starlette.requests import Request

from asgi_gateway.model import Grant, Subject
from asgi_gateway.services.identity import SCOPE_KEY, GatewayContext, GatewayCredentials, GatewayUser, scope_additions

JOE = Subject(Grant.user("joe", ["B", "A"]).principals, private_credentials=("s3cret",))


def test_user() -> None:
    """The user is Starlette's, with the subject and its roles."""
    user = GatewayUser(JOE)
    assert (user.is_authenticated, user.display_name, user.identity) == (True, "joe", "joe")
    assert user.subject is JOE
    assert user.roles == {"A", "B"}
    assert repr(user) == "GatewayUser('joe')"


def test_nobody() -> None:
    """Nobody is not authenticated, has no name, no role and no scope."""
    user = GatewayUser(None)
    assert (user.is_authenticated, user.display_name, user.identity, user.subject) == (False, "", "", None)
    assert user.roles == frozenset()
    assert list(GatewayCredentials(None).scopes) == []


def test_requires() -> None:
    """Starlette's check of scopes works on roles."""
    request = Request({"type": "http", "headers": [], **scope_additions("one", "demo", JOE)})
    assert request.auth.scopes == ("authenticated", "A", "B")
    assert has_required_scope(request, ["authenticated", "A"])
    assert not has_required_scope(request, ["C"])
    assert request.user.identity == "joe"


@pytest.mark.parametrize("subject", [None, JOE])
def test_nothing_can_be_changed(subject: Subject | None) -> None:
    """What one request does to its user, credentials or context cannot reach another that shares them."""
    additions = scope_additions("one", "demo", subject)
    for key, name in (
        ("user", "cart"),
        ("user", "_subject"),
        ("auth", "scopes"),
        ("auth", "x"),
        (SCOPE_KEY, "service"),
    ):
        with pytest.raises(AttributeError):
            setattr(additions[key], name, ["mine"])
    assert isinstance(additions["auth"].scopes, tuple)


def test_context() -> None:
    """Everything else is under one key, and prints no private credential."""
    context = scope_additions("one", "demo", JOE)[SCOPE_KEY]
    assert context == GatewayContext("one", "demo", JOE)
    assert dataclasses.astuple(context)[:2] == ("one", "demo")
    assert "s3cret" not in repr(context)
