"""Attributes by their other names, and values that come in parts."""

from __future__ import annotations

import pytest

from asgi_gateway.modules.ldap.client.entries import Entry, ValueRange
from asgi_gateway.modules.ldap.client.names import attribute_aliases, canonical_attribute, prepared


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("userid", "uid"), ("2.5.4.3", "cn"), ("commonName", "cn"), ("0.9.2342.19200300.100.1.1", "uid"), ("cn", "cn")],
)
def test_other_names_of_an_attribute(asked: str, sent: str) -> None:
    """An attribute is found by whichever of its names the server uses."""
    assert Entry("cn=a", {sent: [b"A"]}).text(asked) == "A"
    assert canonical_attribute(asked.upper()) == sent
    assert Entry("cn=a", {"other": [b"A"]}).text(asked) is None


def test_unknown_attributes_have_one_name() -> None:
    """An attribute that is in no table is known by its own name only."""
    assert attribute_aliases("Employee-Badge") == ("employee-badge",)


def test_values_in_parts() -> None:
    """Ranges of values are told apart from attributes, and replaced by the whole list."""
    entry = Entry("cn=a", {"memberof": [], "memberof;range=0-1": [b"x", b"y"], "cn;lang-de": [b"A"]})
    assert entry.ranges() == [ValueRange("memberof", 0, 1, [b"x", b"y"])]
    whole = entry.with_values("memberof", [b"x", b"y", b"z"])
    assert whole.texts("memberOf") == ["x", "y", "z"]
    assert whole.ranges() == []
    assert whole.texts("cn;lang-de") == ["A"]
    (last,) = Entry("cn=a", {"member;range=1500-*": [b"x"]}).ranges()
    assert (last.name, last.first, last.last) == ("member", 1500, None)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Alice", "aLICE", True),
        (" al  ice ", "al ice", True),
        ("al\u00a0ice", "al ice", True),
        ("\uff41lice", "alice", True),
        ("Ju\u0308rgen", "J\u00fcrgen", True),
        ("stra\u00dfe", "STRASSE", False),
        ("al\u00adice", "alice", False),
        ("alice", "alicia", False),
        ("al ice", "alice", False),
        ("j\u00fcrgen", "jurgen", False),
    ],
)
def test_values_are_compared_as_directories_do(one: str, other: str, equal: bool) -> None:
    """Letter case, width, composition and repeated spaces do not count (RFC 4518)."""
    assert (prepared(one) == prepared(other)) is equal
