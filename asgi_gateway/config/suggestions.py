"""The small values that configuration files hold: time intervals and switches, and suggestions for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from asgi_gateway.plugins.option_types import parse_boolean, parse_duration

__all__ = ["closest", "did_you_mean", "parse_boolean", "parse_duration", "parse_flag"]


def parse_flag(value: object) -> bool:
    """A switch that is on by being there, such as an empty ``<require-valid-user/>``.

    Raises:
        ValueError: it says something that is neither true nor false.
    """
    return True if value is None or value == "" else parse_boolean(value)


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a word looks like, whatever its case; None when it looks like none."""
    by_folded = {choice.lower().replace("_", "-"): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Suggest a correction for a misspelt word.

    Args:
        word: what the file says.
        choices: what it could say.

    Returns:
        ``did you mean '…'?`` for a close match, else a list of the choices.
    """
    known = sorted(set(choices))
    if close := closest(word, known):
        return f"did you mean '{close}'?"
    return f"one of: {', '.join(known)}" if known else ""
