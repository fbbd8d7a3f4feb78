"""Decide on requests: find the route of a request's service, and ask it.

Deny is where every path through this file begins. Routes make the decision; only an Allow opens anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sniffio

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway._runtime.lifecycle import Lifecycle
from asgi_gateway._runtime.single_worker import SingleWorkerLock
from asgi_gateway._runtime.threads import ThreadPools
from asgi_gateway.authentication.multi_realm import MultiRealmAuthenticator
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.errors import ConfigError, HeaderError, Problem, StateError
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL
from asgi_gateway.keystores import KeyStore
from asgi_gateway.model import Allow, AuthRequest, Decision, Forbid, Headers, Protocol, RevocationKey, Unavailable
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.services.backend import Backend
from asgi_gateway.services.model import Listener, Service
from asgi_gateway.services.original_request import ForwardAuthSettings
from asgi_gateway.services.paths import ambiguity, path_below_root, with_encoded_slashes
from asgi_gateway.services.resource_metadata import ResourceMetadata
from asgi_gateway.services.routes import Route, RouteServices, compile_route
from asgi_gateway.services.table import ServiceTable, unshared
from asgi_gateway.services.trusted_proxies import TrustedProxies
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.telemetry.audit import Audit
from asgi_gateway.websockets.live import LiveSockets
from asgi_gateway.websockets.monitor import LoginMonitor
from asgi_gateway.websockets.reauthorization import Reauthorizations

__all__ = ["Gateway", "GatewayServices", "local_port", "request_of"]

_KNOWN_PATHS = 4096
"""Paths whose route is cached. Clients choose paths, so the number and the length bound the memory."""
_KNOWN_LENGTH = 256
_PROTOCOLS: tuple[Protocol, ...] = ("http", "websocket")
_DEFAULT = LoginOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayServices:
    """What a gateway runs on.

    Args:
        state: the ExpiringState that modules share.
        pools: run blocking work.
        clock: the time.
        audit: takes events.
    """

    state: ExpiringState
    pools: ThreadPools
    clock: Clock
    audit: Audit


class _PortRoutes:
    """The services that accept requests on one local port, and the routes of the paths that were asked for."""

    __slots__ = ("known", "table")

    def __init__(self, table: ServiceTable) -> None:
        self.table = table
        self.known: dict[str, BoundedCache[str, Route]] = {
            protocol: BoundedCache(_KNOWN_PATHS) for protocol in _PROTOCOLS
        }


def local_port(scope: Mapping[str, Any]) -> int | None:
    """Return the port of the server's own socket, on which a request came in; None if the server does not report it.

    Args:
        scope: the ASGI scope.
    """
    server = scope.get("server")
    return server[1] if server else None


def request_of(scope: Mapping[str, Any]) -> AuthRequest:
    """Return the request that an ASGI scope describes."""
    client = scope.get("client")
    return AuthRequest(
        scope["type"],
        scope.get("method", "GET"),
        path_below_root(scope),
        query=scope.get("query_string", b""),
        headers=scope["headers"],
        remote_address=client[0] if client else None,
        remote_port=client[1] if client else None,
        scheme=scope.get("scheme", ""),
        raw_path=scope.get("raw_path"),
        local_port=local_port(scope),
        root_path=scope.get("root_path") or "",
    )


class Gateway:
    """Decides on requests. ``load_config`` builds one from a configuration; the middleware uses it.

    Args:
        services: what is protected, and what is public.
        runtime: what it runs on.
        problems: warnings that the configuration left.
        listeners: where ``asgi-gateway run`` listens unless it is told otherwise.
        trusted_proxies: the peers whose headers about the client count.
        identity: tells this configuration from others on the same host, such as its file.
        keystore: ``security/keystore``, with which ``asgi-gateway run`` serves https and wss; or None.
        browser_client: the path at which the client for browsers is served, or None.
        resources: metadata of protected resources, which is served.
        root_path: ``root-path``, the root of every request whatever the server says, empty for none; or None.
        extended_handshake: whether clients may log in inside a WebSocket, which is accepted before.
        forward_auth: where other proxies ask for decisions, or None.

    Raises:
        ValueError: two services accept the same requests.
    """

    def __init__(  # noqa: PLR0913 (what a configuration holds, all but two by name)
        self,
        services: Iterable[Service],
        runtime: GatewayServices,
        *,
        problems: Iterable[Problem] = (),
        listeners: Iterable[Listener] = (),
        trusted_proxies: TrustedProxies | None = None,
        identity: str = "",
        keystore: KeyStore | None = None,
        browser_client: str | None = None,
        resources: Iterable[ResourceMetadata] = (),
        root_path: str | None = None,
        extended_handshake: bool = False,
        forward_auth: ForwardAuthSettings | None = None,
    ) -> None:
        self.services = tuple(services)
        self.state, self.clock = runtime.state, runtime.clock
        self.problems = tuple(problems)
        self.listeners = tuple(listeners)
        self.trusted_proxies = trusted_proxies or TrustedProxies()
        self.browser_client = browser_client
        self.resources = tuple(resources)
        self.identity = identity
        self.root_path = root_path
        self.extended_handshake = extended_handshake
        self.forward_auth = forward_auth
        self.keystore = keystore
        self._runtime = runtime
        self._audit = runtime.audit
        self._logins = (*self.services, *(each.ticket.login for each in self.services if each.ticket is not None))
        self._multi_realm = MultiRealmAuthenticator(self.state, self._audit)
        shared = RouteServices(audit=self._audit, multi_realm=self._multi_realm)
        self._routes = {
            protocol: {service: compile_route(service, protocol, shared) for service in self._logins}
            for protocol in _PROTOCOLS
        }
        ports = {mount.port for service in self.services for mount in service.mounts if mount.port is not None}
        self._by_port: dict[int | None, _PortRoutes] = {
            port: _PortRoutes(ServiceTable(self.services, port)) for port in sorted(ports)
        }
        self._any_port = None if ports else _PortRoutes(ServiceTable(self.services))
        self.revocations = Revocations(self.state)
        self.sockets = LiveSockets()
        self.monitor = LoginMonitor()
        self.reauthorizations = Reauthorizations(self.state, self.clock, self.sockets)
        self.revocations.subscribe(self._invalidate)
        for realm in self.realms:
            realm.on_invalidation(self.monitor.check_now)
        self.revocations.subscribe(self.sockets.end)
        self._opening = asyncio.Lock()
        self._lifecycle = Lifecycle()
        self._single_worker = SingleWorkerLock(repr((identity, [service.name for service in self.services])))

    @property
    def realms(self) -> tuple[Realm, ...]:
        """Every realm that a service uses, each once."""
        return tuple(dict.fromkeys(realm for service in self._logins for realm in service.realms))

    @property
    def backends(self) -> tuple[Backend, ...]:
        """What stands behind services besides the wrapped application."""
        return tuple(service.backend for service in self.services if service.backend is not None)

    @property
    def services_of_application(self) -> tuple[str, ...]:
        """The names of the services that need an application: none where other proxies pass the requests on."""
        if self.forward_auth is not None:
            return ()
        return tuple(each.name for each in self.services if each.backend is None and not each.refusal)

    def needs_shared_state(self) -> list[str]:
        """Return what several workers would have to share and do not, each as a few words; empty if all is shared."""
        return [] if self.state.shared else unshared(self._logins, self.realms)

    async def open(self, *, serving: bool = True) -> None:
        """Open the store and every login module; what was opened is closed again if one fails.

        Args:
            serving: False to look at the configuration beside a server that may be running.

        Raises:
            ConfigError: the server's event loop is not asyncio's, or another worker has the same configuration.
            Exception: what the first part that failed raised.
        """
        if (library := sniffio.current_async_library()) != "asyncio":
            message = f"the gateway runs on asyncio, not on {library}"
            raise ConfigError(Problem(message, hint="run the server on asyncio"))
        async with self._opening:  # without lifespan, several first requests come here at once
            if self._lifecycle.is_open:
                return
            modules = [entry.module for realm in self.realms for entry in realm.chain.entries]
            try:
                if serving and (needs := self.needs_shared_state()):
                    await self._single_worker.acquire(needs)
                await self._lifecycle.open((self.state, self.revocations, *modules, self.monitor, *self.backends))
                await self.reauthorizations.open()
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close everything that ``open`` opened, last first."""
        await self._lifecycle.close()
        self._single_worker.release()
        self._runtime.pools.close()

    def cached_decision(self, scope: Mapping[str, Any]) -> Allow | None:
        """Return the decision on a request that needs no waiting; None if ``decide`` has to be asked.

        Args:
            scope: the ASGI scope.
        """
        protocol = scope["type"]
        routes = self._any_port or self._by_port.get(local_port(scope))
        if routes is None or protocol not in routes.known:
            return None
        path = path_below_root(scope) if scope.get("root_path") else scope["path"]
        raw_path = scope.get("raw_path")
        if raw_path is not None and b"%" in raw_path and ambiguity(path, raw_path) is not None:
            return None
        route = routes.known[protocol].get(path) or self._learn(routes, protocol, path)
        if route is None or (self.extended_handshake and self.logs_in_inside(scope)):
            return None
        return route.cached_decision(scope)

    def logs_in_inside(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request opens a WebSocket to log in inside it (the extended handshake).

        Args:
            scope: the ASGI scope.
        """
        return (
            self.extended_handshake
            and scope["type"] == "websocket"
            and HANDSHAKE_PROTOCOL in scope.get("subprotocols", ())
        )

    def _learn(self, routes: _PortRoutes, protocol: Protocol, path: str) -> Route | None:
        """Return the route of a canonical path, and cache it for the next request of the same path."""
        if routes.table.by_host or ambiguity(path) is not None:
            return None
        service = routes.table.find(protocol, path)
        if service is None:
            return None
        route = self._routes[protocol][service]
        if len(path) <= _KNOWN_LENGTH:
            routes.known[protocol].put(path, route)
        return route

    def route_of(self, service: Service, protocol: Protocol = "http") -> Route:
        """Return the route of a service, or of a ticket's login."""
        return self._routes[protocol][service]

    def match(self, request: AuthRequest) -> Route | None:
        """Return the route of the service that accepts a request whose path is canonical; None if none does.

        Raises:
            HeaderError: services match the host, and the Host header is a duplicate.
        """
        return self._match(request, request.path)

    def plain_route(self, request: AuthRequest) -> Route | None:
        """Return the route of an HTTP request that is also a WebSocket handshake; None if no service accepts it."""
        try:
            return self._match(request, request.path)
        except HeaderError:
            return None

    def _port_routes(self, request: AuthRequest) -> _PortRoutes | None:
        return self._any_port or self._by_port.get(request.local_port)

    def _match(self, request: AuthRequest, path: str) -> Route | None:
        routes = self._port_routes(request)
        if routes is None:
            return None
        host = b""
        if routes.table.by_host:
            host = request.header(b"host") or b""
        service = routes.table.find(request.protocol, path, host.decode("latin-1").lower())
        return None if service is None else self._routes[request.protocol][service]

    def _route_or_reason(self, request: AuthRequest) -> Route | str:
        """Return the route of a request, or why it has none.

        Raises:
            HeaderError: services match the host, and the Host header is a duplicate.
        """
        if (routes := self._port_routes(request)) is None:
            return "no service accepts requests on this port"
        known = routes.known[request.protocol].get(request.path)
        if known is not None and (request.raw_path is None or b"%" not in request.raw_path):
            return known  # its path was found to be canonical
        if (reason := ambiguity(request.path, request.raw_path)) is None:
            return self._match(request, request.path) or "no service accepts this path"
        return self._match_encoded_slash(request) or f"ambiguous path: {reason}"

    def _match_encoded_slash(self, request: AuthRequest) -> Route | None:
        """Return the route whose service takes encoded slashes, if both readings of the path are its own."""
        raw_path = request.raw_path
        if raw_path is None or ambiguity(request.path, raw_path, encoded_slash=True) is not None:
            return None
        route, other = self._match(request, request.path), with_encoded_slashes(request.path, raw_path)
        if route is None or not route.service.allow_encoded_slash or other is None:
            return None
        return route if self._match(request, other) is route else None

    def route_for(self, request: AuthRequest) -> Route | Forbid:
        """Return the route of a request; a refusal if its path is ambiguous or no service accepts it."""
        try:
            route = self._route_or_reason(request)
        except HeaderError as error:
            return self.deny(request, str(error))
        return self.deny(request, route) if isinstance(route, str) else route

    async def decide(self, request: AuthRequest, options: LoginOptions = _DEFAULT) -> Decision:
        """Decide on a request.

        Args:
            request: the request.
            options: how realms authenticate; ``asgi-gateway explain`` traces them.
        """
        route = self.route_for(request)
        return route if isinstance(route, Forbid) else await route.decide(request, options)

    async def forget_challenges(self, identities: Iterable[bytes]) -> None:
        """Remove the challenge identities that a login inside a WebSocket leaves behind."""
        with suppress(StateError):  # they expire by themselves
            await self._multi_realm.forget(identities)

    def preflight(self, request: AuthRequest) -> Headers | None:
        """Return the headers that answer a CORS preflight; None if the request is none, or no service answers it."""
        if request.method != "OPTIONS" or request.protocol != "http":
            return None
        try:
            route = self._route_or_reason(request)
        except HeaderError:
            return None
        return None if isinstance(route, str) else route.preflight(request)

    def unavailable(self, request: AuthRequest, reason: str) -> Unavailable:
        """Return the decision on a request that cannot be decided now, and write it to the audit log."""
        self._audit.event("unavailable", request, reason=reason)
        return Unavailable(reason=reason)

    def deny(self, request: AuthRequest, reason: str) -> Forbid:
        """Refuse a request whose service is not known, and write it to the audit log."""
        self._audit.event("denial", request, reason=reason)
        return Forbid(reason=reason)

    def _invalidate(self, revocation: RevocationKey | None) -> None:
        """Drop what is cached of a revoked login; None: of every login."""
        for realm in self.realms:
            if realm.sessions is not None:
                realm.sessions.invalidate(revocation)
            if revocation is None or (revocation.kind == "user" and revocation.realm == realm.name):
                realm.cache.clear()
