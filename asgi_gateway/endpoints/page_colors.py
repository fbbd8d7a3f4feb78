"""Colours of the gateway's pages, and their contrast (WCAG 2.2, success criteria 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["COLORS", "color_rules", "contrast", "contrast_problems"]

COLORS = ("accent", "accent-dark", "background", "background-dark", "text", "text-dark")
"""The names of the colours that a configuration may set; those with ``-dark`` are for dark windows."""
_DEFAULTS = {
    "accent": "#1d4ed8",
    "background": "#f3f5f9",
    "text": "#1b1f27",
    "accent-dark": "#9db8ff",
    "background-dark": "#14171c",
    "text-dark": "#e7eaf0",
}
_FORM = re.compile(r"#[0-9A-Fa-f]{6}")
_TEXT, _BORDER = 4.5, 3.0


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours of the form ``#rrggbb``, from 1 to 21.

    Raises:
        ValueError: a colour has another form.
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def contrast_problems(colors: Mapping[str, str]) -> list[str]:
    """Return which of some configured colours have too little contrast, as sentences.

    Raises:
        ValueError: a colour is not of the form ``#rrggbb``.
    """
    found = []
    used = _DEFAULTS | dict(colors)
    for suffix in ("", "-dark"):
        for name, least in (("text", _TEXT), ("accent", _BORDER)):
            pair = (f"{name}{suffix}", f"background{suffix}")
            ratio = contrast(used[pair[0]], used[pair[1]])
            if ratio < least:
                found.append(f"the contrast of {pair[0]} and {pair[1]} is {ratio:.1f}; people need {least:g}")
    return found


def color_rules(colors: Mapping[str, str]) -> str:
    """Return the rules of a style sheet that set the configured colours; empty if there are none."""
    light, dark = (_declarations(colors, suffix) for suffix in ("", "-dark"))
    rules = f":root{{{light}}}" if light else ""
    # in a dark window the light colours, which are set after the built-in ones, must not count
    return rules + (
        f"@media(prefers-color-scheme:dark){{:root{{{_declarations(_DEFAULTS | dict(colors), '-dark')}}}}}"
        if light or dark
        else ""
    )


def _declarations(colors: Mapping[str, str], suffix: str) -> str:
    found = []
    for name in ("accent", "background", "text"):
        if (value := colors.get(f"{name}{suffix}")) is not None:
            found.append(f"--{name}:{value}")
            if name == "accent":
                on = max("#000000", "#ffffff", key=lambda each: contrast(each, value))
                found.append(f"--on-accent:{on}")
    return ";".join(found)


def _luminance(color: str) -> float:
    if _FORM.fullmatch(color) is None:
        raise ValueError("is not of the form #rrggbb")
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    parts = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
