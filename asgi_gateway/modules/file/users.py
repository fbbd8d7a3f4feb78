"""What a users file says, checked and ready to be asked: names, passwords, and the closure of nested roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from asgi_gateway.documents import Mark
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.passwords import PasswordHash, decoy, is_hash, plain, read_hash

__all__ = ["Name", "Role", "User", "UserEntry", "Users", "UsersFile"]

_T = TypeVar("_T")
_PLAIN = re.compile(r"\{(?:PLAIN|CLEARTEXT)\}(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Name:
    """A name and where it stands."""

    text: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user as the file has it. The password is what the file says, or None where it says nothing."""

    name: Name
    password: str | None = field(repr=False)
    roles: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the file has it, with the roles it contains."""

    name: Name
    roles: tuple[Name, ...] = ()


@dataclass(slots=True)
class UsersFile:
    """Everything a reader found, mistakes included."""

    users: list[UserEntry] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class User:
    """A user with all roles, the nested ones too. Without a password nobody can log in as this user."""

    name: str
    password: PasswordHash | None = field(repr=False)
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Users:
    """The users of one version of the file.

    Args:
        by_name: the users.
        decoy: what to verify for a user who is not there.
        warnings: what is doubtful in the file.
    """

    by_name: Mapping[str, User]
    decoy: PasswordHash
    warnings: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, file: UsersFile, *, passwords: bool) -> Users:
        """Check what a reader found.

        Args:
            file: what it found.
            passwords: whether every user needs a password.

        Raises:
            ConfigError: with all that is wrong.
        """
        check = _Check(file, passwords)
        users = check.users()
        if any(problem.severity == "error" for problem in check.problems):
            raise ConfigError(check.problems)
        hashes = (user.password for user in users.values() if user.password is not None)
        return cls(users, decoy(hashes), (*check.problems, *check.plain_text()))


class _Check:
    def __init__(self, file: UsersFile, passwords: bool) -> None:
        self.file = file
        self.passwords = passwords
        self.problems = list(file.problems)
        self.plain: list[Name] = []
        self.contents = self.role_contents()
        self.closures: dict[tuple[str, ...], tuple[str, ...]] = {}

    def role_contents(self) -> dict[str, tuple[str, ...]]:
        roles = self.unique("role", ((role.name, role) for role in self.file.roles))
        for role in roles.values():
            self.known(role.roles, roles)
        contents = {name: tuple(inner.text for inner in role.roles) for name, role in roles.items()}
        for name, role in roles.items():
            if name in _closure(contents[name], contents):
                message = f"the role {name!r} contains itself"
                self.problems.append(role.name.mark.problem(message, severity="warning"))
        return contents

    def users(self) -> dict[str, User]:
        entries = self.unique("user", ((entry.name, entry) for entry in self.file.users))
        return {name: self.user(entry) for name, entry in entries.items()}

    def user(self, entry: UserEntry) -> User:
        self.known(entry.roles, self.contents)
        direct = tuple(role.text for role in entry.roles)
        if direct not in self.closures:  # thousands of users share a few combinations
            self.closures[direct] = _closure(direct, self.contents)
        return User(entry.name.text, self.password(entry), self.closures[direct])

    def password(self, entry: UserEntry) -> PasswordHash | None:
        if entry.password is None:
            if self.passwords:
                self.error(entry.name, f"the user {entry.name.text!r} has no password")
            return None
        try:
            explicit = _PLAIN.fullmatch(entry.password)
            if explicit is None and is_hash(entry.password):
                return read_hash(entry.password)
            self.plain.append(entry.name)
            return plain(explicit[1] if explicit else entry.password)
        except ValueError as error:
            self.error(entry.name, f"the password of the user {entry.name.text!r}: {error}")
            return None

    def plain_text(self) -> list[Problem]:
        if not self.plain:
            return []
        count = "1 password is" if len(self.plain) == 1 else f"{len(self.plain)} passwords are"
        message = f"{count} plain text" + (", the first of them here" if len(self.plain) > 1 else "")
        hint = "write what the command asgi-gateway hash-password prints"
        return [self.plain[0].mark.problem(message, hint=hint, severity="warning")]

    def unique(self, kind: str, pairs: Iterable[tuple[Name, _T]]) -> dict[str, _T]:
        found: dict[str, _T] = {}
        first: dict[str, Mark] = {}
        for name, value in pairs:
            if name.text in found:
                self.error(name, f"the {kind} {name.text!r} is there already, at {first[name.text]}")
                continue
            found[name.text], first[name.text] = value, name.mark
        return found

    def known(self, names: Iterable[Name], roles: Mapping[str, object]) -> None:
        for name in names:
            if name.text not in roles:
                self.error(name, f"there is no role {name.text!r}", "define the role")

    def error(self, name: Name, message: str, hint: str = "") -> None:
        self.problems.append(name.mark.problem(message, hint=hint))


def _closure(names: Iterable[str], contents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """These roles and all that they contain, nearest first."""
    found = dict.fromkeys(names)
    queue = list(found)
    for name in queue:
        for inner in contents.get(name, ()):
            if inner not in found:
                found[inner] = None
                queue.append(inner)
    return tuple(found)
