"""Load a configuration: read, normalize, expand, validate, check. All problems are collected before any is raised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asgi_gateway.config.checks import check
from asgi_gateway.config.interpolate import SETTINGS, Definitions, Source, expand
from asgi_gateway.config.model import GatewayConfig
from asgi_gateway.config.normalize import normalize
from asgi_gateway.config.parse import from_mapping, from_xml, from_yaml
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.validate import ValidParts, validate
from asgi_gateway.documents import Mark, Node, read_xml, read_yaml
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["LoadedConfig", "load", "loads", "read"]

_SUFFIXES: dict[str, Literal["xml", "yaml"]] = {".xml": "xml", ".yaml": "yaml", ".yml": "yaml", ".json": "yaml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A frozen configuration, with the position of everything in it.

    Args:
        parts: the validated parts; the whole, if nothing is wrong.
        problems: errors, warnings, and elements of the original that were ignored.
        directory: the directory to which relative file names are relative.
        file: the file, or None for a dict or a text.
        sources: where the value of each ``${name}`` comes from.
        tree: the configuration before ``${}`` was expanded, by the model's names.
        values: the same after it, as dicts, lists and text.
        properties: the file's own properties, before expansion.
        by_port: whether services are told apart by the local port on which a request comes in.
        settings: definitions from outside that set something themselves, such as ``http.authenticator``.
    """

    parts: ValidParts = field(repr=False)
    problems: tuple[Problem, ...]
    directory: Path
    file: Path | None
    sources: Mapping[str, Source]
    tree: Node = field(repr=False)
    values: Any = field(repr=False)
    properties: Mapping[str, Node] = field(repr=False)
    by_port: bool = False
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def valid(self) -> bool:
        """Whether no problem is an error."""
        return self.parts.config is not None and not any(problem.severity == "error" for problem in self.problems)

    @property
    def config(self) -> GatewayConfig:
        """The validated model.

        Raises:
            ConfigError: the configuration has errors.
        """
        if self.parts.config is None:
            raise ConfigError(self.problems)
        return self.parts.config

    def where(self, path: ConfigPath) -> Mark:
        """Return the position of a path, or of the nearest element around it.

        Args:
            path: the model's names and indices, such as ``("security", "realms", 0, "name")``.
        """
        return _where(self.tree, path)

    def problem(self, path: ConfigPath, message: str, *, hint: str = "", severity: str = "error") -> Problem:
        """Return a Problem at a path."""
        return self.where(path).problem(message, path=path_text(path), hint=hint, severity=severity)

    def path_naming(self, file: Path, below: ConfigPath) -> ConfigPath:
        """Return the path of the value that names a file; ``below`` if no value below it does."""
        values = self.values
        for step in below:
            try:
                values = values[step]
            except (KeyError, IndexError, TypeError):
                return below
        return _naming(values, self.directory, file.absolute(), below) or below


def load(
    source: str | Path | Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Load a configuration.

    Args:
        source: a file whose name ends in .xml, .yaml, .yml or .json, or a dict of the YAML form.
        environment: for ``${name}``; by default the process's own.
        properties: for ``${name}``, before the environment and the file's own properties.

    Raises:
        ConfigError: with every problem that was found.
    """
    return _checked(read(source, environment=environment, properties=properties))


def loads(
    text: str | bytes,
    form: Literal["xml", "yaml"],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Load a configuration from text.

    Args:
        text: the document.
        form: its spelling.
        directory: the directory to which relative file names are relative; by default the working directory.
        environment: for ``${name}``; by default the process's own.
        properties: for ``${name}``, before the environment and the file's own properties.

    Raises:
        ConfigError: with every problem that was found.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    definitions = _definitions(environment, properties)
    return _checked(_read(data, form, _Origin(directory or Path.cwd(), None), definitions))


def read(
    source: str | Path | Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    by_port: bool = False,
) -> LoadedConfig:
    """Read a configuration as far as possible; errors of single elements are in its problems.

    Args:
        source: as for ``load``.
        environment: as for ``load``.
        properties: as for ``load``.
        by_port: whether services are told apart by the local port on which a request comes in.

    Raises:
        ConfigError: the file cannot be read, or is not well-formed.
    """
    definitions = _definitions(environment, properties)
    if isinstance(source, Mapping):
        problems: list[Problem] = []
        return _finish(from_mapping(source, problems), problems, _Origin(Path.cwd(), None, by_port), definitions)
    file = Path(source)
    form = _SUFFIXES.get(file.suffix.lower())
    if form is None:
        hint = "name it .xml, .yaml or .yml"
        raise ConfigError(Problem("the file's name does not say whether it is XML or YAML", file, hint=hint))
    return _read(file, form, _Origin(file.absolute().parent, file, by_port), definitions)


def _definitions(environment: Mapping[str, str] | None, properties: Mapping[str, str] | None) -> Definitions:
    given = {name: _definition(name, value) for name, value in (properties or {}).items()}
    return Definitions(given, os.environ if environment is None else environment)


def _definition(name: str, value: object) -> str:
    """Return the text of a definition. Python code may give numbers and booleans, which count as YAML spells them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Path):
        return str(value)
    message = f"invalid value of type {type(value).__name__} for the property {name!r}"
    raise ConfigError(Problem(message, hint="give text, a number or a boolean"))


def _checked(loaded: LoadedConfig) -> LoadedConfig:
    if not loaded.valid:
        raise ConfigError(loaded.problems)
    return loaded


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a configuration comes from: its directory, its file if it has one, and how it will be served."""

    directory: Path
    file: Path | None
    by_port: bool = False


def _read(
    source: Path | bytes, form: Literal["xml", "yaml"], origin: _Origin, definitions: Definitions
) -> LoadedConfig:
    problems: list[Problem] = []
    if form == "xml":
        tree = from_xml(read_xml(source), problems)
    else:
        tree = from_yaml(read_yaml(source), problems)
    return _finish(tree, problems, origin, definitions)


def _finish(tree: Node, problems: list[Problem], origin: _Origin, definitions: Definitions) -> LoadedConfig:
    normalized = normalize(tree)
    normalized.problems[:0] = problems
    values, sources = expand(normalized, definitions)
    parts = validate(normalized, values, lambda path: _where(normalized.root, path))

    def add_problem(path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None:
        mark = _where(normalized.root, path)
        normalized.problems.append(mark.problem(message, path=path_text(path), hint=hint, severity=severity))

    check(parts, add_problem, by_port=origin.by_port)
    found = sorted(dict.fromkeys(normalized.problems), key=lambda problem: (problem.line, problem.column))
    return LoadedConfig(
        parts=parts,
        problems=tuple(found),
        directory=origin.directory,
        file=origin.file,
        by_port=origin.by_port,
        sources=sources,
        tree=normalized.root,
        values=values,
        properties=normalized.properties,
        settings={name: value for name, value in definitions.given.items() if name in SETTINGS},
    )


def _where(node: Node, path: ConfigPath) -> Mark:
    for step in path:
        if isinstance(step, str) and step in node.entries:
            node = node.entries[step]
        elif isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.mark


def _naming(values: Any, directory: Path, file: Path, path: ConfigPath) -> ConfigPath | None:
    if isinstance(values, str):
        return (
            path
            if values and "\0" not in values and (directory / Path(values).expanduser()).absolute() == file
            else None
        )
    steps = values.items() if isinstance(values, dict) else enumerate(values)
    found = (_naming(value, directory, file, (*path, step)) for step, value in steps)
    return next((each for each in found if each is not None), None)
