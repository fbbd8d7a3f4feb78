"""Hold the texts of the gateway's pages by language, and choose a language for a request."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from functools import cache
from importlib.resources import files

__all__ = ["SHIPPED", "choose_language", "shipped_texts"]

SHIPPED = ("en", "de")
"""The languages that are shipped; the first is the default."""
_MAX_RANGES = 20


@cache
def shipped_texts() -> dict[str, dict[str, str]]:
    """Return the shipped texts by language and name."""
    folder = files("asgi_gateway").joinpath("endpoints", "pages")
    return {each: json.loads(folder.joinpath(f"{each}.json").read_text(encoding="utf-8")) for each in SHIPPED}


def choose_language(headers: Iterable[tuple[bytes, bytes]], languages: Collection[str]) -> str:
    """Return the language that suits a request best (RFC 9110 section 12.5.4, RFC 4647 section 3.4).

    Args:
        headers: the request's.
        languages: the languages there are, the default first.
    """
    accepted = b",".join(value for name, value in headers if name == b"accept-language").decode("latin-1").lower()
    found: list[tuple[float, str]] = []
    known = {language.lower(): language for language in languages}
    for each in accepted.split(",")[:_MAX_RANGES]:
        tag, _, parameters = each.partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.[0-9]{0,3})?)\s*", parameters)
        quality = float(weight[1]) if weight else 1.0
        tag = tag.strip()
        while tag and tag not in known:
            tag = tag.rpartition("-")[0]
        if tag and quality > 0:
            found.append((-quality, tag))
    best = min(found, key=lambda each: each[0], default=None)
    return known[best[1]] if best is not None else next(iter(languages))
