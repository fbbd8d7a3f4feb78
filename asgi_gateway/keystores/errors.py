"""Define what can be wrong with a keystore, as configuration errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asgi_gateway.errors import ConfigError, Problem

__all__ = ["WrongPassword", "error_prefix", "fault", "keystore_extra"]


class WrongPassword(ConfigError):
    """The password does not open the keystore, or not the key in it."""


def fault(message: str, hint: str = "") -> ConfigError:
    """Return one problem as an error, without a position; the caller may add it."""
    return ConfigError(Problem(message, hint=hint))


@contextmanager
def error_prefix(file: Path, what: str = "keystore") -> Iterator[None]:
    """Prefix the message of errors with the file: ``the keystore FILE is damaged``."""
    try:
        yield
    except ConfigError as error:
        problem = error.problems[0]
        raise type(error)(Problem(f"the {what} {file} {problem.message}", hint=problem.hint)) from error


@contextmanager
def keystore_extra() -> Iterator[None]:
    """Turn a failed import of a library that reads keystores into an error that says what to install.

    Raises:
        ConfigError: the extra ``keystore`` is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise fault(
            f"needs the package {error.name} to be read, which is not installed",
            "pip install 'asgi-gateway[keystore]'",
        ) from error
