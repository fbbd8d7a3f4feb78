"""Read YAML with positions, from the events of PyYAML's parser.

Scalars are read as YAML 1.2's core schema does (``true`` and ``false`` are the booleans, ``no`` and ``2026-11-21`` are
text). Tags, merge keys, duplicate keys and further documents are refused. An alias stands for a shared node; each use
counts with everything below it, so that nested aliases cannot grow beyond the bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from asgi_gateway.documents.nodes import MAX_DEPTH, MAX_NODES, Mark, Node, Scalar
from asgi_gateway.documents.source import decode, read_bytes
from asgi_gateway.errors import ConfigError, Problem

__all__ = ["read_yaml"]

_NULL = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]{1,40}|0o[0-7]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?", re.ASCII)
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")
_SEQUENCE_TAGS = (None, "!", "tag:yaml.org,2002:seq")
_MAPPING_TAGS = (None, "!", "tag:yaml.org,2002:map")


def read_yaml(source: Path | bytes, *, file: Path | None = None) -> Node:
    """Read a YAML document.

    Args:
        source: a file, or its content.
        file: the file to name in errors when ``source`` is bytes.

    Returns:
        The document's root node.

    Raises:
        ConfigError: the file cannot be read, or the document is malformed, unsafe or too large.
    """
    data, file = read_bytes(source, file)
    text = decode(data, file)
    if text.lstrip()[:1] == "<" and not text.lstrip().startswith("<<"):
        raise ConfigError(Mark(file, 1, 1).problem("not YAML: the text is XML", hint="name the file .xml"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(file, iter(yaml.parse(text, Loader=loader))).document()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_malformed(error, file)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        mark = Mark(file, line, error.position - text.rfind("\n", 0, error.position))
        raise ConfigError(mark.problem("invalid character: YAML does not allow it", hint="remove it")) from None


def _malformed(error: yaml.MarkedYAMLError, file: Path | None) -> Problem:
    at = error.problem_mark
    mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file)
    message = "invalid YAML:"
    if error.context:
        began = error.context_mark
        where = f" that begins at {began.line + 1}:{began.column + 1}" if began else ""
        message += f" {error.context}{where},"
    return mark.problem(
        f"{message} {error.problem}", hint="check indentation and colons; quote values that contain { } [ ] , # or :"
    )


@dataclass(slots=True)
class _Builder:
    """Turns events into nodes, one recursion per level, at most MAX_DEPTH of them."""

    file: Path | None
    events: Iterator[yaml.Event]
    count: int = 0
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    open_anchors: set[str] = field(default_factory=set)

    def mark(self, event: yaml.Event) -> Mark:
        at = event.start_mark
        return Mark(self.file, at.line + 1, at.column + 1) if at else Mark(self.file)

    def error(self, event: yaml.Event, message: str, hint: str = "") -> ConfigError:
        return ConfigError(self.mark(event).problem(message, hint=hint))

    def document(self) -> Node:
        next(self.events)  # the stream's start
        if isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise ConfigError(Mark(self.file).problem("the file is empty"))
        root = self.node(next(self.events), 0)
        next(self.events)  # the document's end
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self.error(event, "more than one YAML document", "remove the ---")
        return root

    def node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        before = self.count
        self.spend(1, event)
        anchor = event.anchor if isinstance(event, yaml.NodeEvent) else None
        if anchor is not None:
            self.open_anchors.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(event, depth)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self.mapping(event, depth)
        else:
            raise self.error(event, "invalid YAML: expected a value")
        if anchor is not None:
            self.open_anchors.discard(anchor)
            self.anchors[anchor] = node, self.count - before
        return node

    def spend(self, nodes: int, event: yaml.Event) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            raise self.error(event, f"the document has more than {MAX_NODES} nodes, those of aliases included")

    def alias(self, event: yaml.AliasEvent) -> Node:
        if event.anchor in self.open_anchors:
            raise self.error(event, f"the alias *{event.anchor} refers to itself")
        if event.anchor not in self.anchors:
            raise self.error(event, f"undefined alias *{event.anchor}: no anchor &{event.anchor} before it")
        node, size = self.anchors[event.anchor]
        self.spend(size, event)
        return node

    def refuse_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, allowed: tuple[str | None, ...]) -> None:
        if event.tag is not None and event.tag not in allowed:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            raise self.error(event, f"the tag {tag!r} is not allowed", "remove the tag")

    def scalar(self, event: yaml.ScalarEvent) -> Node:
        self.refuse_tag(event, _STRING_TAGS)
        plain = event.style is None or event.style == ""
        value = _resolve(event.value) if plain and event.tag is None else event.value
        return Node(self.mark(event), value, event.value)

    def sequence(self, event: yaml.SequenceStartEvent, depth: int) -> Node:
        self.refuse_tag(event, _SEQUENCE_TAGS)
        items: list[Node] = []
        while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(inner, depth + 1))
        return Node(self.mark(event), items)

    def mapping(self, event: yaml.MappingStartEvent, depth: int) -> Node:
        self.refuse_tag(event, _MAPPING_TAGS)
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
            key = self.key(inner)
            if key in entries:
                raise self.error(inner, f"duplicate key {key[:80]!r}, first at {keys[key]}", "remove one")
            keys[key] = self.mark(inner)
            entries[key] = self.node(next(self.events), depth + 1)
        return Node(self.mark(event), entries, keys=keys)

    def key(self, event: yaml.Event) -> str:
        node = self.alias(event) if isinstance(event, yaml.AliasEvent) else None
        if node is None and isinstance(event, yaml.ScalarEvent):
            if event.value == "<<" and not event.style:
                raise self.error(event, "the merge key << is not supported", "write the keys out")
            node = self.node(event, 0)
        if node is None or not node.is_scalar:
            raise self.error(event, "a key must be a single value")
        return node.text


def _resolve(text: str) -> Scalar:
    """Return the value of a plain scalar by YAML 1.2's core schema (YAML 1.2.2, 10.3.2)."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
