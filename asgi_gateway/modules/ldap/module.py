"""The ``ldap`` login module: user names and passwords checked by an LDAP directory, groups as roles.

Three modes, by the options given (JDK ``com.sun.security.auth.module.LdapLoginModule``):

- ``userFilter`` alone, search first: find the user's entry with the bind account, then bind as that entry;
- ``authIdentity`` and ``userFilter``, authentication first: bind as the user, then find the entry as the user;
- ``authIdentity`` alone, authentication only: bind as the user.

Beyond the JDK: exactly one entry may match, groups give roles, and with ``lookupOnly`` the module looks up the roles
of a user whom an earlier module of the chain authenticated, and authenticates nobody itself.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from asgi_gateway.errors import ConfigError, LoginError, LoginFailed
from asgi_gateway.model import Grant, Principal, RolePrincipal, UserPrincipal
from asgi_gateway.modules.ldap.client import imports as library
from asgi_gateway.modules.ldap.client.connection import Connection, Entry
from asgi_gateway.modules.ldap.client.escaping import Template, check_name, check_password, escape_dn, escape_filter
from asgi_gateway.modules.ldap.client.groups import GroupRules, in_chain_filter, normal_dn
from asgi_gateway.modules.ldap.client.pool import Directory
from asgi_gateway.modules.ldap.client.session import Session
from asgi_gateway.modules.ldap.client.urls import Address
from asgi_gateway.modules.ldap.options import ATTRIBUTE, LdapOptions, Mode
from asgi_gateway.plugins.login_module import LoginAttempt, ModuleContext
from asgi_gateway.plugins.password_login import PasswordLoginModule

__all__ = ["LdapLoginModule", "LdapPrincipal"]

_NAMES = ("USERNAME", "REALM")
_READS_FIRST: tuple[Mode, ...] = ("search-first", "lookup")
_Search = Callable[[str, int, str, tuple[str, ...], int], Awaitable[list[Entry]]]
_ONE = 2  # to find exactly one entry, two must be allowed to come: ten thousand never do


@dataclass(frozen=True, slots=True)
class LdapPrincipal(Principal):
    """The distinguished name of the user's entry (JDK ``com.sun.security.auth.LdapPrincipal``); never a role."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the directory said of a user."""

    dn: str
    entry: Entry | None
    groups: list[str]
    server: Address


class LdapLoginModule(PasswordLoginModule):
    """Checks passwords against a directory and turns groups into roles (JDK ``LdapLoginModule``).

    Raises:
        ConfigError: an option cannot work, or python-ldap is not installed.
    """

    Options = LdapOptions
    cacheable = True

    def __init__(self, options: LdapOptions, context: ModuleContext) -> None:
        super().__init__(options, context)
        self._ldap = library.load()
        self._directory = Directory(options.userProvider, options, context, "userProvider")
        self._filter = self._filter_of("userFilter", options.userFilter, _NAMES)
        self._identity_is_dn = False
        self._identity = self._identity_of(options.authIdentity)
        self._realms = frozenset((options.stripRealm or "").split())
        self._needs_realm = any("REALM" in t.names for t in (self._filter, self._identity) if t is not None)
        self._rules = self._group_rules(options)
        attribute = ATTRIBUTE.fullmatch(options.authzIdentity or "")
        self._authz_attribute = attribute[1] if attribute else None
        wanted = (self._authz_attribute, options.userNameAttribute, options.memberOfAttribute)
        self._attributes = tuple(name for name in wanted if name is not None)
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
        found = await self._directory.run(self._job(self._values(name), ""), attempt.run_blocking)
        return self._grant(name, found)

    async def authenticate(self, attempt: LoginAttempt, username: str, password: str) -> Grant | None:
        values = self._values(username)
        check_password(password)
        found = await self._directory.run(self._job(values, password), attempt.run_blocking)
        return self._grant(username, found)

    async def close(self) -> None:
        self._directory.close()

    async def check(self) -> list[str]:
        bases = () if self.options.groupSearchBase is None else (self.options.groupSearchBase,)
        return await self._directory.check(bases, self._mode in _READS_FIRST)

    # ------------------------------------------------------------------------------------------------ one login's work

    def _values(self, name: str) -> dict[str, str]:
        """What ``{USERNAME}`` and ``{REALM}`` stand for.

        Raises:
            LoginFailed: the name cannot be a user's, or is of a realm that is not served.
        """
        check_name(name)
        user, _, realm = name.rpartition("@")
        if self._realms:
            if not user or realm not in self._realms:  # another realm's alice is not this one's
                raise LoginFailed("the user is of none of the realms in stripRealm")
            return {"USERNAME": user, "REALM": realm}
        if self._needs_realm and not (user and realm):
            raise LoginFailed("the user name has no realm")
        return {"USERNAME": name, "REALM": realm if user else ""}

    def _job(self, values: Mapping[str, str], password: str) -> Callable[[Session], Awaitable[_Found]]:
        """What one login asks of a directory server."""
        steps = self._search_first if self._mode in _READS_FIRST else self._authenticate_first
        return lambda session: steps(session, values, password)

    async def _search_first(self, session: Session, values: Mapping[str, str], password: str) -> _Found:
        assert self._filter is not None
        lookup, follow = self.options.lookupOnly, self.options.referral == "follow"
        try:
            entries, holder = await session.find(
                self._ldap.SCOPE_SUBTREE, self._filter.fill(values), self._attributes, _ONE, follow=follow
            )
            entry = self._the_one(entries)
        except LoginFailed:
            if not lookup:  # as many requests for a user who is not there as for one who is
                await self._bind_nobody(session, password)
            raise
        self.context.logger.debug("%s on %s: the entry is %s", self._mode, holder.server.address, entry.dn)
        if not lookup:
            await holder.bind(entry.dn, password)
        return await self._found(holder, holder.search, values, entry.dn, entry)

    async def _authenticate_first(self, session: Session, values: Mapping[str, str], password: str) -> _Found:
        assert self._identity is not None
        identity = self._identity.fill(values)

        async def as_user(connection: Connection) -> _Found:
            def search(
                base: str, scope: int, filter_text: str, attributes: tuple[str, ...], limit: int
            ) -> Awaitable[list[Entry]]:
                return connection.search(base, scope, filter_text, attributes, limit, session.deadline)

            if self._filter is None:
                return await self._found(session, search, values, identity, None)
            filter_text = self._filter.fill(values)
            entries = await search(session.base, self._ldap.SCOPE_SUBTREE, filter_text, self._attributes, _ONE)
            entry = self._the_one(entries)
            if self._identity_is_dn and normal_dn(entry.dn) != normal_dn(identity):
                raise LoginFailed("userFilter finds another entry than the one that was bound")
            return await self._found(session, search, values, entry.dn, entry)

        return await session.bound(identity, password, as_user)

    async def _found(
        self, session: Session, search: _Search, values: Mapping[str, str], dn: str, entry: Entry | None
    ) -> _Found:
        if self._rules.none:
            return _Found(dn, entry, [], session.server.address)

        def subtree(base: str, filter_text: str, attributes: tuple[str, ...], limit: int) -> Awaitable[list[Entry]]:
            return search(base, self._ldap.SCOPE_SUBTREE, filter_text, attributes, limit)

        groups = await self._rules.names(subtree, {**values, "USERDN": dn}, entry)
        return _Found(dn, entry, groups, session.server.address)

    @staticmethod
    def _the_one(entries: list[Entry]) -> Entry:
        if not entries or not entries[0].dn:
            raise LoginFailed("no entry matches userFilter")
        if len(entries) > 1:
            raise LoginFailed("several entries match userFilter")
        return entries[0]

    async def _bind_nobody(self, session: Session, password: str) -> None:
        nobody = f"cn={secrets.token_hex(8)}" + (f",{session.base}" if session.base else "")
        with suppress(LoginError):
            await session.bind(nobody, password)

    def _grant(self, username: str, found: _Found) -> Grant:
        roles = self._rules.roles(found.groups)
        if self._authz_attribute is None:
            roles += [self.options.authzIdentity] if self.options.authzIdentity else []
        elif found.entry is not None and (value := found.entry.text(self._authz_attribute)):
            roles.append(value)
        level = logging.INFO if self.options.debug else logging.DEBUG
        if self.context.logger.isEnabledFor(level):
            said = {"mode": self._mode, "server": str(found.server), "dn": found.dn, "roles": sorted(set(roles))}
            self.context.logger.log(level, "%(mode)s on %(server)s: %(dn)s has the roles %(roles)s", said, extra=said)
        role_principals = tuple(map(RolePrincipal, dict.fromkeys(roles)))
        if self.options.lookupOnly:
            return Grant(role_principals)
        name: str | None = username
        if self.options.userNameAttribute is not None and found.entry is not None:
            name = found.entry.text(self.options.userNameAttribute)
            if name is None:
                raise LoginFailed(f"the entry has no attribute {self.options.userNameAttribute!r}")
        return Grant((LdapPrincipal(found.dn), UserPrincipal(name or username), *role_principals))

    # --------------------------------------------------------------------------------------------------- at the start

    def _filter_of(self, option: str, text: str | None, names: tuple[str, ...]) -> Template | None:
        """A filter's template, tried out on the library's own parser.

        Raises:
            ConfigError: it is no filter, or the same for everybody.
        """
        if text is None:
            return None
        try:
            template = Template(text, names, escape_filter)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from None
        if not template.names & {"USERNAME", "USERDN"}:
            raise ConfigError(f"{option}: {text!r} finds the same for everybody: it must name {{USERNAME}}")
        sample = template.fill(dict.fromkeys(names, "x"))
        offline = self._ldap.initialize("ldapi://%2Fnonexistent")
        try:
            offline.search_ext("", self._ldap.SCOPE_BASE, sample)
        except self._ldap.FILTER_ERROR:
            raise ConfigError(f"{option}: {text!r} is no LDAP filter (RFC 4515): count its parentheses") from None
        except self._ldap.LDAPError:  # understood; there is nobody to send it to
            pass
        return template

    def _identity_of(self, text: str | None) -> Template | None:
        if text is None:
            return None
        try:
            sample = Template(text, _NAMES, escape_dn).fill(dict.fromkeys(_NAMES, "x"))
            is_dn = bool(self._ldap.dn.is_dn(sample))
            template = Template(text, _NAMES, escape_dn if is_dn else str)
            self._identity_is_dn = is_dn
        except ValueError as error:
            raise ConfigError(f"authIdentity: {error}") from None
        if "USERNAME" not in template.names:
            raise ConfigError(f"authIdentity: {text!r} is the same for everybody: it must name {{USERNAME}}")
        if not is_dn and self._filter is None:
            raise ConfigError(f"authIdentity: {text!r} is no distinguished name, which it must be without userFilter")
        return template

    def _group_rules(self, options: LdapOptions) -> GroupRules:
        base = options.groupSearchBase
        if base is not None and not self._ldap.dn.is_dn(base):
            raise ConfigError(f"groupSearchBase: {base!r} is no distinguished name")
        text = options.groupFilter or "(member={USERDN})"
        template = (
            in_chain_filter() if options.groupInChain else self._filter_of("groupFilter", text, (*_NAMES, "USERDN"))
        )
        assert template is not None
        if options.nestedGroupDepth and "USERDN" not in template.names:
            raise ConfigError("nestedGroupDepth: groupFilter must name {USERDN} for groups within groups to be found")
        return GroupRules(
            base,
            template,
            options.groupRoleAttribute,
            options.memberOfAttribute,
            options.nestedGroupDepth,
            options.rolePrefix,
            options.roleMapping,
        )
