"""Collect the problems of building a gateway, each with its position; and check plugins' options on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.validate import describe
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.plugins.option_types import ModuleOptions

__all__ = ["Report"]

# A password may hold any character, so everything up to the last @ goes.
_USER_INFO = re.compile(r"(?<=://).*@", re.DOTALL)


class Report:
    """A collection of problems.

    Args:
        loaded: the configuration, which knows the positions; its own problems come first.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._problems: dict[Problem, None] = dict.fromkeys(loaded.problems)

    @property
    def problems(self) -> list[Problem]:
        """The problems, each once: those of the configuration file in its order, then those of other files."""
        file = self._loaded.file
        return sorted(self._problems, key=lambda each: (each.file != file, each.line, each.column))

    @property
    def errors(self) -> bool:
        """Whether any of the problems is an error."""
        return any(problem.severity == "error" for problem in self._problems)

    def problem(self, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None:
        """Add a problem at a path. A user name or password in a URL is left out of the message."""
        self.add(self._loaded.problem(path, message, hint=hint, severity=severity))

    def add(self, problem: Problem) -> None:
        """Add a problem. A user name or password in a URL is left out of the message."""
        self._problems[replace(problem, message=_USER_INFO.sub("…@", problem.message))] = None

    def adopt(self, error: ConfigError, path: ConfigPath, hint: str = "") -> None:
        """Add a plugin's problems.

        Those without a position get that of the plugin's configuration; those about a file as a whole get that of the
        value that names the file.
        """
        for problem in error.problems:
            if problem.line:
                self.add(problem)
            elif problem.file is not None:
                where = self._loaded.path_naming(problem.file, path)
                self.problem(where, f"{problem.file}: {problem.message}", problem.hint or hint, problem.severity)
            else:
                self.problem(path, problem.message, problem.hint or hint, problem.severity)

    def validated(
        self, model: type[ModuleOptions], options: Mapping[str, Any], label: str, path: ConfigPath
    ) -> ModuleOptions | None:
        """Return a plugin's options; None if they are invalid, which is added to the problems.

        Args:
            model: the options' model.
            options: the configured options.
            label: the plugin as messages call it.
            path: the plugin's path.
        """
        try:
            return model.model_validate(dict(options))
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False):
                self._option(details, model, options, label, path)
        except Exception as error:  # a plugin's validators may do anything
            self.problem((*path, "options"), f"{label}: {type(error).__name__}: {error}")
        return None

    def _option(
        self,
        details: Mapping[str, Any],
        model: type[ModuleOptions],
        options: Mapping[str, Any],
        label: str,
        path: ConfigPath,
    ) -> None:
        name = str(details["loc"][0]) if details["loc"] else ""
        where, options_path = (*path, "options", *details["loc"]), (*path, "options")
        if details["type"] == "extra_forbidden" and not options.get(name):
            # YAML reads {password: a,b} as password and an empty option b, which must not be shown
            self.problem(options_path, f"{label}: unknown option without a value", "a value with commas needs quotes")
        elif details["type"] == "extra_forbidden":
            known = [field.alias or field_name for field_name, field in model.model_fields.items()]
            self.problem(where, f"{label}: unknown option {name!r}", did_you_mean(name, known) or "it has no options")
        elif details["type"] == "missing":
            self.problem(options_path, f"{label}: missing option {name!r}", f"add {name}")
        elif _is_unquoted_placeholder(options.get(name)):
            self.problem(where, "expected text, found a mapping", f'quote it: {name}: "{{…}}"')
        else:
            self.problem(where, *describe(details))


def _is_unquoted_placeholder(value: object) -> bool:
    """Return whether a value is how YAML reads ``{USERNAME}`` without quotes: a mapping of a name to nothing."""
    return isinstance(value, dict) and not any(value.values())
