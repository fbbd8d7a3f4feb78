"""Read the ``roleMapping`` option: which groups give which roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from asgi_gateway.modules.ldap.client.names import prepared

__all__ = ["looks_like_dn", "parse_mapping", "parse_pairs", "prepare_mapping"]

_ATTRIBUTE = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)"
_RDN = rf'\s*{_ATTRIBUTE}\s*=(?:\\.|"[^"]*"|[^,\\"])*'
_DN = re.compile(rf"{_RDN}(?:,{_RDN})+")
# a quoted text, an escaped character, a separator, or other characters
_TOKEN = re.compile(
    r'"(?P<quoted>(?:\\"|[^"])*)"|\\(?P<escaped>.)|(?P<separator>[,;\n])|(?P<equals>=)|(?P<plain>[^",;\n=\\]+)'
)
_FORM = "is not of the form group=ROLE"


def looks_like_dn(group: str) -> bool:
    """Return whether the name of a group is a DN of at least two parts, and so names one group only."""
    return _DN.fullmatch(group) is not None


def parse_mapping(text: str) -> dict[str, tuple[str, ...]]:
    r"""Read ``group=ROLE`` pairs separated by commas, semicolons or line ends; a group may occur several times.

    A group with one of these characters, or a DN, is written in double quotes: ``"Sales, EU"=SALES``. Outside of
    quotes a backslash takes the next character as it is: ``Sales\, EU=SALES``.

    Returns:
        roles by the group's prepared name or DN.

    Raises:
        ValueError: a pair has another form.
    """
    pairs: list[tuple[str, str]] = []
    sides, source, position = [""], "", 0
    for match in [*_TOKEN.finditer(text + "\n")]:
        if match.start() != position:
            raise ValueError(f"{text[position:].strip()[:80]!r} has a quote or a backslash without an end")
        position = match.end()
        if match["separator"]:
            if source.strip():
                pairs.append(_pair(sides, source))
            sides, source = [""], ""
            continue
        source += match[0]
        if match["equals"]:
            sides.append("")
        elif match["quoted"] is not None:
            sides[-1] += match["quoted"].replace('\\"', '"')
        else:
            sides[-1] += match["escaped"] or match["plain"]
    return _collected(pairs)


def parse_pairs(items: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read a list whose items are one ``group=ROLE`` pair each; the role is after the last ``=``.

    Returns:
        roles by the group's prepared name or DN.

    Raises:
        ValueError: an item has another form.
    """
    pairs = []
    for item in items:
        if item.lstrip().startswith('"'):
            pairs += [(group, role) for group, roles in parse_mapping(item).items() for role in roles]
            continue
        group, _, role = (part.strip() for part in item.rpartition("="))
        if not group or not role or re.search("[,;]", role) or ("=" in group and not looks_like_dn(group)):
            raise ValueError(f"{item.strip()[:200]!r} {_FORM} (one pair for each item of the list)")
        pairs.append((group, role))
    return _collected(pairs)


def prepare_mapping(mapping: Mapping[object, object]) -> dict[str, object]:
    """Return a mapping with prepared groups, and every value as a tuple or as it was.

    Raises:
        ValueError: a group occurs twice.
    """
    roles = {prepared(str(group)): (value,) if isinstance(value, str) else value for group, value in mapping.items()}
    if len(roles) != len(mapping):
        raise ValueError("duplicate group, in different letter case or spacing (remove one)")
    return roles


def _pair(sides: list[str], source: str) -> tuple[str, str]:
    group, *roles = (side.strip() for side in sides)
    if len(roles) != 1 or not group or not roles[0]:
        hint = ' (write a DN, or a name with "=", in double quotes)' if len(roles) > 1 else ""
        raise ValueError(f"{source.strip()[:200]!r} {_FORM}{hint}")
    return group, roles[0]


def _collected(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    mapping: dict[str, tuple[str, ...]] = {}
    for group, role in pairs:
        mapping[prepared(group)] = (*mapping.get(prepared(group), ()), role)
    return mapping
