"""Define search requests and the entries that they return."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from asgi_gateway.modules.ldap.client.names import attribute_aliases

__all__ = ["Entry", "Scope", "Search", "SearchRequest", "ValueRange"]

_RANGE = re.compile(r"(?P<name>[^;]+);range=(?P<first>\d{1,9})-(?P<last>\d{1,9}|\*)", re.IGNORECASE)


class Scope(IntEnum):
    """How far below its base a search goes (RFC 4511 section 4.5.1.2)."""

    BASE = 0
    ONE_LEVEL = 1
    SUBTREE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search.

    Args:
        base: the DN where it begins.
        scope: how far below the base it goes.
        filter: an RFC 4515 filter.
        attributes: the attributes to read; none reads the entries' names only.
        limit: how many entries there may be. The limit is sent along, so that a server never sends more.
        references: entries that other servers hold count: where this one returns nothing but their URLs, the search
            raises ``Referral``. Active Directory sends such URLs with every search from a domain's root.
        aliases: alias entries are followed as configured; False never follows them.
    """

    base: str
    scope: Scope = Scope.SUBTREE
    filter: str = "(objectClass=*)"
    attributes: tuple[str, ...] = ()
    limit: int = 1
    references: bool = False
    aliases: bool = True


@dataclass(frozen=True, slots=True)
class ValueRange:
    """A part of an attribute's values, as Active Directory sends it (MS-ADTS 3.1.1.3.1.3.3).

    Args:
        name: the attribute, in lower case.
        first: the index of the first value.
        last: the index of the last value; None if no more follow.
        values: the values.
    """

    name: str
    first: int
    last: int | None
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory.

    Args:
        dn: its distinguished name.
        attributes: values by attribute name in lower case.
    """

    dn: str
    attributes: Mapping[str, list[bytes]] = field(default_factory=dict, repr=False)

    def values(self, attribute: str) -> list[bytes]:
        """Return an attribute's values in the server's order, whichever of its names the server uses."""
        name = attribute.lower()
        if (found := self.attributes.get(name)) is not None:
            return found
        return next((self.attributes[alias] for alias in attribute_aliases(name) if alias in self.attributes), [])

    def texts(self, attribute: str) -> list[str]:
        """Return an attribute's values that are UTF-8 text and not empty, in the server's order."""
        found = []
        for value in self.values(attribute):
            try:
                found.append(value.decode())
            except UnicodeDecodeError:
                continue
        return [text for text in found if text]

    def text(self, attribute: str) -> str | None:
        """Return the first text of an attribute, or None."""
        return next(iter(self.texts(attribute)), None)

    def ranges(self) -> list[ValueRange]:
        """Return the attributes of which the server sent a part of the values only."""
        found = []
        for description, values in self.attributes.items():
            if match := _RANGE.fullmatch(description):
                last = None if match["last"] == "*" else int(match["last"])
                found.append(ValueRange(match["name"].lower(), int(match["first"]), last, values))
        return found

    def with_values(self, attribute: str, values: list[bytes]) -> Entry:
        """Return the entry with all values of an attribute in place of its ranges."""
        kept = {
            name: found
            for name, found in self.attributes.items()
            if not ((match := _RANGE.fullmatch(name)) and match["name"].lower() == attribute)
        }
        return Entry(self.dn, {**kept, attribute: values})


Search = Callable[[SearchRequest], Awaitable[list[Entry]]]
"""Runs a search, as the bind account or as the user."""
