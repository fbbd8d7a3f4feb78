"""Load the keys that sign session cookies."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from asgi_gateway._runtime.secret_files import ignore_warning
from asgi_gateway.config.model import SessionKeysConfig
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.sessions.signing import KEY_BYTES, load_keys

__all__ = ["session_keys"]


def session_keys(
    config: SessionKeysConfig | None, directory: Path, shared: bool, warn: Callable[[str], None] = ignore_warning
) -> tuple[bytes, ...]:
    """Return the configured keys; a random one if no other process needs to know it.

    Args:
        config: the configured file or environment variable, or None.
        directory: the directory to which a relative file is relative.
        shared: whether other processes see the same sessions.
        warn: called with a sentence if other users can read or write the file.

    Raises:
        ConfigError: the keys are missing, too short or unreadable, or processes share sessions without any.
    """
    if config is not None:
        file = None if config.file is None else directory / config.file.expanduser()
        return load_keys(file, config.environment, warn)
    if shared:
        message = "missing session-keys: sessions in a shared store need keys that all processes share"
        raise ConfigError(Problem(message, hint="add security/session-keys with a file"))
    return (secrets.token_bytes(KEY_BYTES),)  # the sessions end with the process as well
