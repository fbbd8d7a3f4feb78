"""Find the files that a configuration names and that no client may read: itself, users, keys, stores, tokens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asgi_gateway.config.load import LoadedConfig

__all__ = ["named_files"]

_PREFIX = re.compile(r"(?:file:(?://)?|WRFILE:|sqlite:(?:///)?)", re.IGNORECASE)
_SERVICE_FILES = re.compile(r".*-file|keytab")


def named_files(loaded: LoadedConfig) -> tuple[Path, ...]:
    """Return the configuration file and every file and folder that it names, as written and without symbolic links.

    Every text of ``security`` counts that would name an existing file or folder, whatever the option is called, since
    login modules of others have options of their own. One that is missing counts if its folder is there: a database is
    made at the start.

    Args:
        loaded: the configuration.
    """
    found: dict[Path, None] = {}
    if loaded.file is not None:
        found |= _both(loaded.file.absolute())
    texts = [*_texts(loaded.values.get("security", {})), *_of_services(loaded.values.get("services") or [])]
    for text in texts:
        try:
            path = loaded.directory / Path(_PREFIX.sub("", text, count=1)).expanduser()
            if path.exists() or ("/" in text and path.parent.is_dir()):
                found |= _both(path.absolute())
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such user
            continue
    found.pop(loaded.directory, None)  # what an empty text or a dot names
    return tuple(found)


def _both(path: Path) -> dict[Path, None]:
    return dict.fromkeys((Path(os.path.normpath(path)), Path(os.path.realpath(path))))


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list):
        for each in values.values() if isinstance(values, dict) else values:
            yield from _texts(each)


def _of_services(values: Any, name: str = "") -> Iterator[str]:
    """Yield the values of the elements of services that name files, which properties do not."""
    if isinstance(values, str):
        if _SERVICE_FILES.fullmatch(name):
            yield values
    elif isinstance(values, dict):
        for key, value in values.items():
            if key != "properties":
                yield from _of_services(value, key)
    elif isinstance(values, list):
        for value in values:
            yield from _of_services(value, name)
