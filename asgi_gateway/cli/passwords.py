"""Run ``asgi-gateway hash-password``, and ask for passwords."""

from __future__ import annotations

import argparse
import getpass
import sys

from asgi_gateway.cli.output import Output
from asgi_gateway.passwords import hash_password

__all__ = ["ask_password", "hash_password_command"]


def ask_password(*, twice: bool = False) -> str:
    """Return a password from the terminal, or the first line of standard input if that is not a terminal.

    Args:
        twice: True to ask again and compare.

    Raises:
        ValueError: the password is empty, or the second one differs.
    """
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if twice and getpass.getpass("Once more: ") != password:
            raise ValueError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ValueError("the password is empty")
    return password


def hash_password_command(arguments: argparse.Namespace, output: Output) -> int:
    """Print a hash for a users file."""
    stored = hash_password(ask_password(twice=True))
    output.line(stored)
    output.record({"hash": stored})
    return 0
