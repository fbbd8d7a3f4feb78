"""The ``ldap`` login module: user names and passwords checked by an LDAP directory, groups as roles.

Three modes, by the options given (JDK ``com.sun.security.auth.module.LdapLoginModule``):

- ``userFilter`` alone, search first: find the user's entry with the bind account, then bind as that entry;
- ``authIdentity`` and ``userFilter``, authentication first: bind as the user, then find the entry as the user;
- ``authIdentity`` alone, authentication only: bind as the user, then ask the directory for the DN of the entry.

Unlike the JDK's module, exactly one entry may match, the name of the user is the entry's own, groups give roles, and
with ``lookupOnly`` the module looks up the roles of a user whom an earlier module of the chain authenticated.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asgi_gateway.errors import ConfigError, LoginError, LoginFailed, LoginUnavailable
from asgi_gateway.model import Grant, Principal, RolePrincipal, Subject, UserPrincipal
from asgi_gateway.modules.ldap.client.account_state import (
    STATE_ATTRIBUTES,
    password_times,
    unique_ids,
    unusable_by_entry,
)
from asgi_gateway.modules.ldap.client.bind_result import account_problem
from asgi_gateway.modules.ldap.client.entries import Entry, Scope, Search, SearchRequest
from asgi_gateway.modules.ldap.client.errors import NoSuchBase, TooManyEntries
from asgi_gateway.modules.ldap.client.escaping import check_name, check_password
from asgi_gateway.modules.ldap.client.groups import Group
from asgi_gateway.modules.ldap.client.identity import NamePattern, best_value, name_from_entry
from asgi_gateway.modules.ldap.client.names import canonical_dn, prepared, written_dn
from asgi_gateway.modules.ldap.client.pool import Directory
from asgi_gateway.modules.ldap.client.session import LdapSession, UserConnection
from asgi_gateway.modules.ldap.client.urls import Address
from asgi_gateway.modules.ldap.options import LdapOptions, Mode, authz_attribute
from asgi_gateway.modules.ldap.recheck import LoginRecord
from asgi_gateway.modules.ldap.rules import UserRules, group_rules, user_rules
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.password_login import PasswordLoginModule

__all__ = ["LdapLoginModule", "LdapPrincipal"]

_READS_FIRST: tuple[Mode, ...] = ("search-first", "lookup")
_TOKEN_GROUPS, _OBJECT_SID = "tokenGroups", "objectSid"
_EXACTLY_ONE = 2  # the limit of a search for one entry: a second one shows that it is not the only one


@dataclass(frozen=True, slots=True, eq=False)
class LdapPrincipal(Principal):
    """The distinguished name of the user's entry (JDK ``com.sun.security.auth.LdapPrincipal``); never a role.

    Two of them are equal if their DNs name the same entry, as in the JDK: letter case and spaces do not count.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LdapPrincipal) and _comparable(self.name) == _comparable(other.name)

    def __hash__(self) -> int:
        return hash(_comparable(self.name))


def _comparable(dn: str) -> str:
    try:
        return canonical_dn(dn)
    except (ValueError, ConfigError):  # the latter where python-ldap is missing
        return prepared(dn)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    """What the directory returned for a user.

    Args:
        dn: the DN of the user's entry.
        name: the user's name in the directory.
        entry: the user's entry; without attributes where none was read.
        groups: the user's groups.
        server: the server that answered.
    """

    dn: str
    name: str
    entry: Entry
    groups: list[Group]
    server: Address


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a user's entry was found: the server, the base of the search, and what searches there."""

    server: Address
    base: str
    search: Search


class LdapLoginModule(PasswordLoginModule):
    """Checks passwords against a directory and turns groups into roles (JDK ``LdapLoginModule``).

    Raises:
        ConfigError: an option cannot work, or python-ldap is not installed.
    """

    Options = LdapOptions
    cacheable = True

    def __init__(self, options: LdapOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self.recheckable = options.bindPrincipal is not None
        self._directory = Directory(options.userProvider, options, context, "userProvider")
        self._user: UserRules = user_rules(options, context)
        self._groups = group_rules(options, context)
        self._realms = frozenset((options.stripRealm or "").split())
        self._domains = frozenset(map(prepared, (options.stripDomain or "").split()))
        self._authz_attribute = authz_attribute(options.authzIdentity)
        wanted = (self._authz_attribute, options.userNameAttribute, options.memberOfAttribute)
        named = (*(name for name in wanted if name is not None), *(p.attribute for p in self._user.patterns))
        identifiers = () if self._user.identity is None or self._user.identity_is_dn else (_OBJECT_SID, "objectClass")
        self._attributes = tuple(dict.fromkeys((*named, *identifiers, *STATE_ATTRIBUTES)))
        self._mode: Mode = options.mode
        if options.lookupOnly:
            self.authenticates = False
            self.needs_credentials = False
            self.requires_subject = True
        if options.useSSL is False and any(not url.secure for url in self._directory.urls):
            context.warn("useSSL=false: passwords travel to the directory in plain text")

    async def login(self, attempt: LoginAttempt) -> Grant | None:
        if not self.options.lookupOnly:
            return await super().login(attempt)
        users = (p.name for p in attempt.subject_so_far().principals if isinstance(p, UserPrincipal))
        name = next(users, None)
        if name is None:
            raise LoginFailed("lookupOnly: no module before this one established a user")
        return await self._log_in(attempt, name, "")

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        check_password(password)
        return await self._log_in(attempt, username, password)

    async def _log_in(self, attempt: LoginAttempt, username: str, password: str) -> Grant:
        values = self._values(username)
        steps = self._search_first if self._mode in _READS_FIRST else self._authenticate_first

        def job(session: LdapSession) -> Awaitable[UserRecord]:
            return steps(session, values, password)

        record = await self._directory.run(job, attempt.run_blocking)
        return self._grant(username, values, record)

    async def recheck(self, subject: Subject, data: Any) -> bool | None:
        """Check with the bind account that a login still holds; see ``LoginModule.recheck``.

        The entry must be found and unique as at the login, be the same entry, not be disabled or expired, give the same
        roles, and show the same time of the last password change.
        """
        record = LoginRecord.parsed(data)
        if record is None or self.options.bindPrincipal is None:
            return None

        def job(session: LdapSession) -> Awaitable[UserRecord]:
            return self._look_up(session, record.values, record.dn)

        try:
            found = await self._directory.run(job)
            reason = record.difference(self._login_record(record.values, found))
        except LoginFailed as error:
            reason = str(error)
        if reason is not None:
            self.context.logger.info("the login of %s no longer holds: %s", record.dn, reason, extra={"dn": record.dn})
        return reason is None

    async def close(self) -> None:
        self._directory.close()

    async def check(self) -> list[str]:
        bases = () if self.options.groupSearchBase is None else (self.options.groupSearchBase,)
        return await self._directory.check(bases, self._mode in _READS_FIRST)

    # ------------------------------------------------------------------------------------------- the steps of a login

    def _values(self, name: str) -> dict[str, str]:
        """Return the values of ``{USERNAME}`` and ``{REALM}``.

        Raises:
            LoginFailed: the name is invalid, or of a realm or domain that is not configured.
        """
        check_name(name)
        domain, backslash, rest = name.partition("\\")
        if self._domains and backslash:
            if prepared(domain) not in self._domains or not rest:
                raise LoginFailed("the user is of none of the domains in stripDomain")
            name = rest
        user, _, realm = name.rpartition("@")
        if self._realms:
            if not user or realm not in self._realms:  # another realm's alice is not this one's
                raise LoginFailed("the user is of none of the realms in stripRealm")
            return {"USERNAME": user, "REALM": realm}
        if self._user.needs_realm and not (user and realm):
            raise LoginFailed("the user name has no realm")
        return {"USERNAME": name, "REALM": realm if user else ""}

    async def _search_first(self, session: LdapSession, values: Mapping[str, str], password: str) -> UserRecord:
        lookup = self.options.lookupOnly
        try:
            entry, holder = await self._find(session, values)
        except LoginFailed:
            if not lookup:  # as many requests for an unknown user as for a known one
                await self._bind_unknown(session, password)
            raise
        self.context.logger.debug("%s on %s: the entry is %s", self._mode, holder.server.address, entry.dn)
        if not lookup:
            await holder.bind(entry.dn, password)
        self._check_state(entry)
        return await self._record(_Place(holder.server.address, holder.base, holder.search), values, entry)

    async def _look_up(self, session: LdapSession, values: Mapping[str, str], dn: str) -> UserRecord:
        """Find a user as the bind account, in every mode.

        Args:
            session: the session.
            values: the values of the placeholders.
            dn: the user's DN, where no filter finds the entry.

        Raises:
            LoginFailed: the entry is missing, not unique, disabled or expired.
        """
        if self._user.filter is not None:
            entry, holder = await self._find(session, values)
        else:
            request = SearchRequest(base=dn, scope=Scope.BASE, attributes=self._attributes, aliases=False)
            try:
                entry, holder = self._the_one(await session.search(request)), session
            except NoSuchBase as error:
                raise LoginFailed(str(error)) from None
        self._check_state(entry)
        return await self._record(_Place(holder.server.address, holder.base, holder.search), values, entry)

    async def _find(self, session: LdapSession, values: Mapping[str, str]) -> tuple[Entry, LdapSession]:
        """Return the one entry that userFilter finds, and the session of the server that holds it."""
        follow = self.options.referral == "follow"
        request = self._user_request(session.base, values, references=follow)
        entries, holder = await session.find(request)
        return self._the_one(entries), holder

    def _user_request(self, base: str, values: Mapping[str, str], *, references: bool = False) -> SearchRequest:
        if self._user.filter is None:
            raise LoginUnavailable("userFilter is missing")
        return SearchRequest(
            base=base,
            filter=self._user.filter.fill(values),
            attributes=self._attributes,
            limit=_EXACTLY_ONE,
            references=references,
        )

    async def _authenticate_first(self, session: LdapSession, values: Mapping[str, str], password: str) -> UserRecord:
        if self._user.identity is None:
            raise LoginUnavailable("authIdentity is missing")
        identity = self._user.identity.fill(values)

        async def as_user(user: UserConnection) -> UserRecord:
            place = _Place(session.server.address, session.base, user.search)
            if self._user.filter is None:
                own = Entry(identity) if self._needs_no_entry else await self._own_entry(user, identity)
                self._check_state(own)
                return await self._record(place, values, own)
            entry = self._the_one(await user.search(self._user_request(session.base, values)))
            await self._check_same_entry(user, identity, entry)
            self._check_state(entry)
            return await self._record(place, values, entry)

        return await session.bound(identity, password, as_user)

    async def _check_same_entry(self, user: UserConnection, identity: str, entry: Entry) -> None:
        """Check that the entry is the one that was bound; names written in two ways are the directory's to compare.

        Raises:
            LoginFailed: it is another entry.
        """
        found = written_dn(entry.dn)
        if self._user.identity_is_dn:
            same = found == written_dn(identity) or found == written_dn((await self._own_entry(user, identity)).dn)
        else:
            same = await self._is_bound_as(user, entry)
        if not same:
            raise LoginFailed("userFilter finds another entry than the one that was bound")

    @staticmethod
    async def _is_bound_as(user: UserConnection, entry: Entry) -> bool:
        """Return whether an entry is the account that was bound by another name than a DN.

        Active Directory and Samba list the security identifiers of the bound account, its own among those of its groups
        (tokenGroups of the root entry, MS-ADTS 3.1.1.3.2); other servers answer RFC 4532, or cannot be asked.
        """
        request = SearchRequest(base="", scope=Scope.BASE, attributes=(_TOKEN_GROUPS,))
        root = await user.search(request)
        if (identifiers := entry.values(_OBJECT_SID)) and root and (bound := root[0].values(_TOKEN_GROUPS)):
            return identifiers[0] in bound and "group" not in map(str.lower, entry.texts("objectClass"))
        said = await user.who_am_i() or ""
        return said[:3].lower() != "dn:" or canonical_dn(said[3:]) == canonical_dn(entry.dn)

    @property
    def _needs_no_entry(self) -> bool:
        return self.options.useTypedName and self._groups.none

    async def _own_entry(self, user: UserConnection, identity: str) -> Entry:
        """Return the bound entry with its DN as the directory writes it, and what the user may read of it.

        Raises:
            LoginUnavailable: the user may not read the entry, and the server does not support RFC 4532.
        """
        with suppress(NoSuchBase, TooManyEntries):
            request = SearchRequest(base=identity, scope=Scope.BASE, attributes=self._attributes, aliases=False)
            if found := await user.search(request):
                return found[0]
        said = await user.who_am_i()
        if said and said[:3].lower() == "dn:" and said[3:]:
            return Entry(said[3:])
        raise LoginUnavailable(
            "cannot read the entry of the user who was bound: let users read their own entry (or set useTypedName, "
            "where the name may be as it was typed)"
        )

    async def _record(self, place: _Place, values: Mapping[str, str], entry: Entry) -> UserRecord:
        """Read the user's name and groups."""
        name, groups = self._name(entry, values), list[Group]()
        if (
            self._user.patterns
            and self.options.userNameAttribute is None
            and prepared(name) != prepared(values["USERNAME"])
        ):
            await self._check_unique(place, {**values, "USERNAME": name}, entry)
        if not self._groups.none:
            groups = await self._groups.find(place.search, {**values, "USERNAME": name, "USERDN": entry.dn}, entry)
        return UserRecord(dn=entry.dn, name=name, entry=entry, groups=groups, server=place.server)

    async def _check_unique(self, place: _Place, values: Mapping[str, str], entry: Entry) -> None:
        """Check that an entry found by another of its values is the only one of its name.

        Users may write some attributes of their own entries: one who added another user's name to several values of
        such an attribute, and logged in by a value of another attribute, would be that user.

        Raises:
            LoginFailed: the name finds another entry, or more than one.
        """
        if self._user.filter is None or self._user.value_has_realm:
            return
        found = await place.search(self._user_request(place.base, values))
        if [written_dn(each.dn) for each in found] != [written_dn(entry.dn)]:
            raise LoginFailed(f"the name {values['USERNAME']!r} of the entry {entry.dn} is not unique")

    def _name(self, entry: Entry, values: Mapping[str, str]) -> str:
        """Return the name that the directory has for the user.

        Raises:
            LoginFailed: the entry has no ``userNameAttribute``.
            LoginUnavailable: the entry does not show the attribute that names the user.
        """
        typed = values["USERNAME"]
        if self._needs_no_entry and self._user.filter is None:
            return typed
        if (attribute := self.options.userNameAttribute) is not None:
            name = best_value(entry, NamePattern(attribute), typed)
            if name is None:
                raise LoginFailed(f"the entry has no attribute {attribute!r}")
            return name
        if self._user.filter is None and self._user.rdn_name is not None:
            name = self._user.rdn_name.name(entry.dn)
            if name is None:
                raise LoginUnavailable(f"the DN {entry.dn} does not have the form of authIdentity")
            return name
        return name_from_entry(entry, self._user.patterns, typed)

    def _check_state(self, entry: Entry) -> None:
        """Check that the entry of a user whose password was right, or is not asked for, may log in.

        Raises:
            LoginFailed: it is disabled or expired.
        """
        if reason := unusable_by_entry(entry, self.context.clock.time()):
            problem = None if self.options.lookupOnly else account_problem(reason)
            raise LoginFailed(f"the entry {entry.dn} may not log in: {reason}", account_problem=problem)

    @staticmethod
    def _the_one(entries: list[Entry]) -> Entry:
        if not entries or not entries[0].dn:
            raise LoginFailed("no entry matches userFilter")
        if len(entries) > 1:
            raise LoginFailed("several entries match userFilter")
        return entries[0]

    @staticmethod
    async def _bind_unknown(session: LdapSession, password: str) -> None:
        unknown = f"cn={secrets.token_hex(8)}" + (f",{session.base}" if session.base else "")
        with suppress(LoginError):
            await session.bind(unknown, password)

    # --------------------------------------------------------------------------------------------------- the outcome

    def _roles(self, record: UserRecord) -> list[str]:
        roles = self._groups.roles(record.groups)
        if self._authz_attribute is None:
            roles += [self.options.authzIdentity] if self.options.authzIdentity else []
        elif value := record.entry.text(self._authz_attribute):
            roles.append(value)
        return list(dict.fromkeys(roles))

    def _grant(self, username: str, values: Mapping[str, str], record: UserRecord) -> Grant:
        roles = self._roles(record)
        level = logging.INFO if self.options.debug else logging.DEBUG
        if self.context.logger.isEnabledFor(level):
            said = {"mode": self._mode, "server": str(record.server), "dn": record.dn, "roles": sorted(set(roles))}
            self.context.logger.log(level, "%(mode)s on %(server)s: %(dn)s has the roles %(roles)s", said, extra=said)
        principals: tuple[Principal, ...] = tuple(map(RolePrincipal, roles))
        if not self.options.lookupOnly:
            name = username if self.options.useTypedName else self._principal_name(values, record.name)
            principals = (LdapPrincipal(record.dn), UserPrincipal(name), *principals)
        return Grant(principals, recheck_data=self._login_record(values, record).data())

    def _login_record(self, values: Mapping[str, str], record: UserRecord) -> LoginRecord:
        return LoginRecord(
            values=dict(values),
            dn=record.dn,
            ids=unique_ids(record.entry),
            password=password_times(record.entry),
            complete=self._mode in _READS_FIRST,
            roles=sorted(self._roles(record)),
        )

    def _principal_name(self, values: Mapping[str, str], name: str) -> str:
        """Return the user principal's name: with its realm where stripRealm took one off, since names repeat there."""
        if not self._realms or self.options.userNameAttribute is not None or self._user.value_has_realm:
            return name
        return f"{name}@{values['REALM']}"
