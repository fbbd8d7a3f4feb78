"""The ldap login module against 389 Directory Server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ldap
import pytest

from asgi_gateway.errors import AccountProblem, LoginFailed
from asgi_gateway.model import RolePrincipal, Subject, UserPrincipal
from asgi_gateway.modules.ldap import LdapLoginModule, LdapPrincipal
from tests.helpers import attempt
from tests.integration.ds389 import GROUPS, PEOPLE, DirectoryServer389, ds389

__all__ = ["ds389"]

pytestmark = pytest.mark.anyio

IDENTITY = f"uid={{USERNAME}},{PEOPLE}"
MODES = pytest.mark.parametrize(
    "mode",
    [{}, {"authIdentity": IDENTITY}, {"authIdentity": IDENTITY, "userFilter": None}],
    ids=["search-first", "dn-first", "dn-only"],
)


async def principals(module: LdapLoginModule, username: str, password: str) -> tuple[Any, ...]:
    grant = await module.login(attempt(username, password))
    assert grant is not None
    return grant.principals


@MODES
@pytest.mark.parametrize(
    ("typed", "name", "roles"),
    [("alice", "alice", {"admins", "users"}), ("ALICE", "alice", {"admins", "users"}), ("bOB", "Bob", {"users"})],
)
async def test_names_and_roles(
    ds389: DirectoryServer389, mode: dict[str, Any], typed: str, name: str, roles: set[str]
) -> None:
    """In every mode the name is the entry's, and the groups are its roles."""
    module = ds389.module(groupSearchBase=GROUPS, **mode)
    found = await principals(module, typed, f"{name}-pw")
    assert found[:2] == (LdapPrincipal(f"uid={name},{PEOPLE}"), UserPrincipal(name))
    assert set(found[2:]) == {RolePrincipal(role) for role in roles}
    with pytest.raises(LoginFailed):
        await principals(module, typed, "wrong")


@MODES
@pytest.mark.parametrize(
    ("username", "words"), [("inactive", "Account inactivated"), ("reset", "password must be changed")]
)
async def test_accounts_that_may_not_log_in(
    ds389: DirectoryServer389, mode: dict[str, Any], username: str, words: str
) -> None:
    """The right password of an account that may not log in is refused in every mode, and the log says why."""
    with pytest.raises(LoginFailed, match=words) as error:
        await principals(ds389.module(**mode), username, f"{username}-pw")
    assert (error.value.account_problem is AccountProblem.PASSWORD_MUST_CHANGE) == (username == "reset")
    with pytest.raises(LoginFailed) as error:
        await principals(ds389.module(**mode), username, "wrong")
    assert error.value.account_problem is None


async def test_too_many_failures(ds389: DirectoryServer389) -> None:
    """An account locked by wrong passwords is refused with the right one, and the log says so."""
    module = ds389.module()
    for _ in range(3):
        with pytest.raises(LoginFailed):
            await principals(module, "tooMany", "wrong")
    with pytest.raises(LoginFailed, match=r"account locked .*Exceed password retry limit"):
        await principals(module, "tooMany", "tooMany-pw")


def change_own_password(server: DirectoryServer389, uid: str, new: str) -> None:
    raw = ldap.initialize(f"ldap://127.0.0.1:{server.port}")
    raw.simple_bind_s(f"uid={uid},{PEOPLE}", f"{uid}-pw")
    raw.modify_s(f"uid={uid},{PEOPLE}", [(ldap.MOD_REPLACE, "userPassword", [new.encode()])])
    server.wait_for_password_time(uid)


CHANGES: dict[str, tuple[Callable[[DirectoryServer389, str], object], bool]] = {
    "nothing": (lambda server, uid: None, True),
    "password": (lambda server, uid: change_own_password(server, uid, "another-pw"), False),
    "inactivated": (lambda server, uid: server.modify(f"uid={uid},{PEOPLE}", nsAccountLock="true"), False),
    "role": (
        lambda server, uid: server.connection().modify_s(
            f"cn=users,{GROUPS}", [(ldap.MOD_ADD, "member", [f"uid={uid},{PEOPLE}".encode()])]
        ),
        False,
    ),
    "removed": (lambda server, uid: server.connection().delete_s(f"uid={uid},{PEOPLE}"), False),
    "other attributes": (lambda server, uid: server.modify(f"uid={uid},{PEOPLE}", description="new"), True),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_recheck(ds389: DirectoryServer389, change: str) -> None:
    """A login holds until its password, account, entry or roles change."""
    uid = "re-" + change.replace(" ", "-")
    ds389.modify("cn=config", passwordMustChange="off")
    ds389.person(uid)
    ds389.modify("cn=config", passwordMustChange="on")
    module = ds389.module(groupSearchBase=GROUPS)
    grant = await module.login(attempt(uid, f"{uid}-pw"))
    assert grant is not None
    make, expected = CHANGES[change]
    make(ds389, uid)
    assert await module.recheck(Subject(grant.principals), grant.recheck_data) is expected
