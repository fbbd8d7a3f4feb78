"""Define the ``file`` login module: options, logins, changes of its files."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from asgi_gateway._runtime.polling import PolledFile
from asgi_gateway._runtime.secret_files import permission_problem
from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable, Problem, StateError
from asgi_gateway.model import Grant, Subject, UserPrincipal
from asgi_gateway.modules.file.readers import parse_users_file, read_users_file
from asgi_gateway.modules.file.rehash import CannotReplace, replace_hash, write_problem
from asgi_gateway.modules.file.users import User, UserEntry, Users
from asgi_gateway.passwords import hash_password, needs_rehash
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions

__all__ = ["FileLoginModule", "FileOptions"]

_REHASH_LIFE = 366 * 86400.0
"""Seconds for which a new hash of the same password is known as such; no session lives longer."""
_WRITABLE_BY_ALL = 0o002
_NOT_PRIVATE = 0o077


class FileOptions(PasswordOptions):
    """Options of ``file``.

    Args:
        file: the users file: jaas-config.xml, the same as YAML, or htpasswd. ``filename`` is another name for it.
        roles: the groups file of an htpasswd file, with lines such as ``role: user user``.
        lookupOnly: true: check no password, but give roles to the user whom an earlier module established.
        rehash: true: when a user with a weaker hash logs in, replace the hash in the file by one of argon2id.
    """

    file: Path | None = None
    filename: Path | None = None
    roles: Path | None = None
    lookupOnly: Boolean = False
    rehash: Boolean = False

    @model_validator(mode="after")
    def _consistent(self) -> FileOptions:
        if (self.file is None) == (self.filename is None):
            raise ValueError("give the users file once: as file, or as filename")
        if self.lookupOnly and (self.useFirstPass or self.tryFirstPass or self.storePass or self.clearPass):
            raise ValueError("lookupOnly checks no password: leave out the options about passwords")
        if self.lookupOnly and self.rehash:
            raise ValueError("lookupOnly checks no password: leave out rehash")
        return self


class FileLoginModule(PasswordLoginModule):
    """Checks users, passwords and roles against a file that is read again when it changes.

    A version that cannot be used changes nothing: the last good version stays, and the log says so once. With
    ``lookupOnly`` the module does not authenticate; it gives roles to an established user, such as Kerberos's
    ``user@REALM``.
    """

    Options = FileOptions
    cacheable = True

    poll_seconds = 1.0
    """Seconds between two checks of the files."""

    def __init__(self, options: FileOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self.authenticates = not options.lookupOnly
        self.requires_subject = options.lookupOnly
        self._path = context.path(options.file or options.filename or "")
        self._roles_path = None if options.roles is None else context.path(options.roles)
        self._rehashing = threading.Lock()
        self._cannot_replace: set[str] = set()
        self._users: PolledFile[Users] = PolledFile(
            (self._path, self._roles_path),
            self._read,
            monotonic=context.clock.monotonic,
            logger=context.logger,
            changed=self._changed,
            seconds=self.poll_seconds,
        )
        for problem in self._users.value.warnings:
            context.warn(problem)
        if options.rehash:
            self._check_rehash(self._users.value)

    async def open(self) -> None:
        # Logins check the file themselves, but requests with cached credentials and sessions cause none.
        self._users.start()

    async def close(self) -> None:
        await self._users.stop()

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        if not self.options.lookupOnly:
            return await super().login(attempt)
        principals = attempt.subject_so_far().principals
        name = next((p.name for p in principals if isinstance(p, UserPrincipal)), None)
        if name is None:
            raise LoginFailed("lookupOnly: no module before this one established a user")
        return await attempt.run_blocking(self._look_up, name)

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        if not password:
            raise LoginFailed("the password is empty")
        user: User = await attempt.run_computing(self._verify, username, password)
        if self.options.rehash and user.password is not None and needs_rehash(user.password, password):
            user = await self._rehashed(attempt, user, password)
        return Grant.user(user.name, user.roles, recheck_data=self._recheck_data(user))

    async def recheck(self, subject: Subject, data: Any) -> bool | None:
        """Check that the user of a login is still in the file, enabled, with the same roles and the same password.

        Returns:
            True if so, False if not, None for a login of another module.
        """
        if not isinstance(data, Mapping) or "user" not in data:
            return None
        user = self._users.value.by_name.get(str(data["user"]))
        if user is None or user.disabled or sorted(user.roles) != data.get("roles"):
            return False
        if self.options.lookupOnly:
            return True
        seen, digest = str(data.get("password")), self._digest(user)
        if user.password is None:
            return False
        return hmac.compare_digest(seen.encode(), digest.encode()) or await self._was_rehashed(seen, digest)

    def granted_roles(self) -> frozenset[str]:
        return frozenset(role for user in self._users.value.by_name.values() for role in user.roles)

    def reload(self) -> bool:
        """Read the files again if they changed. Blocks; may be called from any thread.

        Returns:
            True if a new version was read; False if nothing changed or the new version cannot be used.
        """
        return self._users.reload()

    # ----------------------------------------------------------------------------------------------------------- logins

    def _verify(self, username: str, password: str) -> User:
        users = self._users.current()
        user = users.by_name.get(username)
        stored = None if user is None else user.password
        # one verification for every user; the decoy is some user's own hash, so its result must not count
        matches = (stored or users.decoy).verify(password)
        if user is None:
            raise LoginFailed("unknown user")
        if user.disabled:
            raise LoginFailed("the user is disabled")
        if stored is None:
            raise LoginFailed("the user's password is locked")
        if not matches:
            raise LoginFailed("wrong password")
        return user

    def _look_up(self, name: str) -> Grant:
        user = self._users.current().by_name.get(name)
        if user is None:
            raise LoginFailed("lookupOnly: unknown user")
        if user.disabled:
            raise LoginFailed("lookupOnly: the user is disabled")
        data = {"user": user.name, "roles": sorted(user.roles)}
        return Grant(Grant.user(user.name, user.roles).principals[1:], recheck_data=data)

    def _recheck_data(self, user: User) -> dict[str, Any]:
        return {"user": user.name, "roles": sorted(user.roles), "password": self._digest(user)}

    def _digest(self, user: User) -> str:
        """Return what identifies a stored password without containing it: a digest with the user's name as key."""
        key = hashlib.blake2b(json.dumps([self.context.realm, user.name]).encode(), digest_size=32).digest()
        return hashlib.blake2b(user.stored.encode(), key=key, digest_size=16).hexdigest()

    # ------------------------------------------------------------------------------------------------------------ files

    def _read(self) -> Users:
        file = read_users_file(self._path, self._roles_path)
        users = Users.of(file, passwords=not self.options.lookupOnly)
        return Users(
            by_name=users.by_name,
            decoy=users.decoy,
            has_plain_text=users.has_plain_text,
            warnings=(*users.warnings, *self._permission_warnings(users)),
        )

    def _permission_warnings(self, users: Users) -> list[Problem]:
        """Return a warning for each file that others can write, or read if it has passwords in plain text."""
        found = []
        kinds = ((self._path, "users file", _NOT_PRIVATE if users.has_plain_text else _WRITABLE_BY_ALL),)
        for path, what, forbidden in (*kinds, (self._roles_path, "groups file", _WRITABLE_BY_ALL)):
            if path is None:
                continue
            try:
                mode = path.stat().st_mode
            except OSError:  # gone again, which the next check of the files finds
                continue
            if (problem := permission_problem(mode, path, what, forbidden)) is not None:
                found.append(problem)
        return found

    def _changed(self, users: Users) -> None:
        for problem in users.warnings:
            self.context.logger.warning("%s", problem)
        self.context.logger.info("%s changed and was read: %d users", self._path, len(users.by_name))
        self.context.invalidate()

    # ----------------------------------------------------------------------------------------------------------- rehash

    def _check_rehash(self, users: Users) -> None:
        if users.has_plain_text:
            hint = "write what asgi-gateway hash-password prints"
            raise ConfigError(Problem(f"rehash is not for plain text passwords: {self._path} has some", hint=hint))
        if (problem := write_problem(self._path)) is not None:
            raise ConfigError(Problem(f"rehash must write the users file: {problem}"))

    async def _rehashed(self, attempt: LoginAttempt, user: User, password: str) -> User:
        """Return the user with a new hash of the same password; the user unchanged if that cannot be written.

        The state knows the new hash before the file has it, so that no worker takes it for another password.
        """
        if self._users.value.has_plain_text or not self._rehashing.acquire(blocking=False):
            return user  # one at a time: each writes the whole file
        try:
            stored = await attempt.run_computing(hash_password, password)
            changed = User(name=user.name, password=user.password, roles=user.roles, stored=stored)
            key = self._rehash_key(self._digest(user))
            # an entry that is left from a failed attempt names a hash that was never written
            if (left := await self.context.state.put_if_absent(key, self._digest(changed), _REHASH_LIFE)) is not None:
                await self.context.state.remove(key, left)
                await self.context.state.put_if_absent(key, self._digest(changed), _REHASH_LIFE)
            return await attempt.run_computing(self._replace, user, stored)
        except (CannotReplace, ConfigError, LoginUnavailable, StateError, ValueError) as error:
            self._log_once(f"cannot replace a weaker hash in {self._path}: {error}")
            return user
        finally:
            self._rehashing.release()

    def _replace(self, user: User, stored: str) -> User:
        self._users.write(lambda: replace_hash(self._path, user.name, user.stored, stored, self._entries))
        self.context.logger.info("%s: replaced a weaker hash by one of argon2id", self._path)
        return self._users.value.by_name.get(user.name, user)

    def _entries(self, data: bytes) -> list[UserEntry]:
        found = parse_users_file(data, self._path, self._roles_path)
        if any(problem.severity == "error" for problem in found.problems):
            raise ConfigError(found.problems)
        return found.users

    async def _was_rehashed(self, seen: str, digest: str) -> bool:
        """Return whether one hash was replaced by another of the same password."""
        try:
            return await self.context.state.get(self._rehash_key(seen)) == digest
        except StateError as error:
            raise LoginUnavailable(f"cannot check whether a password changed: {error}") from error

    @staticmethod
    def _rehash_key(digest: str) -> str:
        return f"asgi_gateway.file.rehash:{digest}"

    def _log_once(self, message: str) -> None:
        if message not in self._cannot_replace:
            self._cannot_replace.add(message)
            self.context.logger.warning("%s", message)
