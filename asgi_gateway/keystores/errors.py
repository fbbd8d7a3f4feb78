"""What can be wrong with a keystore, as configuration errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asgi_gateway.errors import ConfigError, Problem

__all__ = ["WrongPassword", "fault", "keystore_extra", "of_file"]


class WrongPassword(ConfigError):
    """The password does not open the keystore, or not the key in it."""


def fault(message: str, hint: str = "") -> ConfigError:
    """One problem as an error; the caller knows the position in the configuration and may add it."""
    return ConfigError(Problem(message, hint=hint))


@contextmanager
def of_file(file: Path, what: str = "keystore") -> Iterator[None]:
    """Begin what errors say with the file: ``the keystore FILE is damaged``."""
    try:
        yield
    except ConfigError as error:
        problem = error.problems[0]
        raise type(error)(Problem(f"the {what} {file} {problem.message}", hint=problem.hint)) from error


@contextmanager
def keystore_extra() -> Iterator[None]:
    """Turn the failing import of a library that reads keystores into advice.

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
