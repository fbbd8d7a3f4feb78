"""The jndi login module against a real RFC 2307 directory."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import GroupPrincipal, Subject, UserPrincipal
from asgi_gateway.modules.ldap.jndi import JndiLoginModule, JndiOptions, NumericGroupPrincipal, NumericUserPrincipal
from tests.helpers import attempt, context
from tests.integration.slapd import BASE, READER, READER_PASSWORD, Slapd, directory

__all__ = ["directory"]

pytestmark = pytest.mark.anyio

USERS = f"ou=posix,{BASE}"
GROUPS = f"ou=posixgroups,{BASE}"


def jndi(server: Slapd, **options: Any) -> JndiLoginModule:
    values = {
        "user.provider.url": server.url(USERS),
        "group.provider.url": server.url(GROUPS),
        "java.naming.security.principal": READER,
        "java.naming.security.credentials": READER_PASSWORD,
        "caFile": str(server.ca),
    } | options
    given = JndiOptions.model_validate({name: value for name, value in values.items() if value is not None})
    return JndiLoginModule(given, context(server.folder).context)


@pytest.mark.parametrize("name", ["crypt", "des", "ssha", "ssha256", "ssha512", "argon", "pbkdf2"])
async def test_hash_schemes(directory: Slapd, name: str) -> None:
    """Each scheme that directories hold is compared: the right password gets in, another does not."""
    module = jndi(directory)
    assert await module.login(attempt(name, f"{name}-pw")) is not None
    with pytest.raises(LoginFailed, match="wrong"):
        await module.login(attempt(name, f"{name}-pX"))
    await module.close()


async def test_principals(directory: Slapd) -> None:
    """User, numbers and groups become principals; of these the groups' names alone are roles."""
    grant = await jndi(directory).login(attempt("CRYPT", "crypt-pw"))
    assert grant is not None
    assert set(grant.principals) == {
        UserPrincipal("crypt"),
        NumericUserPrincipal("1001"),
        NumericGroupPrincipal("100"),
        NumericGroupPrincipal("10"),
        GroupPrincipal("staff"),
        GroupPrincipal("wheel"),
    }
    assert grant.principals[0] == UserPrincipal("crypt")
    assert Subject(grant.principals).roles == {"staff", "wheel"}


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("nobody", "x", "not exactly one entry"),
        ("*", "crypt-pw", "not exactly one entry"),
        ("crypt)(uid=*", "crypt-pw", "not exactly one entry"),
        ("plain", "plain-pw", "invalid stored password"),
        ("odd", "abcdef", "invalid stored password"),
        ("nopw", "", "empty"),
        ("nopw", "x", "shows no userPassword"),
        ("crypt", "", "empty"),
        ("a" * 10_000, "x", "longer than"),
    ],
)
async def test_refused(directory: Slapd, username: str, password: str, reason: str) -> None:
    """Unknown users, wild cards, plain text, unknown schemes and empty passwords do not get in."""
    with pytest.raises(LoginFailed, match=reason):
        await jndi(directory).login(attempt(username, password))


async def test_no_bind_as_the_user(directory: Slapd) -> None:
    """The password is compared here and never sent: after the bind account's bind there are two searches."""
    module = jndi(directory)
    with directory.operations() as operations:
        await module.login(attempt("ssha", "ssha-pw"))
    assert {operation for operation in operations if operation.startswith("BIND")} <= {f'BIND dn="{READER}"'}
    assert [operation for operation in operations if operation.startswith("SRCH")] == [
        f'SRCH base="{USERS}"',
        f'SRCH base="{GROUPS}"',
    ]


async def test_hidden_hashes(directory: Slapd) -> None:
    """Without a bind account that may read userPassword nobody gets in, and the log says why."""
    nobody = {"java.naming.security.principal": None, "java.naming.security.credentials": None}
    with pytest.raises(LoginFailed, match="is the bind account allowed to read it"):
        await jndi(directory, **nobody).login(attempt("crypt", "crypt-pw"))


async def test_unavailable_directory(directory: Slapd) -> None:
    """A directory that is down is no wrong password."""
    url = f"ldap://127.0.0.1:1/{USERS}"
    with pytest.raises(LoginUnavailable, match="cannot connect"):
        await jndi(directory, **{"user.provider.url": url}).login(attempt("crypt", "crypt-pw"))


async def test_check(directory: Slapd) -> None:
    """check is quiet about a good directory and names the DN that is missing."""
    assert await jndi(directory).check() == []
    wrong = jndi(directory, **{"group.provider.url": directory.url(f"ou=nowhere,{BASE}")})
    (problem,) = await wrong.check()
    assert f"base DN 'ou=nowhere,{BASE}'" in problem


USERS_AND_GROUPS = """
dn: ou=mixed,{base}
changetype: add
objectClass: organizationalUnit
ou: mixed

dn: uid=dora,ou=mixed,{base}
changetype: add
objectClass: account
objectClass: posixAccount
uid: dora
uid: Dorothy
cn: dora
uidNumber: 3000
gidNumber: 1000
homeDirectory: /home/dora
userPassword: {{SSHA}}EOSYWoyVqat2N6vNmdlgS+lFaAVzYWx0c2FsdA==

dn: cn=ADMINISTRATOR,ou=mixed,{base}
changetype: add
objectClass: account
objectClass: posixAccount
uid: mallory
cn: ADMINISTRATOR
uidNumber: 3001
gidNumber: 1000
homeDirectory: /home/mallory

dn: cn=users,ou=mixed,{base}
changetype: add
objectClass: posixGroup
cn: users
cn: ADMINISTRATOR
gidNumber: 1000

dn: cn=writers,ou=mixed,{base}
changetype: add
objectClass: posixGroup
cn: writers
gidNumber: 1001
memberUid: dora
"""


@pytest.mark.parametrize(
    ("typed", "name", "groups"),
    [
        ("dora", "dora", {"users", "writers"}),
        ("DORA", "dora", {"users", "writers"}),
        (" dora ", "dora", {"users", "writers"}),
        ("dorothy", "Dorothy", {"users"}),
    ],
)
async def test_users_beside_groups(mixed: Slapd, typed: str, name: str, groups: set[str]) -> None:
    """Other users of the primary group, and other names of a group, are no roles; the user is the entry's own uid."""
    urls = dict.fromkeys(("user.provider.url", "group.provider.url"), mixed.url(f"ou=mixed,{BASE}"))
    grant = await jndi(mixed, **urls).login(attempt(typed, "ssha-pw"))
    assert grant is not None
    assert grant.principals[0] == UserPrincipal(name)
    assert Subject(grant.principals).roles == groups


CHANGES = {
    "nothing": ("", True),
    "the password": ("replace: userPassword\nuserPassword: {SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAABzYWx0\n", False),
    "the primary group": ("replace: gidNumber\ngidNumber: 1001\n", False),
    "expiry": ("add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 0\n", False),
    "another attribute": ("replace: gecos\ngecos: Re\n", True),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_recheck(mixed: Slapd, change: str) -> None:
    """A login holds until its stored password, account or groups change."""
    uid = "re" + change.replace(" ", "")
    person = USERS_AND_GROUPS.format(base=BASE).split("\n\n")[1].replace("dora", uid).replace("Dorothy", f"{uid}2")
    mixed.modify(person + "\n")
    urls = dict.fromkeys(("user.provider.url", "group.provider.url"), mixed.url(f"ou=mixed,{BASE}"))
    module = jndi(mixed, **urls)
    grant = await module.login(attempt(uid.upper(), "ssha-pw"))
    assert grant is not None
    assert "SSHA" not in str(grant.recheck_data)
    text, expected = CHANGES[change]
    if text:
        mixed.modify(f"dn: uid={uid},ou=mixed,{BASE}\nchangetype: modify\n{text}")
    assert await module.recheck(Subject(grant.principals), grant.recheck_data) is expected
    nobody = {"java.naming.security.principal": None, "java.naming.security.credentials": None}
    assert await jndi(mixed, **urls, **nobody).recheck(Subject(), grant.recheck_data) is None


@pytest.fixture(scope="module")
def mixed(directory: Slapd) -> Slapd:
    """The directory with users and groups side by side."""
    directory.modify(USERS_AND_GROUPS.format(base=BASE))
    return directory


@pytest.mark.parametrize("option", ["user.provider.url", "group.provider.url"])
async def test_nis_is_refused(directory: Slapd, option: str) -> None:
    """A nis: URL stops the start, and the error says what to use instead."""
    with pytest.raises(ConfigError, match=rf"{option}: nis: is not supported.*write ldap://"):
        jndi(directory, **{option: "nis://server/domain"})
