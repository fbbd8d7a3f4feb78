"""The ``jndi`` login module: RFC 2307 users and groups in an LDAP directory, passwords compared by their hashes.

Unlike ``ldap`` it never binds as the user: it reads ``userPassword``, which the bind account must be allowed to read,
and compares. Source: JDK ``com.sun.security.auth.module.JndiLoginModule``.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from asgi_gateway.errors import ConfigError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant, GroupPrincipal, Principal, Subject, UserPrincipal
from asgi_gateway.modules.ldap.client.account_state import (
    STATE_ATTRIBUTES,
    password_times,
    unique_ids,
    unusable_by_entry,
)
from asgi_gateway.modules.ldap.client.bind_result import account_problem
from asgi_gateway.modules.ldap.client.entries import Entry, Scope, SearchRequest
from asgi_gateway.modules.ldap.client.errors import TooManyEntries
from asgi_gateway.modules.ldap.client.escaping import check_name, check_password, escape_filter
from asgi_gateway.modules.ldap.client.identity import NamePattern, best_value
from asgi_gateway.modules.ldap.client.options import DirectoryOptions
from asgi_gateway.modules.ldap.client.pool import Directory
from asgi_gateway.modules.ldap.client.session import LdapSession
from asgi_gateway.modules.ldap.recheck import LoginRecord
from asgi_gateway.passwords import PasswordHash, decoy, read_hash
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.password_login import PasswordLoginModule

__all__ = ["JndiLoginModule", "JndiOptions", "NumericGroupPrincipal", "NumericUserPrincipal"]

_USER_ATTRIBUTES = ("uid", "userPassword", "uidNumber", "gidNumber", *STATE_ATTRIBUTES)
_GROUP_ATTRIBUTES = ("cn", "gidNumber")
_MAX_GROUPS = 1000
_REMEMBERED_HASHES = 32


@dataclass(frozen=True, slots=True)
class NumericUserPrincipal(Principal):
    """The user's ``uidNumber`` (JDK ``UnixNumericUserPrincipal``); never a role."""


@dataclass(frozen=True, slots=True)
class NumericGroupPrincipal(Principal):
    """A ``gidNumber`` (JDK ``UnixNumericGroupPrincipal``); never a role. The primary group's comes first."""


class JndiOptions(DirectoryOptions):
    """Options of ``jndi``.

    Args:
        userProvider: ``user.provider.url``: LDAP URLs whose DN is one level above the users.
        groupProvider: ``group.provider.url``: LDAP URLs whose DN is one level above the groups.
        referral: referrals are never followed here.
    """

    userProvider: str = Field(alias="user.provider.url", min_length=1)
    groupProvider: str = Field(alias="group.provider.url", min_length=1)
    referral: Literal["ignore"] = Field("ignore", alias="java.naming.referral")


class JndiLoginModule(PasswordLoginModule):
    """Compares passwords with the hashes of an RFC 2307 directory; groups' names become roles.

    Raises:
        ConfigError: an option cannot work, or python-ldap is not installed.
    """

    Options = JndiOptions
    cacheable = True

    def __init__(self, options: JndiOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self.recheckable = options.bindPrincipal is not None
        self._users = _directory("user.provider.url", options.userProvider, options, context)
        self._groups = _directory("group.provider.url", options.groupProvider, options, context)
        self._hashes: deque[PasswordHash] = deque(maxlen=_REMEMBERED_HASHES)

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        check_name(username)
        check_password(password)
        found = await self._users.run(lambda session: self._find_user(session, username), attempt.run_blocking)
        entry = await attempt.run_computing(self._verify, found, password)
        if reason := unusable_by_entry(entry, self.context.clock.time()):
            words = f"the entry {entry.dn} may not log in: {reason}"
            raise LoginFailed(words, account_problem=account_problem(reason))
        name = best_value(entry, NamePattern("uid"), username)
        if name is None:
            raise LoginUnavailable(f"cannot read uid of the entry {entry.dn}")
        gid = entry.text("gidNumber")
        groups = await self._groups.run(lambda session: self._find_groups(session, name, gid), attempt.run_blocking)
        return self._grant(entry, name, groups)

    async def recheck(self, subject: Subject, data: Any) -> bool | None:
        """Check with the bind account that a login still holds; see ``LoginModule.recheck``.

        The entry must be found and unique as at the login, be the same entry, not be disabled or expired, have the same
        groups and the same ``userPassword``.
        """
        record = LoginRecord.parsed(data)
        if record is None or self.options.bindPrincipal is None:
            return None
        name = record.values["USERNAME"]
        entry = await self._users.run(lambda session: self._find_user(session, name))
        reason: str | None = "there is not exactly one entry with this uid"
        if entry is not None and (reason := unusable_by_entry(entry, self.context.clock.time())) is None:
            gid = entry.text("gidNumber")
            groups = await self._groups.run(lambda session: self._find_groups(session, name, gid))
            reason = record.difference(_login_record(entry, name, groups))
        if reason is not None:
            self.context.logger.info("the login of %s no longer holds: %s", record.dn, reason, extra={"dn": record.dn})
        return reason is None

    async def close(self) -> None:
        self._users.close()
        self._groups.close()

    async def check(self) -> list[str]:
        return list(dict.fromkeys([*await self._users.check(), *await self._groups.check()]))

    @staticmethod
    def _grant(entry: Entry, name: str, groups: list[Entry]) -> Grant:
        users: list[Principal] = [UserPrincipal(name)]
        users += map(NumericUserPrincipal, entry.texts("uidNumber")[:1])
        gids = [*entry.texts("gidNumber")[:1], *(gid for group in groups for gid in group.texts("gidNumber")[:1])]
        names = [_group_name(group) for group in groups]
        principals = [*users, *map(NumericGroupPrincipal, gids), *map(GroupPrincipal, names)]
        return Grant(tuple(dict.fromkeys(principals)), recheck_data=_login_record(entry, name, groups).data())

    async def _find_user(self, session: LdapSession, username: str) -> Entry | None:
        """Return the user's entry; None if there is not exactly one, which costs a password hash all the same."""
        request = SearchRequest(
            base=session.base,
            scope=Scope.ONE_LEVEL,
            filter=f"(uid={escape_filter(username)})",
            attributes=_USER_ATTRIBUTES,
            limit=2,
        )
        try:
            found = await session.search(request)
        except TooManyEntries:
            return None
        return found[0] if len(found) == 1 else None

    def _verify(self, entry: Entry | None, password: str) -> Entry:
        """Compare with the first stored password, and return the entry. Every branch verifies one hash.

        Raises:
            LoginFailed: the password is wrong, or there is no usable one to compare with.
        """
        stored = entry.text("userPassword") if entry is not None else None
        try:
            known = read_hash(stored) if stored is not None else None
            reason = "the password is wrong"
        except ValueError as error:
            known, reason = None, f"invalid stored password: {error}"
        if known is None:
            decoy(self._hashes).verify(password)
            if entry is None:
                raise LoginFailed("there is not exactly one entry with this uid")
            raise LoginFailed(
                reason if stored else "the entry shows no userPassword: is the bind account allowed to read it?"
            )
        self._hashes.append(known)
        if entry is None or not known.verify(password):
            raise LoginFailed(reason)
        return entry

    async def _find_groups(self, session: LdapSession, name: str, gid: str | None) -> list[Entry]:
        primary = f"(gidNumber={escape_filter(gid)})" if gid is not None else ""
        # without the object class, users' entries below the same base would be groups by their gidNumber
        request = SearchRequest(
            base=session.base,
            scope=Scope.ONE_LEVEL,
            filter=f"(&(objectClass=posixGroup)(|(memberUid={escape_filter(name)}){primary}))",
            attributes=_GROUP_ATTRIBUTES,
            limit=_MAX_GROUPS,
        )
        try:
            return await session.search(request)
        except TooManyEntries as error:
            raise LoginUnavailable(f"too many groups: {error}") from None


def _login_record(entry: Entry, name: str, groups: list[Entry]) -> LoginRecord:
    stored = b"".join(sorted(entry.values("userPassword")))
    return LoginRecord(
        values={"USERNAME": name},
        dn=entry.dn,
        ids=unique_ids(entry),
        # a digest of a salted hash tells that it changed, and nothing about the password
        password={**password_times(entry), "userPassword": hashlib.sha256(stored).hexdigest()},
        complete=True,
        roles=sorted({_group_name(group) for group in groups}),
    )


def _group_name(group: Entry) -> str:
    """Return a group's name: the cn of its RDN, since anyone who may edit the entry can add others.

    Raises:
        LoginUnavailable: the entry shows no cn.
    """
    name = best_value(group, NamePattern("cn"), "")
    if name is None:
        raise LoginUnavailable(f"cannot read cn of the group {group.dn}")
    return name


def _directory(option: str, urls: str, options: JndiOptions, context: ModuleContext) -> Directory:
    if urls.strip().lower().startswith("nis:"):
        raise ConfigError(
            f"{option}: nis: is not supported, since NIS gives every user's password hash to any client; "
            "serve the same entries by LDAP (RFC 2307) and write ldap://host/ou=people,dc=example,dc=com"
        )
    return Directory(urls, options, context, option)
