"""One kind of tree for every source."""

from __future__ import annotations

import pytest

from asgi_gateway.config.load import loads
from tests.config.helpers import problems

XML = """<security%s><realm><name>demo</name><description%s>%s</description><authentication>
<http-challenge-scheme>Basic</http-challenge-scheme><login-modules><login-module><type>file</type>
<success>required</success></login-module></login-modules></authentication></realm></security>"""


@pytest.mark.parametrize(
    ("attribute", "text", "expected"),
    [
        ("", " a\n  b ", "a b"),
        (' xml:space="preserve"', " a\n  b ", " a\n  b "),
        ("", "a &amp; b", "a & b"),
        ("", "<![CDATA[(&amp;(a=b)(c=<d>))]]>", "(&(a=b)(c=<d>))"),
        ("", "&amp;amp;", "&amp;"),
        ("", "", ""),
    ],
)
def test_text_of_xml(attribute: str, text: str, expected: str) -> None:
    """White space is collapsed unless told not to, and an escape inside CDATA means what it says."""
    assert loads(XML % ("", attribute, text), "xml").config.security.realms[0].description == expected


def test_attributes_mean_nothing() -> None:
    """An attribute is an error, since what it says would be lost; namespaces and schema locations are none."""
    schema = ' xmlns="urn:a" xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:schemaLocation="urn:a a.xsd"'
    assert loads(XML % (schema, "", ""), "xml").config
    (problem,) = problems(XML % (' name="x"', "", ""), "xml")
    assert "has an attribute 'name': attributes are not supported" in problem
    assert "(write an element <name> inside it)" in problem


def test_text_beside_elements() -> None:
    """Text among elements is an error."""
    (problem,) = problems((XML % ("", "", "")).replace("<realm>", "<realm>stray"), "xml")
    assert "<realm> has text between its elements" in problem


def test_wrong_root() -> None:
    """Another root than the two is an error."""
    assert problems("<jaas-config/>", "xml")[0].startswith("1:1 : unknown root element <jaas-config>")


def test_control_characters() -> None:
    """A control character that XML could not hold is an error in YAML too."""
    found = problems('security: {realms: [{name: "a\\x01b"}]}')
    assert "1:28 : invalid control character (remove it)" in found
