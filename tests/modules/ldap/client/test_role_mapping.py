"""The roleMapping option as text, as a list and as a mapping."""

from __future__ import annotations

import pytest

from asgi_gateway.modules.ldap.client.role_mapping import looks_like_dn, parse_mapping, parse_pairs, prepare_mapping

DN = "cn=Admins,ou=emea,dc=example,dc=com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Admins=A, admins=B; users=C\n\n", {"admins": ("A", "B"), "users": ("C",)}),
        (r"Sales\, EU=SALES", {"sales, eu": ("SALES",)}),
        (r"a\;b=X, c\=d=Y, e\\f=Z", {"a;b": ("X",), "c=d": ("Y",), "e\\f": ("Z",)}),
        ('"Sales, EU"=SALES; "Chat Users" = CHAT', {"sales, eu": ("SALES",), "chat users": ("CHAT",)}),
        (f'"{DN}"=ADMINISTRATOR, users=AUTHORIZED', {DN.lower(): ("ADMINISTRATOR",), "users": ("AUTHORIZED",)}),
        (r'"cn=Sales\, EU,ou=groups,dc=x"=S', {r"cn=sales\, eu,ou=groups,dc=x": ("S",)}),
        (r'"say \"hi\""=GREETER', {'say "hi"': ("GREETER",)}),
        ("  two   words = ROLE ", {"two words": ("ROLE",)}),
        ("", {}),
    ],
)
def test_texts(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    """Pairs are separated by commas, semicolons and line ends; quotes and backslashes keep what belongs to a name."""
    assert parse_mapping(text) == expected


@pytest.mark.parametrize(
    "text", ["admins", "=ROLE", "admins=", "a=B, c", f"{DN}=ADMINISTRATOR", "a=B=C", '"open=X', '"a"', "a=B\\"]
)
def test_texts_of_another_form(text: str) -> None:
    """A text that is not a list of pairs is an error, and so is a DN without quotes, which would be several pairs."""
    with pytest.raises(ValueError, match=r"is not of the form group=ROLE|without an end"):
        parse_mapping(text)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["Sales, EU=SALES"], {"sales, eu": ("SALES",)}),
        (["Sales; EU=SALES", "Chat Users=CHAT"], {"sales; eu": ("SALES",), "chat users": ("CHAT",)}),
        ([f"{DN}=ADMINISTRATOR", "Admins=AUTHORIZED"], {DN.lower(): ("ADMINISTRATOR",), "admins": ("AUTHORIZED",)}),
        ([r"cn=Sales\, EU,ou=groups,dc=x=S"], {r"cn=sales\, eu,ou=groups,dc=x": ("S",)}),
        (['"a, b"=X', "users=A", "USERS=B"], {"a, b": ("X",), "users": ("A", "B")}),
    ],
)
def test_lists(items: list[str], expected: dict[str, tuple[str, ...]]) -> None:
    """Each item of a list is one pair, whose role stands after the last equals sign."""
    assert parse_pairs(items) == expected


@pytest.mark.parametrize("item", ["admins", "=ROLE", "admins=", "a=A,b=B", "a=A;B", "x=y=ROLE", ""])
def test_items_of_another_form(item: str) -> None:
    """An item that holds several pairs, or none, is an error."""
    with pytest.raises(ValueError, match="is not of the form group=ROLE"):
        parse_pairs([item])


def test_mappings() -> None:
    """A mapping's groups are compared without letter case and repeated spaces, and none occurs twice."""
    assert prepare_mapping({"Chat  Users": "CHAT", DN: ["A", "B"]}) == {"chat users": ("CHAT",), DN.lower(): ["A", "B"]}
    for twice in list[dict[object, object]](
        ({"A": "x", "a": "y"}, {"a b": "x", "a  B ": "y"}, {"\uff21": "x", "a": "y"})
    ):
        with pytest.raises(ValueError, match="duplicate group"):
            prepare_mapping({**twice})


@pytest.mark.parametrize(
    ("group", "is_dn"),
    [
        (DN, True),
        (r"cn=a\, b, ou=c", True),
        ('cn="a, b",ou=c', True),
        ("2.5.4.3=a,ou=b", True),
        ("cn=a", False),
        ("Sales, EU", False),
        ("a=b c", False),
        ("Sales, EU=x", False),
    ],
)
def test_names_and_dns(group: str, is_dn: bool) -> None:
    """A group is named by a DN if it has at least two parts, each with an attribute."""
    assert looks_like_dn(group) is is_dn
