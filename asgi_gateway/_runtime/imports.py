"""Import an object that a person names as ``module:object``."""

from __future__ import annotations

import importlib
from typing import Any

from asgi_gateway.errors import ConfigError, Problem

__all__ = ["import_object"]


def import_object(target: str, what: str, example: str) -> Any:
    """Import an object.

    Args:
        target: ``module:object``; the object may be an attribute of another one, as in ``module:object.attribute``.
        what: what it is, for messages.
        example: what to write, for hints.

    Raises:
        ConfigError: the text is of another form, there is no such module or attribute, or importing the module fails.
    """
    module, colon, attribute = target.partition(":")
    if not colon or not module or not attribute:
        raise ConfigError(Problem(f"invalid {what} {target!r}", hint=f"write {example}"))
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(Problem(f"{target}: no Python module named {error.name}")) from None
    except Exception as error:  # the module may do anything
        raise ConfigError(Problem(f"{target}: importing {module} raised {type(error).__name__}: {error}")) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise ConfigError(Problem(f"{target}: {error}")) from None
    return found
