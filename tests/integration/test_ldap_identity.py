"""Who a user is, and which roles that gives, is the directory's to say and not the client's to type."""

from __future__ import annotations

import base64
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import ldap
import pytest

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.modules.ldap import LdapLoginModule, LdapPrincipal
from asgi_gateway.modules.ldap.client.entries import Entry
from asgi_gateway.modules.ldap.client.identity import NamePattern, name_from_entry, rdn_name_of
from asgi_gateway.modules.ldap.client.names import canonical_dn, is_below, prepared, written_dn
from asgi_gateway.modules.ldap.recheck import LoginRecord
from tests.helpers import attempt, context
from tests.integration.slapd import (
    BASE,
    GROUPS,
    PEOPLE,
    READER,
    READER_PASSWORD,
    ROOT,
    ROOT_PASSWORD,
    Slapd,
    ldap_module,
    slapd,
)

pytestmark = pytest.mark.anyio

IDENTITY = f"uid={{USERNAME}},{PEOPLE}"
SEARCH_FIRST: dict[str, Any] = {}
DN_FIRST = {"authIdentity": IDENTITY}
DN_ONLY = {"authIdentity": IDENTITY, "userFilter": None}
MODES = pytest.mark.parametrize("mode", [SEARCH_FIRST, DN_FIRST, DN_ONLY], ids=["search-first", "dn-first", "dn-only"])
ODD_NAMES = [
    "Doe, John",
    'a+b <c> ; d=e quo"te',
    "Stern*(Klammer)",
    "back\\slash",
    "#hash",
    "J\u00fcrgen \u00dcnl\u00fc",
    "slash/one",
    "{USERNAME}",
]

PERSON = """
dn: uid={uid},{base}
changetype: add
objectClass: inetOrgPerson
uid: {uid}
{more}cn: {uid}
sn: {uid}
userPassword: {uid}-pw
"""
GROUP = """
dn: {dn}
changetype: add
objectClass: groupOfNames
{cns}
{members}
"""


def person(uid: str, more: str = "", base: str = PEOPLE) -> str:
    return PERSON.format(uid=uid, base=base, more=more)


def group(dn: str, cns: list[str], members: list[str]) -> str:
    lines = ["\n".join(f"{name}: {value}" for value in values) for name, values in (("cn", cns), ("member", members))]
    return GROUP.format(dn=dn, cns=lines[0], members=lines[1])


def odd_entries() -> str:
    def line(name: str, value: str) -> str:
        return f"{name}:: {base64.b64encode(value.encode()).decode()}"

    text = ""
    for index, name in enumerate(ODD_NAMES):
        escaped = "".join(f"\\{byte:02x}" for byte in name.encode())
        dn, group_dn = f"cn={escaped},{PEOPLE}", f"cn={escaped},{GROUPS}"
        text += f"\ndn: {dn}\nchangetype: add\nobjectClass: inetOrgPerson\n{line('cn', name)}\nsn: x\n"
        text += f"uid: odd{index}\nuserPassword: odd-pw\n"
        text += f"\ndn: {group_dn}\nchangetype: add\nobjectClass: groupOfNames\n{line('cn', name)}\nmember: {dn}\n"
    return text


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A slapd with users and groups whose names are easily mistaken."""
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        units = "".join(
            f"\ndn: ou={name},{above}\nchangetype: add\nobjectClass: organizationalUnit\nou: {name}\n"
            for name, above in (("emea", BASE), ("apac", BASE), ("aliases", BASE))
        )
        people = person("MixedCase") + person("al ice") + person("kelly", "uid: keli\nmail: kelly.k@example.com\n")
        people += person("J\u00fcrgen") + person("mallory")
        thief = person("thief", "uid: vera\nmail: thief@example.com\n").replace("dn: uid=thief", "dn: cn=thief")
        people += person("vera") + thief.replace("uid: thief", "uid: zoe")
        groups = group(f"cn=Admins,ou=emea,{BASE}", ["Admins"], [f"uid=alice,{PEOPLE}"])
        groups += group(f"cn=Admins,ou=apac,{BASE}", ["Admins"], [f"uid=bob,{PEOPLE}"])
        groups += group(f"cn=plain,{GROUPS}", ["plain", "ADMINISTRATOR"], [f"uid=mallory,{PEOPLE}"])
        posix = (
            "\ndn: cn=devs,{0}\nchangetype: add\nobjectClass: posixGroup\ncn: devs\ngidNumber: 2000\nmemberUid: kelly\n"
        )
        alias = (
            f"\ndn: uid=nick,ou=aliases,{BASE}\nchangetype: add\nobjectClass: alias\nobjectClass: extensibleObject\n"
        )
        alias += f"uid: nick\naliasedObjectName: uid=alice,{PEOPLE}\n"
        server.modify(units + people + groups + posix.format(GROUPS) + alias + odd_entries())
        yield server


async def log_in(module: LdapLoginModule, username: str, password: str) -> Grant:
    grant = await module.login(attempt(username, password))
    assert grant is not None
    return grant


def roles(grant: Grant) -> list[str]:
    return sorted(principal.name for principal in grant.principals if isinstance(principal, RolePrincipal))


# ------------------------------------------------------------------------------------------- one entry, one principal


@MODES
@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ALICE", "alice"),
        (" alice", "alice"),
        ("alice ", "alice"),
        ("\uff41lice", "alice"),
        ("mixedcase", "MixedCase"),
        ("MIXEDCASE", "MixedCase"),
        ("al  ice", "al ice"),
        ("Ju\u0308rgen", "J\u00fcrgen"),
        ("J\u00dcRGEN", "J\u00fcrgen"),
    ],
)
async def test_what_is_typed_is_not_who_it_is(directory: Slapd, mode: dict[str, Any], typed: str, name: str) -> None:
    """However the directory lets a name be typed, the principals are the entry's: its DN and its own name."""
    grant = await log_in(ldap_module(directory, **mode), typed, f"{name}-pw")
    dn, user = grant.principals[:2]
    assert user == UserPrincipal(name)
    assert dn == LdapPrincipal(f"uid={name},{PEOPLE}")


@MODES
async def test_as_the_jdk_names_users(directory: Slapd, mode: dict[str, Any]) -> None:
    """With useTypedName the principal is what was typed, as in the JDK; the groups are the entry's all the same."""
    options = {"useTypedName": "true", "groupSearchBase": GROUPS}
    grant = await log_in(ldap_module(directory, **mode, **options), "ALICE", "alice-pw")
    assert grant.principals[1] == UserPrincipal("ALICE")
    assert roles(grant) == ["admins", "users"]
    bare = await log_in(ldap_module(directory, useTypedName="true", **mode), "ALICE", "alice-pw")
    assert bare.principals[1] == UserPrincipal("ALICE")


@pytest.mark.parametrize(
    "identity",
    [
        f"userid={{USERNAME}},{PEOPLE}",
        "UID={USERNAME}, OU=People, DC=Example,DC=com",
        f"0.9.2342.19200300.100.1.1={{USERNAME}},{PEOPLE}",
        f"uid={{USERNAME}},organizationalUnitName=people,{BASE}",
        "uid={USERNAME},2.5.4.11=people,domainComponent=example,dc=com",
    ],
)
@pytest.mark.parametrize("user_filter", ["(uid={USERNAME})", None])
async def test_dns_written_in_another_way(directory: Slapd, identity: str, user_filter: str | None) -> None:
    """A DN template may use any name of an attribute, and any spacing, that the directory knows."""
    module = ldap_module(directory, authIdentity=identity, userFilter=user_filter)
    for typed in ("alice", "ALICE", " alice "):
        grant = await log_in(module, typed, "alice-pw")
        assert grant.principals[:2] == (LdapPrincipal(f"uid=alice,{PEOPLE}"), UserPrincipal("alice"))


async def test_another_entry_however_it_is_written(directory: Slapd) -> None:
    """An entry that is not the bound one is refused, also where its name is close."""
    for text in ("(&(uid=bob)(!(title={USERNAME})))", "(&(cn=al ice)(!(title={USERNAME})))"):
        module = ldap_module(directory, authIdentity=IDENTITY, userFilter=text)
        for typed in ("alice", "ALICE"):
            with pytest.raises(LoginFailed, match="another entry"):
                await log_in(module, typed, "alice-pw")


@pytest.mark.parametrize(
    ("user_filter", "typed", "name"),
    [
        ("(|(uid={USERNAME})(mail={USERNAME}))", "kelly.k@example.com", "kelly"),
        ("(|(uid={USERNAME})(mail={USERNAME}))", "KELI", "keli"),
        ("(|(mail={USERNAME})(uid={USERNAME}))", "kelly", "kelly"),
        ("(uid={USERNAME})", "keli", "keli"),
        ("(mail={USERNAME}@example.com)", "KELLY.K", "kelly.k"),
        ("(mail={USERNAME})", "Kelly.K@EXAMPLE.com", "kelly.k@example.com"),
        ("(mail={USERNAME}@*)", "kelly.k", "kelly"),
        ("(|(mail={USERNAME})(employeeNumber={USERNAME}))", "kelly.k@example.com", "kelly.k@example.com"),
    ],
)
async def test_names_of_several_attributes_and_values(
    directory: Slapd, user_filter: str, typed: str, name: str
) -> None:
    """The RDN's attribute goes first, the value that matched goes before others, and the filter's text comes off."""
    grant = await log_in(ldap_module(directory, userFilter=user_filter), typed, "kelly-pw")
    assert grant.principals[:2] == (LdapPrincipal(f"uid=kelly,{PEOPLE}"), UserPrincipal(name))


@pytest.mark.parametrize("mode", [{}, {"authIdentity": f"cn={{USERNAME}},{PEOPLE}"}], ids=["search-first", "dn-first"])
@pytest.mark.parametrize("typed", ["thief", "THIEF", " thief "])
async def test_nobody_takes_another_users_name(directory: Slapd, mode: dict[str, Any], typed: str) -> None:
    """A user who added another's name to an attribute that users may write does not become that user."""
    module = ldap_module(directory, userFilter="(|(cn={USERNAME})(uid={USERNAME}))", **mode)
    found = await log_in(module, typed, "thief-pw")
    assert found.principals[1] == UserPrincipal("thief")
    by_uid = ldap_module(directory, userFilter="(|(uid={USERNAME})(mail={USERNAME}))", **mode)
    with pytest.raises(LoginFailed):
        await log_in(by_uid, "vera", "thief-pw")
    if not mode:
        with pytest.raises(LoginFailed, match=r"the name 'vera' of the entry cn=thief,.* is not unique"):
            await log_in(by_uid, "thief@example.com", "thief-pw")


@pytest.mark.parametrize("realm", ["EXAMPLE.COM", "B.ORG"])
async def test_names_keep_their_realm(directory: Slapd, realm: str) -> None:
    """Where stripRealm takes a realm off, the principal has it again, since names repeat among realms."""
    module = ldap_module(directory, stripRealm="EXAMPLE.COM B.ORG")
    grant = await log_in(module, f"ALICE@{realm}", "alice-pw")
    assert grant.principals[1] == UserPrincipal(f"alice@{realm}")


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"userFilter": "(|(uid={USERNAME})(mail={USERNAME}))"}, r"several attributes \(uid, mail\)"),
        ({"userFilter": "(mail={USERNAME}@*)"}, "with no attribute for equality"),
        (
            {"userNameAttribute": "mail", "groupSearchBase": GROUPS, "groupFilter": "(memberUid={USERNAME})"},
            r"groupFilter: \{USERNAME\} is the value of userNameAttribute",
        ),
        ({"com.sun.jndi.ldap.connect.pool": "true"}, "ignored, changes nothing here: com.sun.jndi.ldap.connect.pool"),
        ({"userProvider": f"ldap://127.0.0.1/{PEOPLE} ldap://127.0.0.1/{GROUPS}"}, "have different base DNs"),
    ],
)
async def test_warnings_at_the_start(directory: Slapd, options: dict[str, Any], warning: str) -> None:
    """Options that leave a user's name, or a user, in doubt are warned of at the start."""
    given = ldap_module(directory, **options).options
    made = context(directory.folder)
    LdapLoginModule(given, made.context)
    (said,) = made.warnings
    assert re.search(warning, said)
    plain = context(directory.folder)
    LdapLoginModule(
        ldap_module(directory, userProvider=f"{directory.url()} {directory.url(PEOPLE.upper())}").options, plain.context
    )
    assert plain.warnings == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("-----BEGIN TRUSTED CERTIFICATE-----\n{}\n-----END TRUSTED CERTIFICATE-----\n", "BEGIN TRUSTED CERTIFICATE"),
        ("no certificate {}", "no CA certificates"),
        ("", "no CA certificates"),
    ],
)
async def test_ca_files_of_other_forms(directory: Slapd, content: str, message: str) -> None:
    """A CA file that libldap cannot read stops the start; one with comments and other line ends does not."""
    body = "".join(directory.ca.read_text().splitlines()[1:-1])
    path = directory.folder / "odd-ca.pem"
    path.write_text(content.format(body))
    with pytest.raises(ConfigError, match=message):
        ldap_module(directory, caFile=str(path))
    path.write_text("# a comment\r\n" + directory.ca.read_text().replace("\n", "\r\n") * 2)
    await log_in(ldap_module(directory, caFile=str(path)), "alice", "alice-pw")


# --------------------------------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize("typed", ["kelly", "KELLY", "kelly.k@example.com"])
async def test_groups_by_the_users_own_name(directory: Slapd, typed: str) -> None:
    """Groups that list names list the entry's, whatever the client typed."""
    module = ldap_module(
        directory,
        userFilter="(|(uid={USERNAME})(mail={USERNAME}))",
        userNameAttribute="cn",
        groupSearchBase=GROUPS,
        groupFilter="(&(objectClass=posixGroup)(memberUid={USERNAME}))",
    )
    assert roles(await log_in(module, typed, "kelly-pw")) == ["devs"]


@pytest.mark.parametrize("source", [{"memberOfAttribute": "memberOf"}, {"groupSearchBase": BASE}])
@pytest.mark.parametrize(
    ("mapping", "alice", "bob"),
    [
        ({f"cn=Admins,ou=emea,{BASE}": "ADMINISTRATOR"}, ["ADMINISTRATOR"], []),
        ([f"CN=admins, OU=EMEA, {BASE}=ADMINISTRATOR", f"cn=Admins,ou=apac,{BASE}=B"], ["ADMINISTRATOR"], ["B"]),
        (
            f'"cn=Admins,ou=emea,{BASE}"=ADMINISTRATOR, users=AUTHORIZED',
            ["ADMINISTRATOR", "AUTHORIZED"],
            ["AUTHORIZED"],
        ),
        ({"Admins": "BOTH"}, ["BOTH"], ["BOTH"]),
    ],
)
async def test_groups_of_one_name_in_two_places(
    directory: Slapd, source: dict[str, Any], mapping: object, alice: list[str], bob: list[str]
) -> None:
    """A mapping that names a group by its DN gives the role to that group only."""
    module = ldap_module(directory, roleMapping=mapping, **source)
    assert roles(await log_in(module, "alice", "alice-pw")) == alice
    assert roles(await log_in(module, "bob", "bob-pw")) == bob


async def test_groups_of_one_place_only(directory: Slapd) -> None:
    """memberOfBase leaves out the groups of other places."""
    module = ldap_module(directory, memberOfAttribute="memberOf", memberOfBase=f"OU=emea,{BASE}")
    assert roles(await log_in(module, "alice", "alice-pw")) == ["Admins"]
    assert roles(await log_in(module, "bob", "bob-pw")) == []


@pytest.mark.parametrize("source", [{"memberOfAttribute": "memberOf"}, {"groupSearchBase": GROUPS}])
async def test_other_names_of_a_group_are_no_roles(directory: Slapd, source: dict[str, Any]) -> None:
    """A second cn, which whoever edits a group can add, is no role: the one in the DN is."""
    assert roles(await log_in(ldap_module(directory, **source), "mallory", "mallory-pw")) == ["plain"]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("source", [{"memberOfAttribute": "memberOf"}, {"groupSearchBase": GROUPS}])
@pytest.mark.parametrize("mode", [{}, {"authIdentity": f"cn={{USERNAME}},{PEOPLE}"}], ids=["search-first", "dn-first"])
async def test_names_with_special_characters(
    directory: Slapd, mode: dict[str, Any], source: dict[str, Any], name: str
) -> None:
    """Users and groups whose names need escapes keep them, in every mode and by member and memberOf."""
    module = ldap_module(
        directory, userFilter="(cn={USERNAME})", nestedGroupDepth=int("groupSearchBase" in source), **source, **mode
    )
    grant = await log_in(module, name, "odd-pw")
    assert grant.principals[1] == UserPrincipal(name)
    assert roles(grant) == [name]


async def test_roles_that_cannot_be_read(directory: Slapd) -> None:
    """A group that shows no name, or a value that is no group's DN, is a fault and not a user without roles."""
    options = {"groupSearchBase": GROUPS, "groupRoleAttribute": "businessCategory"}
    with pytest.raises(LoginUnavailable, match=f"cannot read businessCategory of the group cn=.*{GROUPS}"):
        await log_in(ldap_module(directory, **options), "alice", "alice-pw")
    for attribute in ("mail", "employeeNumber"):
        with pytest.raises(LoginUnavailable, match=f"{attribute} of uid=alice,.* not a DN"):
            await log_in(ldap_module(directory, memberOfAttribute=attribute), "alice", "alice-pw")


@pytest.mark.parametrize(
    ("authz", "expected"),
    [
        ("{2.16.840.1.113730.3.1.3}", ["AUTHORIZED"]),
        ("{EMPLOYEENUMBER}", ["AUTHORIZED"]),
        ("{userid}", ["alice"]),
        ("{2.5.4.3}", ["alice"]),
        ("{cn;lang-de}", []),
    ],
)
async def test_attributes_by_other_names(directory: Slapd, authz: str, expected: list[str]) -> None:
    """An attribute that names a role is found by its OID and by its other names."""
    assert roles(await log_in(ldap_module(directory, authzIdentity=authz), "alice", "alice-pw")) == expected


@pytest.mark.parametrize(("follow", "found"), [(None, True), ("always", True), ("searching", True), ("never", False)])
async def test_aliases(directory: Slapd, follow: str | None, found: bool) -> None:
    """Alias entries are followed as JNDI does by default, and the user is the entry they lead to."""
    options = {"userProvider": directory.url(f"ou=aliases,{BASE}"), "userFilter": "(|(uid={USERNAME})(cn={USERNAME}))"}
    module = ldap_module(directory, **options, **{"java.naming.ldap.derefAliases": follow})
    if found:
        grant = await log_in(module, "alice", "alice-pw")
        assert grant.principals[0] == LdapPrincipal(f"uid=alice,{PEOPLE}")
    else:
        with pytest.raises(LoginFailed):
            await log_in(module, "alice", "alice-pw")


# ------------------------------------------------------------------------------------------------------ account states


@pytest.fixture(scope="module")
def policies(directory: Slapd) -> Slapd:
    """Users in the states that OpenLDAP's password policy knows."""
    directory.modify(
        f"dn: cn=policy,{BASE}\nchangetype: modify\nreplace: pwdMustChange\npwdMustChange: TRUE\n-\n"
        "replace: pwdMaxFailure\npwdMaxFailure: 3\n-\nreplace: pwdMaxAge\npwdMaxAge: 1000000000\n"
    )
    for uid in ("reset", "old", "shadow", "wronged"):
        directory.modify(person(uid))
    directory.modify(f"dn: uid=reset,{PEOPLE}\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n")
    changed = "pwdChangedTime: 19800101000000Z"
    directory.modify(f"dn: uid=old,{PEOPLE}\nchangetype: modify\nreplace: pwdChangedTime\n{changed}\n")
    added = "add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 0\n"
    directory.modify(f"dn: uid=shadow,{PEOPLE}\nchangetype: modify\n{added}")
    return directory


@MODES
@pytest.mark.parametrize("groups", [{}, {"groupSearchBase": GROUPS}])
@pytest.mark.parametrize(
    ("username", "words"),
    [
        ("reset", "password must be changed"),
        ("old", "password expired"),
        ("locked", "Invalid credentials"),
        ("shadow", "account expired"),
    ],
)
async def test_accounts_that_may_not_log_in(
    policies: Slapd, mode: dict[str, Any], groups: dict[str, Any], username: str, words: str
) -> None:
    """The right password of an account that may not log in is refused, in every mode, and is no outage."""
    module = ldap_module(policies, **mode, **groups)
    with pytest.raises(LoginFailed, match=words) as error:
        await log_in(module, username, f"{username}-pw")
    assert (error.value.account_problem is None) == (username == "locked")
    with pytest.raises(LoginFailed) as error:
        await log_in(module, username, "wrong")
    assert error.value.account_problem is None


@pytest.mark.parametrize(
    ("before", "after", "as_account", "attribute"),
    [
        ({}, {}, True, None),
        ({"pwdLastSet": "1"}, {"pwdLastSet": "1"}, True, None),
        ({"pwdLastSet": "1"}, {"pwdLastSet": "2"}, True, "pwdLastSet"),
        ({"pwdLastSet": "1"}, {"pwdLastSet": "2"}, False, "pwdLastSet"),
        ({}, {"pwdChangedTime": "1"}, True, "pwdChangedTime"),
        ({}, {"pwdChangedTime": "1"}, False, None),
        ({"pwdChangedTime": "1"}, {}, True, None),
        ({"a": "1", "b": "1"}, {"a": "1", "b": "2"}, True, "b"),
    ],
)
def test_changes_of_the_password(
    before: dict[str, str], after: dict[str, str], as_account: bool, attribute: str | None
) -> None:
    """A time that differs, or that only the bind account could have seen and did not, is a change of the password."""
    values: dict[str, Any] = {"values": {}, "dn": "uid=a,dc=x", "ids": {}, "roles": []}
    then = LoginRecord(password=before, complete=as_account, **values)
    now = LoginRecord(password=after, complete=True, **values)
    assert then.difference(now) == (None if attribute is None else f"the password changed ({attribute})")


async def test_lookup_of_an_account_that_may_not_log_in(policies: Slapd) -> None:
    """A lookup without a password gives no roles to an account that is disabled or expired."""
    module = ldap_module(policies, lookupOnly="true", groupSearchBase=GROUPS)
    for name, words in (("shadow", "account expired"), ("locked", "account disabled")):
        with pytest.raises(LoginFailed, match=words) as error:
            await module.login(attempt(principals=(UserPrincipal(name),)))
        assert error.value.account_problem is None  # no password was checked


# ------------------------------------------------------------------------------------------- names without a directory


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("UID=Alice,OU=People", "userid=alice , ou=people", True),
        ("cn=a+uid=b,dc=x", "UID=B+cn=A,dc=x", True),
        (r"cn=Doe\2C John,dc=x", 'cn="Doe, John",dc=x', True),
        (r"cn=Doe\, John,dc=x", "cn=doe\\,  john,dc=x", True),
        ("2.5.4.3=a,dc=x", "cn=a,dc=x", True),
        ("cn=a,dc=x", "uid=a,dc=x", False),
        ("cn=a,dc=x", "cn=a,dc=y", False),
        (r"cn=a\,dc=x", "cn=a,dc=x", False),
        ("cn=a,dc=x", "dc=x", False),
    ],
)
def test_dns_are_compared_as_names(one: str, other: str, equal: bool) -> None:
    """DNs are equal if their attributes and values are, however they are written."""
    assert (canonical_dn(one) == canonical_dn(other)) is equal


def test_dns_as_they_are_written() -> None:
    """Escapes and the names of attributes have one form; letter case and spaces stay."""
    assert written_dn(r"UID=A\2Cb,dc=x") == written_dn(r"userid=A\,b, dc=x") != written_dn(r"uid=a\,b,dc=x")
    assert is_below(f"cn=a,{GROUPS}", GROUPS.upper())
    assert is_below(GROUPS, GROUPS)
    assert not is_below(f"ou=x{GROUPS}", GROUPS)
    assert not is_below(r"cn=a\,ou=groups,dc=example,dc=com", GROUPS)
    for wrong in ("nonsense", "cn", "cn=a,"):
        with pytest.raises(ValueError, match="is not a distinguished name"):
            canonical_dn(wrong)


@pytest.mark.parametrize(
    ("template", "dn", "name"),
    [
        ("uid={USERNAME},dc=x", "uid=Alice,dc=x", "Alice"),
        ("cn=x+userid=u-{USERNAME},dc=x", "UID=U-alice+cn=x,dc=x", "alice"),
        ("cn=login,uid={USERNAME},dc=x", "cn=login,uid=Alice,dc=x", "Alice"),
        ("uid={USERNAME},dc=x", "cn=Alice,dc=x", None),
        ("cn=login,uid={USERNAME},dc=x", "uid=Alice", None),
    ],
)
def test_names_in_dns(template: str, dn: str, name: str | None) -> None:
    """A DN template says which part of the entry's DN is the user's name."""
    found = rdn_name_of(template)
    assert found is not None
    assert found.name(dn) == name


def test_names_that_cannot_be_read() -> None:
    """An entry that shows none of the attributes is a fault, unless its DN has the name."""
    with pytest.raises(LoginUnavailable, match=r"cannot read the user's name \(sAMAccountName\)"):
        name_from_entry(Entry("cn=Alice,dc=x"), [NamePattern("sAMAccountName")], "alice")
    assert name_from_entry(Entry("uid=Alice,dc=x"), [NamePattern("uid")], "alice") == "Alice"
    assert name_from_entry(Entry("uid=Alice,dc=x"), [NamePattern("mail"), NamePattern("uid")], "alice") == "Alice"


@MODES
async def test_recheck(policies: Slapd, mode: dict[str, Any]) -> None:
    """With OpenLDAP's password policy a changed password ends a login; other changes do not."""
    uid = f"recheck{len(mode)}"
    policies.modify(person(uid))
    account = {"java.naming.security.principal": READER, "java.naming.security.credentials": READER_PASSWORD}
    module = ldap_module(policies, **mode, **account)
    grant = await log_in(module, uid.upper(), f"{uid}-pw")
    subject = Subject(grant.principals)
    policies.modify(f"dn: uid={uid},{PEOPLE}\nchangetype: modify\nreplace: title\ntitle: new\n")
    assert await module.recheck(subject, grant.recheck_data) is True
    await anyio.sleep(1.1)  # the directory's times have whole seconds
    policies.modify(f"dn: uid={uid},{PEOPLE}\nchangetype: modify\nreplace: userPassword\nuserPassword: {uid}-pw\n")
    assert await module.recheck(subject, grant.recheck_data) is False


@pytest.mark.parametrize(
    "change",
    [
        "add: objectClass\nobjectClass: shadowAccount\n-\nadd: shadowExpire\nshadowExpire: 0\n",
        "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n",
        "MixedCase",
        "replace: employeeNumber\nemployeeNumber: OTHER\n",
    ],
    ids=["shadow", "locked", "not unique", "role"],
)
async def test_recheck_of_what_else_changed(policies: Slapd, change: str) -> None:
    """A login ends once the account expires or is locked, the name is no longer unique, or a role changes."""
    uid = f"changing{len(change)}"
    policies.modify(person(uid))
    account = {"java.naming.security.principal": READER, "java.naming.security.credentials": READER_PASSWORD}
    text = "(|(uid={USERNAME})(&(uid=MixedCase)(description={USERNAME})))"
    module = ldap_module(policies, authzIdentity="{employeeNumber}", userFilter=text, **account)
    grant = await log_in(module, uid, f"{uid}-pw")
    assert await module.recheck(Subject(), grant.recheck_data) is True
    if "MixedCase" in change:
        other = f"dn: uid=MixedCase,{PEOPLE}\nchangetype: modify\nreplace: description\ndescription: {uid}\n"
        policies.modify(other)
    else:
        policies.modify(f"dn: uid={uid},{PEOPLE}\nchangetype: modify\n{change.format(uid=uid)}")
    assert await module.recheck(Subject(), grant.recheck_data) is False


# -------------------------------------------------------------------------- another program as the judge of comparisons

NAMES = [
    "alice",
    "J\u00fcrgen \u00dcnl\u00fc",
    "stra\u00dfe",
    "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
    "\u0418\u0432\u0430\u043d Petrov",
    "\ufb01ne",
    "\uff21\uff22\uff23",
    "a b  c",
    "na\u00a0me",
    "al\u00adice",
    "a\u200cb",
    "x\u00b2",
    "\u017fun",
    "\u212aelvin",
    "\uae40\ucca0\uc218",
    "\u2460",
]
SPELLINGS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    str.title,
    str.swapcase,
    str.casefold,
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFKC", text),
    lambda text: unicodedata.normalize("NFKD", text),
    lambda text: f" {text}",
    lambda text: f"{text}  ",
    lambda text: text.replace(" ", "   "),
    lambda text: text.replace(" ", "\u3000"),
    lambda text: text.replace("a", "\uff41"),
    lambda text: text[:1] + "\u00ad" + text[1:],
    lambda text: f"{text}\u200b",
    lambda text: text[:-1],
    lambda text: f"{text}x",
    lambda text: text.replace("i", "\u0456"),
]


def test_values_are_compared_as_the_directory_does(directory: Slapd) -> None:
    """For every name in every spelling, and for pairs of spellings, OpenLDAP finds the same values equal as we do."""
    connection = ldap.initialize(f"ldap://127.0.0.1:{directory.port}")
    connection.simple_bind_s(ROOT, ROOT_PASSWORD)
    dn, compared, equal = f"uid=mallory,{PEOPLE}", 0, 0
    for name in NAMES:
        connection.modify_s(dn, [(ldap.MOD_REPLACE, "description", [name.encode()])])
        spellings = {second(first(name)) for first in SPELLINGS for second in SPELLINGS}
        for spelling in sorted(filter(str.strip, spellings)):
            same = bool(connection.compare_s(dn, "description", spelling.encode()))
            assert (prepared(name) == prepared(spelling)) is same, (name, spelling)
            compared, equal = compared + 1, equal + same
    assert compared > 1000
    assert 300 < equal < compared - 300


def test_dns_are_compared_as_the_directory_does(directory: Slapd) -> None:
    """For DNs in many spellings, OpenLDAP finds the same ones equal as we do."""
    connection = ldap.initialize(f"ldap://127.0.0.1:{directory.port}")
    connection.simple_bind_s(ROOT, ROOT_PASSWORD)
    group_dn, member = f"cn=plain,{GROUPS}", f"cn=J\u00fcrgen+uid=a b,ou=x y,{BASE}"
    connection.modify_s(group_dn, [(ldap.MOD_REPLACE, "member", [member.encode()])])
    rdns = [
        "cn=J\u00fcrgen+uid=a b",
        "uid=A  B + CN=J\u00dcRGEN",
        "userid=a b+commonName=Ju\u0308rgen",
        r"cn=J\C3\BCrgen+uid=a\20b",
    ]
    rdns += [
        "cn=J\u00fcrgen",
        "uid=a b",
        "cn=Jurgen+uid=a b",
        "cn=J\u00fcrgen+sn=a b",
        r"cn=J\C3\BCrgen\2Buid=a b",
        "2.5.4.3=J\u00fcrgen+uid=a b",
    ]
    above = ["ou=x y", "OU=X  Y ", "organizationalUnitName=x y", "2.5.4.11= x y", "ou=xy", "cn=x y", "o=x y"]
    ends = [
        BASE,
        BASE.upper(),
        BASE.replace(",", " , "),
        "domainComponent=example,dc=com",
        "dc=example",
        "o=example,dc=com",
    ]
    compared, equal = 0, 0
    for rdn, middle, end in itertools.product(rdns, above, ends):
        dn = f"{rdn},{middle},{end}"
        same = bool(connection.compare_s(group_dn, "member", dn.encode()))
        assert (canonical_dn(member) == canonical_dn(dn)) is same, dn
        compared, equal = compared + 1, equal + same
    assert (compared, equal) == (420, 80)
