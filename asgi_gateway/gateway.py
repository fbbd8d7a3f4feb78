"""The gateway: which service a request is for, who its client is, and the one decision that follows.

Deny is what every path through this file begins with; only an Allow, made in one place from a subject that holds every
role of the service, opens anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from asgi_gateway._runtime.single_worker import SingleWorkerLock
from asgi_gateway.authentication.attempt import Step, ThreadPools
from asgi_gateway.authentication.multi_realm import MultiRealmAuthenticator
from asgi_gateway.authentication.realm import Realm
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.errors import HeaderError, Problem
from asgi_gateway.http.http1 import HANDSHAKE_PROTOCOL
from asgi_gateway.keystores import KeyStore
from asgi_gateway.model import Allow, AuthRequest, Decision, Forbid, Headers, RevocationKey, Unavailable
from asgi_gateway.plugins.clock import Clock
from asgi_gateway.plugins.login_module import LoginModule
from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.services.identity import scope_additions
from asgi_gateway.services.paths import confusion, path_below_root
from asgi_gateway.services.table import Service, ServiceTable, unshared
from asgi_gateway.sessions.revocation import Revocations
from asgi_gateway.telemetry.audit import Audit
from asgi_gateway.websockets.live import LiveSockets
from asgi_gateway.websockets.reauthorization import Reauthorizations

__all__ = ["Gateway"]

logger = logging.getLogger("asgi_gateway.gateway")

_KNOWN_PATHS = 4096
"""Paths whose service is remembered."""
_KNOWN_LENGTH = 256
"""The longest path that is; clients choose paths, so this bounds the memory."""

_VARY: Headers = ((b"vary", b"Cookie"),)

Observer = Callable[[Realm, Sequence[Step]], None]


class Gateway:
    """Decides on requests. Built from a configuration by ``load_config``, used by the middleware.

    Args:
        services: what is protected, and what is public.
        state: the ExpiringState that modules share.
        pool: where blocking work runs.
        clock: where time comes from.
        audit: where events go.
        problems: warnings that the configuration left.
        identity: what tells this configuration from others on the same host, such as its file.
        keystore: ``security/keystore``, with which ``asgi-gateway run`` serves https and wss; or None.
        browser_client: the path at which the client for browsers is served, or None.

    Raises:
        ValueError: two services accept the same requests.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        state: ExpiringState,
        pool: ThreadPools,
        clock: Clock,
        audit: Audit,
        problems: Iterable[Problem] = (),
        identity: str = "",
        keystore: KeyStore | None = None,
        browser_client: str | None = None,
    ) -> None:
        self.services = tuple(services)
        self.state = state
        self.problems = tuple(problems)
        self.browser_client = browser_client
        self.clock = clock
        self.identity = identity
        self.keystore = keystore
        self._entrances = (*self.services, *(each.ticket.login for each in self.services if each.ticket is not None))
        self._table = ServiceTable(self.services)
        self._pool = pool
        self._audit = audit
        self._factors = MultiRealmAuthenticator(state, audit)
        self._known: dict[str, dict[str, Service]] = {"http": {}, "websocket": {}}
        self._opened: list[ExpiringState | LoginModule | Revocations] = []
        self.revocations = Revocations(state)
        self.sockets = LiveSockets()
        self.reauthorizations = Reauthorizations(state, clock, self.sockets)
        self.revocations.subscribe(self._forget)
        self.revocations.subscribe(self.sockets.end)
        self._opening = anyio.Lock()
        self._only_worker = SingleWorkerLock(repr((identity, [service.name for service in self.services])))
        for service in self.services:
            if service.refusal:
                continue
            if not service.realms:
                service.allow_public = Allow(None, (), service.name, additions=scope_additions(service.name, "", None))
                service.allow_at_once = None if service.origins else service.allow_public
            elif len(service.realms) == 1 and not service.origins:
                service.realm = service.realms[0]

    @property
    def realms(self) -> tuple[Realm, ...]:
        """Every realm that a service uses, each once."""
        return tuple(dict.fromkeys(realm for service in self._entrances for realm in service.realms))

    def needs_shared_state(self) -> list[str]:
        """What several workers would have to share and do not, each as a few words; empty if all is well."""
        return [] if self.state.shared else unshared(self._entrances, self.realms)

    async def open(self, *, serving: bool = True) -> None:
        """Open the store and every login module; what was opened is closed again if one fails.

        Args:
            serving: False for a look at the configuration beside a server that may be running.

        Raises:
            Exception: whatever the first that failed raised.
        """
        async with self._opening:  # without lifespan, several first requests come here at once
            if self._opened:
                return
            try:
                modules = [entry.module for realm in self.realms for entry in realm.chain.entries]
                parts: list[ExpiringState | LoginModule | Revocations] = [self.state, self.revocations, *modules]
                if serving and (needs := self.needs_shared_state()):
                    await self._only_worker.claim(needs)
                for part in parts:
                    await part.open()
                    self._opened.append(part)
                await self.reauthorizations.open()
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close everything that ``open`` opened, last first; an error of one does not keep the others open."""
        while self._opened:
            try:
                await self._opened.pop().close()
            except Exception:
                logger.exception("closing failed")
        self._only_worker.release()
        self._pool.close()

    def find(self, request: AuthRequest) -> Service | None:
        """The service that a request is for.

        Raises:
            HeaderError: services match the host, and the Host header is there twice.
        """
        host = b""
        if self._table.by_host:
            host = request.header(b"host") or b""
        return self._table.find(request.kind, request.path, host.decode("latin-1").lower())

    def recall(self, scope: Mapping[str, Any]) -> Allow | None:
        """The decision on a request that needs no waiting: a public service, or credentials verified a moment ago.

        This is the way most requests go, so it makes no object that it can do without. It decides nothing that
        ``decide`` would decide otherwise; None means that ``decide`` must be asked.

        Args:
            scope: the ASGI scope, of any type.
        """
        kind = scope["type"]
        known = self._known.get(kind)
        if known is None:
            return None
        path = path_below_root(scope) if scope.get("root_path") else scope["path"]
        raw_path = scope.get("raw_path")
        if raw_path is not None and b"%" in raw_path and confusion(path, raw_path) is not None:
            return None
        service = known.get(path) or self._look_up(kind, path)
        if service is None:
            return None
        realm = service.realm
        if realm is None:
            if kind == "websocket" and HANDSHAKE_PROTOCOL in scope.get("subprotocols", ()):
                return None
            return service.allow_at_once
        if kind != "http":
            return None  # the Origin must be looked at
        try:
            verified = realm.recall(scope["headers"], scope.get("query_string", b""), scope.get("scheme", "http"))
        except HeaderError:
            return None
        return None if verified is None else verified.allowed.get(service)

    def _look_up(self, kind: str, path: str) -> Service | None:
        """The service of a path that has one reading, remembered for the next request of the same path."""
        if self._table.by_host or confusion(path) is not None:
            return None
        service = self._table.find(kind, path)
        if service is not None and len(path) <= _KNOWN_LENGTH:
            known = self._known[kind]
            if len(known) >= _KNOWN_PATHS:
                known.clear()  # a flood of paths costs look-ups, never memory
            known[path] = service
        return service

    def locate(self, request: AuthRequest) -> Service | Forbid:
        """The service that a request is for, if its path has one reading and its Origin may use the service."""
        service = self._known[request.kind].get(request.path)
        if service is not None and (request.raw_path is None or b"%" not in request.raw_path):
            return self.refuse_origin(request, service) or service
        try:
            if (reason := confusion(request.path, request.raw_path)) is not None:
                return self.deny(request, None, f"a path that can be read in two ways: {reason}")
            service = self.find(request)
        except HeaderError as error:
            return self.deny(request, None, str(error))
        if service is None:
            return self.deny(request, None, "no service accepts this path")
        return self.refuse_origin(request, service) or service

    async def decide(self, request: AuthRequest, observe: Observer | None = None) -> Decision:
        """Decide on a request.

        Args:
            request: the request.
            observe: is told what each module of each realm did, for ``asgi-gateway explain``.
        """
        service = self.locate(request)
        return service if isinstance(service, Forbid) else await self._decide_at(service, request, observe)

    async def decide_for(self, request: AuthRequest, service: Service, *, fresh: bool = False) -> Decision:
        """Decide on a request for a service, whatever its path.

        Args:
            request: the request.
            service: the service.
            fresh: only credentials count, and they are verified now: no session, and nothing that is remembered.
        """
        return self.refuse_origin(request, service) or await self._decide_at(service, request, fresh=fresh)

    async def _decide_at(
        self, service: Service, request: AuthRequest, observe: Observer | None = None, *, fresh: bool = False
    ) -> Decision:
        if service.refusal:
            return self.deny(request, service, service.refusal)
        decision = await self._authenticate(request, service, observe, fresh)
        if not isinstance(decision, Allow) and any(realm.sessions is not None for realm in service.realms):
            decision = _with_headers(decision, _VARY)
        if service.origins:
            decision = _with_headers(decision, service.origins.response(request.header(b"origin")))
        return decision

    def refuse_origin(self, request: AuthRequest, service: Service) -> Forbid | None:
        """The refusal of a page whose origin may not use the service; None if it may."""
        # where no rule looks at the Origin it is nobody's business, however often it is there
        if not (service.origins or (request.kind == "websocket" and service.realms)):
            return None
        try:
            origin = request.header(b"origin")
            if origin is None or service.origins.allows(request, origin):
                return None
        except HeaderError as error:
            return self.deny(request, service, str(error))
        headers = service.origins.response(origin) if service.origins else ()
        return self.deny(request, service, f"origin {origin.decode('latin-1')} is not allowed", "", headers)

    def unavailable(self, request: AuthRequest, reason: str) -> Unavailable:
        """The decision on a request that could not be decided."""
        self._audit.event("unavailable", request, reason=reason)
        return Unavailable(5, reason)

    def preflight(self, request: AuthRequest) -> Headers | None:
        """The answer to a CORS preflight, if the request is one and a service answers it; it never reaches the
        application and needs no credentials, since browsers send none with it.
        """
        if request.method != "OPTIONS" or request.kind != "http" or confusion(request.path, request.raw_path):
            return None
        try:
            origin, service = request.header(b"origin"), self.find(request)
            asked = request.header(b"access-control-request-method")
        except HeaderError:
            return None
        if origin is None or asked is None or service is None or not service.origins:
            return None
        return service.origins.preflight(request, origin)

    async def _authenticate(
        self, request: AuthRequest, service: Service, observe: Observer | None, fresh: bool
    ) -> Decision:
        if service.allow_public is not None:
            return service.allow_public
        if len(service.realms) > 1:
            outcome = await self._factors.authenticate(request, service, observe, fresh=fresh)
        else:
            realm = service.realms[0]
            watch = None if observe is None else lambda steps: observe(realm, steps)
            outcome = await realm.authenticate(request, service.name, observe=watch, fresh=fresh)
        if not isinstance(outcome, AuthenticationResult):
            return outcome
        return self._authorize(request, service, outcome)

    def _authorize(self, request: AuthRequest, service: Service, verified: AuthenticationResult) -> Allow | Forbid:
        allow = verified.allowed.get(service)
        if allow is not None:
            return allow
        realm = service.realms[-1].name
        missing = service.authorization.missing(verified.subject)
        if missing:
            return self.deny(request, service, f"missing roles: {', '.join(sorted(missing))}", verified.subject.name)
        revocation_keys = [each for each in verified.subject.public_credentials if type(each) is RevocationKey]
        if len(service.realms) == 1:  # of several, each has its own name for the user
            revocation_keys.append(RevocationKey("user", verified.subject.name, realm))
        allow = Allow(
            verified.subject,
            verified.headers,
            service.name,
            realm,
            verified.session_timeout,
            verified.authorization_timeout,
            scope_additions(service.name, realm, verified.subject),
            tuple(dict.fromkeys((*revocation_keys, *verified.revocation_keys))),
            verified.expires,
            tuple(name for each in service.realms for name in each.reader.subprotocols),
        )
        verified.allowed[service] = allow
        return allow

    def _forget(self, revocation: RevocationKey | None) -> None:
        for realm in self.realms:
            if realm.sessions is not None:
                realm.sessions.forget(revocation)
            if revocation is None or (revocation.kind == "user" and revocation.realm == realm.name):
                realm.cache.clear()

    def deny(
        self, request: AuthRequest, service: Service | None, reason: str, principal: str = "", headers: Headers = ()
    ) -> Forbid:
        """Refuse a request, and write it down."""
        name = service.name if service is not None else ""
        realm = service.realms[-1].name if service is not None and service.realms else ""
        self._audit.event("denial", request, service=name, realm=realm, principal=principal, reason=reason)
        return Forbid(reason, headers, name, realm)


def _with_headers(decision: Decision, headers: Headers) -> Decision:
    """The same decision with headers added to whatever answers it."""
    return replace(decision, headers=(*decision.headers, *headers))
