"""Find the directory's own name of a user in the entry that a login found.

Directories ignore letter case, repeated spaces and width, so that one user may type many names. The name of the user
principal is therefore taken from the entry: the value of the attribute that the filter or the DN template compares with
``{USERNAME}``, without the template's own text around it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from asgi_gateway.errors import LoginUnavailable
from asgi_gateway.modules.ldap.client.entries import Entry
from asgi_gateway.modules.ldap.client.names import canonical_attribute, parse_dn, prepared, rdn_values

__all__ = ["NamePattern", "RdnName", "best_value", "name_from_entry", "patterns_of_filter", "rdn_name_of"]

_USERNAME = "{USERNAME}"
_PART = re.compile(r"\(|\)|[^()]+")
_ITEM = re.compile(r"\s*(?P<attribute>[A-Za-z0-9.;-]+)\s*(?:=|:[^=(){}]*:=)(?P<value>.*)", re.DOTALL)
_ESCAPE = re.compile(r"(?:\\[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class NamePattern:
    """An attribute that a filter compares with ``{USERNAME}``.

    Args:
        attribute: the attribute.
        prefix: the filter's text before ``{USERNAME}``.
        suffix: the filter's text after ``{USERNAME}``.
        realm: the filter compares the attribute with ``{REALM}`` too, so that values name the realm.
    """

    attribute: str
    prefix: str = ""
    suffix: str = ""
    realm: bool = False

    def names(self, entry: Entry) -> list[str]:
        """Return the names that the entry's values stand for."""
        return [name for value in entry.texts(self.attribute) if (name := self.name(value))]

    def name(self, value: str) -> str | None:
        """Return a value without the filter's text around it; None if it does not have this text."""
        end = len(value) - len(self.suffix)
        fits = value[: len(self.prefix)].casefold() == self.prefix.casefold()
        if not fits or value[max(end, 0) :].casefold() != self.suffix.casefold():
            return None
        return value[len(self.prefix) : end] or None


@dataclass(frozen=True, slots=True)
class RdnName:
    """The part of a DN that a DN template fills with ``{USERNAME}``.

    Args:
        index: which part, counted from the left.
        pattern: its attribute, and the template's text around ``{USERNAME}``.
    """

    index: int
    pattern: NamePattern

    def name(self, dn: str) -> str | None:
        """Return the name in an entry's DN, or None."""
        rdns = parse_dn(dn)
        if self.index >= len(rdns):
            return None
        wanted = canonical_attribute(self.pattern.attribute)
        values = [value for attribute, value in rdns[self.index] if canonical_attribute(attribute) == wanted]
        return next((name for value in values if (name := self.pattern.name(value))), None)


def patterns_of_filter(text: str) -> list[NamePattern]:
    """Return the attributes that a filter compares with ``{USERNAME}`` for equality, in its order.

    Parts below a ``!`` and values with a ``*`` name no user and are left out.

    Args:
        text: a filter template that parses (RFC 4515).
    """
    found: list[NamePattern] = []
    negated: list[bool] = []
    for part in _PART.findall(text):
        if part == "(":
            negated.append(False)
        elif part == ")":
            negated.pop()
        elif part.strip() == "!":
            negated[-1] = True
        elif not any(negated) and (pattern := _pattern(part)) is not None and pattern not in found:
            found.append(pattern)
    return found


def _pattern(item: str) -> NamePattern | None:
    match = _ITEM.fullmatch(item)
    if match is None or match["value"].count(_USERNAME) != 1 or "*" in match["value"]:
        return None
    return _around(match["attribute"], *map(_unescaped, match["value"].split(_USERNAME)))


def _around(attribute: str, prefix: str, suffix: str) -> NamePattern:
    realm = "{" in prefix + suffix
    # a value compared with {REALM} as well names a user of one realm only as a whole
    return NamePattern(attribute, realm=True) if realm else NamePattern(attribute, prefix, suffix)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[0].replace("\\", "")).decode(errors="replace"), text)


def rdn_name_of(template: str) -> RdnName | None:
    """Return which part of a DN template is the user's name; None if no part names ``{USERNAME}`` once.

    Raises:
        ValueError: the template is not a DN.
    """
    for index, rdn in enumerate(parse_dn(template)):
        for attribute, value in rdn:
            if value.count(_USERNAME) == 1:
                return RdnName(index, _around(attribute, *value.split(_USERNAME)))
    return None


def name_from_entry(entry: Entry, patterns: list[NamePattern], typed: str) -> str:
    """Return the name that an entry has by the first of some patterns; the pattern of its RDN goes first.

    Args:
        entry: the user's entry.
        patterns: the attributes that may name the user; none means that the RDN does.
        typed: the name by which the entry was found, which decides between several values of one attribute.

    Raises:
        LoginUnavailable: the entry shows none of the attributes.
    """
    if len(patterns) != 1:
        in_rdn = [attribute for attribute, _ in rdn_values(entry.dn)]
        patterns = sorted(patterns, key=lambda pattern: _position(pattern.attribute, in_rdn))
        patterns = patterns or [NamePattern(attribute) for attribute in in_rdn[:1]]
    for pattern in patterns:
        if (name := best_value(entry, pattern, typed)) is not None:
            return name
    wanted = ", ".join(pattern.attribute for pattern in patterns)
    raise LoginUnavailable(
        f"cannot read the user's name ({wanted}) in the entry {entry.dn}: may the bind account read the attribute?"
    )


def best_value(entry: Entry, pattern: NamePattern, typed: str) -> str | None:
    """Return the name that an entry has by one pattern: the value that was typed, else the RDN's, else the first.

    Args:
        entry: the user's entry.
        pattern: the attribute.
        typed: the name by which the entry was found.
    """
    names = sorted(pattern.names(entry))
    if len(names) == 1:
        return names[0]
    attribute = canonical_attribute(pattern.attribute)
    in_rdn = [
        name
        for found, value in rdn_values(entry.dn)
        if canonical_attribute(found) == attribute and (name := pattern.name(value))
    ]
    as_typed = [name for name in names if prepared(name) == prepared(typed)]
    exact = [name for name in as_typed if name == typed]
    return next(iter([*exact, *as_typed, *in_rdn, *names]), None)


def _position(attribute: str, in_rdn: list[str]) -> bool:
    """Return what sorts an attribute of the RDN before others."""
    return canonical_attribute(attribute) not in map(canonical_attribute, in_rdn)
