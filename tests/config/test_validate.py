"""Errors of the model in words that name the element."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.helpers import document, module, problems, realm, service


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"security": {"realms": [{"description": "x"}]}},
            "security.realms[0].name: is missing (add name)",
        ),
        (
            document(realms=(realm(**{"login-modules": [module(success="requierd")]}),)),
            "security.realms[0].authentication.login-modules[0].success: invalid value 'requierd' "
            "(did you mean 'required'?)",
        ),
        (
            document(realms=(realm(**{"authorization-mode": "x"}),)),
            "security.realms[0].authentication.authorization-mode: invalid value 'x' (one of: challenge, recycle)",
        ),
        (
            document(realms=(realm(**{"session-timeout": "0"}),)),
            "security.realms[0].authentication.session-timeout: must be greater than 0 ()",
        ),
        (
            document(service(**{"max-authentication-attempts": "many"})),
            "services[0].max-authentication-attempts: expected a whole number ()",
        ),
        (
            document(service(**{"max-authentication-attempts": 1000})),
            "services[0].max-authentication-attempts: must be less than or equal to 100 ()",
        ),
        (
            document(service(**{"match-host": "yes"})),
            "services[0].match-host: neither true nor false ()",
        ),
        (
            document(service(**{"authorization-constraint": {"require-role": ""}})),
            "services[0].authorization-constraint.require-role[0]: is empty (give a value)",
        ),
    ],
)
def test_errors(source: Any, expected: str) -> None:
    """Each kind of error says what is wrong in the file's own words."""
    assert f"0:0 {expected}" in problems(source)


def test_what_is_in_a_list_is_told_once() -> None:
    """A list of which nothing is valid is not called empty besides."""
    found = [problem for problem in problems(document(service(accept=["chat"]))) if ".accept" in problem]
    assert len(found) == 1
    assert "neither a path nor a URL" in found[0]


def test_choices_show_what_the_file_says() -> None:
    """A wrong choice is shown as it is spelt, not as what a reference expands to."""
    source = document(realms=(realm(**{"authorization-mode": "${mode}"}),))
    (problem,) = problems({**source, "properties": {"mode": "hunter2"}})
    assert "invalid value '${mode}'" in problem
