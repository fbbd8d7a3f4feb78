"""Define what a realm's login page shows; the endpoints write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LoginPageSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPageSettings:
    """The settings of a realm's login page.

    Args:
        title: what the site is called; text.
        texts: the page's texts by language, each language complete.
        logo: an image as a ``data:`` URL; empty for none.
        colors: values of the page's colours by name, such as ``accent``; those that are missing have a default.
        language: the page's only language; empty for the browser's among those of ``texts``.
        templates: a folder of templates in place of the built-in pages, or None.
        after_logout: the path of this site that follows a logout; empty for the gateway's own page.
    """

    title: str
    texts: Mapping[str, Mapping[str, str]] = field(repr=False)
    logo: str = field(default="", repr=False)
    colors: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    templates: Path | None = None
    after_logout: str = ""
