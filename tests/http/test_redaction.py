"""Credentials in query parameters stay out of the server's own access log."""

from __future__ import annotations

import logging
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


def test_no_names() -> None:
    """Without credential parameters nothing is looked at."""
    assert masked("/a?token=1", names=()) == "/a?token=1"


@given(st.text('ab?&=%#" x'), st.text("abc123", min_size=1))
def test_the_value_is_gone(before: str, value: str) -> None:
    """Whatever stands before it, a credential parameter's value is not in the line."""
    line = masked(f"/p?{before.replace('#', '').replace(chr(34), '').replace(' ', '')}&token={value}S3CRET")
    assert "S3CRET" not in line


@pytest.mark.timing
@pytest.mark.parametrize("unit", ["?", "&", "a", "=", "?a", "&a=", "%", "token"])
def test_linear(unit: str) -> None:
    """A line of 64 KiB takes no longer than some milliseconds."""
    start = time.perf_counter()
    masked("/=?" + (unit * 65536)[:65536])
    assert time.perf_counter() - start < 0.5
