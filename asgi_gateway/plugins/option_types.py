"""Define the types of options that configuration files and login modules share: durations, sizes and booleans."""

from __future__ import annotations

import math
import re
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Boolean", "ModuleOptions", "parse_boolean", "parse_duration", "parse_size"]

_UNITS = {
    1e-3: ("millisecond", "milliseconds", "ms"),
    1.0: ("", "second", "seconds", "sec", "secs", "s"),
    60.0: ("minute", "minutes", "min", "mins", "m"),
    3600.0: ("hour", "hours", "hrs", "h"),
    86400.0: ("day", "days", "d"),
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words}
_INTERVAL = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,15})\s*(|[kmg]i?b?|b)", re.ASCII | re.IGNORECASE)
_BYTES: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{unit}{suffix}": 1024**power for power, unit in enumerate("kmg", 1) for suffix in ("", "i", "ib")},
    **{f"{unit}b": 1000**power for power, unit in enumerate("kmg", 1)},
}
_SWITCH = {"true": True, "false": False}


def parse_duration(value: object) -> float:
    """Return a duration in seconds.

    Args:
        value: a number of seconds, or a number with an optional unit such as ``30``, ``1.5 minutes``, ``8h``,
            ``500 ms``.

    Returns:
        Seconds, never negative.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str) and (match := _INTERVAL.fullmatch(value.strip())):
        number, unit = match.groups()
        if (seconds := _SECONDS.get(unit.lower())) is not None:
            # division, because 500 * 0.001 is not the 0.5 that 500 ms are
            return float(number) / 1000 if seconds < 1 else float(number) * seconds
    raise ValueError("not a time interval; write a number and a unit, such as 30 seconds, 1.5 minutes, 8h or 500 ms")


def parse_size(value: object) -> int:
    """Return a size in bytes.

    Args:
        value: a number of bytes, or a number with an optional unit such as ``1024``, ``64 KiB``, ``10 MB``, ``2G``.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[match[2].lower()]
    raise ValueError("not a size; write a number and a unit, such as 64 KiB, 10 MB or 2 GiB")


def parse_boolean(value: object) -> bool:
    """Return a boolean option, given as YAML's boolean or as text.

    Args:
        value: ``True``, ``False``, or the text ``true`` or ``false`` in any case.

    Raises:
        ValueError: the value is neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (switch := _SWITCH.get(value.strip().lower())) is not None:
        return switch
    raise ValueError("neither true nor false")


Boolean: TypeAlias = Annotated[bool, BeforeValidator(parse_boolean)]
"""The type of a pydantic field that takes true or false only: ``yes`` and ``1`` are errors."""


class ModuleOptions(BaseModel):
    """The base class of the options of login modules and stores. Unknown keys and wrong types stop the start.

    Options have their JAAS names. A name that is not a Python identifier is a pydantic alias.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True, hide_input_in_errors=True)
