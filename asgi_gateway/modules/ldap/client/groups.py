"""Roles from the groups of a directory, which the JDK's LdapLoginModule leaves to others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client import imports as library
from asgi_gateway.modules.ldap.client.connection import Entry
from asgi_gateway.modules.ldap.client.errors import TooMany
from asgi_gateway.modules.ldap.client.escaping import Template, escape_filter

__all__ = ["IN_CHAIN", "MAX_GROUPS", "GroupRules", "GroupSearch", "in_chain_filter", "normal_dn", "parse_mapping"]

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule that follows nested groups on the server (LDAP_MATCHING_RULE_IN_CHAIN)."""

MAX_GROUPS = 1000
"""More groups than this are no user's, and an answer that large is refused rather than cut."""

_AT_ONCE = 50

GroupSearch = Callable[[str, str, tuple[str, ...], int], Awaitable[list[Entry]]]
"""Searches the subtree of a base with a filter, for attributes, and for at most so many entries."""


@dataclass(frozen=True, slots=True)
class GroupRules:
    """How groups are found, and what roles they give.

    Args:
        base: DN below which groups are searched; None: none are.
        filter: what a group of the user matches; with ``{USERDN}``, ``{USERNAME}`` and ``{REALM}``.
        role_attribute: the attribute of a group that names the role.
        member_of: the attribute of the user's entry that lists the DNs of groups, or None.
        depth: how many levels of groups within groups are followed; 0: none.
        prefix: put before each role's name.
        mapping: roles by a group's name in lower case; None: a group is a role of its own name.
    """

    base: str | None
    filter: Template
    role_attribute: str
    member_of: str | None
    depth: int
    prefix: str
    mapping: Mapping[str, tuple[str, ...]] | None

    @property
    def none(self) -> bool:
        """Whether nobody has groups."""
        return self.base is None and self.member_of is None

    async def names(self, search: GroupSearch, values: Mapping[str, str], entry: Entry | None) -> list[str]:
        """The names of a user's groups, each once. At most one search unless nested groups are followed.

        Args:
            search: searches the directory.
            values: what the filter's placeholders stand for.
            entry: the user's entry, for ``member_of``.

        Raises:
            LoginUnavailable: more groups than MAX_GROUPS, or the directory cannot be asked.
        """
        found = {normal_dn(dn): _first_value(dn) for dn in self._listed(entry)}
        if self.base is not None:
            level = await self._search(search, self.filter.fill(values), found)
            frontier = [*found] if self.depth else level
            for _ in range(self.depth):
                if not frontier:
                    break
                frontier = await self._containing(search, frontier, values, found)
        return list(dict.fromkeys(name for name in found.values() if name))

    def roles(self, groups: Iterable[str]) -> list[str]:
        """The roles that groups give. With a mapping, a group that is not in it gives none."""
        if self.mapping is None:
            return [self.prefix + group for group in groups]
        return list(dict.fromkeys(role for group in groups for role in self.mapping.get(group.lower(), ())))

    def _listed(self, entry: Entry | None) -> list[str]:
        if entry is None or self.member_of is None:
            return []
        is_dn = library.load().dn.is_dn
        return [dn for dn in entry.texts(self.member_of) if is_dn(dn)]

    async def _containing(
        self, search: GroupSearch, groups: list[str], values: Mapping[str, str], found: dict[str, str]
    ) -> list[str]:
        """The groups, not found yet, that have one of these groups as a member."""
        new: list[str] = []
        for start in range(0, len(groups), _AT_ONCE):
            filters = [self.filter.fill({**values, "USERDN": dn}) for dn in groups[start : start + _AT_ONCE]]
            new += await self._search(search, f"(|{''.join(filters)})", found)
        return new

    async def _search(self, search: GroupSearch, filter_text: str, found: dict[str, str]) -> list[str]:
        """Add what a filter finds; returns the DNs that are new. Knowing them is what ends loops."""
        assert self.base is not None
        try:
            entries = await search(self.base, filter_text, (self.role_attribute,), MAX_GROUPS)
        except TooMany as error:
            raise LoginUnavailable(f"too many groups: {error}") from None
        new = []
        for entry in entries:
            dn = normal_dn(entry.dn)
            if dn not in found:
                new.append(dn)
            found[dn] = entry.text(self.role_attribute) or ""
        if len(found) > MAX_GROUPS:
            raise LoginUnavailable(f"more than {MAX_GROUPS} groups")
        return new


def normal_dn(dn: str) -> str:
    """A DN as it can be compared: without regard to case and to spaces around separators."""
    ldap = library.load()
    return str(ldap.dn.dn2str(ldap.dn.str2dn(dn.lower())))


def parse_mapping(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``group=ROLE`` pairs separated by commas, semicolons or line ends; a group may occur several times.

    Raises:
        ValueError: something else stands there.
    """
    mapping: dict[str, tuple[str, ...]] = {}
    for pair in text.replace(";", ",").replace("\n", ",").split(","):
        if not pair.strip():
            continue
        group, separator, role = (part.strip() for part in pair.partition("="))
        if not separator or not group or not role:
            raise ValueError(f"{pair.strip()!r} is not of the form group=ROLE")
        mapping[group.lower()] = (*mapping.get(group.lower(), ()), role)
    return mapping


def in_chain_filter() -> Template:
    """Finds all groups of a user on Active Directory, nested ones included, with one search."""
    return Template(f"(member:{IN_CHAIN}:={{USERDN}})", ("USERDN",), escape_filter)


def _first_value(dn: str) -> str:
    """The name of a group by its DN alone: the value of its first part."""
    return str(library.load().dn.str2dn(dn)[0][0][1])
