"""Suggest corrections for misspelt words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["closest", "did_you_mean"]


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word resembles, regardless of case; None if it resembles none."""
    by_folded = {choice.lower().replace("_", "-"): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Suggest a correction for a misspelt word.

    Args:
        word: the word in the file.
        choices: the words that are allowed.

    Returns:
        ``did you mean '…'?`` for a close match, else a list of the choices; empty without choices.
    """
    known = sorted(set(choices))
    if close := closest(word, known):
        return f"did you mean '{close}'?"
    return f"one of: {', '.join(known)}" if known else ""
