"""Sign texts for tokens and session cookies, and read signing keys: itsdangerous with HMAC-SHA256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from asgi_gateway._runtime.secret_files import ignore_warning, read_secret_text
from asgi_gateway.errors import ConfigError

__all__ = ["KEY_BYTES", "Signer", "load_keys"]

KEY_BYTES = 32
"""The least length of a signing key in bytes."""
_MAX_TEXT = 8192


class Signer:
    """Signs JSON objects. Reads only what was signed with one of its keys, for the same purpose.

    Args:
        keys: the first signs, all verify, so that a new key can be put before an old one.
        purpose: what the texts are for. A text signed for another purpose is invalid.

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
        """Return the signed text, of letters, digits and ``._-``. It is not encrypted."""
        return str(self._serializer.dumps(data))

    def read(self, text: str) -> dict[str, Any] | None:
        """Return the object of a signed text; None if the text is not exactly one that ``sign`` returned.

        Base64 has several spellings of the same bytes, and Python's decoder skips characters that are not in its
        alphabet. Only the spelling that was signed is valid.
        """
        if len(text) > _MAX_TEXT or not text.isascii():
            return None
        signature = text.rpartition(".")[2]
        try:
            if base64_encode(base64_decode(signature)) != signature.encode():
                return None
            data = self._serializer.loads(text)
        except BadData:
            return None
        return data if isinstance(data, dict) else None


def load_keys(
    file: Path | None = None, variable: str | None = None, warn: Callable[[str], None] = ignore_warning
) -> tuple[bytes, ...]:
    """Return signing keys from a file or an environment variable, one a line.

    Empty lines and comments (``#``) are skipped. A key is the line's text as it stands, such as the output of
    ``openssl rand -base64 32``.

    Args:
        file: the file.
        variable: the variable's name, if there is no file.
        warn: called with a sentence if other users can read or write the file.

    Returns:
        The keys in their order, at least one.

    Raises:
        ConfigError: the file or the variable is missing, or holds no key, a short key or a duplicate.
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
        raise ConfigError(f"{where}: duplicate key (remove one)")
