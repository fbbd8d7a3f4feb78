"""Problems of building a gateway, each with its place in the configuration; and options that are checked on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.plugins.option_types import ModuleOptions

__all__ = ["Report"]


class Report:
    """Collects problems.

    Args:
        loaded: the configuration, which knows where everything stands; its own problems come first.
    """

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self.problems: list[Problem] = list(loaded.problems)

    @property
    def errors(self) -> bool:
        """Whether any of the problems is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    def problem(self, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None:
        """Add a problem of what stands at a path."""
        self.problems.append(self._loaded.problem(path, message, hint=hint, severity=severity))

    def adopt(self, error: ConfigError, path: ConfigPath, hint: str = "") -> None:
        """Take over a plugin's problems; those without a place of their own get the place of its configuration."""
        for problem in error.problems:
            if problem.file is not None or problem.line:
                self.problems.append(problem)
            else:
                self.problem(path, problem.message, problem.hint or hint, problem.severity)

    def validated(
        self, model: type[ModuleOptions], options: Mapping[str, Any], what: str, path: ConfigPath
    ) -> ModuleOptions | None:
        """A plugin's options; None if they are wrong, which is then told.

        Args:
            model: the options' model.
            options: what the configuration says.
            what: what has the options, for messages.
            path: where it stands.
        """
        try:
            return model.model_validate(dict(options))
        except ValidationError as error:
            self._options(error, model, options, what, path)
        except Exception as error:  # a plugin's validators may do anything
            self.problem((*path, "options"), f"{what}: {type(error).__name__}: {error}")
        return None

    def _options(
        self,
        error: ValidationError,
        model: type[ModuleOptions],
        options: Mapping[str, Any],
        what: str,
        path: ConfigPath,
    ) -> None:
        known = [field.alias or name for name, field in model.model_fields.items()]
        for detail in error.errors(include_url=False, include_input=False):
            where = (*path, "options", *detail["loc"])
            name = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "extra_forbidden" and not options.get(name):
                # YAML reads {password: a,b} as password and an empty option b, which must not be shown.
                message = f"{what} does not know an option, and it has no value"
                self.problem((*path, "options"), message, "a value with commas needs quotes")
            elif detail["type"] == "extra_forbidden":
                hint = did_you_mean(name, known) or "it has no options"
                self.problem(where, f"{what} has no option {name!r}", hint)
            elif detail["type"] == "missing":
                self.problem((*path, "options"), f"{what} needs the option {name!r}")
            else:
                self.problem(where, detail["msg"].removeprefix("Value error, "))
