"""The required roles of a service against those of a subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.model import GroupPrincipal, Principal, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.services.authorization import Authorization

roles = st.sets(st.sampled_from(["A", "B", "C", "*"]))


@given(roles, roles)
def test_all_are_needed(required: set[str], held: set[str]) -> None:
    """The missing roles are those required and not held; * requires no role, and holding * replaces none."""
    subject = Subject((UserPrincipal("joe"), *map(RolePrincipal, sorted(held))))
    assert Authorization(required).missing(subject) == required - {"*"} - held


@pytest.mark.parametrize("kind", [UserPrincipal, Principal])
def test_a_name_is_no_role(kind: type[Principal]) -> None:
    """A user whose name is that of a role does not hold the role."""
    assert Authorization(["ADMINISTRATOR"]).missing(Subject((kind("ADMINISTRATOR"),))) == {"ADMINISTRATOR"}


def test_groups_count() -> None:
    """A group counts as the role of its name, and case matters."""
    subject = Subject((UserPrincipal("joe"), GroupPrincipal("staff")))
    assert not Authorization(["staff"]).missing(subject)
    assert Authorization(["Staff"]).missing(subject) == {"Staff"}


def test_no_roles() -> None:
    """Without roles any subject is enough."""
    assert not Authorization().missing(Subject((UserPrincipal("joe"),)))
