"""Which attributes a filter names users by."""

from __future__ import annotations

import pytest

from asgi_gateway.modules.ldap.client.identity import NamePattern, patterns_of_filter


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("(uid={USERNAME})", [NamePattern("uid")]),
        ("(&(objectClass=person)(uid={USERNAME}))", [NamePattern("uid")]),
        ("(|(uid={USERNAME})(mail={USERNAME}))", [NamePattern("uid"), NamePattern("mail")]),
        ("( & (objectClass=user) ( | (uid={USERNAME}) ) )", [NamePattern("uid")]),
        ("(mail={USERNAME}@example.com)", [NamePattern("mail", "", "@example.com")]),
        (r"(cn=\28x\29 {USERNAME})", [NamePattern("cn", "(x) ")]),
        (r"(cn=J\c3\bcrgen-{USERNAME})", [NamePattern("cn", "J\u00fcrgen-")]),
        ("(mail={USERNAME}@{REALM})", [NamePattern("mail", realm=True)]),
        ("(uid:caseExactMatch:={USERNAME})", [NamePattern("uid")]),
        ("(&(uid={USERNAME})(!(title={USERNAME})))", [NamePattern("uid")]),
        ("(!(&(a={USERNAME})(b={USERNAME})))", []),
        ("(uid={USERNAME}*)", []),
        ("(uid=*{USERNAME})", []),
        ("(uid>={USERNAME})", []),
        ("(cn={USERNAME}{USERNAME})", []),
        ("(&(uid=bob)(o={REALM}))", []),
        ("(|(uid={USERNAME})(uid={USERNAME}))", [NamePattern("uid")]),
    ],
)
def test_patterns(text: str, patterns: list[NamePattern]) -> None:
    """Only comparisons for equality, which no negation encloses, name the user."""
    assert patterns_of_filter(text) == patterns


@pytest.mark.parametrize(
    ("pattern", "value", "name"),
    [
        (NamePattern("uid"), "Alice", "Alice"),
        (NamePattern("mail", "", "@Example.com"), "alice@EXAMPLE.COM", "alice"),
        (NamePattern("mail", "", "@example.com"), "alice@other.org", None),
        (NamePattern("mail", "", "@example.com"), "@example.com", None),
        (NamePattern("cn", "u-", "-x"), "U-alice-X", "alice"),
        (NamePattern("cn", "abc", "bcd"), "abcd", None),
        (NamePattern("mail", realm=True), "alice@a.org", "alice@a.org"),
    ],
)
def test_names_of_values(pattern: NamePattern, value: str, name: str | None) -> None:
    """The filter's text around {USERNAME} is taken off; a value without it is none of the user's names."""
    assert pattern.name(value) == name
