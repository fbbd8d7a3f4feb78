"""Credentials in query parameters stay out of the server's log."""

from __future__ import annotations

import logging

import pytest

from asgi_gateway.masking import MaskCredentials


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ("/a?ticket=abc", "/a?ticket=***"),
        ("/a?x=1&ticket=abc&y=2", "/a?x=1&ticket=***&y=2"),
        ("/a?tick%65t=abc", "/a?tick%65t=***"),
        ("/a?ticket=a=b", "/a?ticket=***"),
        ("/a?tickets=abc", "/a?tickets=abc"),
        ("/a?ticket=", "/a?ticket=***"),
        ("plain text", "plain text"),
    ],
)
def test_masked(logged: str, expected: str) -> None:
    """The value of a credential parameter is masked in message and arguments, however its name is encoded."""
    mask = MaskCredentials(["ticket"])
    for record in (
        logging.LogRecord("x", logging.INFO, "", 0, logged, None, None),
        logging.LogRecord("x", logging.INFO, "", 0, "%s %d", (logged, 200), None),
        logging.LogRecord("x", logging.INFO, "", 0, "%(path)s", ({"path": logged},), None),
    ):
        assert mask.filter(record)
        assert expected in record.getMessage()


def test_nothing_to_mask() -> None:
    """Without credential parameters, records pass as they are."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "/a?ticket=abc", None, None)
    assert MaskCredentials([]).filter(record)
    assert record.getMessage() == "/a?ticket=abc"
