"""The identity that an application reads from its scope."""

from __future__ import annotations

import dataclasses

import pytest
from starlette.authentication import has_required_scope
from starlette.requests import Request

from asgi_gateway.model import Grant, Subject
from asgi_gateway.services.identity import (
    SCOPE_KEY,
    GatewayContext,
    GatewayCredentials,
    GatewayUser,
    application_scope,
    scope_additions,
)

JOE = Subject(Grant.user("joe", ["B", "A"]).principals, private_credentials=("s3cret",))


def test_user() -> None:
    """The user is Starlette's, with the subject and its roles."""
    user = GatewayUser(JOE)
    assert (user.is_authenticated, user.display_name, user.identity) == (True, "joe", "joe")
    assert user.subject is JOE
    assert user.roles == {"A", "B"}
    assert repr(user) == "GatewayUser('joe')"


def test_unauthenticated() -> None:
    """The user of a public service is not authenticated and has no name, no role and no scope."""
    user = GatewayUser(None)
    assert (user.is_authenticated, user.display_name, user.identity, user.subject) == (False, "", "", None)
    assert user.roles == frozenset()
    assert list(GatewayCredentials(None).scopes) == []


def test_requires() -> None:
    """Starlette's check of scopes works on roles."""
    request = Request(application_scope({"type": "http", "headers": []}, scope_additions("one", "demo", JOE)))
    assert request.auth.scopes == ("authenticated", "A", "B")
    assert has_required_scope(request, ["authenticated", "A"])
    assert not has_required_scope(request, ["C"])
    assert request.user.identity == "joe"


@pytest.mark.parametrize("subject", [None, JOE])
def test_shared_parts_cannot_be_changed(subject: Subject | None) -> None:
    """Credentials and context, which the requests of a decision share, cannot be changed, nor can a user's subject."""
    additions = application_scope({}, scope_additions("one", "demo", subject))
    for key, name in (
        ("user", "subject"),
        ("user", "roles"),
        ("user", "is_authenticated"),
        ("user", "display_name"),
        ("auth", "scopes"),
        ("auth", "x"),
        (SCOPE_KEY, "service"),
    ):
        with pytest.raises(AttributeError):
            setattr(additions[key], name, ["mine"])
    assert isinstance(additions["auth"].scopes, tuple)


@pytest.mark.parametrize("name", ["_wrapped", "cart", "is_staff", "id"])
@pytest.mark.parametrize("subject", [None, JOE])
def test_a_mark_stays_with_its_connection(subject: Subject | None, name: str) -> None:
    """A middleware may set attributes of the user, and no other connection of the same decision reads them."""
    additions = scope_additions("one", "demo", subject)
    one, two = application_scope({}, additions), application_scope({}, additions)
    setattr(one["user"], name, ["mine"])
    assert getattr(one["user"], name) == ["mine"]
    assert not hasattr(two["user"], name)
    assert not hasattr(application_scope({}, additions)["user"], name)
    assert one["user"].subject is two["user"].subject is subject


def test_inherited_identity_is_replaced() -> None:
    """The application gets no user, credentials or context of the server's scope, which stays as it is."""
    inherited = {"user": "root", "auth": "all", SCOPE_KEY: "x", "path": "/a"}
    entered = application_scope(inherited, scope_additions("one", "", None))
    assert isinstance(entered["user"], GatewayUser)
    assert not entered["user"].is_authenticated
    assert isinstance(entered["auth"], GatewayCredentials)
    assert entered[SCOPE_KEY] == GatewayContext("one", "", None)
    assert entered["path"] == "/a"
    assert inherited == {"user": "root", "auth": "all", SCOPE_KEY: "x", "path": "/a"}


def test_context() -> None:
    """Service, realm and subject are under one key, and its repr shows no private credential."""
    context = scope_additions("one", "demo", JOE)[SCOPE_KEY]
    assert context == GatewayContext("one", "demo", JOE)
    assert dataclasses.astuple(context)[:2] == ("one", "demo")
    assert "s3cret" not in repr(context)
