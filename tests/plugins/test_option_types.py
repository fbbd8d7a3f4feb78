"""Time intervals and switches, as people write them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from asgi_gateway.plugins.option_types import Boolean, parse_boolean, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((f"3{space}{unit}", 3.0) for space in ("", " ") for unit in ("second", "seconds", "sec", "secs", "s", "S")),
        *((f"2 {unit}", 120.0) for unit in ("minute", "minutes", "min", "mins", "m", "Minutes")),
        *((f"8 {unit}", 28_800.0) for unit in ("hour", "hours", "hrs", "h")),
        *((f"2 {unit}", 172_800.0) for unit in ("day", "days", "d")),
        *((f"500 {unit}", 0.5) for unit in ("millisecond", "milliseconds", "ms")),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5 minutes", 90.0),
        ("0", 0.0),
        (30, 30.0),
        (0.25, 0.25),
    ],
)
def test_interval(text: str | float, seconds: float) -> None:
    """A number with each of the units, in any case and with or without a space, is so many seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "s", "-1", "-1 s", "+1", "1,5 s", "1 s 2", "1 week", "1e3", ".5", "5.", "1_000", "inf", "nan", "٣ s"),
        *("1" * 20, -1, float("inf"), float("nan"), True, None, [1]),
    ],
)
def test_no_interval(value: object) -> None:
    """Anything else is an error that shows how to write one."""
    with pytest.raises(ValueError, match="30 seconds"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "switch"), [("true", True), (" TRUE ", True), ("False", False), (True, True), (False, False)]
)
def test_switch(value: str | bool, switch: bool) -> None:
    """A switch is true or false, in any case, and so it is as a pydantic field."""
    assert parse_boolean(value) is switch
    assert TypeAdapter(Boolean).validate_python(value) is switch


@pytest.mark.parametrize("value", ["yes", "no", "on", "1", "0", "", "t", 1, 0, None, [True]])
def test_no_switch(value: str | int | list[bool] | None) -> None:
    """Anything else is an error and not a guess."""
    with pytest.raises(ValueError, match="neither true nor false"):
        parse_boolean(value)
    with pytest.raises(ValidationError):
        TypeAdapter(Boolean).validate_python(value)
