"""Credentials in query parameters stay out of the server's own access log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_gateway.http.redaction import MaskCredentials


def masked(msg: Any, *args: Any, names: tuple[str, ...] = ("token",)) -> str:
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, msg, args, None)
    assert MaskCredentials(names).filter(record) is True
    return record.getMessage()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/a?token=s3cret", "/a?token=***"),
        ("/a?x=1&token=s3cret&y=2", "/a?x=1&token=***&y=2"),
        ("/a?%74oken=s3cret", "/a?%74oken=***"),
        ("/a?token=a=b?c", "/a?token=***"),
        ("/a?token=1&token=2", "/a?token=***&token=***"),
        ("/a?token=", "/a?token=***"),
        ("/a?x=1", "/a?x=1"),
        ("/token=1", "/token=1"),
        ("/a?tokens=1&Token=2", "/a?tokens=1&Token=2"),
        ("/a?x?token=s3cret", "/a?x?token=***"),
        ("/a?token", "/a?token"),
        ('/a?token=s3c"ret&x=1', "/a?token=***&x=1"),
        ("/a?token=s3c#ret&x=1", "/a?token=***&x=1"),
        ("/a?token=s3'c\"r#e;t<>|\\^`{}&x=1", "/a?token=***&x=1"),
        ("/a?token=s3c\x0bret\x85\xa0\u2028t", "/a?token=***"),
        ("/a?x=1#y&token=s3cret", "/a?x=1#y&token=***"),
        ("token=s3cret&x=1", "token=***&x=1"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    """The value of a credential parameter is masked, in either spelling of its name; nothing else is."""
    assert masked('%s - "%s"', "192.0.2.1:1", url) == f'192.0.2.1:1 - "{expected}"'
    assert masked(f'GET "{url}" 200') == f'GET "{expected}" 200'
    assert masked("%(url)s %(n)d", {"url": url, "n": 1}) == f"{expected} 1"


def test_what_is_no_text() -> None:
    """Arguments that are no text stay as they are, and no record is dropped."""
    assert masked("%s %d %s", None, 200, b"x=1") == "None 200 b'x=1'"
    assert masked(42) == "42"
    bare = logging.makeLogRecord({"msg": "/a?token=s3cret", "args": None})
    assert MaskCredentials(["token"]).filter(bare)
    assert (bare.getMessage(), bare.args) == ("/a?token=***", None)


@pytest.mark.parametrize(
    ("message", "arguments", "expected"),
    [
        ("query %s", ("token=s3cret",), "query token=***"),
        ("%s?%s", ("/a", "x=1&token=s3cret"), "/a?x=1&token=***"),
        ("raw %s", (b"/a?token=s3cret",), "raw b'/a?token=***'"),
        ("all %s", (["/a?token=s3cret", 1],), "all ['/a?token=***"),
        (
            "failed: %s",
            (ValueError("no answer from http://h/?token=s3cret"),),
            "failed: no answer from http://h/?token=***",
        ),
        ("/a?token=%s %d", ("s3cret", 200), "/a?token=*** 200"),
        ("/a?token=%(t)s %(n)d", ({"t": "s3cret", "n": 200},), "/a?token=*** 200"),
        (ValueError("/a?token=s3cret"), (), "/a?token=***"),
        ("%d%%", (7,), "7%"),
    ],
)
def test_every_form_of_an_argument(message: Any, arguments: tuple[Any, ...], expected: str) -> None:
    """A bare query, bytes, lists, exceptions and a template with the parameter's name in it show no value."""
    line = masked(message, *arguments)
    assert line.startswith(expected)
    assert "s3cret" not in line


class Atoms(dict[str, str]):
    """What gunicorn and hypercorn give to their formats: a mapping that answers ``-`` for a missing name."""

    def __init__(self, values: dict[str, str], of: object) -> None:
        super().__init__(values)
        self.of = of

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name) if name in self else "-"


def test_a_mapping_keeps_its_class() -> None:
    """A mapping that answers for missing names still does when it is masked, and the server's own is not changed."""
    atoms: Any = Atoms({"r": 'GET /a?token=s3c"ret HTTP/1.1', "q": "token=s3cret", "s": "200"}, of="request")
    line = masked('"%(r)s" %(s)s %(q)s %({x-missing}i)s', atoms)
    assert line == '"GET /a?token=*** HTTP/1.1" 200 token=*** -'
    assert atoms["q"] == "token=s3cret"


def test_tracebacks_stacks_and_extra_fields() -> None:
    """What a formatter adds to the message, and what a structured one prints, shows no value either."""
    try:
        raise ValueError("cannot fetch http://h/?token=s3cret")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    record.color_message = "GET /a?token=s3cret"
    record.request = {"url": "/a?token=s3cret"}
    record.stack_info = "in /a?token=s3cret"
    assert MaskCredentials(["token"]).filter(record)
    text = logging.Formatter("%(message)s %(color_message)s %(request)s").format(record)
    assert text.startswith("failed GET /a?token=*** {'url': '/a?token=***")
    assert "ValueError: cannot fetch http://h/?token=***" in text
    assert "s3cret" not in text
    harmless = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (None, None, None))
    assert MaskCredentials(["token"]).filter(harmless)
    assert harmless.exc_text is None


def test_no_names() -> None:
    """Without credential parameters nothing is looked at."""
    assert masked("/a?token=1", names=()) == "/a?token=1"


@given(st.text('ab?&=%#" x'), st.text("abc123", min_size=1))
def test_the_value_is_gone(before: str, value: str) -> None:
    """Whatever stands before it, a credential parameter's value is not in the line."""
    for log_line in ("{}", '"GET {} HTTP/1.1" 200', "{} -"):
        assert "S3CRET" not in masked(log_line.format(f"/p?{before}&token={value}\"#'S3CRET"))


@pytest.mark.timing
@pytest.mark.parametrize("unit", ["?", "&", "a", "=", "?a", "&a=", "%", "token", '"', "'a", " a", "a ", " a=", '"a='])
def test_linear(unit: str) -> None:
    """A line of 64 KiB takes no longer than some milliseconds."""
    start = time.perf_counter()
    masked("/=?" + (unit * 65536)[:65536])
    assert time.perf_counter() - start < 0.5
