"""Compile the options of the ``ldap`` login module that say how users and groups are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.ldap.client import imports
from asgi_gateway.modules.ldap.client.escaping import Template, escape_dn, escape_filter
from asgi_gateway.modules.ldap.client.groups import GroupRules, in_chain_filter
from asgi_gateway.modules.ldap.client.identity import NamePattern, RdnName, patterns_of_filter, rdn_name_of
from asgi_gateway.modules.ldap.client.names import canonical_attribute, canonical_dn
from asgi_gateway.modules.ldap.client.role_mapping import looks_like_dn
from asgi_gateway.modules.ldap.options import LdapOptions
from asgi_gateway.plugins.login_module import ModuleContext

__all__ = ["UserRules", "group_rules", "user_rules"]

_NAMES = ("USERNAME", "REALM")
_FILTER_TEST_URL = "ldapi://%2Fnonexistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRules:
    """How a user's entry is found, and where its name is.

    Args:
        filter: the template of ``userFilter``, or None.
        identity: the template of ``authIdentity``, or None.
        identity_is_dn: ``authIdentity`` makes a DN.
        patterns: the attributes that ``userFilter`` compares with ``{USERNAME}``.
        rdn_name: the part of the DN that ``authIdentity`` fills with ``{USERNAME}``.
    """

    filter: Template | None
    identity: Template | None
    identity_is_dn: bool
    patterns: list[NamePattern]
    rdn_name: RdnName | None

    @property
    def needs_realm(self) -> bool:
        """Whether a template has ``{REALM}``."""
        return any("REALM" in template.names for template in (self.filter, self.identity) if template is not None)

    @property
    def value_has_realm(self) -> bool:
        """Whether the attribute that names the user holds the realm too."""
        pattern = self.patterns[0] if self.patterns else self.rdn_name.pattern if self.rdn_name else None
        return pattern is not None and pattern.realm


def user_rules(options: LdapOptions, context: ModuleContext) -> UserRules:
    """Compile ``userFilter`` and ``authIdentity``, and warn where they do not say which attribute names the user.

    Raises:
        ConfigError: a template is invalid or the same for every user.
    """
    user_filter = _filter("userFilter", options.userFilter, _NAMES)
    identity, is_dn = _identity(options.authIdentity)
    if identity is not None and not is_dn and user_filter is None:
        raise ConfigError(
            f"authIdentity: {identity.text!r} is not a distinguished name, which userFilter is needed for"
        )
    patterns = patterns_of_filter(options.userFilter or "")
    rdn_name = rdn_name_of(options.authIdentity) if is_dn and options.authIdentity else None
    if user_filter is not None and not patterns and rdn_name is not None:
        patterns = [rdn_name.pattern] if rdn_name.index == 0 else []
    if options.userNameAttribute is None and not options.useTypedName and not options.lookupOnly:
        _warn_of_unclear_name(options, patterns, context.warn)
    return UserRules(filter=user_filter, identity=identity, identity_is_dn=is_dn, patterns=patterns, rdn_name=rdn_name)


def _warn_of_unclear_name(options: LdapOptions, patterns: list[NamePattern], warn: Callable[[str], None]) -> None:
    attributes = list(dict.fromkeys(canonical_attribute(pattern.attribute) for pattern in patterns))
    if len(attributes) > 1:
        warn(
            f"userFilter compares {{USERNAME}} with several attributes ({', '.join(attributes)}); the user's name is "
            "the one of the entry's RDN, else the first of them (name it by userNameAttribute)"
        )
    if options.userFilter is not None and not attributes:
        warn(
            "userFilter compares {USERNAME} with no attribute for equality; the user's name is the value of the "
            "entry's RDN (name the attribute by userNameAttribute)"
        )


def group_rules(options: LdapOptions, context: ModuleContext) -> GroupRules:
    """Compile the options about groups.

    Raises:
        ConfigError: one of them is invalid.
    """
    for option, dn in (("groupSearchBase", options.groupSearchBase), ("memberOfBase", options.memberOfBase)):
        if dn is not None and not imports.load_ldap().dn.is_dn(dn):
            raise ConfigError(f"{option}: {dn!r} is not a distinguished name")
    text = options.groupFilter or "(member={USERDN})"
    template = in_chain_filter() if options.groupInChain else _filter("groupFilter", text, (*_NAMES, "USERDN"))
    if template is None:
        raise ConfigError("groupFilter: missing")
    if options.nestedGroupDepth and "USERDN" not in template.names:
        raise ConfigError("nestedGroupDepth: groupFilter must name {USERDN} to find groups within groups")
    _warn_of_changed_name(options, template, context.warn)
    by_name, by_dn = _split_mapping(options.roleMapping)
    return GroupRules(
        base=options.groupSearchBase,
        filter=template,
        role_attribute=options.groupRoleAttribute,
        member_of=options.memberOfAttribute,
        member_of_bases=() if options.memberOfBase is None else (options.memberOfBase,),
        depth=options.nestedGroupDepth,
        prefix=options.rolePrefix,
        mapping=by_name,
        mapping_by_dn=by_dn,
    )


def _warn_of_changed_name(options: LdapOptions, template: Template, warn: Callable[[str], None]) -> None:
    if options.groupSearchBase is None or options.userNameAttribute is None or "USERNAME" not in template.names:
        return
    compared = {canonical_attribute(pattern.attribute) for pattern in patterns_of_filter(options.userFilter or "")}
    if canonical_attribute(options.userNameAttribute) not in compared:
        warn(
            f"groupFilter: {{USERNAME}} is the value of userNameAttribute ({options.userNameAttribute}), "
            "which userFilter does not search by; make sure that groups list it"
        )


_Mapping = dict[str, tuple[str, ...]] | None


def _split_mapping(mapping: _Mapping) -> tuple[_Mapping, _Mapping]:
    """Return the roles by group name and by group DN."""
    if mapping is None:
        return None, None
    by_name = {group: roles for group, roles in mapping.items() if not looks_like_dn(group)}
    by_dn: dict[str, tuple[str, ...]] = {}
    for group in mapping.keys() - by_name.keys():
        try:
            by_dn[canonical_dn(group)] = (*by_dn.get(canonical_dn(group), ()), *mapping[group])
        except ValueError:
            raise ConfigError(f"roleMapping: {group!r} is not a distinguished name") from None
    return by_name, by_dn


def _filter(option: str, text: str | None, names: tuple[str, ...]) -> Template | None:
    """Return a filter's template, tested with libldap's own parser.

    Raises:
        ConfigError: it is not a filter, or the same for every user.
    """
    if text is None:
        return None
    try:
        template = Template(text, names, escape_filter)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    if not template.names & {"USERNAME", "USERDN"}:
        raise ConfigError(f"{option}: {text!r} finds the same for every user: it must name {{USERNAME}}")
    ldap = imports.load_ldap()
    offline = ldap.initialize(_FILTER_TEST_URL)
    try:
        offline.search_ext("", ldap.SCOPE_BASE, template.fill(dict.fromkeys(names, "x")))
    except ldap.FILTER_ERROR:
        raise ConfigError(f"{option}: {text!r} is not an LDAP filter (RFC 4515): count its parentheses") from None
    except ldap.LDAPError:  # parsed; there is no server to send it to
        pass
    return template


def _identity(text: str | None) -> tuple[Template | None, bool]:
    """Return the template of ``authIdentity``, and whether it makes a DN.

    Raises:
        ConfigError: it is invalid, or the same for every user.
    """
    if text is None:
        return None, False
    try:
        sample = Template(text, _NAMES, escape_dn).fill(dict.fromkeys(_NAMES, "x"))
        is_dn = bool(imports.load_ldap().dn.is_dn(sample))
        template = Template(text, _NAMES, escape_dn if is_dn else str)
    except ValueError as error:
        raise ConfigError(f"authIdentity: {error}") from None
    if "USERNAME" not in template.names:
        raise ConfigError(f"authIdentity: {text!r} is the same for every user: it must name {{USERNAME}}")
    return template, is_dn
