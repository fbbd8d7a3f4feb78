"""The small values that configuration files hold: time intervals and switches, and suggestions for misspelt words."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

__all__ = ["did_you_mean", "parse_interval", "parse_presence", "parse_switch"]

_UNITS = {
    1e-3: ("millisecond", "milliseconds", "ms"),
    1.0: ("", "second", "seconds", "sec", "secs", "s"),
    60.0: ("minute", "minutes", "min", "mins", "m"),
    3600.0: ("hour", "hours", "hrs", "h"),
    86400.0: ("day", "days", "d"),
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words}
_INTERVAL = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_SWITCH = {"true": True, "false": False}


def parse_interval(value: object) -> float:
    """A time interval in seconds.

    Args:
        value: a number of seconds, or a number with an optional unit such as ``30``, ``1.5 minutes``, ``8h``,
            ``500 ms``.

    Returns:
        Seconds, never negative.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str) and (match := _INTERVAL.fullmatch(value.strip())):
        number, unit = match.groups()
        if (seconds := _SECONDS.get(unit.lower())) is not None:
            # division, because 500 * 0.001 is not the 0.5 that 500 ms are
            return float(number) / 1000 if seconds < 1 else float(number) * seconds
    raise ValueError("not a time interval; write a number and a unit, such as 30 seconds, 1.5 minutes, 8h or 500 ms")


def parse_switch(value: object) -> bool:
    """A switch: true or false, as YAML's boolean or as text.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (switch := _SWITCH.get(value.strip().lower())) is not None:
        return switch
    raise ValueError("neither true nor false")


def parse_presence(value: object) -> bool:
    """A switch that is on by being there, such as an empty ``<require-valid-user/>``.

    Raises:
        ValueError: it says something that is neither true nor false.
    """
    return True if value is None or value == "" else parse_switch(value)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A cure for a misspelt word.

    Args:
        word: what the file says.
        choices: what it could say.

    Returns:
        ``did you mean '…'?`` for a close match, else a list of the choices.
    """
    known = sorted(set(choices))
    by_folded = {choice.lower().replace("_", "-"): choice for choice in known}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), by_folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_folded[close[0]]}'?"
    return f"one of: {', '.join(known)}" if known else ""
