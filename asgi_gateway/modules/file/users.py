"""Check what a users file says: names, passwords, and the closure of nested roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from asgi_gateway.documents import Mark
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.passwords import PasswordHash, decoy, is_hash, is_locked, plain, read_hash
from asgi_gateway.plugins.user_names import user_name_problem

__all__ = ["Name", "Role", "User", "UserEntry", "Users", "UsersFile"]

_T = TypeVar("_T")
_PLAIN = re.compile(r"\{(?:PLAIN|CLEARTEXT)\}(.*)", re.IGNORECASE | re.DOTALL)
_HASH_HINT = "write what asgi-gateway hash-password prints"
_PLAIN_HINT = "write {PLAIN} before a plain text password, or what asgi-gateway hash-password prints"


@dataclass(frozen=True, slots=True)
class Name:
    """A name and its position in the file."""

    text: str
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEntry:
    """A user as the file has it.

    Args:
        name: the name.
        password: the text of the password; None if the file has none.
        roles: the names of the roles.
        disabled: whether the file disables the user.
    """

    name: Name
    password: str | None = field(repr=False)
    roles: tuple[Name, ...] = ()
    disabled: bool = False

    def same_as(self, other: UserEntry) -> bool:
        """Return whether two entries say the same, wherever they are in their files."""
        mine, others = ((e.name.text, e.password, [r.text for r in e.roles], e.disabled) for e in (self, other))
        return mine == others


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the file has it, with the roles it contains."""

    name: Name
    roles: tuple[Name, ...] = ()


@dataclass(slots=True)
class UsersFile:
    """Everything that a reader found, mistakes included.

    Args:
        allows_plain_text: whether a password without a scheme is plain text in this format; in htpasswd files it is an
            error, as Apache and nginx refuse it.
    """

    users: list[UserEntry] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    allows_plain_text: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with all roles, the nested ones included.

    Args:
        name: the name.
        password: the password; None if it is locked or missing, so that no password is right.
        roles: the names of the roles, nearest first.
        stored: the text of the password in the file; empty if there is none.
        disabled: whether the file disables the user.
    """

    name: str
    password: PasswordHash | None = field(repr=False)
    roles: tuple[str, ...]
    stored: str = field(default="", repr=False)
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users of one version of the file.

    Args:
        by_name: the users.
        decoy: the hash to verify for an unknown user.
        has_plain_text: whether a password is plain text.
        warnings: what is doubtful in the file.
    """

    by_name: Mapping[str, User]
    decoy: PasswordHash
    has_plain_text: bool = False
    warnings: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, file: UsersFile, *, passwords: bool) -> Users:
        """Check what a reader found.

        Args:
            file: what it found.
            passwords: whether every user needs a password.

        Raises:
            ConfigError: with every problem of the file.
        """
        check = _Check(file, passwords)
        users = check.users()
        if any(problem.severity == "error" for problem in check.problems):
            raise ConfigError(check.problems)
        hashes = (user.password for user in users.values() if user.password is not None)
        warnings = (*check.problems, *check.plain_text_warnings())
        return cls(by_name=users, decoy=decoy(hashes), has_plain_text=bool(check.plain), warnings=warnings)


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
                self.warn(role.name, f"the role {name!r} contains itself")
        return contents

    def users(self) -> dict[str, User]:
        entries = self.unique("user", ((entry.name, entry) for entry in self.file.users))
        return {name: self.user(entry) for name, entry in entries.items()}

    def user(self, entry: UserEntry) -> User:
        self.known(entry.roles, self.contents)
        if self.passwords and (problem := user_name_problem(entry.name.text)) is not None:
            self.warn(entry.name, f"the user {entry.name.text!r} cannot log in: {problem}")
        direct = tuple(role.text for role in entry.roles)
        if direct not in self.closures:  # thousands of users share a few combinations
            self.closures[direct] = _closure(direct, self.contents)
        return User(
            name=entry.name.text,
            password=self.password(entry),
            roles=self.closures[direct],
            stored=entry.password or "",
            disabled=entry.disabled,
        )

    def password(self, entry: UserEntry) -> PasswordHash | None:
        text = entry.password
        if text is None:
            if self.passwords and not entry.disabled:
                self.error(entry.name, f"the user {entry.name.text!r} has no password")
            return None
        if (explicit := _PLAIN.fullmatch(text)) is None and self.is_locked(text):
            return None
        try:
            if explicit is None and (not self.file.allows_plain_text or is_hash(text)):
                return read_hash(text)
            self.plain.append(entry.name)
            return plain(explicit[1] if explicit else text)
        except ValueError as error:
            hint = _HASH_HINT if explicit is not None or is_hash(text) else _PLAIN_HINT
            self.error(entry.name, f"the password of the user {entry.name.text!r}: {error}", hint)
            return None

    def is_locked(self, text: str) -> bool:
        """Return whether a text locks the password; where plain text is an error, more texts can only be marks."""
        only_mark = not self.file.allows_plain_text and (not text or text[0] in "!*")
        return only_mark or is_locked(text)

    def plain_text_warnings(self) -> list[Problem]:
        if not self.plain:
            return []
        count = "1 password is" if len(self.plain) == 1 else f"{len(self.plain)} passwords are"
        message = f"{count} plain text" + (", the first of them here" if len(self.plain) > 1 else "")
        return [self.plain[0].mark.problem(message, hint=_HASH_HINT, severity="warning")]

    def unique(self, kind: str, pairs: Iterable[tuple[Name, _T]]) -> dict[str, _T]:
        found: dict[str, _T] = {}
        first: dict[str, Mark] = {}
        for name, value in pairs:
            if name.text in found:
                self.error(name, f"duplicate {kind} {name.text!r}, first at {first[name.text]}")
                continue
            found[name.text], first[name.text] = value, name.mark
        return found

    def known(self, names: Iterable[Name], roles: Mapping[str, object]) -> None:
        for name in names:
            if name.text not in roles:
                self.error(name, f"unknown role {name.text!r}", "define the role")

    def error(self, name: Name, message: str, hint: str = "") -> None:
        self.problems.append(name.mark.problem(message, hint=hint))

    def warn(self, name: Name, message: str) -> None:
        self.problems.append(name.mark.problem(message, severity="warning"))


def _closure(names: Iterable[str], contents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return these roles and all that they contain, nearest first."""
    found = dict.fromkeys(names)
    queue = list(found)
    for name in queue:
        for inner in contents.get(name, ()):
            if inner not in found:
                found[inner] = None
                queue.append(inner)
    return tuple(found)
