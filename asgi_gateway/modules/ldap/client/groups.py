"""Find a user's groups and the roles that they give. The JDK's LdapLoginModule has no groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.entries import Entry, Search, SearchRequest
from asgi_gateway.modules.ldap.client.errors import TooManyEntries
from asgi_gateway.modules.ldap.client.escaping import Template, escape_filter
from asgi_gateway.modules.ldap.client.names import canonical_attribute, canonical_dn, is_below, prepared, rdn_values

__all__ = ["IN_CHAIN", "MAX_GROUPS", "Group", "GroupRules", "in_chain_filter"]

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule that follows nested groups on the server (LDAP_MATCHING_RULE_IN_CHAIN)."""

MAX_GROUPS = 1000
"""The most groups that searches may find for one user; a larger answer is refused and never cut."""

_FILTERS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a user.

    Args:
        dn: its DN as the directory writes it.
        names: its values of the role attribute.
    """

    dn: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """How groups are found, and which roles they give.

    Args:
        base: DN below which groups are searched; None searches none.
        filter: what a group of the user matches; with ``{USERDN}``, ``{USERNAME}`` and ``{REALM}``.
        role_attribute: the attribute of a group that names the role.
        member_of: the attribute of the user's entry that lists the DNs of groups, or None.
        member_of_bases: DNs below which the groups of ``member_of`` count; none means everywhere.
        depth: how many levels of groups within groups are followed.
        prefix: put before the name of each role.
        mapping: roles by a group's prepared name; None makes each group a role of its own name.
        mapping_by_dn: roles by a group's canonical DN.
    """

    base: str | None
    filter: Template
    role_attribute: str
    member_of: str | None
    member_of_bases: tuple[str, ...] = ()
    depth: int = 0
    prefix: str = ""
    mapping: Mapping[str, tuple[str, ...]] | None = None
    mapping_by_dn: Mapping[str, tuple[str, ...]] | None = None

    @property
    def none(self) -> bool:
        """Whether no groups are looked for."""
        return self.base is None and self.member_of is None

    async def find(self, search: Search, values: Mapping[str, str], entry: Entry | None) -> list[Group]:
        """Return a user's groups, each once. At most one search unless nested groups are followed.

        Args:
            search: searches the directory.
            values: the values of the filter's placeholders.
            entry: the user's entry, for ``member_of``.

        Raises:
            LoginUnavailable: more groups than MAX_GROUPS, a group or its name cannot be read, or the directory cannot
                be asked.
        """
        found = {canonical_dn(group.dn): group for group in self._listed(entry)}
        if self.base is not None:
            new = await self._search(search, self.filter.fill(values), found)
            frontier = list(found.values()) if self.depth else new
            for _ in range(self.depth):
                if not frontier:
                    break
                frontier = await self._containing(search, frontier, values, found)
        return list(found.values())

    def roles(self, groups: Iterable[Group]) -> list[str]:
        """Return the roles that groups give, each once. With a mapping, a group that is not in it gives none."""
        if self.mapping is None:
            return list(dict.fromkeys(self.prefix + name for group in groups for name in group.names))
        by_dn = self.mapping_by_dn
        roles: list[str] = []
        for group in groups:
            if by_dn:
                roles += by_dn.get(canonical_dn(group.dn), ())
            for name in group.names:
                roles += self.mapping.get(prepared(name), ())
        return list(dict.fromkeys(roles))

    def _listed(self, entry: Entry | None) -> list[Group]:
        if entry is None or self.member_of is None:
            return []
        groups = []
        for value in entry.values(self.member_of):
            try:
                dn = value.decode()
                inside = not self.member_of_bases or any(is_below(dn, base) for base in self.member_of_bases)
                if inside:
                    groups.append(Group(dn, (self._name_in_dn(dn),)))
            except ValueError:  # UnicodeDecodeError is one
                raise LoginUnavailable(f"{self.member_of} of {entry.dn} has a value that is not a DN") from None
        return groups

    def _name_in_dn(self, dn: str) -> str:
        """Return the name of a group by its DN: the role attribute's value in its first part, else the first value."""
        parts = rdn_values(dn)
        wanted = canonical_attribute(self.role_attribute)
        names = [value for attribute, value in parts if canonical_attribute(attribute) == wanted]
        name = next(iter([*names, *(value for _, value in parts)]), "")
        if not name:
            raise ValueError(f"{dn!r} has no name in its first part")
        return name

    async def _containing(
        self, search: Search, groups: list[Group], values: Mapping[str, str], found: dict[str, Group]
    ) -> list[Group]:
        """Return the groups, not found yet, that have one of these groups as a member."""
        new: list[Group] = []
        for start in range(0, len(groups), _FILTERS_AT_ONCE):
            some = groups[start : start + _FILTERS_AT_ONCE]
            filters = [self.filter.fill({**values, "USERDN": group.dn}) for group in some]
            new += await self._search(search, f"(|{''.join(filters)})", found)
        return new

    async def _search(self, search: Search, filter_text: str, found: dict[str, Group]) -> list[Group]:
        """Add what a filter finds, and return the groups that are new. Following new ones only ends loops."""
        if self.base is None:
            return []
        request = SearchRequest(base=self.base, filter=filter_text, attributes=(self.role_attribute,), limit=MAX_GROUPS)
        try:
            entries = await search(request)
        except TooManyEntries as error:
            raise LoginUnavailable(f"too many groups: {error}") from None
        new = []
        for entry in entries:
            dn, group = canonical_dn(entry.dn), Group(entry.dn, self._names(entry))
            if dn not in found:
                new.append(group)
            found[dn] = group
        if len(new) > MAX_GROUPS:
            raise LoginUnavailable(f"more than {MAX_GROUPS} groups")
        return new

    def _names(self, entry: Entry) -> tuple[str, ...]:
        """Return the role attribute's values: the one in the RDN if the attribute is there, else all.

        Raises:
            LoginUnavailable: the values are not text, or the group shows none.
        """
        wanted = canonical_attribute(self.role_attribute)
        in_rdn = [value for attribute, value in rdn_values(entry.dn) if canonical_attribute(attribute) == wanted]
        if in_rdn and in_rdn[0]:
            return (in_rdn[0],)
        names = tuple(entry.texts(self.role_attribute))
        if not names or len(names) != len(entry.values(self.role_attribute)):
            raise LoginUnavailable(
                f"cannot read {self.role_attribute} of the group {entry.dn}: may the account that searches read it?"
            )
        return names


def in_chain_filter() -> Template:
    """Return the filter that finds all groups of a user on Active Directory, nested ones included, by one search."""
    return Template(f"(member:{IN_CHAIN}:={{USERDN}})", ("USERDN",), escape_filter)
