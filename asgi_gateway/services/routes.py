"""Decide on the requests to one service. A route is compiled for each service and protocol when the gateway is built.

A route decides in two steps. ``cached_decision`` is the first: it answers most requests at once, from a public
service's fixed decision, a live session, or credentials that were verified a moment ago. What it cannot answer,
``decide`` decides in full: the Origin, the realms, the roles. The decision begins as a refusal; only ``_authorize``
makes an Allow, from a subject that holds every role of the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from asgi_gateway.authentication.multi_realm import MultiRealmAuthenticator
from asgi_gateway.authentication.result import AuthenticationResult
from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.errors import HeaderError
from asgi_gateway.model import (
    Allow,
    AuthRequest,
    Challenge,
    Decision,
    Forbid,
    Headers,
    Protocol,
    Refusal,
    RevocationKey,
)
from asgi_gateway.services.identity import scope_additions
from asgi_gateway.services.model import Service
from asgi_gateway.services.origins import SAFE_METHODS
from asgi_gateway.telemetry.audit import Audit

__all__ = ["Route", "RouteServices", "compile_route"]

_DEFAULT = LoginOptions()
_OF_A_PAGE = (b"origin", b"sec-fetch-site")
"""The headers by which a browser says which page made a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteServices:
    """What all routes share.

    Args:
        audit: takes events.
        multi_realm: authenticates for services with several realms.
    """

    audit: Audit
    multi_realm: MultiRealmAuthenticator


class Route:
    """Decide on the requests to a service that refuses them all; other routes override what they decide.

    Args:
        service: the service.
        services: what all routes share.
    """

    def __init__(self, service: Service, services: RouteServices) -> None:
        self.service = service
        self._audit = services.audit

    def cached_decision(self, scope: Mapping[str, Any]) -> Allow | None:
        """Return the decision that needs no waiting; None if ``decide`` has to be asked.

        Args:
            scope: the ASGI scope of a request to this route.
        """
        return None

    async def decide(self, request: AuthRequest, options: LoginOptions = _DEFAULT) -> Decision:
        """Decide on a request.

        Args:
            request: the request, whose path has been matched to this route's service.
            options: how its realms authenticate.
        """
        return self.deny(request, self.service.refusal or "the service is not served")

    def refuse_origin(self, request: AuthRequest) -> Forbid | None:
        """Return the refusal of a page whose origin may not use the service; None if it may.

        A service that is not served refuses every page. What happens before a decision, such as the accept of a
        WebSocket in which its client logs in, asks here.
        """
        service = self.service
        if service.refusal:
            return self.deny(request, service.refusal)
        try:
            reason = service.origins.refusal(request, protected=bool(service.realms))
            if reason is None:
                return None
            return self.deny(request, reason, headers=service.origins.response(request.header(b"origin")))
        except HeaderError as error:
            return self.deny(request, str(error))

    def preflight(self, request: AuthRequest) -> Headers | None:
        """Return the headers that answer a CORS preflight; None if the request is none or the service answers none.

        A preflight never reaches the application and needs no credentials, since browsers send none with it.
        """
        if request.method != "OPTIONS" or not self.service.origins or self.service.refusal:
            return None
        try:
            origin = request.header(b"origin")
            if origin is None or request.header(b"access-control-request-method") is None:
                return None
            return self.service.origins.preflight(request, origin)
        except HeaderError:
            return None

    def deny(self, request: AuthRequest, reason: str, principal: str = "", headers: Headers = ()) -> Forbid:
        """Refuse a request, and write it to the audit log."""
        service, realms = self.service.name, self.service.realms
        realm = realms[-1].name if realms else ""
        self._audit.event("denial", request, service=service, realm=realm, principal=principal, reason=reason)
        return Forbid(reason=reason, headers=headers, service=service, realm=realm)


class PublicRoute(Route):
    """Allow every request, but for those of pages whose origin may not use the service."""

    def __init__(self, service: Service, services: RouteServices) -> None:
        super().__init__(service, services)
        self._allow = _anonymous(service)
        self._cached = None if service.origins else self._allow

    def cached_decision(self, scope: Mapping[str, Any]) -> Allow | None:
        return self._cached

    async def decide(self, request: AuthRequest, options: LoginOptions = _DEFAULT) -> Decision:
        if (refused := self.refuse_origin(request)) is not None:
            return refused
        origins = self.service.origins
        return replace(self._allow, headers=origins.response(request.header(b"origin"))) if origins else self._allow


class ProtectedRoute(Route):
    """Authenticate every request with the service's realms, and check the roles."""

    def __init__(self, service: Service, protocol: Protocol, services: RouteServices) -> None:
        super().__init__(service, services)
        self._multi_realm = services.multi_realm
        self._has_sessions = any(realm.sessions is not None for realm in service.realms)
        self._cache_headers = service.cache_headers if protocol == "http" else ()
        self._preflight_allow = _anonymous(service)
        self._subprotocols = tuple(name for realm in service.realms for name in realm.reader.subprotocols)

    async def decide(self, request: AuthRequest, options: LoginOptions = _DEFAULT) -> Decision:
        if (refused := self.refuse_origin(request)) is not None:
            return refused
        if self.service.origins.left_to_application(request):
            return self._preflight_allow
        outcome = await self._authenticate(request, options)
        decision = self._authorize(request, outcome) if isinstance(outcome, AuthenticationResult) else outcome
        # a refusal is not stored in any case
        headers: Headers = () if isinstance(decision, Allow) else self._cache_headers[1:]
        if self.service.origins:
            headers += self.service.origins.response(request.header(b"origin"))
        return replace(decision, headers=(*decision.headers, *headers)) if headers else decision

    async def _authenticate(self, request: AuthRequest, options: LoginOptions) -> AuthenticationResult | Refusal:
        service = self.service
        if len(service.realms) > 1:
            return await self._multi_realm.authenticate(
                request, service.name, service.realms, same_user=service.same_user, options=options
            )
        return await service.realms[0].authenticate(request, service.name, options)

    def _authorize(self, request: AuthRequest, result: AuthenticationResult) -> Allow | Challenge | Forbid:
        allow = result.decision(self)
        if allow is not None:
            return allow
        service = self.service
        realm = service.realms[-1].name
        missing = service.authorization.missing(result.subject)
        if missing:
            reason = f"missing roles: {', '.join(sorted(missing))}"
            refusal = self.deny(request, reason, result.subject.name)
            if result.challenge:  # a module granted and asked for more: the client may step up
                return Challenge(headers=result.challenge, service=service.name, realm=realm, reason=reason)
            return replace(refusal, headers=(*refusal.headers, *service.realms[-1].forbidden_headers()))
        keys = result.revocation_keys
        if len(service.realms) == 1:  # of several, each has its own name for the user
            keys = (RevocationKey("user", result.subject.name, realm), *keys)
        headers = result.headers
        if self._cache_headers and not any(name == b"cache-control" for name, _ in headers):
            headers = (*headers, *self._cache_headers)
        at_once = self._has_sessions or result.expires is not None
        allow = Allow(
            subject=result.subject,
            headers=headers,
            service=service.name,
            realm=realm,
            session_timeout=result.session_timeout,
            authorization_timeout=result.authorization_timeout,
            additions=scope_additions(service.name, realm, result.subject),
            revocation_keys=tuple(dict.fromkeys(keys)),
            expires=result.expires,
            subprotocols=self._subprotocols,
            checks=result.checks or (service.realms[0].login_checks(result) if len(service.realms) == 1 else ()),
            ends=at_once or service.backend is not None,
            ends_late=not at_once,
            backend=service.backend,
        )
        result.remember_decision(self, allow)
        return allow


class SingleRealmRoute(ProtectedRoute):
    """Decide on HTTP requests where nothing but the credentials for one realm and the roles matters."""

    def __init__(self, service: Service, protocol: Protocol, services: RouteServices) -> None:
        super().__init__(service, protocol, services)
        (self._realm,) = service.realms

    def cached_decision(self, scope: Mapping[str, Any]) -> Allow | None:
        if scope["method"] not in SAFE_METHODS and any(name in _OF_A_PAGE for name, _ in scope["headers"]):
            return None
        try:
            result = self._realm.cached_result(
                scope["headers"], scope.get("query_string", b""), scope.get("scheme", "")
            )
        except HeaderError:
            return None
        return None if result is None else result.decisions.get(self)


def _anonymous(service: Service) -> Allow:
    additions = scope_additions(service.name, "", None)
    return Allow(subject=None, service=service.name, additions=additions, backend=service.backend)


def compile_route(service: Service, protocol: Protocol, services: RouteServices) -> Route:
    """Return the route for a service's requests of one protocol."""
    if service.refusal:
        return Route(service, services)
    if not service.realms:
        return PublicRoute(service, services)
    if protocol == "http" and len(service.realms) == 1 and not service.origins:
        return SingleRealmRoute(service, protocol, services)
    return ProtectedRoute(service, protocol, services)
