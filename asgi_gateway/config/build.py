"""From a validated configuration to a Gateway: plugins are found, their options checked, realms and services made.

Every problem is collected with its position before anything is raised, so that one run shows all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.chain import Chain, ChainEntry
from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.realm import SESSION_LIFE, Realm, RealmServices, RealmSettings
from asgi_gateway.authentication.result import AuthenticationResult, result_from_session
from asgi_gateway.config import registry
from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.diagnostics import Report
from asgi_gateway.config.load import LoadedConfig, load
from asgi_gateway.config.model import Authentication, LoginModuleConfig, RealmConfig, ServiceConfig, StoreConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.sessions import session_keys
from asgi_gateway.config.state import build_state
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.tickets import with_tickets
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway, GatewayServices
from asgi_gateway.keystores import KeyStore, open_store
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.login_module import LoginModule, ModuleContext
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.origins import CrossSite, OriginRules, canonical_origin
from asgi_gateway.sessions.cookies import COOKIE, Sessions, SessionSettings
from asgi_gateway.telemetry.audit import Audit

__all__ = ["build", "load_config"]


def load_config(source: str | Path | Mapping[str, Any], *, clock: Clock | None = None) -> Gateway:
    """Load a configuration and build its Gateway. Nothing is opened or connected yet.

    Args:
        source: a file (``.yaml``, ``.yml``, ``.xml``), or the YAML form as a mapping.
        clock: where time comes from; the system's by default.

    Raises:
        ConfigError: the configuration cannot be used; every problem of it is listed.
    """
    return build(load(source), clock=clock)


def build(loaded: LoadedConfig, *, clock: Clock | None = None) -> Gateway:
    """Build the Gateway of a loaded configuration.

    Raises:
        ConfigError: a plugin is unknown, its options are wrong, a file it needs is missing, or a chain would let in
            somebody whom nobody authenticated.
    """
    return _Builder(loaded, clock or SystemClock()).gateway()


class _Builder:
    def __init__(self, loaded: LoadedConfig, clock: Clock) -> None:
        self._loaded = loaded
        self._clock = clock
        self._report = Report(loaded)
        self._pools = ThreadPools()
        self._audit = Audit(clock)
        self._state = build_state(loaded, clock, self._report)
        self._session_keys: tuple[bytes, ...] | None = None
        self._keystore = self._store(loaded.config.security.keystore, "keystore")
        self._truststore = self._store(loaded.config.security.truststore, "truststore")

    def gateway(self) -> Gateway:
        security = self._loaded.config.security
        realms = {
            config.name: realm
            for index, config in enumerate(security.realms)
            if (realm := self._realm(config, ("security", "realms", index))) is not None
        }
        if self._report.errors:
            raise ConfigError(self._report.problems)
        services = with_tickets(
            self._loaded.config.services or (), self._services(realms), realms, self._report.problem
        )
        if self._report.errors:
            raise ConfigError(self._report.problems)
        try:
            return Gateway(
                services,
                GatewayServices(state=self._state, pools=self._pools, clock=self._clock, audit=self._audit),
                problems=self._report.problems,
                identity=_identity(self._loaded),
                keystore=self._keystore,
                browser_client=self._loaded.config.browser_client,
                extended_handshake=self._loaded.config.extended_handshake,
                root_path=self._loaded.config.root_path,
            )
        except ValueError as error:  # hosts and ports that mean the same, such as http://host:80 and https://host:443
            self._report.problem(("services",), str(error), "change the path, or the host, of one of them")
            raise ConfigError(self._report.problems) from None

    def _sessions(self, config: RealmConfig, authentication: Authentication) -> Sessions[AuthenticationResult] | None:
        """Return a realm's sessions; None if it has none or their keys cannot be read."""
        if authentication.authorization_mode != "recycle":
            return None
        if self._session_keys is None:
            security = self._loaded.config.security

            def warn(message: str) -> None:
                self._report.problem(("security", "session-keys"), message, severity="warning")

            try:
                self._session_keys = session_keys(
                    security.session_keys, self._loaded.directory, self._state.shared, warn
                )
            except ConfigError as error:
                self._report.adopt(error, ("security", "session-keys"))
                return None
        cookie = self._loaded.config.security.session_cookie
        settings = SessionSettings(
            realm=config.name,
            keys=self._session_keys,
            life=authentication.session_timeout or SESSION_LIFE,
            idle=authentication.authorization_timeout,
            cookie=cookie or COOKIE,
            gateway="" if cookie else self._state.identity or _file_or_directory(self._loaded),
            per_user=config.sessions_per_user,
            per_client=config.sessions_per_client,
        )
        return Sessions(settings, self._state, self._clock, result_from_session)

    def _store(self, config: StoreConfig | None, element: str) -> KeyStore | None:
        if config is None:
            return None
        path: ConfigPath = ("security", element)

        def warn(message: str) -> None:
            self._report.problem(path, message, severity="warning")

        try:
            store = open_store(config, self._loaded.directory, warn)
        except ConfigError as error:
            self._report.adopt(error, path)
            return None
        for message in store.problems(self._clock.time()):
            warn(message)
        return store

    # ------------------------------------------------------------------------------------------------------- services

    def _services(self, realms: Mapping[str, Realm]) -> list[Service]:
        configured = self._loaded.config.services
        if configured is None:
            (only,) = realms.values()
            return [Service("default", (Mount(""),), (only,))]
        return [self._service(config, realms) for config in configured]

    def _service(self, config: ServiceConfig, realms: Mapping[str, Realm]) -> Service:
        constraint = config.authorization_constraint
        mounts = tuple(
            Mount(accept.path.rstrip("/"), accept.kinds, host)
            for accept in config.accepts
            for host in (_hosts(accept) if config.match_host else (None,))
        )
        return Service(
            config.name or config.accept[0],
            mounts,
            tuple(realms[name] for name in config.realm_name),  # every one of them: none is as good as public
            Authorization(constraint.require_role if constraint is not None else ()),
            OriginRules(
                (
                    CrossSite(
                        frozenset(map(canonical_origin, _words(cross.allow_origin))),
                        tuple(_words(cross.allow_methods)),
                        tuple(word.lower() for word in _words(cross.allow_headers)),
                        None if cross.maximum_age is None else int(cross.maximum_age),
                    )
                    for cross in config.cross_site_constraint
                ),
                by_application=config.cors == "application",
            ),
            allow_encoded_slash=config.allow_encoded_slash,
            same_user=config.same_user,
        )

    # --------------------------------------------------------------------------------------------------------- realms

    def _realm(self, config: RealmConfig, path: ConfigPath) -> Realm | None:
        authentication = config.authentication
        if authentication is None or not authentication.login_modules:
            return None  # whether anything needs the realm was checked before
        path = (*path, "authentication")
        invalidations: list[Realm] = []
        schemes = self._schemes(authentication, path)
        entries = [
            self._entry(module, config.name, (*path, "login-modules", index), invalidations)
            for index, module in enumerate(authentication.login_modules)
        ]
        chain = Chain([entry for entry in entries if entry is not None])
        if not schemes or None in entries:
            return None
        if chain.opens_by_itself():
            self._report.problem(
                (*path, "login-modules"),
                "this chain lets anybody in: it succeeds where every module that authenticates refuses",
                "make a module that authenticates required or requisite",
            )
        realm = Realm(
            config.name,
            schemes,
            reader=CredentialReader(
                authentication.http_header,
                authentication.http_query_parameter,
                authentication.http_cookie,
                authentication.websocket_subprotocol,
            ),
            chain=chain,
            services=RealmServices(pools=self._pools, clock=self._clock, audit=self._audit),
            settings=RealmSettings(
                description=config.description,
                session_timeout=authentication.session_timeout,
                authorization_timeout=authentication.authorization_timeout,
                cache_ttl=config.credential_cache,
            ),
            sessions=self._sessions(config, authentication),
        )
        invalidations.append(realm)
        return realm

    def _schemes(self, authentication: Authentication, path: ConfigPath) -> list[ChallengeScheme]:
        schemes = []
        for index, name in enumerate(authentication.http_challenge_scheme):
            try:
                schemes.append(registry.scheme(name))
            except ConfigError as error:
                where = (*path, "http-challenge-scheme", index)
                self._report.adopt(error, where, did_you_mean(name, registry.scheme_names()))
        return schemes

    def _entry(
        self, config: LoginModuleConfig, realm: str, path: ConfigPath, invalidations: list[Realm]
    ) -> ChainEntry | None:
        try:
            found = registry.login_module(config.type)
        except ConfigError as error:
            self._report.adopt(error, (*path, "type"), did_you_mean(config.type, registry.login_module_names()))
            return None
        options = self._report.validated(found.Options, config.options, f"login module {config.type}", path)
        if options is None:
            return None
        module = self._module(found, options, self._context(config, realm, path, invalidations), config, path)
        if module is None:
            return None
        return ChainEntry(module, config.success, config.type, config.time_limit)

    def _context(
        self, config: LoginModuleConfig, realm: str, path: ConfigPath, invalidations: list[Realm]
    ) -> ModuleContext:
        def invalidate() -> None:
            for each in invalidations:
                each.cache.clear()
                self._audit.event("reload", realm=realm, module=config.type)

        def warn(message: str | Problem) -> None:
            if isinstance(message, Problem):
                self._report.problems.append(replace(message, severity="warning"))
            else:
                self._report.problem((*path, "options"), message, severity="warning")

        return ModuleContext(
            directory=self._loaded.directory,
            realm=realm,
            state=self._state,
            clock=self._clock,
            keystore=self._keystore,
            truststore=self._truststore,
            logger=logging.getLogger(f"asgi_gateway.modules.{config.type.removeprefix('class:')}"),
            invalidate=invalidate,
            warn=warn,
        )

    def _module(
        self,
        found: type[LoginModule],
        options: Any,
        context: ModuleContext,
        config: LoginModuleConfig,
        path: ConfigPath,
    ) -> LoginModule | None:
        try:
            return found(options, context)
        except ConfigError as error:
            self._report.adopt(error, (*path, "options"))
        except Exception as error:
            self._report.problem(path, f"login module {config.type}: {type(error).__name__}: {error}")
        return None


def _identity(loaded: LoadedConfig) -> str:
    """Return what tells a configuration from others on the host.

    A file stays the same configuration when its content changes: an old and a new worker must not run side by side. A
    mapping has no name, so its content tells it from others of the same directory; ``repr`` leaves options out.
    """
    where = _file_or_directory(loaded)
    return where if loaded.file is not None else repr((where, loaded.config))


def _file_or_directory(loaded: LoadedConfig) -> str:
    return str(loaded.file.absolute() if loaded.file is not None else loaded.directory)


def _words(text: str | None) -> list[str]:
    return (text or "").replace(",", " ").split()


def _hosts(accept: AcceptURL) -> tuple[str | None, ...]:
    """The Host headers that an accept URL stands for; a URL without a port takes any."""
    if accept.host is None:
        return (None,)
    if accept.port is None:
        return (f"{accept.host}:*",)
    explicit = f"{accept.host}:{accept.port}"
    return (explicit, accept.host) if accept.port in (80, 443) else (explicit,)
