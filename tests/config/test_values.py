"""Small values."""

from __future__ import annotations

import pytest

from asgi_gateway.config.values import did_you_mean, parse_presence


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("relm", "did you mean 'realm'?"),
        ("Http_Header", "did you mean 'http-header'?"),
        ("zzz", "one of: http-header, realm"),
    ],
)
def test_did_you_mean(word: str, cure: str) -> None:
    """A close word is suggested whatever its case; else the choices are listed."""
    assert did_you_mean(word, ["realm", "http-header"]) == cure


def test_nothing_to_suggest() -> None:
    """Without choices there is nothing to say."""
    assert did_you_mean("x", []) == ""


def test_presence() -> None:
    """Being there means yes, unless it says no."""
    assert (parse_presence(None), parse_presence(""), parse_presence("false")) == (True, True, False)
    with pytest.raises(ValueError):
        parse_presence("perhaps")
