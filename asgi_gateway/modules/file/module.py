"""The ``file`` login module itself: options, logins, and watching its files."""

from __future__ import annotations

import threading
from pathlib import Path

from pydantic import model_validator

from asgi_gateway._runtime.polling import FilePoller, Version, fingerprint
from asgi_gateway.errors import ConfigError, LoginFailed
from asgi_gateway.model import Grant, UserPrincipal
from asgi_gateway.modules.file.readers import read_users_file
from asgi_gateway.modules.file.users import Users
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.option_types import Boolean
from asgi_gateway.plugins.password_login import PasswordLoginModule, PasswordOptions

__all__ = ["FileLoginModule", "FileOptions"]


class FileOptions(PasswordOptions):
    """Options of ``file``.

    Args:
        file: the users file: jaas-config.xml, the same as YAML, or htpasswd. ``filename`` is another name for it.
        roles: the groups file of an htpasswd file, with lines such as ``role: user user``.
        lookupOnly: true: check no password, but give its roles to the user whom an earlier module established.
    """

    file: Path | None = None
    filename: Path | None = None
    roles: Path | None = None
    lookupOnly: Boolean = False

    @model_validator(mode="after")
    def _consistent(self) -> FileOptions:
        if (self.file is None) == (self.filename is None):
            raise ValueError("give the users file once: as file, or as filename")
        if self.lookupOnly and (self.useFirstPass or self.tryFirstPass or self.storePass or self.clearPass):
            raise ValueError("lookupOnly looks at no password: leave out the options about passwords")
        return self


class FileLoginModule(PasswordLoginModule):
    """Users, passwords and roles from a file that is read again when it changes.

    A version that cannot be used changes nothing: the one before it stays, and the log says so once. With
    ``lookupOnly`` the module authenticates nobody; it gives roles to who is there already, say Kerberos's
    ``user@REALM``.
    """

    Options = FileOptions
    cacheable = True

    poll_seconds = 1.0
    """How often the files are looked at."""

    def __init__(self, options: FileOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self.authenticates = not options.lookupOnly
        self.requires_subject = options.lookupOnly
        self._path = context.path(options.file or options.filename or "")
        self._roles_path = None if options.roles is None else context.path(options.roles)
        self._lock = threading.Lock()
        self._watcher = FilePoller(self._path.name, lambda: self.reload(), self.poll_seconds, context.logger)
        self._looked = context.clock.monotonic()
        self._users, self._version = self._read()
        for problem in self._users.warnings:
            context.warn(problem)

    async def open(self) -> None:
        # Logins look at the file themselves, but requests with remembered credentials never come to one.
        self._watcher.start()

    async def close(self) -> None:
        await self._watcher.stop()

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
        return await attempt.run_computing(self._verify, username, password)

    def granted_roles(self) -> frozenset[str]:
        return frozenset(role for user in self._current().by_name.values() for role in user.roles)

    def reload(self) -> bool:
        """Read the files again if they changed. Blocks; may be called from any thread.

        Returns:
            True if what they say now holds; False if nothing changed or the new version cannot be used.
        """
        with self._lock:
            seen = self._look()
            if seen == self._version:
                return False
            try:
                self._users, self._version = self._read()
            except ConfigError as error:
                self._version = seen  # said once for each version
                self.context.logger.error(
                    "%s changed and cannot be used; its last good version stays:\n%s", self._path, error
                )
                return False
            users = self._users
        for problem in users.warnings:
            self.context.logger.warning("%s", problem)
        self.context.logger.info("%s changed and was read: %d users", self._path, len(users.by_name))
        self.context.invalidate()
        return True

    def _verify(self, username: str, password: str) -> Grant:
        users = self._current()
        user = users.by_name.get(username)
        stored = None if user is None else user.password
        # one verification whoever it is; the decoy is some user's own hash, so its answer must not count
        matches = (stored or users.decoy).verify(password)
        if user is None or stored is None:
            raise LoginFailed("there is no such user with a password")
        if not matches:
            raise LoginFailed("wrong password")
        return Grant.user(user.name, user.roles)

    def _look_up(self, name: str) -> Grant:
        user = self._current().by_name.get(name)
        if user is None:
            raise LoginFailed("lookupOnly: the user is not in the file")
        return Grant(Grant.user(user.name, user.roles).principals[1:])

    def _current(self) -> Users:
        now = self.context.clock.monotonic()
        if now - self._looked >= self.poll_seconds:
            self._looked = now  # first, so that other threads need not wait for this one to read
            self.reload()
        return self._users

    def _look(self) -> Version:
        return fingerprint((self._path, self._roles_path))

    def _read(self) -> tuple[Users, Version]:
        for _ in range(5):
            before = self._look()
            try:
                users = Users.of(read_users_file(self._path, self._roles_path), passwords=not self.options.lookupOnly)
            except ConfigError:
                if self._look() == before:
                    raise
                continue  # somebody writes it just now
            if self._look() == before:
                return users, before
        raise ConfigError(f"{self._path} changes faster than it can be read")
