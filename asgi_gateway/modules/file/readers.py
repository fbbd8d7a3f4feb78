"""Read the formats of a users file: jaas-config.xml, the same content as YAML, and htpasswd with a groups file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from asgi_gateway.documents import Mark, Node, XmlElement, collapse, read_xml, read_yaml
from asgi_gateway.documents.source import decode, read_bytes
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.modules.file.users import Name, Role, UserEntry, UsersFile
from asgi_gateway.plugins.option_types import parse_boolean

__all__ = ["parse_users_file", "read_users_file"]

_YAML_KEY = re.compile(r"(?:---|\{|(?:jaas-config|users?|roles?)[ \t]*:[ \t]*(?:[\[#\r\n]|$))")
_DES_CRYPT = re.compile(r"[./0-9A-Za-z]{13}")
_EXPLICIT_PLAIN = re.compile(r"\{(?:PLAIN|CLEARTEXT)\}", re.IGNORECASE)
_USER_KEYS = {"name", "password", "role", "roles", "role-name", "role-names", "disabled"}


def read_users_file(path: Path, roles: Path | None = None) -> UsersFile:
    """Read a users file. Its content decides on the format, else its extension.

    Args:
        path: the users file.
        roles: a groups file as Apache's AuthGroupFile has it, for an htpasswd file.

    Returns:
        what the files say, not yet checked.

    Raises:
        ConfigError: a file cannot be read or is malformed.
    """
    data, _ = read_bytes(path, None)
    return parse_users_file(data, path, roles)


def parse_users_file(data: bytes, path: Path, roles: Path | None = None) -> UsersFile:
    """Parse the content of a users file; the arguments are those of ``read_users_file``, which it raises like."""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_xml = start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")) or path.suffix.lower() == ".xml"
    if not is_xml and not _is_yaml(path, start):
        return _htpasswd(data, path, roles)
    if roles is not None:
        raise ConfigError(Problem("the option roles is for htpasswd files: this file defines its own roles", path))
    return _Xml().read(read_xml(data, file=path)) if is_xml else _Yaml().read(read_yaml(data, file=path))


def _is_yaml(path: Path, start: bytes) -> bool:
    if path.suffix.lower() in {".yaml", ".yml", ".json"}:
        return True
    lines = (line.strip() for line in start.decode("utf-8", "replace").splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return _YAML_KEY.match(first) is not None


# ------------------------------------------------------------------------------------------------------ jaas-config.xml


class _Xml:
    def __init__(self) -> None:
        self.found = UsersFile()

    def read(self, root: XmlElement) -> UsersFile:
        if root.name != "jaas-config":
            raise ConfigError(
                root.mark.problem(f"<{root.name}> is not the root of a users file", hint="write <jaas-config>")
            )
        for child in root.children:
            if child.name not in {"user", "role"}:
                self.error(child.mark, f"unknown element <{child.name}>", "<user> or <role>")
            elif (name := self.one(child, "name")) is not None:
                self.add(child, Name(collapse(name.text), name.mark))
        self.stray(root)
        return self.found

    def add(self, element: XmlElement, name: Name) -> None:
        roles = tuple(self.named(role) for role in element.find("role-name"))
        if not name.text or not all(role.text for role in roles):
            self.error(element.mark, f"<{element.name}> has an empty name or role-name")
        elif element.name == "user":
            self.only(element, "name", "password", "role-name", "disabled")
            password = self.one(element, "password") if element.find("password") else None
            text = None if password is None else password.text.strip()
            entry = UserEntry(name=name, password=text, roles=roles, disabled=self.disabled(element))
            self.found.users.append(entry)
        else:
            self.only(element, "name", "description", "role-name")
            self.found.roles.append(Role(name, roles))

    def disabled(self, element: XmlElement) -> bool:
        switch = self.one(element, "disabled") if element.find("disabled") else None
        if switch is None:
            return False
        try:
            return parse_boolean(collapse(switch.text))
        except ValueError as error:
            self.error(switch.mark, f"<disabled> is {error}")
            return True

    def named(self, element: XmlElement) -> Name:
        return Name(collapse(element.text), element.mark)

    def one(self, element: XmlElement, name: str) -> XmlElement | None:
        found = element.find(name)
        if len(found) != 1:
            place = found[1].mark if found else element.mark
            self.error(place, f"<{element.name}> needs one <{name}>, it has {len(found) or 'none'}")
            return None
        return found[0]

    def only(self, element: XmlElement, *names: str) -> None:
        for child in element.children:
            if child.name not in names:
                hint = "one of: " + ", ".join(f"<{name}>" for name in names)
                self.error(child.mark, f"unknown element <{child.name}> in <{element.name}>", hint)
            elif child.children or child.attributes:
                self.error(child.mark, f"<{child.name}> holds text only")
        self.stray(element)
        if element.attributes:
            self.error(element.mark, f"<{element.name}> has no attributes", "write elements")

    def stray(self, element: XmlElement) -> None:
        if element.text.strip():
            self.error(element.mark, f"text between the elements of <{element.name}>")

    def error(self, mark: Mark, message: str, hint: str = "") -> None:
        self.found.problems.append(mark.problem(message, hint=hint))


# ----------------------------------------------------------------------------------------------------------------- YAML


class _Yaml:
    def __init__(self) -> None:
        self.found = UsersFile()

    def read(self, root: Node) -> UsersFile:
        root = root.get("jaas-config") or root
        self.keys(root, {"user", "users", "role", "roles"}, "the file")
        for node in self.many(root, "user", "users"):
            if self.keys(node, _USER_KEYS, "a user"):
                self.user(node)
        for node in self.many(root, "role", "roles"):
            if node.is_scalar:
                self.found.roles += [Role(name) for name in [self.text(node)] if name]
            elif self.keys(node, {"name", "description", "role", "roles", "role-name", "role-names"}, "a role"):
                self.role(node)
        return self.found

    def user(self, node: Node) -> None:
        if name := self.name(node, "a user"):
            password = node.get("password")
            if password is not None and not password.is_scalar:
                self.error(password.mark, "a password is a single value", "put it in quotes")
                return
            text = None if password is None or password.value is None else password.text
            entry = UserEntry(name=name, password=text, roles=self.roles(node), disabled=self.disabled(node))
            self.found.users.append(entry)

    def disabled(self, node: Node) -> bool:
        switch = node.get("disabled")
        if switch is None:
            return False
        try:
            return parse_boolean(switch.value if switch.is_scalar else None)
        except ValueError as error:
            self.error(switch.mark, f"disabled is {error}")
            return True

    def role(self, node: Node) -> None:
        if name := self.name(node, "a role"):
            self.found.roles.append(Role(name, self.roles(node)))

    def name(self, node: Node, what: str) -> Name | None:
        name = node.get("name")
        if name is None:
            self.error(node.mark, f"{what} has no name")
            return None
        return self.text(name)

    def roles(self, node: Node) -> tuple[Name, ...]:
        items = self.many(node, "role", "roles", "role-name", "role-names")
        return tuple(name for item in items if (name := self.text(item)))

    def text(self, node: Node) -> Name | None:
        if not node.is_scalar or node.value is None or not node.text:
            self.error(node.mark, f"a name must be text, not {'nothing' if node.is_scalar else node.kind}")
            return None
        return Name(node.text, node.mark)

    def many(self, node: Node, *names: str) -> Iterator[Node]:
        present = [name for name in names if node.get(name) is not None]
        for name in present[1:]:
            self.error(node.keys[name], f"duplicate key: {present[0]!r} and {name!r} mean the same")
        for name in present[:1]:
            value = node.entries[name]
            if value.is_sequence:
                yield from value.items
            elif value.value is not None:
                yield value

    def keys(self, node: Node, known: set[str], what: str) -> bool:
        if not node.is_mapping:
            self.error(node.mark, f"{what} must be a mapping, not {node.kind}", f"its keys: {', '.join(sorted(known))}")
            return False
        for key in [key for key in node.entries if key not in known]:
            if node.entries[key].value is None:  # the rest of a hash or password, cut off at a comma: never shown
                self.error(node.keys[key], f"a key without a value in {what}", "a value with commas needs quotes")
            else:
                self.error(node.keys[key], f"unknown key {key!r} in {what}", f"one of: {', '.join(sorted(known))}")
        return True

    def error(self, mark: Mark, message: str, hint: str = "") -> None:
        self.found.problems.append(mark.problem(message, hint=hint))


# ------------------------------------------------------------------------------------------------------------- htpasswd


def _htpasswd(data: bytes, path: Path, groups: Path | None) -> UsersFile:
    found = UsersFile(allows_plain_text=False)
    entries: list[tuple[Name, str]] = []
    for name, rest in _lines(data, path, found, "name:hash"):
        password, colon, _ = rest.partition(":")  # Apache and nginx ignore what follows, such as a comment
        if colon and _EXPLICIT_PLAIN.match(password):
            message = "the plain text password ends at the colon, as in nginx"
            found.problems.append(name.mark.problem(message, severity="warning"))
        # DES crypt as htpasswd -d writes it; in this format thirteen such letters are nothing else
        entries.append((name, f"{{CRYPT}}{password}" if _DES_CRYPT.fullmatch(password) else password))
    members: dict[str, list[Name]] = {}
    roles: dict[str, Role] = {}  # a role may have several lines
    if groups is not None:
        group_data, _ = read_bytes(groups, None)
        for role, rest in _lines(group_data, groups, found, "role: user user …", spaces=True):
            roles.setdefault(role.text, Role(role))
            for user in rest.split():
                members.setdefault(user, []).append(role)
    found.roles = list(roles.values())
    found.users = [
        UserEntry(name=name, password=password, roles=tuple(members.get(name.text, ()))) for name, password in entries
    ]
    known = {name.text for name, _ in entries}
    for user in [user for user in members if user not in known]:
        # a warning, since a user removed from one file must be out at once, even if the other file still lists them
        message = f"the role {members[user][0].text!r} lists the unknown user {user!r}: not in {path.name}"
        found.problems.append(members[user][0].mark.problem(message, severity="warning"))
    return found


def _lines(data: bytes, path: Path, found: UsersFile, form: str, *, spaces: bool = False) -> Iterator[tuple[Name, str]]:
    """Yield name and rest of each line; white space around a line does not count, as in Apache.

    Args:
        data: the content.
        path: the file, for problems.
        found: where problems go.
        form: the form of a line, for problems.
        spaces: whether white space around the colon does not count either.
    """
    for number, line in enumerate(decode(data, path).split("\n"), 1):
        if not (stripped := line.strip()) or stripped.startswith("#"):
            continue
        name, colon, rest = stripped.partition(":")
        mark = Mark(path, number, line.index(stripped[0]) + 1)
        if not colon or not name.strip():
            found.problems.append(mark.problem(f"this line is not of the form {form}"))
        elif not spaces and (name != name.rstrip() or rest != rest.lstrip()):
            found.problems.append(mark.problem("white space beside the colon belongs to name or hash: remove it"))
        else:
            yield Name(name.strip(), mark), rest.strip()
