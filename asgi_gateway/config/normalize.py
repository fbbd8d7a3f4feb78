"""From a tree as someone wrote it to the model's own normalize: known names, lists where lists belong, nothing ignored.

Every problem is noted and the walk goes on, so that all of a file's errors are reported at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from asgi_gateway.config.element_names import IGNORED, Field, FieldKind, element_accepting, names, singular
from asgi_gateway.config.kaazing_compat import prepare_service
from asgi_gateway.config.model import ConfigElement, GatewayConfig, ServiceConfig
from asgi_gateway.config.path import ConfigPath, path_text
from asgi_gateway.config.suggestions import closest, did_you_mean
from asgi_gateway.documents import Mark, Node
from asgi_gateway.errors import Problem

__all__ = ["NormalizedTree", "normalize"]

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(slots=True)
class NormalizedTree:
    """A tree in the model's normalize, before ``${}`` is expanded.

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
    """Bring a tree into the model's normalize.

    Args:
        tree: a tree of text scalars, with the names a file uses.
    """
    walk = _Normalizer()
    entries, keys = dict(tree.entries), dict(tree.keys)
    if not tree.is_mapping and tree.value != "":
        walk.add_problem(tree.mark, (), f"the configuration is {tree.kind}, not a mapping", "begin with security:")
    properties = walk.properties(entries.pop("properties", None))
    defaults = walk.defaults(entries.pop("service-defaults", None))
    root = walk.element(GatewayConfig, Node(tree.mark, entries, keys=keys), (), "gateway-config")
    for service in root.entries["services"].items if "services" in root.entries else []:
        for name, node in defaults.entries.items():
            service.entries.setdefault(name, node)
            service.keys.setdefault(name, defaults.keys[name])
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
        """An element as the model has it; unknown names are noted and left out."""
        entries: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        shaped = Node(node.mark, entries, keys=keys)
        if not node.is_mapping:
            if node.value != "":
                message = "stands here more than once" if node.is_sequence else "is text, and holds elements"
                self.add_problem(node.mark, path, f"{name} {message}")
            return shaped
        if cls is ServiceConfig:
            node = prepare_service(node, path, self.add_problem)
        known = names(cls)
        for key, child in node.entries.items():
            mark = node.keys[key]
            if key in IGNORED.get(cls, ()):
                for item in child.items or [child]:
                    where = item.mark if child.is_sequence else mark
                    self.add_problem(where, (*path, key), "means nothing to an ASGI gateway", severity="ignored")
            elif (entry := known.get(key)) is None:
                self.unknown(cls, name, key, mark, path)
            elif entry.name in entries:
                self.add_problem(
                    mark, (*path, entry.name), f"{key!r} says a second time what {entry.name!r} says", "keep one"
                )
            elif (value := self.value(entry, child, (*path, entry.name))) is not None:
                entries[entry.name], keys[entry.name] = value, mark
        return shaped

    def unknown(self, cls: type[ConfigElement], name: str, key: str, mark: Mark, path: ConfigPath) -> None:
        known = set(names(cls))
        if cls is GatewayConfig:
            known |= {"properties", "service-defaults"}
        if key == singular(name):
            hint = f"did you mean </{key}> where it begins?"
        elif closest(key, known) is None and (belongs := element_accepting(key)):
            hint = f"it belongs in {belongs}"
        else:
            hint = did_you_mean(key, known)
        self.add_problem(mark, (*path, key[:80]), f"there is no {key[:80]!r} in {name}", hint)

    def value(self, entry: Field, node: Node, path: ConfigPath) -> Node | None:
        if entry.kind is FieldKind.FREE:
            return self.options(node, path)
        if entry.kind is FieldKind.ELEMENT and entry.element:
            if entry.name == "authorization-constraint":
                return self.constraint(entry.element, node, path)
            return self.element(entry.element, node, path, entry.name)
        if entry.kind is FieldKind.ELEMENTS and entry.element:
            items = self.unwrap(entry, node, path).items
            shaped = [
                self.element(entry.element, item, (*path, i), singular(entry.name)) for i, item in enumerate(items)
            ]
            return Node(node.mark, shaped)
        if entry.kind is FieldKind.TEXTS:
            nodes = node.items if node.is_sequence else [node]
            if not nodes:  # an empty list of realms must not make a service public
                self.add_problem(node.mark, path, "is an empty list", f"give a value, or remove {entry.name}")
            texts = [text for i, item in enumerate(nodes) if (text := self.text(item, (*path, i)))]
            return Node(node.mark, list(texts))
        return self.text(node, path)

    def text(self, node: Node, path: ConfigPath) -> Node | None:
        if node.is_scalar:
            return node
        again = node.is_sequence and all(item.is_scalar for item in node.items)
        self.add_problem(node.mark, path, "takes one value" if again else f"takes a single value, not {node.kind}")
        return None

    def unwrap(self, entry: Field, node: Node, path: ConfigPath) -> Node:
        """The list in ``login-modules/login-module``, in a list as such, or of a single element."""
        one = singular(entry.name)
        if node.is_mapping and one != entry.name and one in node.entries:
            for key in node.entries.keys() - {one}:
                self.add_problem(
                    node.keys[key], (*path, key), f"there is no {key[:80]!r} in {entry.name}", f"only {one}"
                )
            node = node.entries[one]
        elif node.value == "":
            return Node(node.mark, [])
        return node if node.is_sequence else Node(node.mark, [node])

    def constraint(self, cls: type[ConfigElement], node: Node, path: ConfigPath) -> Node:
        """One constraint of several: all of their roles must be held."""
        nodes = [self.element(cls, item, path, "authorization-constraint") for item in node.items or [node]]
        merged = nodes[0]
        for other in nodes[1:]:
            for key, value in other.entries.items():
                if key in merged.entries and value.is_sequence:
                    value = Node(merged.entries[key].mark, [*merged.entries[key].items, *value.items])
                merged.entries[key] = value
                merged.keys.setdefault(key, other.keys[key])
        if any(not each.entries for each in nodes) and not any(path == bad[: len(path)] for bad in self.broken):
            hint = "name a require-role, or say require-valid-user"
            self.add_problem(node.mark, path, "an empty constraint can never apply", hint)
        return merged

    # ----------------------------------------------------------------------------------------------- free-form content

    def options(self, node: Node, path: ConfigPath) -> Node:
        if node.value == "":
            return Node(node.mark, {})
        if not node.is_mapping:
            self.add_problem(node.mark, path, f"options are names with values, not {node.kind}")
            return Node(node.mark, {})
        shaped = self.option(node, path)
        return shaped if shaped.is_mapping else Node(node.mark, {})

    def option(self, node: Node, path: ConfigPath) -> Node:
        """An option's value; in XML one element is a value and several are a list, so a list of one is its value."""
        if node.is_mapping:
            shaped: dict[str, Node] = {}
            for key, child in node.entries.items():
                if not _OPTION_NAME.fullmatch(key):
                    hint = "begin with a letter; letters, digits, dot, dash and underscore may follow"
                    self.add_problem(node.keys[key], path, f"{key[:80]!r} cannot be an option's name", hint)
                elif child.value != []:
                    shaped[key] = self.option(child, (*path, key))
            return Node(node.mark, shaped, keys=node.keys) if shaped else Node(node.mark, "")
        if node.is_sequence and any(item.is_sequence for item in node.items):
            self.add_problem(node.mark, path, "a list inside a list")
            return Node(node.mark, "")
        if node.is_sequence:
            items = [self.option(item, (*path, i)) for i, item in enumerate(node.items)]
            return items[0] if len(items) == 1 else Node(node.mark, items)
        return node

    def properties(self, node: Node | None) -> dict[str, Node]:
        """The file's properties, as XML's list of elements or as YAML's mapping."""
        if node is None or node.value == "":
            return {}
        if not node.is_mapping:
            self.add_problem(node.mark, ("properties",), f"properties are names with values, not {node.kind}")
        listed = node.entries.get("property")
        if listed is None or listed.is_scalar:
            pairs = [(key, node.keys[key], child) for key, child in node.entries.items()]
        else:
            pairs = [self.property(item) for item in (listed.items or [listed])]
        found: dict[str, Node] = {}
        for name, mark, value in pairs:
            if not value.is_scalar or not name or "}" in name:
                self.add_problem(mark, ("properties", name), "a property is a name with one value")
            elif name in found:
                self.add_problem(mark, ("properties", name), f"stands here a second time, first at {found[name].mark}")
            else:
                found[name] = value
        return found

    def property(self, node: Node) -> tuple[str, Mark, Node]:
        name, value = node.entries.get("name"), node.entries.get("value")
        for key in node.entries.keys() - {"name", "value"}:
            self.add_problem(node.keys[key], ("properties", "property", key), "a property has a name and a value only")
        missing = Node(node.mark, [])
        return (name.text if name else ""), (name or node).mark, value or missing

    def defaults(self, node: Node | None) -> Node:
        path: ConfigPath = ("service-defaults",)
        shaped = Node(Mark(), {})
        if node is not None:
            shaped = self.element(ServiceConfig, node, path, "service-defaults")
            for name in ("name", "accept"):
                if name in shaped.entries:
                    self.add_problem(shaped.keys[name], (*path, name), "every service needs its own")
        return shaped
