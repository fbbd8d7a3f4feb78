"""Bring a tree as it was written into the model's form: known names, lists for what repeats, nothing silently ignored.

Every problem is collected and the walk goes on, so that all errors of a file are reported at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from asgi_gateway.config.element_names import IGNORED, Field, FieldKind, element_accepting, fields, names, singular
from asgi_gateway.config.kaazing_compat import NOT_SUPPORTED, prepare_service
from asgi_gateway.config.model import ConfigElement, GatewayConfig, ServiceConfig
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import closest, did_you_mean
from asgi_gateway.documents import Mark, Node
from asgi_gateway.errors import Problem

__all__ = ["NormalizedTree", "normalize"]

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DUPLICATE = "remove one"
_EMPTY_CONSTRAINT = "name a require-role, or write require-valid-user"


@dataclass(slots=True)
class NormalizedTree:
    """A tree in the model's form, before ``${}`` is expanded.

    Args:
        root: the gateway's elements, by the model's names.
        properties: the file's properties, in order.
        problems: errors, warnings and ignored elements.
        broken: paths that already have an error, so that validation does not add a second one.
    """

    root: Node
    properties: dict[str, Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: list[ConfigPath] = field(default_factory=list)


def normalize(tree: Node) -> NormalizedTree:
    """Bring a tree into the model's form.

    Args:
        tree: a tree of text scalars, with the names that files use.
    """
    walk = _Normalizer()
    entries, keys = dict(tree.entries), dict(tree.keys)
    if not tree.is_mapping and tree.value != "":
        walk.add_problem(tree.mark, (), f"expected a mapping, found {tree.kind}", "begin with security:")
    properties = walk.properties(entries.pop("properties", None))
    defaults = walk.defaults(entries.pop("service-defaults", None))
    root = walk.element(GatewayConfig, Node(tree.mark, entries, keys=keys), (), "gateway-config")
    for service in root.entries["services"].items if "services" in root.entries else []:
        _apply_defaults(service, defaults)
    return NormalizedTree(root, properties, walk.problems, walk.broken)


class _Normalizer:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.broken: list[ConfigPath] = []

    def add_problem(self, mark: Mark, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None:
        self.problems.append(mark.problem(message, path=path_text(path), hint=hint, severity=severity))
        if severity == "error":
            self.broken.append(path)

    # -------------------------------------------------------------------------------------------------------- elements

    def element(self, cls: type[ConfigElement], node: Node, path: ConfigPath, name: str) -> Node:
        """Return an element with the model's names; unknown ones are reported and left out."""
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        if node.is_sequence:
            self.add_problem(node.mark, path, f"duplicate element: only one {name} is allowed", _DUPLICATE)
        elif not node.is_mapping and node.value != "":
            self.add_problem(node.mark, path, f"expected elements in {name}, found text")
        if cls is ServiceConfig:
            node = prepare_service(node, path, self.add_problem)
        known = names(cls)
        for key, child in node.entries.items():
            mark = node.keys[key]
            if key in IGNORED.get(cls, ()):
                for where in [item.mark for item in child.items] or [mark]:
                    self.add_problem(where, (*path, key), NOT_SUPPORTED, severity="ignored")
            elif (entry := known.get(key)) is None:
                self.unknown(cls, name, key, mark, path)
            elif entry.name in entries:
                same = f"duplicate: {key!r} and {entry.name!r} are the same element"
                self.add_problem(mark, (*path, entry.name), same, _DUPLICATE)
            elif (value := self.value(entry, child, (*path, entry.name))) is not None:
                entries[entry.name], keys[entry.name] = value, mark
        return Node(node.mark, entries, keys=keys)

    def unknown(self, cls: type[ConfigElement], name: str, key: str, mark: Mark, path: ConfigPath) -> None:
        known = set(names(cls))
        if cls is GatewayConfig:
            known |= {"properties", "service-defaults"}
        if key == singular(name):
            hint = f"did you mean </{key}> where it begins?"
        elif closest(key, known) is not None:
            hint = did_you_mean(key, known)
        elif "options" in fields(cls):
            hint = "it belongs in options, if it is an option"
        elif (belongs := element_accepting(key)) is not None:
            hint = f"it belongs in {belongs}"
        else:
            hint = did_you_mean(key, known)
        self.add_problem(mark, (*path, key[:80]), f"unknown element {key[:80]!r} in {name}", hint)

    def value(self, entry: Field, node: Node, path: ConfigPath) -> Node | None:
        if entry.kind is FieldKind.FREE:
            return self.options(node, path)
        if entry.kind is FieldKind.ELEMENT and entry.element:
            if entry.name == "authorization-constraint":
                return self.constraint(entry.element, node, path)
            return self.element(entry.element, node, path, entry.name)
        if entry.kind is FieldKind.ELEMENTS and entry.element:
            items = [
                self.element(entry.element, item, (*path, i), singular(entry.name))
                for i, item in enumerate(self.unwrap(entry, node, path))
            ]
            return Node(node.mark, items)
        return self.texts(node, path, entry.name) if entry.kind is FieldKind.TEXTS else self.text(node, path)

    def texts(self, node: Node, path: ConfigPath, name: str) -> Node:
        nodes = node.items if node.is_sequence else [node]
        if not nodes:  # an empty list of realms must not make a service public
            self.add_problem(node.mark, path, "is an empty list", f"give a value, or remove {name}")
        return Node(node.mark, [text for i, item in enumerate(nodes) if (text := self.text(item, (*path, i)))])

    def text(self, node: Node, path: ConfigPath) -> Node | None:
        if node.is_scalar:
            return node
        several = node.is_sequence and all(item.is_scalar for item in node.items)
        found = "several" if several else node.kind
        self.add_problem(node.mark, path, f"expected a single value, found {found}")
        return None

    def unwrap(self, entry: Field, node: Node, path: ConfigPath) -> list[Node]:
        """Return the items of ``login-modules/login-module``, of a list as such, or of a single element."""
        one = singular(entry.name)
        if node.is_mapping and one != entry.name and one in node.entries:
            for key in node.entries.keys() - {one}:
                message = f"unknown element {key[:80]!r} in {entry.name}"
                self.add_problem(node.keys[key], (*path, key), message, f"{entry.name} contains only {one}")
            node = node.entries[one]
        elif node.value == "":
            return []
        elif entry.element and _keyed_by_name(node, entry.element):
            first = next(iter(node.entries))
            hint = f"write - name: {first[:80]}" if "name" in fields(entry.element) else "begin each item with a dash"
            self.add_problem(node.mark, path, f"expected a list in {entry.name}, found a mapping", hint)
            return []
        return node.items if node.is_sequence else [node]

    def constraint(self, cls: type[ConfigElement], node: Node, path: ConfigPath) -> Node:
        """Return one constraint for several: all of their roles must be held."""
        nodes = [self.element(cls, item, path, "authorization-constraint") for item in node.items or [node]]
        merged = nodes[0]
        for other in nodes[1:]:
            for key, value in other.entries.items():
                if key in merged.entries and value.is_sequence:
                    value = Node(merged.entries[key].mark, [*merged.entries[key].items, *value.items])
                merged.entries[key] = value
                merged.keys.setdefault(key, other.keys[key])
        if any(not each.entries for each in nodes) and not any(path == bad[: len(path)] for bad in self.broken):
            self.add_problem(node.mark, path, "empty constraint: it requires nothing", _EMPTY_CONSTRAINT)
        return merged

    # ----------------------------------------------------------------------------------------------- free-form content

    def options(self, node: Node, path: ConfigPath) -> Node:
        if node.value == "":
            return Node(node.mark, {})
        if not node.is_mapping:
            self.add_problem(node.mark, path, f"expected names with values, found {node.kind}")
            return Node(node.mark, {})
        options = self.option(node, path)
        return options if options.is_mapping else Node(node.mark, {})

    def option(self, node: Node, path: ConfigPath) -> Node:
        """Return an option's value; a list of one is its value, since XML repeats the element for a list."""
        if node.is_mapping:
            entries: dict[str, Node] = {}
            for key, child in node.entries.items():
                if not _OPTION_NAME.fullmatch(key):
                    hint = "begin with a letter; letters, digits, dot, dash and underscore may follow"
                    self.add_problem(node.keys[key], path, f"invalid option name {key[:80]!r}", hint)
                elif child.value != []:
                    entries[key] = self.option(child, (*path, key))
            return Node(node.mark, entries, keys=node.keys) if entries else Node(node.mark, "")
        if node.is_sequence and any(item.is_sequence for item in node.items):
            self.add_problem(node.mark, path, "a list inside a list is not supported")
            return Node(node.mark, "")
        if node.is_sequence:
            items = [self.option(item, (*path, i)) for i, item in enumerate(node.items)]
            return items[0] if len(items) == 1 else Node(node.mark, items)
        return node

    def properties(self, node: Node | None) -> dict[str, Node]:
        """Return the file's properties, from XML's list of elements or from YAML's mapping."""
        if node is None or node.value == "":
            return {}
        if not node.is_mapping:
            self.add_problem(node.mark, ("properties",), f"expected names with values, found {node.kind}")
        listed = node.entries.get("property")
        if listed is None or listed.is_scalar:
            pairs = [(key, node.keys[key], child) for key, child in node.entries.items()]
        else:
            pairs = [self.property(item) for item in (listed.items or [listed])]
        found: dict[str, Node] = {}
        for name, mark, value in pairs:
            if not value.is_scalar or not name or "}" in name:
                self.add_problem(mark, ("properties", name), "invalid property: expected a name and one value")
            elif name in found:
                message = f"duplicate property, first at {found[name].mark}"
                self.add_problem(mark, ("properties", name), message, _DUPLICATE)
            else:
                found[name] = value
        return found

    def property(self, node: Node) -> tuple[str, Mark, Node]:
        name, value = node.entries.get("name"), node.entries.get("value")
        for key in node.entries.keys() - {"name", "value"}:
            path = ("properties", "property", key)
            self.add_problem(node.keys[key], path, "invalid property: it has only a name and a value")
        missing = Node(node.mark, [])
        return (name.text if name else ""), (name or node).mark, value or missing

    def defaults(self, node: Node | None) -> Node:
        path: ConfigPath = ("service-defaults",)
        defaults = Node(Mark(), {})
        if node is not None:
            defaults = self.element(ServiceConfig, node, path, "service-defaults")
            for name in ("name", "accept"):
                if name in defaults.entries:
                    message = "not allowed in service-defaults: every service has its own"
                    self.add_problem(defaults.keys[name], (*path, name), message, "remove it")
        return defaults


def _apply_defaults(service: Node, defaults: Node) -> None:
    """Add what a service does not say itself. Only a service of type ``directory`` takes the defaults' media types.

    Its own mappings follow those of the defaults, and the last one of an extension counts.
    """
    kind = service.entries.get("type", defaults.entries.get("type"))
    for name, node in defaults.entries.items():
        if name == "mime-mapping":
            if kind is None or not kind.is_scalar or kind.text != "directory":
                continue
            if name in service.entries:
                own = service.entries[name]
                service.entries[name] = Node(own.mark, [*node.items, *own.items])
        service.entries.setdefault(name, node)
        service.keys.setdefault(name, defaults.keys[name])


def _keyed_by_name(node: Node, element: type[ConfigElement]) -> bool:
    """Return whether a mapping has an item's name for each key, where a list of items is expected."""
    if not node.is_mapping or not node.entries or node.entries.keys() & set(names(element)):
        return False
    return all(child.is_mapping for child in node.entries.values())
