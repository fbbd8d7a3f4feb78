"""From ``state`` and ``session-keys`` to the store that all modules share, and the keys of sessions."""

from __future__ import annotations

import secrets

from asgi_gateway import registry
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.report import Path_, Report
from asgi_gateway.config.values import did_you_mean
from asgi_gateway.errors import ConfigError
from asgi_gateway.interfaces import Clock, ExpiringState
from asgi_gateway.signing import KEY_BYTES, load_keys
from asgi_gateway.stores import StateStore
from asgi_gateway.stores.memory import MemoryState

__all__ = ["build_state", "session_keys"]


def build_state(loaded: LoadedConfig, clock: Clock, report: Report) -> ExpiringState:
    """The store that the configuration asks for; memory if it asks for none. Nothing is opened yet.

    Args:
        loaded: the configuration.
        clock: where time comes from.
        report: is told what is wrong; the result is then of no use.
    """
    config, path = loaded.config.security.state, ("security", "state")
    if config is not None and (found := _found(config.type, path, report)) is not None:
        what = f"state store {config.type}"
        options = report.validated(found.Options, config.options, what, path)
        if options is not None:
            try:
                return found.configured(options, loaded.directory, clock)
            except ConfigError as error:
                report.adopt(error, (*path, "options"))
            except Exception as error:
                report.problem(path, f"{what}: {type(error).__name__}: {error}")
    return MemoryState(clock)


def _found(name: str, path: Path_, report: Report) -> type[StateStore] | None:
    try:
        return registry.state_store(name)
    except ConfigError as error:
        report.adopt(error, (*path, "type"), did_you_mean(name, registry.state_store_names()))
        return None


def session_keys(loaded: LoadedConfig, state: ExpiringState, path: Path_, report: Report) -> tuple[bytes, ...]:
    """The keys that sign session cookies.

    Args:
        loaded: the configuration.
        state: where sessions will be kept.
        path: where the ``authentication`` stands that asks for sessions.
        report: is told what is wrong; the result is then of no use.
    """
    config, here = loaded.config.security.session_keys, ("security", "session-keys")
    if config is None:
        if state.shared:
            message = "sessions in a store that processes share need keys that they share, too"
            report.problem((*path, "authorization-mode"), message, "add security/session-keys with a file")
        return (secrets.token_bytes(KEY_BYTES),)  # sessions in this process's memory end with it anyway
    try:
        file = None if config.file is None else loaded.directory / config.file.expanduser()
        return load_keys(file, config.environment)
    except ConfigError as error:
        report.adopt(error, here)
        return (secrets.token_bytes(KEY_BYTES),)
