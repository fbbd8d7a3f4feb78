"""From ``state`` to the store that all modules and sessions share."""

from __future__ import annotations

from asgi_gateway.config import registry
from asgi_gateway.config.diagnostics import Report
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.errors import ConfigError
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState, StateStore
from asgi_gateway.stores.memory import MemoryState

__all__ = ["build_state"]


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


def _found(name: str, path: ConfigPath, report: Report) -> type[StateStore] | None:
    try:
        return registry.state_store(name)
    except ConfigError as error:
        report.adopt(error, (*path, "type"), did_you_mean(name, registry.state_store_names()))
        return None
