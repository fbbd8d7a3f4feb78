"""Read the arguments that every command with a configuration file has: the file and ``-D name=value``."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_configuration", "definitions"]


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the configuration file and ``-D`` to a command's arguments."""
    parser.add_argument("file", type=Path, help="the configuration, XML or YAML")
    parser.add_argument(
        "-D",
        action="append",
        default=[],
        type=_definition,
        dest="definitions",
        metavar="NAME=VALUE",
        help="value of ${NAME}, before the environment and the file's properties; may be repeated",
    )


def definitions(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the values of ``-D`` by their names.

    Raises:
        ValueError: a name is defined twice.
    """
    found: dict[str, str] = {}
    for name, value in arguments.definitions:
        if name in found:
            raise ValueError(f"-D {name} is given twice")
        found[name] = value
    return found


def _definition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or set("{}") & set(name):
        raise argparse.ArgumentTypeError("write -D NAME=VALUE")
    return name, value
