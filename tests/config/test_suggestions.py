"""Suggestions."""

from __future__ import annotations

import pytest

from asgi_gateway.config.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("relm", "did you mean 'realm'?"),
        ("Http_Header", "did you mean 'http-header'?"),
        ("zzz", "one of: http-header, realm"),
    ],
)
def test_did_you_mean(word: str, hint: str) -> None:
    """A close word is suggested regardless of case; else the choices are listed."""
    assert did_you_mean(word, ["realm", "http-header"]) == hint


def test_nothing_to_suggest() -> None:
    """Without choices the hint is empty."""
    assert did_you_mean("x", []) == ""
