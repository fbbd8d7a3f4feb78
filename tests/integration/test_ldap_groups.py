"""Groups of a real directory as roles."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.model import RolePrincipal
from tests.helpers import attempt
from tests.integration.slapd import BASE, GROUPS, PEOPLE, Slapd, directory, ldap_module

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

SEARCH: dict[str, Any] = {"groupSearchBase": GROUPS}
MEMBER_OF: dict[str, Any] = {"memberOfAttribute": "memberOf"}
POSIX: dict[str, Any] = {"groupSearchBase": f"ou=posixgroups,{BASE}", "groupFilter": "(memberUid={USERNAME})"}
BIND_FIRST = f"uid={{USERNAME}},{PEOPLE}"


async def roles(server: Slapd, username: str = "alice", **options: Any) -> list[str]:
    module = ldap_module(server, **options)
    grant = await module.login(attempt(username, f"{username}-pw"))
    assert grant is not None
    return [principal.name for principal in grant.principals if isinstance(principal, RolePrincipal)]


@pytest.mark.parametrize("options", [SEARCH, MEMBER_OF, SEARCH | MEMBER_OF])
@pytest.mark.parametrize(("username", "expected"), [("alice", ["admins", "users"]), ("bob", ["users"]), ("carol", [])])
async def test_direct_groups(directory: Slapd, options: dict[str, Any], username: str, expected: list[str]) -> None:
    """Groups found by a search, by the user's entry, or both, are roles, each once."""
    assert sorted(await roles(directory, username, **options)) == expected


@pytest.mark.parametrize("extra", [{"userFilter": None}, {}])
async def test_groups_as_the_user(directory: Slapd, extra: dict[str, Any]) -> None:
    """Where the user is bound first, the groups are searched as the user."""
    found = await roles(directory, authIdentity=BIND_FIRST, **SEARCH, **extra)
    assert sorted(found) == ["admins", "users"]


@pytest.mark.parametrize("options", [SEARCH, MEMBER_OF | SEARCH])
@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, ["admins", "staff", "users"]),
        (2, ["admins", "everyone", "staff", "users"]),
        (20, ["admins", "everyone", "staff", "users"]),
    ],
)
async def test_nested_groups(directory: Slapd, options: dict[str, Any], depth: int, expected: list[str]) -> None:
    """Groups within groups are followed as deep as told, and a loop of groups ends."""
    assert sorted(await roles(directory, nestedGroupDepth=depth, **options)) == expected


@pytest.mark.parametrize(("options", "searches"), [({}, 1), (MEMBER_OF, 1), (SEARCH, 2), (SEARCH | MEMBER_OF, 2)])
async def test_one_more_search(directory: Slapd, options: dict[str, Any], searches: int) -> None:
    """Groups cost one more search at most, and none where the user's entry lists them."""
    module = ldap_module(directory, **options)
    await module.login(attempt("alice", "alice-pw"))
    with directory.operations() as operations:
        await module.login(attempt("alice", "alice-pw"))
    assert len([operation for operation in operations if operation.startswith("SRCH")]) == searches
    assert len(operations) == searches + 1


async def test_posix_groups_and_attribute(directory: Slapd) -> None:
    """The filter may go by the user's name, and another attribute may name the role."""
    assert await roles(directory, userFilter="(uid={USERNAME})", **POSIX) == []
    assert await roles(directory, **(SEARCH | {"groupFilter": "(cn=admins{USERNAME})"})) == []
    found = await roles(directory, **(SEARCH | {"groupRoleAttribute": "objectClass"}))
    assert found == ["groupOfNames"]


async def test_prefix_and_mapping(directory: Slapd) -> None:
    """Roles get a prefix, or come from a mapping that gives none for what it does not name."""
    assert sorted(await roles(directory, rolePrefix="DIR_", **SEARCH)) == ["DIR_admins", "DIR_users"]
    assert await roles(directory, roleMapping="ADMINS=ADMINISTRATOR", authzIdentity="ALSO", **SEARCH) == [
        "ADMINISTRATOR",
        "ALSO",
    ]


async def test_in_chain_rule_is_sent(directory: Slapd) -> None:
    """groupInChain sends a matching rule that only Active Directory knows; OpenLDAP finds it undefined, and nothing."""
    assert await roles(directory, groupInChain="true", **SEARCH) == []
    assert "(?=undefined)" in (directory.folder / "slapd.log").read_text()


async def test_too_many_groups(directory: Slapd) -> None:
    """More groups than anybody has is no login with some of them."""
    everything = {"groupSearchBase": f"ou=many,{BASE}", "groupFilter": "(|(cn={USERNAME})(objectClass=device))"}
    with pytest.raises(LoginUnavailable, match="too many groups"):
        await roles(directory, **everything)


async def test_group_base_that_is_not_there(directory: Slapd) -> None:
    """A wrong group base is a fault of the configuration, not a user without groups."""
    with pytest.raises(LoginUnavailable, match="No such object"):
        await roles(directory, groupSearchBase=f"ou=nowhere,{BASE}")
