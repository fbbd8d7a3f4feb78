"""Define the trees that readers return: elements of XML, nodes of YAML, each with its position."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from asgi_gateway.errors import Problem

__all__ = ["MAX_DEPTH", "MAX_NODES", "Mark", "Node", "Scalar", "XmlElement", "collapse"]

Scalar: TypeAlias = str | int | float | bool | None

_SPACE = re.compile(r"[ \t\r\n]+")  # XML's white space; a no-break space is text

MAX_DEPTH = 40
"""The deepest nesting of elements and nodes; the configuration needs fewer than ten levels."""
MAX_NODES = 500_000
"""The largest number of elements or nodes; each use of a YAML alias counts with all of its nodes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A frozen position in a file.

    Args:
        file: the file, or None for text that came from elsewhere.
        line: one-based, 0 when there is no position.
        column: one-based, 0 when there is no position.
    """

    file: Path | None = None
    line: int = 0
    column: int = 0

    def problem(self, message: str, *, path: str = "", hint: str = "", severity: str = "error") -> Problem:
        """Return a Problem at this position."""
        return Problem(message, self.file, self.line, self.column, path, hint, severity)

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(slots=True)
class XmlElement:
    """An XML element. Its ``repr`` shows no text, since that may be a password.

    Args:
        name: the local name, without prefix or namespace.
        mark: the position of its start tag.
        attributes: names to values: those without a namespace, and XML's own such as ``xml:space``.
        text: all character data directly in it, unchanged.
        children: the elements directly in it, in order.
        cdata: whether some of the text was in a CDATA section.
        namespace: the namespace of its name; empty if it has none.
    """

    name: str
    mark: Mark
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)
    children: list[XmlElement] = field(default_factory=list, repr=False)
    cdata: bool = field(default=False, repr=False)
    namespace: str = field(default="", repr=False)

    def find(self, name: str) -> list[XmlElement]:
        """Return the children of a name, in order."""
        return [child for child in self.children if child.name == name]


@dataclass(slots=True)
class Node:
    """A YAML node: a scalar, a sequence or a mapping. Its ``repr`` shows no value, since that may be a password.

    Args:
        mark: its position.
        value: a scalar; or a list of nodes; or a dict from key to node.
        text: a scalar as the file spells it (an unquoted ``007`` is the number 7 with the text ``007``).
        keys: the position of each key of a mapping.
    """

    mark: Mark
    value: Scalar | list[Node] | dict[str, Node] = field(repr=False)
    text: str = field(default="", repr=False)
    keys: dict[str, Mark] = field(default_factory=dict, repr=False)

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a dict of nodes."""
        return isinstance(self.value, dict)

    @property
    def is_sequence(self) -> bool:
        """Whether the value is a list of nodes."""
        return isinstance(self.value, list)

    @property
    def is_scalar(self) -> bool:
        """Whether the value is text, a number, a boolean or nothing."""
        return not isinstance(self.value, dict | list)

    @property
    def items(self) -> list[Node]:
        """The nodes of a sequence; empty for anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def entries(self) -> dict[str, Node]:
        """The entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def kind(self) -> str:
        """The node's kind, for messages."""
        return "a mapping" if self.is_mapping else "a list" if self.is_sequence else "a single value"

    def get(self, key: str) -> Node | None:
        """Return the entry of a mapping, or None."""
        return self.entries.get(key)


def collapse(text: str) -> str:
    """Return text without white space around it, and with one space for each run inside (XSD ``collapse``)."""
    return _SPACE.sub(" ", text).strip(" ")
