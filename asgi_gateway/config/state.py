"""Build the store of ``state``, which all modules and sessions share."""

from __future__ import annotations

from asgi_gateway.config import registry
from asgi_gateway.config.diagnostics import Report
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.model import StateConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.errors import ConfigError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, StateStore
from asgi_gateway.stores.memory import MemoryState

__all__ = ["build_state"]


def build_state(loaded: LoadedConfig, clock: Clock, report: Report) -> ExpiringState:
    """Build the configured store; memory without a configured one. Nothing is opened yet.

    Args:
        loaded: the configuration.
        clock: the source of time.
        report: collects the problems; with an error in it the result is the memory store.
    """
    config = loaded.parts.security.state
    store = None if config is None else _configured(config, loaded, clock, report)
    return MemoryState(clock) if store is None else store


def _configured(config: StateConfig, loaded: LoadedConfig, clock: Clock, report: Report) -> StateStore | None:
    path: ConfigPath = ("security", "state")
    label = f"state store {config.type}"
    found = _found(config.type, path, report)
    options = None if found is None else report.validated(found.Options, config.options, label, path)
    if found is None or options is None:
        return None
    try:
        store = found.configured(options, loaded.directory, clock)
    except ConfigError as error:
        report.adopt(error, (*path, "options"))
        return None
    except Exception as error:
        report.problem(path, f"{label}: {type(error).__name__}: {error}")
        return None
    for message in store.problems():
        report.problem((*path, "options"), f"{label}: {message}")
    return store


def _found(name: str, path: ConfigPath, report: Report) -> type[StateStore] | None:
    try:
        return registry.state_store(name)
    except ConfigError as error:
        report.adopt(error, (*path, "type"), did_you_mean(name, registry.state_store_names()))
        return None
