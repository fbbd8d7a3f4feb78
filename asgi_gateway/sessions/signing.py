"""Signing keys and signed texts, for tokens and session cookies: itsdangerous with HMAC-SHA256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from asgi_gateway._runtime.secret_files import ignore_warning, read_secret_text
from asgi_gateway.errors import ConfigError

__all__ = ["KEY_BYTES", "Signer", "load_keys"]

KEY_BYTES = 32
"""The least length of a signing key."""
_MAX_TEXT = 8192


class Signer:
    """Signs JSON objects, and reads only what it or one of its other keys signed for the same purpose.

    Args:
        keys: the first signs, all verify, so that a new key can be put before an old one.
        purpose: what the texts are for; a text signed for another purpose is not read.

    Raises:
        ConfigError: there is no key, or one is shorter than ``KEY_BYTES``.
    """

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        _check(keys, "signing keys")
        self._serializer = URLSafeSerializer(
            list(reversed(keys)),  # itsdangerous has the newest last
            salt=f"asgi_gateway.{purpose}",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def sign(self, data: dict[str, Any]) -> str:
        """The signed text, of letters, digits and ``._-``. Everybody can read what is in it."""
        return str(self._serializer.dumps(data))

    def read(self, text: str) -> dict[str, Any] | None:
        """What was signed; None if it was not, or not with one of these keys, or not for this purpose."""
        if len(text) > _MAX_TEXT or not text.isascii():
            return None
        try:
            data = self._serializer.loads(text)
        except BadData:
            return None
        return data if isinstance(data, dict) else None


def load_keys(
    file: Path | None = None, variable: str | None = None, warn: Callable[[str], None] = ignore_warning
) -> tuple[bytes, ...]:
    """Signing keys from a file or an environment variable, one a line; empty lines and lines with ``#`` are left out.

    A key is the line's text as it stands, such as the output of ``openssl rand -base64 32``.

    Args:
        file: the file.
        variable: the variable's name, if there is no file.
        warn: called with a sentence if other users can read or write the file.

    Returns:
        The keys in their order, at least one.

    Raises:
        ConfigError: the file or the variable is not there, holds no key, or a short one, or one twice.
    """
    if (file is None) == (variable is None):
        raise ConfigError("signing keys come either from a file or from an environment variable")
    if file is not None:
        where = str(file)
        text = read_secret_text(file, warn, "keys file")
    else:
        where = f"the environment variable {variable}"
        text = os.environ.get(str(variable), "")
    lines = (line.strip() for line in text.splitlines())
    keys = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    _check(keys, where)
    return keys


def _check(keys: Sequence[bytes], where: str) -> None:
    if not keys:
        raise ConfigError(f"{where}: no signing key; make one with: openssl rand -base64 32")
    for number, key in enumerate(keys, 1):
        if len(key) < KEY_BYTES:
            raise ConfigError(f"{where}: key {number} has {len(key)} bytes, less than {KEY_BYTES}")
    if len(set(keys)) != len(keys):
        raise ConfigError(f"{where}: a key is there twice")
