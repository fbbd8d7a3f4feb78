"""What a person may be told of an account: only what servers say after the right password."""

from __future__ import annotations

import pytest

from asgi_gateway.errors import AccountProblem
from asgi_gateway.modules.ldap.client.bind_result import account_problem


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        ("password expired", AccountProblem.PASSWORD_EXPIRED),
        ("password must be changed", AccountProblem.PASSWORD_MUST_CHANGE),
        ("account disabled", AccountProblem.ACCOUNT_DISABLED),
        ("account inactivated", AccountProblem.ACCOUNT_DISABLED),
        ("account expired", AccountProblem.ACCOUNT_EXPIRED),
        *(
            (reason, None)
            for reason in ("account locked", "account locked out", "wrong password", "unknown user", "too many groups")
        ),
        ("", None),
        (None, None),
    ],
)
def test_account_problem(reason: str | None, problem: AccountProblem | None) -> None:
    """Locks, which servers report after wrong passwords too, and unknown users are for the log alone."""
    assert account_problem(reason) is problem
