"""Define the options of the ``ldap`` login module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from asgi_gateway.modules.ldap.client.options import DirectoryOptions
from asgi_gateway.modules.ldap.client.role_mapping import parse_mapping, parse_pairs, prepare_mapping
from asgi_gateway.plugins.option_types import Boolean

__all__ = ["LdapOptions", "Mode", "authz_attribute"]

_ATTRIBUTE = re.compile(r"\{((?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*)\}")

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Mode = Literal["search-first", "authentication-first", "authentication-only", "lookup"]


def authz_attribute(authz_identity: str | None) -> str | None:
    """Return the attribute that an ``authzIdentity`` such as ``{employeeNumber}`` names; None for a plain role.

    An attribute is a name or an OID, with options such as ``;lang-de`` (RFC 4512 section 2.5).
    """
    match = _ATTRIBUTE.fullmatch(authz_identity or "")
    return match[1] if match else None


def _mapping(value: object) -> object:
    if isinstance(value, str):
        return parse_mapping(value)
    if isinstance(value, list | tuple) and all(isinstance(pair, str) for pair in value):
        return parse_pairs(value)
    return prepare_mapping(value) if isinstance(value, Mapping) else value


class LdapOptions(DirectoryOptions):
    """Options of ``ldap``.

    Args:
        userProvider: LDAP URLs separated by spaces, tried in order.
        userFilter: finds the user's entry, with ``{USERNAME}`` and ``{REALM}``.
        authIdentity: the name to bind with, with ``{USERNAME}`` and ``{REALM}``.
        authzIdentity: one more role: a text, or ``{ATTRIBUTE}`` for an attribute of the user's entry.
        userNameAttribute: the attribute that gives the user principal's name; None takes the attribute that
            ``userFilter`` or ``authIdentity`` compares with ``{USERNAME}``.
        useTypedName: the user principal's name is what was typed, as in the JDK.
        lookupOnly: look up the roles of the user whom an earlier module established, without a password.
        stripRealm: realms separated by spaces; only users ``name@REALM`` of these get in, ``{USERNAME}`` is name.
        stripDomain: names of one domain separated by spaces; of ``DOMAIN\\name``, ``{USERNAME}`` is name.
        groupSearchBase: the DN below which groups are searched.
        groupFilter: what the user's groups match, with ``{USERDN}``, ``{USERNAME}`` and ``{REALM}``.
        groupInChain: let Active Directory follow nested groups itself.
        groupRoleAttribute: the attribute of a group that names the role.
        memberOfAttribute: the attribute of the user's entry that lists groups' DNs.
        memberOfBase: the DN below which groups of ``memberOfAttribute`` count; None means everywhere.
        nestedGroupDepth: how many levels of groups within groups are followed.
        rolePrefix: put before the name of each group.
        roleMapping: ``group=ROLE`` pairs, or a mapping; other groups then give no role. A group is a name or a DN.
    """

    userProvider: Text
    userFilter: Text | None = None
    authIdentity: Text | None = None
    authzIdentity: Text | None = None
    userNameAttribute: Text | None = None
    useTypedName: Boolean = False
    lookupOnly: Boolean = False
    stripRealm: Text | None = None
    stripDomain: Text | None = None
    groupSearchBase: Text | None = None
    groupFilter: Text | None = None
    groupInChain: Boolean = False
    groupRoleAttribute: Text = "cn"
    memberOfAttribute: Text | None = None
    memberOfBase: Text | None = None
    nestedGroupDepth: int = Field(0, ge=0, le=20)
    rolePrefix: str = ""
    roleMapping: Annotated[dict[str, tuple[str, ...]] | None, BeforeValidator(_mapping)] = None

    @property
    def mode(self) -> Mode:
        """The mode that the options select."""
        if self.lookupOnly:
            return "lookup"
        if self.authIdentity is None:
            return "search-first"
        return "authentication-only" if self.userFilter is None else "authentication-first"

    @model_validator(mode="after")
    def _options_fit_together(self) -> LdapOptions:
        reads_entry = self.userNameAttribute or self.memberOfAttribute or authz_attribute(self.authzIdentity)
        groups = self.groupFilter is not None or self.nestedGroupDepth > 0
        uses_password = self.useFirstPass or self.tryFirstPass or self.storePass or self.clearPass
        braces = set("{}") & set(self.authzIdentity or "")
        rules = (
            (
                bool(braces) and authz_attribute(self.authzIdentity) is None,
                "authzIdentity: in braces there must be one attribute's name or OID, such as {employeeNumber}, and "
                "nothing around them; a plain role has no braces",
            ),
            (
                self.useTypedName and (self.userNameAttribute is not None or self.lookupOnly),
                "useTypedName takes the name as typed: leave out userNameAttribute and lookupOnly",
            ),
            (self.memberOfBase is not None and self.memberOfAttribute is None, "memberOfBase needs memberOfAttribute"),
            (self.userFilter is None and self.authIdentity is None, "give userFilter, authIdentity, or both"),
            (
                self.lookupOnly and (self.userFilter is None or self.authIdentity is not None),
                "lookupOnly needs userFilter, and no authIdentity",
            ),
            (
                self.lookupOnly and uses_password,
                "lookupOnly uses no password: leave out useFirstPass, tryFirstPass, storePass and clearPass",
            ),
            (
                self.userFilter is None and bool(reads_entry),
                "without userFilter no entry is read: an {ATTRIBUTE} as authzIdentity, userNameAttribute and "
                "memberOfAttribute need it",
            ),
            (
                self.groupSearchBase is None and (groups or self.groupInChain),
                "groupFilter, groupInChain and nestedGroupDepth need groupSearchBase",
            ),
            (
                self.groupInChain and groups,
                "groupInChain has its own filter and nesting: leave out groupFilter and nestedGroupDepth",
            ),
            (
                self.referral == "follow" and self.authIdentity is not None,
                "java.naming.referral=follow needs userFilter alone: authIdentity binds before anything is searched",
            ),
            (bool(self.rolePrefix) and self.roleMapping is not None, "give rolePrefix or roleMapping, not both"),
        )
        if found := [message for wrong, message in rules if wrong]:
            raise ValueError("; ".join(found))
        return self
