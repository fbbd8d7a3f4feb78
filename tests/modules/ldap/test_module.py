"""Options of the ldap login module; what it does with them is tested against a real server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.ldap import LdapLoginModule, LdapOptions, LdapPrincipal
from asgi_gateway.modules.ldap.options import authz_attribute
from tests.helpers import context

URL = "ldap://ldap.example.com/ou=people,dc=example,dc=com"
FILTER = "(uid={USERNAME})"


def options(**kw: Any) -> LdapOptions:
    return LdapOptions.model_validate({"userProvider": URL, "userFilter": FILTER} | kw)


def test_modes() -> None:
    """The mode follows from which of userFilter and authIdentity are given."""
    assert options().mode == "search-first"
    assert options(authIdentity="{USERNAME}").mode == "authentication-first"
    assert options(authIdentity="uid={USERNAME}", userFilter=None).mode == "authentication-only"
    assert options(lookupOnly="true").mode == "lookup"


def test_texts_are_stripped() -> None:
    """XML's line breaks around a value do not count."""
    assert options(userFilter="\n  (uid={USERNAME})\n").userFilter == FILTER


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"userProvider": None}, "userProvider"),
        ({"userFilter": None}, "give userFilter, authIdentity, or both"),
        ({"lookupOnly": "true", "authIdentity": "{USERNAME}"}, "lookupOnly needs userFilter"),
        ({"lookupOnly": "true", "useFirstPass": "true"}, "lookupOnly uses no password"),
        ({"userFilter": None, "authIdentity": "x", "authzIdentity": "{title}"}, "no entry is read"),
        ({"userFilter": None, "authIdentity": "x", "userNameAttribute": "uid"}, "no entry is read"),
        ({"userFilter": None, "authIdentity": "x", "memberOfAttribute": "memberOf"}, "no entry is read"),
        ({"groupFilter": "(member={USERDN})"}, "need groupSearchBase"),
        ({"groupInChain": "true"}, "need groupSearchBase"),
        ({"nestedGroupDepth": "2"}, "need groupSearchBase"),
        ({"groupSearchBase": "o=x", "groupInChain": True, "nestedGroupDepth": 1}, "own filter and nesting"),
        ({"nestedGroupDepth": "21", "groupSearchBase": "o=x"}, "nestedGroupDepth"),
        ({"rolePrefix": "x", "roleMapping": "a=B"}, "not both"),
        ({"authIdentity": "x={USERNAME}", "java.naming.referral": "follow"}, "needs userFilter alone"),
        ({"roleMapping": "a"}, "form group=ROLE"),
        ({"roleMapping": {"A": "x", "a": "y"}}, "letter case"),
        ({"roleMapping": ["a=A,b=B"]}, "one pair for each item"),
        ({"authzIdentity": "{ employeeNumber}"}, "authzIdentity: in braces"),
        ({"authzIdentity": "{cn}{sn}"}, "authzIdentity: in braces"),
        ({"authzIdentity": "{}"}, "authzIdentity: in braces"),
        ({"authzIdentity": "ROLE-{title}"}, "authzIdentity: in braces"),
        ({"authzIdentity": "{title"}, "authzIdentity: in braces"),
        ({"useTypedName": "true", "userNameAttribute": "uid"}, "useTypedName takes the name as typed"),
        ({"useTypedName": "true", "lookupOnly": "true"}, "useTypedName takes the name as typed"),
        ({"memberOfBase": "ou=groups,dc=example,dc=com"}, "memberOfBase needs memberOfAttribute"),
        ({"java.naming.security.authentication": "DIGEST-MD5"}, "java.naming.security.authentication"),
        ({"java.naming.ldap.derefAliases": "sometimes"}, "derefAliases"),
        ({"roleMapping": 5}, "roleMapping"),
        ({"roleMapping": [5]}, "roleMapping"),
        ({"userfilter": "(uid={USERNAME})"}, "userfilter"),
    ],
)
def test_options_that_do_not_fit(wrong: dict[str, Any], message: str) -> None:
    """Options that mean nothing together are errors that say which."""
    with pytest.raises(ValidationError, match=message):
        options(**wrong)


@pytest.mark.parametrize(
    ("authz", "attribute"),
    [
        ("{employeeNumber}", "employeeNumber"),
        ("{2.5.4.3}", "2.5.4.3"),
        ("{cn;lang-de}", "cn;lang-de"),
        ("{title;x-a;x-b}", "title;x-a;x-b"),
        ("AUTHORIZED", None),
        (None, None),
    ],
)
def test_attributes_as_authz_identity(authz: str | None, attribute: str | None) -> None:
    """An attribute's name or OID in braces, with its options, is read from the entry; other texts are roles."""
    assert options(authzIdentity=authz).authzIdentity == authz
    assert authz_attribute(authz) == attribute


def test_jndi_properties_without_effect() -> None:
    """Properties of JNDI that change nothing here are accepted and listed as ignored."""
    given = {
        "com.sun.jndi.ldap.connect.pool": "true",
        "com.sun.jndi.ldap.connect.pool.timeout": "300000",
        "java.naming.security.authentication": "simple",
        "java.naming.ldap.version": "3",
        "java.naming.factory.initial": "com.sun.jndi.ldap.LdapCtxFactory",
    }
    assert options(**given).ignored == tuple(given)
    assert options().ignored == ()


def test_role_mapping_as_text_and_as_mapping() -> None:
    """A role mapping is the same as text, as a list of pairs and as a mapping; group names have no letter case."""
    text = options(roleMapping="Admins=ADMINISTRATOR, admins=AUTHORIZED; users = AUTHORIZED,").roleMapping
    mapping = options(roleMapping={"Admins": ["ADMINISTRATOR", "AUTHORIZED"], "users": "AUTHORIZED"}).roleMapping
    pairs = options(roleMapping=["Admins=ADMINISTRATOR", "admins=AUTHORIZED", "users=AUTHORIZED"]).roleMapping
    assert text == mapping == pairs == {"admins": ("ADMINISTRATOR", "AUTHORIZED"), "users": ("AUTHORIZED",)}


def test_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-ldap the module can be imported, and says at the start what to install."""
    monkeypatch.setitem(sys.modules, "ldap", None)
    monkeypatch.setitem(sys.modules, "ldap.dn", None)
    with pytest.raises(ConfigError, match=r"pip install 'asgi-gateway\[ldap\]'"):
        LdapLoginModule(options(), context(tmp_path).context)


@pytest.mark.parametrize("other", ["UID=Alice,DC=X", "uid=ALICE,dc=x", "uid=\uff21lice,dc=x"])
def test_principals_with_one_dn(other: str) -> None:
    """Two principals whose DNs name the same entry are one, whatever their letter case."""
    assert LdapPrincipal(other) == LdapPrincipal("uid=alice,dc=x")
    assert len({LdapPrincipal(other), LdapPrincipal("uid=alice,dc=x")}) == 1
    assert LdapPrincipal("uid=bob,dc=x") != LdapPrincipal("uid=alice,dc=x")


def test_every_option_is_documented() -> None:
    """The page about the module names every option there is."""
    page = Path(__file__).parents[3].joinpath("docs/reference/modules/ldap.md").read_text()
    missing = [name for name, f in LdapOptions.model_fields.items() if f"`{f.alias or name}`" not in page]
    assert missing == []
