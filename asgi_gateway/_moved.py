"""Give modules that moved their old names for one release, each with a DeprecationWarning."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["moved"]


def moved(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562) that finds each old name in its new home.

    Args:
        module: the old module's name.
        homes: the dotted new name of each old name, such as ``asgi_gateway.plugins.Boolean``.

    Returns:
        A function that returns the object of an old name and warns with the new name. It raises AttributeError for
        any other name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = homes[name].rpartition(".")
        message = f"{module}.{name} moved: import {new} from {home}. The old name goes away with the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(home), new)

    return find
