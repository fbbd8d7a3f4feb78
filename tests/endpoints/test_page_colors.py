"""The colours of the pages: those of light windows do not leak into dark ones, and buttons can be read."""

from __future__ import annotations

import re

import pytest

from asgi_gateway.endpoints.page_colors import COLORS, color_rules, contrast


def rules(colors: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The declarations for light windows and for dark ones."""
    light, _, dark = color_rules(colors).partition("@media(prefers-color-scheme:dark)")
    found = (dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", text)) for text in (light, dark))
    return next(found), next(found)


def test_nothing_configured() -> None:
    """Without colours of its own the page has the built-in ones."""
    assert color_rules({}) == ""


def test_light_ones_are_for_light_windows() -> None:
    """A colour for light windows comes with all colours of dark ones, since the later rule counts."""
    light, dark = rules({"accent": "#7a1f5c"})
    assert light == {"accent": "#7a1f5c", "on-accent": "#ffffff"}
    assert dark == {"accent": "#9db8ff", "on-accent": "#000000", "background": "#14171c", "text": "#e7eaf0"}


@pytest.mark.parametrize("name", [each for each in COLORS if each.endswith("-dark")])
def test_dark_ones_are_for_dark_windows(name: str) -> None:
    """A colour for dark windows changes nothing in light ones."""
    light, dark = rules({name: "#123456"})
    assert light == {}
    assert dark[name.removesuffix("-dark")] == "#123456"


@pytest.mark.parametrize("value", ["#000000", "#ffffff", "#757575", "#777777", "#ff0000", "#00ff00", "#0000ff"])
def test_buttons_can_be_read(value: str) -> None:
    """The text on a button has enough contrast whatever the button's colour."""
    light, _ = rules({"accent": value})
    assert contrast(light["on-accent"], light["accent"]) >= 4.5
