"""Load a configuration: read, normalize, expand, validate, check. All problems are collected before any is raised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asgi_gateway.config.checks import check
from asgi_gateway.config.interpolate import expand
from asgi_gateway.config.model import GatewayConfig
from asgi_gateway.config.normalize import NormalizedTree, normalize
from asgi_gateway.config.parse import from_mapping, from_xml, from_yaml
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.validate import validate
from asgi_gateway.documents import Mark, Node, read_xml, read_yaml
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["LoadedConfig", "load", "loads"]

_SUFFIXES: dict[str, Literal["xml", "yaml"]] = {".xml": "xml", ".yaml": "yaml", ".yml": "yaml", ".json": "yaml"}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and where everything in it stands.

    Args:
        config: the validated model.
        problems: warnings, and elements of the original that were ignored.
        directory: what relative file names are relative to.
        file: the file, or None for a dict or a text.
        tree: the configuration before ``${}`` was expanded, by the model's names.
        properties: the file's own properties, before expansion.
    """

    config: GatewayConfig
    problems: tuple[Problem, ...]
    directory: Path
    file: Path | None
    tree: Node = field(repr=False)
    properties: Mapping[str, Node] = field(repr=False)

    def where(self, path: ConfigPath) -> Mark:
        """The position of what stands at a path, or of the nearest element around it.

        Args:
            path: the model's names and indices, such as ``("security", "realms", 0, "name")``.
        """
        return _where(self.tree, path)

    def problem(self, path: ConfigPath, message: str, *, hint: str = "", severity: str = "error") -> Problem:
        """A Problem about what stands at a path."""
        return self.where(path).problem(message, path=path_text(path), hint=hint, severity=severity)


def load(source: str | Path | Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> LoadedConfig:
    """Load a configuration.

    Args:
        source: a file whose name ends in .xml, .yaml, .yml or .json, or a dict of the YAML form.
        environment: for ``${name}``; by default the process's own.

    Raises:
        ConfigError: with every problem that was found.
    """
    if isinstance(source, Mapping):
        problems: list[Problem] = []
        return _finish(from_mapping(source, problems), problems, Path.cwd(), None, environment)
    file = Path(source)
    form = _SUFFIXES.get(file.suffix.lower())
    if form is None:
        hint = "name it .xml, .yaml or .yml"
        raise ConfigError(Problem("the file's name does not say whether it is XML or YAML", file, hint=hint))
    return _read(file, form, file, file.absolute().parent, environment)


def loads(
    text: str | bytes,
    form: Literal["xml", "yaml"],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Load a configuration from text.

    Args:
        text: the document.
        form: which spelling it has.
        directory: what relative file names are relative to; by default the working directory.
        environment: for ``${name}``; by default the process's own.

    Raises:
        ConfigError: with every problem that was found.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _read(data, form, None, directory or Path.cwd(), environment)


def _read(
    source: Path | bytes, form: str, file: Path | None, directory: Path, environment: Mapping[str, str] | None
) -> LoadedConfig:
    problems: list[Problem] = []
    if form == "xml":
        tree = from_xml(read_xml(source), problems)
    else:
        tree = from_yaml(read_yaml(source), problems)
    return _finish(tree, problems, directory, file, environment)


def _finish(
    tree: Node, problems: list[Problem], directory: Path, file: Path | None, environment: Mapping[str, str] | None
) -> LoadedConfig:
    normalized = normalize(tree)
    normalized.problems[:0] = problems
    plain = expand(normalized, os.environ if environment is None else environment)
    parts = validate(normalized, plain, lambda path: _where(normalized.root, path))
    check(
        parts, lambda path, message, hint="", severity="error": _add_problem(normalized, path, message, hint, severity)
    )
    found = tuple(sorted(dict.fromkeys(normalized.problems), key=lambda problem: (problem.line, problem.column)))
    if parts.config is None or any(problem.severity == "error" for problem in found):
        raise ConfigError(found)
    return LoadedConfig(parts.config, found, directory, file, normalized.root, normalized.properties)


def _add_problem(normalized: NormalizedTree, path: ConfigPath, message: str, hint: str, severity: str) -> None:
    mark = _where(normalized.root, path)
    normalized.problems.append(mark.problem(message, path=path_text(path), hint=hint, severity=severity))


def _where(node: Node, path: ConfigPath) -> Mark:
    for step in path:
        if isinstance(step, str) and step in node.entries:
            node = node.entries[step]
        elif isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.mark
