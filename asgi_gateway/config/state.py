"""``state``: from its element to the ExpiringState that all modules share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asgi_gateway import registry
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.model import StateConfig
from asgi_gateway.config.values import did_you_mean
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.interfaces import Clock, ExpiringState
from asgi_gateway.stores.memory import MemoryState

__all__ = ["SETTINGS", "build_state"]

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "memory": ("max-entries",),
    "sqlite": ("file", "namespace", "timeout", "max-entries"),
    "redis": (
        *("url", "password-file", "ca-file", "cert-file", "key-file", "sentinel", "cluster", "namespace", "timeout"),
        "max-connections",
    ),
}
"""Which settings a type takes; a type of an installed package takes ``options``."""
_NEEDED = {"sqlite": ("file", "state.db"), "redis": ("url", "redis://localhost:6379")}
_LITERAL_PASSWORD = re.compile(r"[a-z]+://[^/@]*:(?!\$\{)[^/@]+@")


def build_state(loaded: LoadedConfig, clock: Clock, problems: list[Problem]) -> ExpiringState:
    """The store that a configuration asks for; memory if it asks for none. Nothing is opened yet.

    Args:
        loaded: the configuration.
        clock: where time comes from.
        problems: what is wrong is added here; the result is then of no use.
    """
    config = loaded.config.state
    if config is None:
        return MemoryState(clock)

    def note(name: str, message: str, cure: str = "", severity: str = "error") -> None:
        problems.append(loaded.problem(("state", name), message, cure=cure, severity=severity))

    try:
        store = registry.state_store(config.type)
    except ConfigError as error:
        for problem in error.problems:
            note("type", problem.message, did_you_mean(config.type, registry.state_store_names()))
        return MemoryState(clock)
    if not _settings_fit(config, note):
        return MemoryState(clock)
    _warn_of_passwords(loaded, note)
    arguments = _arguments(config, loaded.directory, clock)
    if config.type == "sqlite" and not arguments["path"].parent.is_dir():
        note("file", f"there is no directory {arguments['path'].parent}", "create it, for the server's user alone")
    try:
        return store(**arguments)
    except (ConfigError, ValueError, TypeError) as error:
        messages = [each.message for each in error.problems] if isinstance(error, ConfigError) else [str(error)]
        for message in messages:
            note("", f"state store {config.type}: {message}")
        return MemoryState(clock)


def _settings_fit(config: StateConfig, note: Callable[..., None]) -> bool:
    """Whether the type takes what is set, and has what it needs."""
    known = SETTINGS.get(config.type, ("options",))
    given = {name.replace("_", "-") for name in config.model_fields_set - {"type"}}
    for name in sorted(given - set(known)):
        note(name, f"a state store of type {config.type} has no {name}", f"it takes: {', '.join(known)}")
    needed, example = _NEEDED.get(config.type, ("", ""))
    if needed and needed not in given:
        note("", f"a state store of type {config.type} needs {needed}", f"add {needed}: {example}")
        return False
    return given <= set(known)


def _arguments(config: StateConfig, directory: Path, clock: Clock) -> dict[str, Any]:
    """The store's arguments: those that were given, files relative to the configuration."""
    if config.type not in SETTINGS:
        return dict(config.options)
    arguments = {name: getattr(config, name) for name in config.model_fields_set - {"type"}}
    for name, value in arguments.items():
        if isinstance(value, Path):
            arguments[name] = (directory / value.expanduser()).absolute()
    if config.type == "sqlite":
        arguments["path"] = arguments.pop("file")
    if config.type != "redis":
        arguments["clock"] = clock
    return arguments


def _warn_of_passwords(loaded: LoadedConfig, note: Callable[..., None]) -> None:
    """A password that stands in the file, as it was written before anything was expanded."""
    urls = loaded.tree.entries["state"].entries.get("url")
    if urls is not None and any(_LITERAL_PASSWORD.match(item.text) for item in urls.items):
        cure = "write it into a file of its own and name that as password-file, or take ${NAME} from the environment"
        note("url", "a password stands in the configuration", cure, "warning")
