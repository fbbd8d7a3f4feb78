"""XML: positions, bounds, refusals, and which element is not closed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_gateway.documents import read_xml
from asgi_gateway.errors import ConfigError

SLASH_FORGOTTEN = b"""<security>
  <realm>
    <login-modules>
      <login-module>
        <type>file</type>
      <login-module>

      <login-module>
        <type>ldap</type>
      </login-module>
    </login-modules>
  </realm>
</security>
"""


def test_positions_and_local_names() -> None:
    """Elements have their local names and the positions of their start tags."""
    root = read_xml(b'<a xmlns="urn:x" xmlns:p="urn:y">\n  <p:b c="d" p:e="f" xml:space="preserve"> g </p:b>\n</a>')
    (child,) = root.find("b")
    assert (root.name, root.mark.line, root.mark.column) == ("a", 1, 1)
    assert (child.mark.line, child.mark.column, child.text) == (2, 3, " g ")
    assert child.attributes == {"c": "d", "xml:space": "preserve"}


def test_cdata_is_literal_and_known() -> None:
    """Text of a CDATA section is unchanged, and the element knows that it had one."""
    root = read_xml(b"<a><b>x &amp; y</b><b><![CDATA[x &amp; <y>]]></b></a>")
    assert [(child.text, child.cdata) for child in root.children] == [("x & y", False), ("x &amp; <y>", True)]


def test_end_tag_without_its_slash() -> None:
    """The error is where the end tag was meant, and names the element with the position of its start."""
    with pytest.raises(ConfigError) as caught:
        read_xml(SLASH_FORGOTTEN)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (6, 7)
    assert problem.path == "security.realm.login-modules.login-module"
    assert problem.message.startswith("<login-module> opened at 4:7 is not closed")
    assert problem.hint == "did you mean </login-module> here?"


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"<a>\n<b>\n</a>", 3, 3, "<b> opened at 2:1 is not closed: </a> comes first"),
        (b"<a>\n<b></bb></a>", 2, 6, "unexpected end tag </bb>: <b> opened at 2:1 is not closed"),
        (b"<a>\n<b>", 2, 4, "the file ends, and <b> opened at 2:1 is not closed"),
        (b"<x:a xmlns:x='u'><b></x:a>", 1, 23, "<b> opened at 1:18 is not closed: </a> comes first"),
    ],
)
def test_elements_left_open(data: bytes, line: int, column: int, message: str) -> None:
    """Each error about an element that is not closed names it and the position of its start."""
    with pytest.raises(ConfigError) as caught:
        read_xml(data)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.message) == (line, column, message)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "a DOCTYPE is not allowed"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "a DOCTYPE is not allowed"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "a DOCTYPE is not allowed"),
        (b"<a>&x;</a>", "undefined entity"),
        (b'<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="/etc/passwd"/></a>', "XInclude is not"),
        (b"<a>" * 41, "nested deeper than 40 levels"),
        (b"<a>" * 100_000, "nested deeper than 40 levels"),
        (b"<a>\0</a>", "invalid token"),
        (b"<a>\xff</a>", "invalid token"),
        (b"<a>x & y</a>", "write & as &amp;"),
        (b"<a/><b/>", "junk after document element"),
        (b"text", "not XML: the text does not begin with an element"),
        (b"<!-- nothing -->", "no element found"),
        (b"<?xml version='1.0' encoding='nonsense'?><a/>", "unknown encoding"),
        (b"<?xml version='1.0' encoding='gbk'?><a/>", "unknown encoding"),
        (b"<a b='1' b='2'/>", "duplicate attribute"),
        (b"<a" + b"<" * 100, "not well-formed"),
    ],
)
def test_refusals(data: bytes, message: str) -> None:
    """Malformed and unsafe documents are one ConfigError that names the fault."""
    with pytest.raises(ConfigError, match=message):
        read_xml(data)


def test_number_of_elements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of countless elements is refused."""
    monkeypatch.setattr("asgi_gateway.documents.xml_reader.MAX_NODES", 100)
    with pytest.raises(ConfigError, match="more than 100 elements"):
        read_xml(b"<a>" + b"<b/>" * 100 + b"</a>")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("<>/ab&;![]-?x=' \n", max_size=60).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are an element or a ConfigError."""
    with contextlib.suppress(ConfigError):
        assert read_xml(data).name
