"""Subjects as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from asgi_gateway.model import GroupPrincipal, Principal, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.sessions.records import subject_from_json, subject_to_json


@dataclass(frozen=True, slots=True)
class Employee(UserPrincipal):
    """A module's own kind."""


def test_round_trip() -> None:
    """Principals come back as they were, in their order; credentials do not come back."""
    principals = (UserPrincipal("joe"), RolePrincipal("A"), GroupPrincipal("B"), Principal("C"))
    data = json.loads(json.dumps(subject_to_json(Subject(principals, ("public",), ("private",)))))
    assert subject_from_json(data) == Subject(principals)
    assert subject_from_json(data).public_credentials == subject_from_json(data).private_credentials == ()


def test_kinds_of_modules() -> None:
    """A module's own kind comes back as the kind it derives from, and an unknown kind as one that is no role."""
    assert subject_from_json(subject_to_json(Subject((Employee("joe"),)))) == Subject((UserPrincipal("joe"),))
    assert subject_from_json([["NewRole", "ADMIN"]]).roles == frozenset()


@pytest.mark.parametrize(
    "data", [1, "x", [["UserPrincipal"]], [["UserPrincipal", ""]], [["UserPrincipal", 1]], [[[], "a"]]]
)
def test_no_data(data: Any) -> None:
    """What is no such data is refused."""
    with pytest.raises((TypeError, ValueError)):
        subject_from_json(data)
