"""Define paths inside a configuration."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["ConfigPath", "path_text"]

ConfigPath: TypeAlias = tuple[str | int, ...]
"""The model's names and indices, such as ``("security", "realms", 0, "name")``."""


def path_text(path: ConfigPath) -> str:
    """Return a path as messages show it, such as ``security.realms[0].name``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
