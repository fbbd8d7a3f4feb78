"""Escape what a client typed for a search filter or a distinguished name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from asgi_gateway.errors import LoginFailed
from asgi_gateway.passwords import MAX_PASSWORD_BYTES
from asgi_gateway.plugins.user_names import MAX_NAME_LENGTH, user_name_problem

__all__ = ["MAX_NAME_LENGTH", "Template", "check_name", "check_password", "escape_dn", "escape_filter"]

_FILTER_SPECIAL = re.compile(r"[\\*()\x00]")
_DN_SPECIAL = re.compile(r'[\\,+"<>;=]')
_PLACEHOLDER = re.compile(r"\{([A-Za-z]+)\}")


def escape_filter(value: str) -> str:
    """Return a value escaped for a search filter (RFC 4515 section 3)."""
    return _FILTER_SPECIAL.sub(lambda match: f"\\{ord(match[0]):02x}", value)


def escape_dn(value: str) -> str:
    """Return an attribute value escaped for a distinguished name (RFC 4514 section 2.4)."""
    escaped = _DN_SPECIAL.sub(r"\\\g<0>", value).replace("\0", r"\00")
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and not escaped.endswith("\\ "):
        escaped = escaped[:-1] + "\\ "
    return escaped


def check_name(name: str) -> None:
    """Check a user name by the rule of all login modules, without asking any server.

    Raises:
        LoginFailed: it is empty, too long, or holds characters that RFC 8265 section 3.4 refuses.
    """
    if (reason := user_name_problem(name)) is not None:
        raise LoginFailed(reason)


def check_password(password: str) -> None:
    """Check, without a bind, that a text can be a password. An empty one would make the bind anonymous.

    Raises:
        LoginFailed: it is empty, too long, not Unicode text, or has a NUL.
    """
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise LoginFailed("the password is not Unicode text") from None
    if not 0 < size <= MAX_PASSWORD_BYTES or "\0" in password:
        raise LoginFailed("the password is empty, too long, or has a NUL")


class Template:
    """A text with placeholders such as ``{USERNAME}``, filled in with escaped values.

    Args:
        text: the text.
        known: the placeholders that it may have.
        escape: escapes a value.

    Raises:
        ValueError: it has an unknown placeholder.
    """

    def __init__(self, text: str, known: Iterable[str], escape: Callable[[str], str]) -> None:
        self.text = text
        self.names = frozenset(_PLACEHOLDER.findall(text))
        self._parts = _PLACEHOLDER.split(text)  # text and names by turns
        self._escape = escape
        allowed = sorted(known)
        if unknown := sorted(self.names.difference(allowed)):
            choices = ", ".join(f"{{{name}}}" for name in allowed)
            raise ValueError(f"unknown placeholder {{{unknown[0]}}}; write one of {choices}")

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every placeholder replaced by its escaped value; placeholders in values stay."""
        parts = self._parts.copy()
        for index in range(1, len(parts), 2):
            parts[index] = self._escape(values[parts[index]])
        return "".join(parts)
