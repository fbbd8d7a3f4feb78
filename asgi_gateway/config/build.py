"""Build a Gateway from a validated configuration: find plugins, check their options, make realms and services.

Every problem is collected with its position before anything is raised, so that one run shows all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.chain import Chain, ChainEntry
from asgi_gateway.authentication.credentials import CredentialReader
from asgi_gateway.authentication.login_page import LoginPageSettings
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import AuthenticationResult, result_from_session
from asgi_gateway.authentication.settings import SESSION_LIFE, RealmServices, RealmSettings
from asgi_gateway.client import ChallengeHandler
from asgi_gateway.config import registry
from asgi_gateway.config.backend_local import warn_of_shared_folders
from asgi_gateway.config.backend_login import (
    AUTHENTICATOR,
    ConnectHandler,
    challenge_handler,
    import_authenticator,
    uses_connect_handler,
)
from asgi_gateway.config.backends import BackendContext, build_backend
from asgi_gateway.config.diagnostics import Report
from asgi_gateway.config.forward_auth import build_forward_auth, build_trusted_proxies
from asgi_gateway.config.listeners import BIND_OPTIONS, bind_option, listener_of, merged
from asgi_gateway.config.load import LoadedConfig, read
from asgi_gateway.config.login_page import build_login_page, check_login_schemes
from asgi_gateway.config.model import (
    Authentication,
    CrossSiteConstraint,
    LoginModuleConfig,
    ProtectedResource,
    RealmConfig,
    ServiceConfig,
    StoreConfig,
)
from asgi_gateway.config.named_files import named_files
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.places import Places
from asgi_gateway.config.proxy_settings import identity_writer
from asgi_gateway.config.sessions import session_keys
from asgi_gateway.config.state import build_state
from asgi_gateway.config.suggestions import did_you_mean
from asgi_gateway.config.tickets import build_ticket
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway, GatewayServices
from asgi_gateway.keystores import KeyStore, open_store
from asgi_gateway.model import Headers
from asgi_gateway.plugins.clock import Clock, SystemClock
from asgi_gateway.plugins.login_module import LoginModule, ModuleContext
from asgi_gateway.plugins.scheme import ChallengeScheme
from asgi_gateway.schemes import BasicScheme, BearerScheme
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.identity import GatewayContext
from asgi_gateway.services.model import Listener, Mount, Service
from asgi_gateway.services.origins import CrossSite, OriginRules, canonical_origin
from asgi_gateway.services.resource_metadata import ResourceMetadata
from asgi_gateway.services.trusted_proxies import TrustedProxies
from asgi_gateway.sessions.cookies import COOKIE, Sessions, SessionSettings
from asgi_gateway.stores.trial import TrialState
from asgi_gateway.telemetry.audit import Audit

__all__ = ["build", "load_config"]


def load_config(
    source: str | Path | Mapping[str, Any],
    *,
    clock: Clock | None = None,
    properties: Mapping[str, str] | None = None,
    by_port: bool = False,
    connect_handler: ConnectHandler | None = None,
) -> Gateway:
    """Load a configuration and build its Gateway. Nothing is opened or connected yet.

    Args:
        source: a file (``.yaml``, ``.yml``, ``.xml``), or the YAML form as a mapping.
        clock: the source of time; the system's by default.
        properties: values for ``${name}``, before the environment and the file's own ``properties``.
        by_port: whether services are told apart by the local port on which a request comes in, which a server that
            listens at the file's accept URLs can do.
        connect_handler: answers the 401s of back ends whose service has no ``connect-login``: a ChallengeHandler, or,
            for Basic, a LoginHandler or a function as it takes one.

    Raises:
        ConfigError: the configuration cannot be used; every problem of it is listed.
    """
    loaded = read(source, properties=properties, by_port=by_port)
    return build(loaded, clock=clock, connect_handler=connect_handler)


def build(
    loaded: LoadedConfig,
    *,
    clock: Clock | None = None,
    trial: bool = False,
    connect_handler: ConnectHandler | None = None,
) -> Gateway:
    """Build the Gateway of a loaded configuration.

    Args:
        loaded: the configuration. If it has errors, its valid parts are built all the same, to find all errors.
        clock: the source of time; the system's by default.
        trial: True if the gateway must not change the state store.
        connect_handler: as for ``load_config``.

    Raises:
        ConfigError: the configuration has errors, a plugin is unknown, its options are invalid, a file is missing, or a
            chain would grant access without authentication.
    """
    return _Builder(loaded, clock or SystemClock(), trial, connect_handler).gateway()


class _Builder:
    def __init__(
        self, loaded: LoadedConfig, clock: Clock, trial: bool, connect_handler: ConnectHandler | None = None
    ) -> None:
        self._loaded = loaded
        self._security = loaded.parts.security
        self._clock = clock
        self._report = Report(loaded)
        self._pools = ThreadPools()
        self._audit = Audit(clock)
        state = build_state(loaded, clock, self._report)
        self._state = TrialState(state) if trial else state
        self._session_keys: tuple[bytes, ...] | None = None
        self._resources: list[ResourceMetadata] = []
        self._identities: dict[str, Callable[[GatewayContext], Headers]] = {}
        self._keystore = self._store(self._security.keystore, "keystore")
        self._truststore = self._store(self._security.truststore, "truststore")
        self._connect_handler = self._handler(connect_handler)

    def gateway(self) -> Gateway:
        parts = self._loaded.parts
        realms = {}
        for index, each in parts.realms.items():
            if (realm := self._realm(each, ("security", "realms", index))) is not None:
                realms[each.name] = realm
        self._check_plugins_of_invalid_realms()
        self._stop_on_errors()
        services = self._services(realms)
        trusted_proxies = build_trusted_proxies(self._security.trusted_proxies, self._report.problem)
        forward_auth = build_forward_auth(
            self._loaded.config,
            [each.path for each in self._resources],
            self._identities,
            self._report.problem,
        )
        self._stop_on_errors()
        self._warn_of_unused_handler()
        listeners = self._listeners()  # its warnings are among the problems
        try:
            return Gateway(
                services,
                GatewayServices(state=self._state, pools=self._pools, clock=self._clock, audit=self._audit),
                problems=self._report.problems,
                listeners=listeners,
                trusted_proxies=trusted_proxies,
                identity=_identity(self._loaded),
                keystore=self._keystore,
                browser_client=self._loaded.config.browser_client,
                resources=self._resources,
                extended_handshake=self._loaded.config.extended_handshake,
                root_path=self._loaded.config.root_path,
                forward_auth=forward_auth,
            )
        except ValueError as error:  # hosts and ports that are equal, such as http://host:80 and https://host:443
            self._report.problem(("services",), str(error), "change the path, or the host, of one of them")
            raise ConfigError(self._report.problems) from None

    def _stop_on_errors(self) -> None:
        if self._report.errors:
            raise ConfigError(self._report.problems)

    def _check_plugins_of_invalid_realms(self) -> None:
        """Report the problems of schemes and login modules whose realm has errors of its own."""
        parts = self._loaded.parts
        for number, names in parts.schemes.items():
            for index, name in enumerate(names if number not in parts.realms else ()):
                self._scheme(name, ("security", "realms", number, "authentication", "http-challenge-scheme", index))
        for (number, index), module in parts.modules.items():
            if number not in parts.realms:
                path: ConfigPath = ("security", "realms", number, "authentication", "login-modules", index)
                self._entry(module, parts.names.get(number, ""), path, [])

    def _sessions(self, config: RealmConfig, authentication: Authentication) -> Sessions[AuthenticationResult] | None:
        """Return a realm's sessions; None if it has none or their keys cannot be read."""
        if not authentication.has_sessions:
            return None
        if self._session_keys is None:

            def warn(message: str) -> None:
                self._report.problem(("security", "session-keys"), message, severity="warning")

            try:
                self._session_keys = session_keys(
                    self._security.session_keys, self._loaded.directory, self._state.shared, warn
                )
            except ConfigError as error:
                self._report.adopt(error, ("security", "session-keys"))
                return None
        cookie = self._security.session_cookie
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

    def _handler(self, given: ConnectHandler | None) -> ChallengeHandler | None:
        """Return the handler that Python code gave, or that ``http.authenticator`` names."""
        target = self._loaded.settings.get(AUTHENTICATOR)
        try:
            if given is not None and target is not None:
                raise ConfigError(f"connect_handler and {AUTHENTICATOR} are given: only one of them can answer")
            if target is not None:
                return import_authenticator(target)
            return challenge_handler(given, "connect_handler") if given is not None else None
        except ConfigError as error:
            for problem in error.problems:
                self._report.add(problem)
            return None

    def _warn_of_unused_handler(self) -> None:
        services = self._loaded.config.services or ()
        if self._connect_handler is not None and not any(map(uses_connect_handler, services)):
            message = "the handler for back ends is never asked: it answers for services without connect-login"
            hint = "give one of them connect and max-authentication-attempts"
            self._report.problem(("services",), message, hint, "warning")

    # ------------------------------------------------------------------------------------------------------- services

    def _services(self, realms: Mapping[str, Realm]) -> list[Service]:
        configured = self._loaded.config.services
        if configured is None:
            (only,) = realms.values()
            return [Service(name="default", mounts=(Mount(""),), realms=(only,))]
        places = Places(configured, by_port=self._loaded.by_port)
        found = {
            index: self._service(config, places.of(index), realms, ("services", index))
            for index, config in enumerate(configured)
            if places.exist(index)
        }
        warn_of_shared_folders(found, self._report.problem)
        return list(found.values())

    def _listeners(self) -> list[Listener]:
        """Return where ``run`` listens; nowhere in particular if no accept URL names a host."""
        found: list[Listener] = []
        for index, config in enumerate(self._loaded.config.services or ()):
            self._check_bind(config, ("services", index, "bind"))
            for position, accept in enumerate(() if config.refusal else config.accepts):
                path: ConfigPath = ("services", index, "accept", position)
                try:
                    listener = listener_of(config, accept)
                except ValueError as error:
                    message, _, hint = str(error).partition("; ")
                    self._report.problem(("services", index, "bind", bind_option(config, accept)), message, hint)
                    continue
                if listener is not None:
                    listener = replace(
                        listener,
                        services=(config.name or config.accept[0],),
                        accept=config.accept[position],
                        mark=self._loaded.where(path),
                    )
                    found.append(listener)
                    self._check_listener(listener, found, path)
        self._stop_on_errors()
        return merged(found)

    def _check_bind(self, config: ServiceConfig, path: ConfigPath) -> None:
        schemes = {accept.scheme for accept in config.accepts if accept.host is not None}
        for option in config.bind:
            if option not in BIND_OPTIONS:
                hint = did_you_mean(option, BIND_OPTIONS)
                self._report.problem((*path, option), f"unknown option {option!r}", hint)
            elif not config.refusal and not schemes & BIND_OPTIONS[option]:
                message = f"{option} has no effect: the service has no such accept URL with a host"
                self._report.problem((*path, option), message, severity="warning")

    def _check_listener(self, listener: Listener, others: list[Listener], path: ConfigPath) -> None:
        if not self._loaded.by_port:
            return
        if any(other.port == listener.port and other.tls != listener.tls for other in others):
            message = f"port {listener.port} is used with TLS and without"
            self._report.problem(path, message, "give https and wss another port than http and ws")
        elif listener.tls and self._keystore is None and self._security.keystore is None:
            self._report.problem(path, "https and wss need a keystore", "add security/keystore")

    def _service(
        self, config: ServiceConfig, mounts: tuple[Mount, ...], realms: Mapping[str, Realm], path: ConfigPath
    ) -> Service:
        constraint = config.authorization_constraint
        service = Service(
            name=config.name or config.accept[0],
            mounts=mounts,
            realms=tuple(realms[name] for name in config.realm_name),  # every one of them: none is as good as public
            authorization=Authorization(constraint.require_role if constraint is not None else ()),
            origins=OriginRules(
                map(_cross_site, config.cross_site_constraint), by_application=config.cors == "application"
            ),
            refusal=config.refusal,
            allow_encoded_slash=config.allow_encoded_slash,
            same_user=config.same_user,
        )
        self._check_roles(config, service, path)
        context = self._backend_context(service)
        backend = build_backend(config, context, (*path,), self._report.problem)
        self._add_identity(config, context, path)
        service = replace(service, backend=backend)
        ticket = build_ticket(config.ticket, service, realms, (*path, "ticket"), self._report.problem)
        return replace(service, ticket=ticket)

    def _add_identity(self, config: ServiceConfig, context: BackendContext, path: ConfigPath) -> None:
        """Add what tells other proxies who the user is, where they ask and the service has headers for it."""
        if not (config.identity_headers or config.identity_token):
            return
        if self._loaded.config.forward_auth is None:
            if not config.connect and not config.refusal:
                name = "identity-headers" if config.identity_headers else "identity-token"
                message = f"{name} has no effect without connect or forward-auth: clients can send such headers"
                hint = "an application reads the user from its scope; remove it"
                self._report.problem((*path, name), message, hint, "warning")
            return
        # a back end of the service's own reports the same problems
        add_problem = _ignore_problem if config.kind else self._report.problem
        self._identities[context.service.name] = identity_writer(config, context, path, add_problem).headers

    def _backend_context(self, service: Service) -> BackendContext:
        cookie = self._security.session_cookie or COOKIE
        return BackendContext(
            service=service,
            directory=self._loaded.directory,
            file=self._loaded.file,
            web_root=self._loaded.config.web_root,
            files=named_files(self._loaded),
            keystore=self._keystore,
            truststore=self._truststore,
            clock=self._clock,
            audit=self._audit,
            pools=self._pools,
            trusted_proxies=TrustedProxies(self._security.trusted_proxies),
            session_cookie=cookie,
            connect_handler=self._connect_handler,
        )

    def _check_roles(self, config: ServiceConfig, service: Service, path: ConfigPath) -> None:
        """Warn of required roles that no login module of the service can grant, where all of them can tell."""
        granted: set[str] = set()
        for entry in (entry for realm in service.realms for entry in realm.chain.entries):
            roles = entry.module.granted_roles()
            if roles is None:
                return
            granted |= roles
        constraint = config.authorization_constraint
        for index, role in enumerate(constraint.require_role if constraint is not None else ()):
            if service.realms and role != "*" and role not in granted:
                where = (*path, "authorization-constraint", "require-role", index)
                message = f"no user has the role {role!r}, so every request is refused"
                self._report.problem(where, message, did_you_mean(role, granted) if granted else "", "warning")

    # --------------------------------------------------------------------------------------------------------- realms

    def _realm(self, config: RealmConfig, path: ConfigPath) -> Realm | None:
        authentication = config.authentication
        if authentication is None or not authentication.login_modules:
            return None  # whether anything needs the realm was checked before
        path = (*path, "authentication")
        invalidations: list[Realm] = []
        schemes = self._schemes(authentication, path)
        sessions = self._sessions(config, authentication)
        login_page = self._login_page(config, authentication, schemes, path)
        entries = [
            self._entry(module, config.name, (*path, "login-modules", index), invalidations)
            for index, module in enumerate(authentication.login_modules)
        ]
        chain = Chain([entry for entry in entries if entry is not None])
        if not schemes or None in entries or (authentication.login_page is not None and sessions is None):
            return None
        if chain.opens_by_itself():
            self._report.problem(
                (*path, "login-modules"),
                "the chain grants access without authentication: it succeeds if every module that authenticates fails",
                "make a module that authenticates required or requisite",
            )
        if authentication.has_sessions and config.recheck:
            self._warn_of_unchecked_logins(config, chain, path)
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
                recheck=config.recheck,
                login_page=login_page,
            ),
            sessions=sessions,
        )
        invalidations.append(realm)
        return realm

    def _login_page(
        self, config: RealmConfig, authentication: Authentication, schemes: list[ChallengeScheme], path: ConfigPath
    ) -> LoginPageSettings | None:
        if authentication.login_page is None:
            return None
        check_login_schemes(schemes, path, self._report.problem)
        name, directory = config.description or config.name, self._loaded.directory
        here = (*path, "login-page")
        return build_login_page(authentication.login_page, name, directory, here, self._report.problem)

    def _warn_of_unchecked_logins(self, config: RealmConfig, chain: Chain, path: ConfigPath) -> None:
        for index, entry in enumerate(chain.entries):
            if not entry.module.recheckable:
                self._report.problem(
                    (*path, "login-modules", index),
                    f"sessions end after {config.recheck:g} seconds (recheck): {entry.name} has no bind account with "
                    "which to check their users",
                    "add java.naming.security.principal and .credentials, or set the realm's recheck",
                    severity="warning",
                )

    def _schemes(self, authentication: Authentication, path: ConfigPath) -> list[ChallengeScheme]:
        schemes = []
        for index, name in enumerate(authentication.http_challenge_scheme):
            scheme = self._scheme(name, (*path, "http-challenge-scheme", index))
            if scheme is None:
                continue
            if authentication.basic_charset_fallback and isinstance(scheme, BasicScheme):
                scheme = type(scheme)(latin1_fallback=True)
            if authentication.protected_resource is not None and isinstance(scheme, BearerScheme):
                scheme = self._bearer(type(scheme), authentication.protected_resource, path)
            schemes.append(scheme)
            if authentication.authorization_mode == "recycle" and not scheme.recycles:
                message = f"the scheme {name!r} does not support authorization-mode recycle"
                hint = "recycle goes with Basic and Negotiate; use challenge"
                self._report.problem((*path, "authorization-mode"), message, hint)
        return schemes

    def _bearer(self, scheme: type[BearerScheme], config: ProtectedResource, path: ConfigPath) -> BearerScheme:
        """Return a Bearer scheme whose challenges point to the metadata of the realm's resource (RFC 9728)."""
        metadata = ResourceMetadata(
            path=config.path,
            resource=config.resource,
            authorization_servers=config.authorization_server,
            scopes=config.scope,
        )
        here = (*path, "protected-resource")
        if any(other.path == metadata.path and other != metadata for other in self._resources):
            self._report.problem((*here, "path"), f"duplicate path {metadata.path}", "give each resource its own path")
        elif metadata not in self._resources:
            self._resources.append(metadata)
        try:
            return scheme(metadata.url, config.scope)
        except ValueError as error:
            self._report.problem((*here, "scope"), str(error))
            return scheme()

    def _scheme(self, name: str, path: ConfigPath) -> ChallengeScheme | None:
        try:
            return registry.scheme(name)
        except ConfigError as error:
            self._report.adopt(error, path, did_you_mean(name, registry.scheme_names()))
            return None

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
        module = self._module(found, options, self._context(config, realm, path, invalidations), config.type, path)
        if module is None:
            return None
        return ChainEntry(module, config.success, config.type, config.time_limit)

    def _context(
        self, config: LoginModuleConfig, realm: str, path: ConfigPath, invalidations: list[Realm]
    ) -> ModuleContext:
        def invalidate() -> None:
            for each in invalidations:
                each.invalidate()
                self._audit.event("reload", realm=realm, module=config.type)

        def warn(message: str | Problem) -> None:
            if isinstance(message, Problem):
                self._report.add(replace(message, severity="warning"))
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
        self, found: type[LoginModule], options: Any, context: ModuleContext, name: str, path: ConfigPath
    ) -> LoginModule | None:
        try:
            module = found(options, context)
            registry.check_attributes(module, f"login module {name}")
            return module
        except ConfigError as error:
            self._report.adopt(error, (*path, "options"))
        except Exception as error:
            self._report.problem(path, f"login module {name}: {type(error).__name__}: {error}")
        return None


def _ignore_problem(*_: Any) -> None:
    """Add no problem."""


def _cross_site(config: CrossSiteConstraint) -> CrossSite:
    return CrossSite(
        frozenset(map(canonical_origin, _words(config.allow_origin))),
        tuple(_words(config.allow_methods)),
        tuple(word.lower() for word in _words(config.allow_headers)),
        None if config.maximum_age is None else int(config.maximum_age),
    )


def _words(text: str | None) -> list[str]:
    return (text or "").replace(",", " ").split()


def _identity(loaded: LoadedConfig) -> str:
    """Return a text that distinguishes a configuration from others on the host.

    A file stays the same configuration when its content changes: an old and a new worker must not run side by side. A
    mapping has no name, so its content distinguishes it from others of the same directory; ``repr`` leaves options out.
    """
    where = _file_or_directory(loaded)
    return where if loaded.file is not None else repr((where, loaded.config))


def _file_or_directory(loaded: LoadedConfig) -> str:
    return str(loaded.file.absolute() if loaded.file is not None else loaded.directory)
