"""Compare what directories name: attributes with several names, values, and distinguished names.

Directories compare most values without regard to letter case and to repeated spaces, and know attributes by several
names. Source: RFC 4512 section 2.5 (attribute descriptions), RFC 4517 and RFC 4518 (matching), RFC 4514 (DNs).
"""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from typing import Any

from asgi_gateway.modules.ldap.client import imports

__all__ = [
    "attribute_aliases",
    "canonical_attribute",
    "canonical_dn",
    "is_below",
    "parse_dn",
    "prepared",
    "rdn_values",
    "written_dn",
]

# RFC 4519, RFC 4524, RFC 2798, RFC 2307: the attributes that name users and groups, with their other names
_ALIASES = (
    ("uid", "userid", "0.9.2342.19200300.100.1.1"),
    ("mail", "rfc822mailbox", "0.9.2342.19200300.100.1.3"),
    ("cn", "commonname", "2.5.4.3"),
    ("sn", "surname", "2.5.4.4"),
    ("serialnumber", "2.5.4.5"),
    ("c", "countryname", "2.5.4.6"),
    ("l", "localityname", "2.5.4.7"),
    ("st", "stateorprovincename", "2.5.4.8"),
    ("street", "streetaddress", "2.5.4.9"),
    ("o", "organizationname", "2.5.4.10"),
    ("ou", "organizationalunitname", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("description", "2.5.4.13"),
    ("businesscategory", "2.5.4.15"),
    ("telephonenumber", "2.5.4.20"),
    ("member", "2.5.4.31"),
    ("givenname", "gn", "2.5.4.42"),
    ("initials", "2.5.4.43"),
    ("uniqueidentifier", "0.9.2342.19200300.100.1.44"),
    ("mobile", "mobiletelephonenumber", "0.9.2342.19200300.100.1.41"),
    ("dc", "domaincomponent", "0.9.2342.19200300.100.1.25"),
    ("employeenumber", "2.16.840.1.113730.3.1.3"),
    ("employeetype", "2.16.840.1.113730.3.1.4"),
    ("departmentnumber", "2.16.840.1.113730.3.1.2"),
    ("displayname", "2.16.840.1.113730.3.1.241"),
    ("uidnumber", "1.3.6.1.1.1.1.0"),
    ("gidnumber", "1.3.6.1.1.1.1.1"),
    ("memberuid", "1.3.6.1.1.1.1.12"),
    ("samaccountname", "1.2.840.113556.1.4.221"),
    ("userprincipalname", "1.2.840.113556.1.4.656"),
    ("memberof", "1.2.840.113556.1.2.102"),
)
_NAMES: dict[str, tuple[str, ...]] = {name: names for names in _ALIASES for name in names}


@cache
def _library() -> Any:
    return imports.load_ldap()


def attribute_aliases(name: str) -> tuple[str, ...]:
    """Return all names of an attribute in lower case, itself included."""
    return _NAMES.get(name.lower(), (name.lower(),))


def canonical_attribute(name: str) -> str:
    """Return the one name that stands for all names of an attribute."""
    return attribute_aliases(name.strip())[0]


def prepared(value: str) -> str:
    """Return a value as caseIgnoreMatch compares it (RFC 4518): case, width and repeated spaces do not count.

    Invisible characters count, unlike in RFC 4518: OpenLDAP tells values with them apart, and where two names could be
    one the stricter rule gives no role to the other.
    """
    if value.isascii():
        return " ".join(value.lower().split())
    composed = unicodedata.normalize("NFKC", value)
    # one character for one, as OpenLDAP does it: str.lower() looks at the neighbours of a Greek sigma
    lowered = "".join(low if len(low := character.lower()) == 1 else character for character in composed)
    return " ".join(unicodedata.normalize("NFKC", lowered).split())


@lru_cache(maxsize=4096)
def canonical_dn(dn: str) -> str:
    """Return a form that is equal for DNs which name the same entry under the usual matching rules.

    The order of the attributes in one RDN, their letter case and other names, escapes, and what ``prepared`` maps do
    not count.

    Raises:
        ValueError: it is not a DN.
    """
    rdns = [sorted([canonical_attribute(name), prepared(value), 1] for name, value in rdn) for rdn in parse_dn(dn)]
    return str(_library().dn.dn2str(rdns))


@lru_cache(maxsize=4096)
def written_dn(dn: str) -> str:
    """Return a DN with its escapes and separators in one form. Values keep their letter case and spaces.

    Raises:
        ValueError: it is not a DN.
    """
    rdns = [sorted([canonical_attribute(name), value, 1] for name, value in rdn) for rdn in parse_dn(dn)]
    return str(_library().dn.dn2str(rdns))


def rdn_values(dn: str) -> list[tuple[str, str]]:
    """Return the attributes and values of a DN's first part; empty for the empty DN.

    Raises:
        ValueError: it is not a DN.
    """
    return next(iter(parse_dn(dn)), [])


def is_below(dn: str, base: str) -> bool:
    """Return whether a DN is a base or below it.

    Raises:
        ValueError: one of them is not a DN.
    """
    entry, above = (
        [sorted((canonical_attribute(name), prepared(value)) for name, value in rdn) for rdn in parse_dn(text)]
        for text in (dn, base)
    )
    return not above or entry[-len(above) :] == above


def parse_dn(dn: str) -> list[list[tuple[str, str]]]:
    """Return the parts of a DN, each a list of attributes and values (RFC 4514).

    Raises:
        ValueError: it is not a DN.
    """
    ldap = _library()
    try:
        return [[(name, value) for name, value, _ in rdn] for rdn in ldap.dn.str2dn(dn)]
    except (ldap.DECODING_ERROR, UnicodeError):
        raise ValueError(f"{dn!r} is not a distinguished name") from None
