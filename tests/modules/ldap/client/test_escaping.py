"""What clients type never becomes part of a filter's or a name's structure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.errors import LoginFailed
from asgi_gateway.modules.ldap.client.escaping import (
    MAX_NAME_LENGTH,
    Template,
    check_name,
    check_password,
    escape_dn,
    escape_filter,
)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("alice", "alice"),
        ("*", r"\2a"),
        ("a)(uid=*", r"a\29\28uid=\2a"),
        ("back\\slash", r"back\5cslash"),
        ("nul\0", r"nul\00"),
        ("zoë", "zoë"),
    ],
)
def test_filter_values(value: str, escaped: str) -> None:
    """The characters that RFC 4515 names are escaped, and only these."""
    assert escape_filter(value) == escaped


@given(st.text())
def test_escaped_filter_values_read_back(value: str) -> None:
    """An escaped filter value has no structure left and reads back as what it was."""
    escaped = escape_filter(value)
    assert not set("*()\0") & set(escaped)
    assert re.sub(r"\\([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), escaped) == value


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("alice", "alice"),
        ("Adams, Alice", r"Adams\, Alice"),
        ("#1", r"\#1"),
        (" a ", r"\ a\ "),
        (" ", "\\ "),
        ('a+b"c<d>e;f=g\\', r"a\+b\"c\<d\>e\;f\=g\\"),
        ("nul\0", r"nul\00"),
        ("x,ou=admins", r"x\,ou\=admins"),
    ],
)
def test_dn_values(value: str, escaped: str) -> None:
    """The characters that RFC 4514 names are escaped, the ones at the ends only there."""
    assert escape_dn(value) == escaped


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb", "\udc80", "a" * (MAX_NAME_LENGTH + 1), "tab\t"])
def test_impossible_names_are_refused(name: str) -> None:
    """Names that no entry can have are refused without asking anybody."""
    with pytest.raises(LoginFailed):
        check_name(name)


@pytest.mark.parametrize("password", ["", "a\0b", "\udc80", "a" * 4097, "é" * 2049])
def test_impossible_passwords_are_refused(password: str) -> None:
    """An empty password, which would make a bind anonymous, is refused, and so is what is too long or no text."""
    with pytest.raises(LoginFailed) as refused:
        check_password(password)
    assert not password or password not in str(refused.value)


def test_usual_names_and_passwords_pass() -> None:
    """Ordinary names and passwords, in any script, are let through."""
    check_name("Zoë O'Neil")
    check_password("pässword with spaces")


def test_template_fills_once() -> None:
    """A value that looks like a placeholder stays a value."""
    template = Template("(&(uid={USERNAME})(o={REALM}))", ("USERNAME", "REALM"), escape_filter)
    filled = template.fill({"USERNAME": "{REALM}", "REALM": "x)"})
    assert filled == r"(&(uid={REALM})(o=x\29))"


def test_template_with_unknown_placeholder() -> None:
    """A placeholder that nobody fills is an error that names the ones there are."""
    with pytest.raises(ValueError, match=r"unknown placeholder \{USER\}; write one of \{USERNAME\}"):
        Template("(uid={USER})", ("USERNAME",), escape_filter)
