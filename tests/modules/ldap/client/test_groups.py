"""Roles by groups' names; finding the groups is tested against a real server."""

from __future__ import annotations

from typing import Any

from asgi_gateway.modules.ldap.client.escaping import Template, escape_filter
from asgi_gateway.modules.ldap.client.groups import Group, GroupRules, in_chain_filter
from asgi_gateway.modules.ldap.client.role_mapping import parse_mapping


def rules(**kw: Any) -> GroupRules:
    values = {"base": None, "role_attribute": "cn", "member_of": None}
    return GroupRules(filter=Template("(member={USERDN})", ("USERDN",), escape_filter), **(values | kw))


def groups(*names: str) -> list[Group]:
    return [Group(f"cn={name},dc=x", (name,)) for name in names]


def test_groups_are_roles_of_their_own_names() -> None:
    """Without a mapping, a group is a role of its name, with the prefix before it."""
    assert rules().roles(groups("admins")) == ["admins"]
    assert rules(prefix="LDAP_").roles(groups("admins", "users")) == ["LDAP_admins", "LDAP_users"]


def test_only_mapped_groups_are_roles() -> None:
    """With a mapping, a group that is not in it gives no role, and letter case does not matter."""
    mapping = parse_mapping("Admins=ADMINISTRATOR\nadmins=AUTHORIZED\nusers=AUTHORIZED")
    assert rules(mapping=mapping).roles(groups("ADMINS", "users", "others")) == ["ADMINISTRATOR", "AUTHORIZED"]


def test_in_chain_filter() -> None:
    """Active Directory's rule for nested groups gets the user's DN, escaped."""
    filled = in_chain_filter().fill({"USERDN": "cn=a(b),dc=x", "USERNAME": "a"})
    assert filled == r"(member:1.2.840.113556.1.4.1941:=cn=a\28b\29,dc=x)"
