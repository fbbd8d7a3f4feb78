"""Answer the gateway's own endpoints below a service's path; none of them reaches the application.

``<path>/;a/<name>`` authenticates again for a live WebSocket, ``<path>/;t`` trades a login for a ticket that opens one,
``<path>/;o`` logs out, ``<path>/;l`` takes the form of a login page, whose script is ``<path>/;l.js``. No service can
have such a path, since the gateway refuses paths with parameters.
"""

from __future__ import annotations

import json
import re

from asgi_gateway.authentication.settings import LoginOptions
from asgi_gateway.endpoints.form_body import Receive
from asgi_gateway.endpoints.login_page import LOG_IN, LOG_OUT, SCRIPT, LoginPages
from asgi_gateway.errors import HeaderError, StateError
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, AuthRequest, Headers, Refusal, Response, RevocationKey
from asgi_gateway.services.model import Ticket
from asgi_gateway.services.paths import ambiguity
from asgi_gateway.services.routes import Route
from asgi_gateway.websockets.live import SocketOwner
from asgi_gateway.websockets.reauthorization import NAME_LENGTH

__all__ = ["Endpoints"]

_PATH = re.compile(rf"(.*)(/;(?:a/([A-Za-z0-9_-]{{{NAME_LENGTH}}})|t|o|l|l\.js))", re.ASCII)


class Endpoints:
    """Answers requests to the gateway's own endpoints.

    Args:
        gateway: decides on their logins.
        pages: what people see.
    """

    def __init__(self, gateway: Gateway, pages: LoginPages) -> None:
        self._gateway = gateway
        self._pages = pages

    async def answer(self, request: AuthRequest, receive: Receive) -> Response | Refusal | None:
        """Return the answer to an HTTP request; None if its path is not an endpoint's.

        Args:
            request: the request.
            receive: the server's ``receive``, which gives the body.
        """
        match = _PATH.fullmatch(request.path)
        if match is None or request.protocol != "http":
            return None
        path, tail, name = match.groups()
        inner = _request_below(request, path, tail)
        if inner is None:
            return None
        if tail in (LOG_IN, SCRIPT):
            return await self._log_in(inner, tail, receive)
        return await self._find_and_answer(inner, tail, name)

    async def _find_and_answer(self, inner: AuthRequest, tail: str, name: str | None) -> Response | Refusal | None:
        if ambiguity(inner.path, inner.raw_path) is not None:
            return None
        try:
            route = self._with_sessions(inner) if tail == LOG_OUT else self._gateway.match(inner)
        except HeaderError:
            return None
        if route is None or not route.service.realms or route.service.refusal:
            return None
        ticket = route.service.ticket
        if tail != LOG_OUT and name is None and ticket is None:
            return None
        return await self._answer(inner, route, ticket, tail, name)

    async def _answer(
        self, request: AuthRequest, route: Route, ticket: Ticket | None, tail: str, name: str | None
    ) -> Response | Refusal | None:
        """Return the answer of one endpoint to a request that names the WebSocket's own path."""
        try:
            from_page = request.header(b"origin") is not None
        except HeaderError:
            return None
        if request.method == "OPTIONS" and from_page:
            preflight = route.preflight(request)
            return None if preflight is None else Response(status=204, headers=preflight)
        if name is not None:
            return await self._authenticate_again(_handshake(request), route, name)
        if tail == LOG_OUT and (page := self._pages.ask_to_log_out(request, route)) is not None:
            return page
        if request.method != "POST":
            return Response(status=405, headers=((b"allow", b"POST"),), body=b"Method Not Allowed\n")
        return await self._post(request, route, ticket, tail)

    async def _post(
        self, request: AuthRequest, route: Route, ticket: Ticket | None, tail: str
    ) -> Response | Refusal | None:
        if tail == LOG_OUT:
            return self._pages.logged_out(request, route, await self._log_out(_handshake(request), route))
        return None if ticket is None else await self._issue(_handshake(request), route, ticket)

    async def _log_in(self, request: AuthRequest, tail: str, receive: Receive) -> Response | Refusal | None:
        """Return the answer to the form of a login page, or its script, for the page that its URL names."""
        path = request.path or "/"
        page = request.replace(protocol="http", method="GET", path=path, raw_path=request.raw_path or path.encode())
        route = self._gateway.route_for(page)
        if not isinstance(route, Route):
            return route
        if tail == SCRIPT:
            return self._pages.script(route, request.method)
        return await self._pages.log_in(page, route, receive, request.method)

    def _with_sessions(self, request: AuthRequest) -> Route | None:
        """Return the route with sessions that a path belongs to: of HTTP requests, or of WebSockets alone."""
        for each in (request.replace(protocol="http"), request):
            route = self._gateway.match(each)
            if route is not None and any(realm.sessions is not None for realm in route.service.realms):
                return route
        return None

    async def _log_out(self, request: AuthRequest, route: Route) -> Response | Refusal:
        """End the sessions of the service's realms.

        The Origin rule is that of WebSockets: a page of another origin logs no user out.
        """
        if (refused := route.refuse_origin(request)) is not None:
            return refused
        request = request.replace(protocol="http")
        service = route.service
        try:
            headers: Headers = service.origins.response(request.header(b"origin"))
            for realm in service.realms:
                headers += await realm.log_out(request, service.name, self._gateway.revocations)
        except HeaderError as error:
            return route.deny(request, str(error))
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        return Response(status=204, headers=(*headers, (b"vary", b"Cookie")))

    async def _authenticate_again(self, request: AuthRequest, route: Route, name: str) -> Response | Refusal:
        decision = await route.decide(request, LoginOptions(bypass_caches=True))
        if not isinstance(decision, Allow):
            return decision
        user = decision.subject.name if decision.subject is not None else ""
        owner = SocketOwner(decision.service, decision.realm, user)
        try:
            # what is configured holds for the socket; a module's limit for this login may be smaller
            extended = decision.authorization_timeout is not None and await self._gateway.reauthorizations.authorize(
                name, owner, decision.authorization_timeout
            )
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        if not extended:
            reason = "the WebSocket to authenticate again for is unknown, or another user's"
            return route.deny(request, reason, user, decision.headers)
        return Response(status=200, headers=decision.headers, body=b"OK\n")

    async def _issue(self, request: AuthRequest, route: Route, ticket: Ticket) -> Response | Refusal:
        epoch = self._gateway.sockets.revocation_epoch
        decision = await self._gateway.route_of(ticket.login, "websocket").decide(request)
        if not isinstance(decision, Allow):
            return decision
        try:
            revocation_keys = [(each, await self._generation(each)) for each in decision.revocation_keys]
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        if epoch != self._gateway.sockets.revocation_epoch:
            return self._gateway.unavailable(request, "a login was revoked while the ticket was issued")
        subject = decision.subject
        if subject is None or not subject.name:
            return route.deny(request, "the login has no user to make a ticket for")
        now = self._gateway.clock.time()
        ends = [now + decision.session_timeout] if decision.session_timeout is not None else []
        ends += [decision.expires] if decision.expires is not None else []
        text = ticket.issuer.issue(
            subject.name,
            realm=ticket.realm,
            now=now,
            life=ticket.life,
            roles=sorted(subject.roles),
            single_use=True,
            until=min(ends, default=None),
            service=route.service.name,
            revocation_keys=revocation_keys,
        )
        body = json.dumps({"ticket": text, "expires_in": ticket.life}).encode()
        return Response(status=200, headers=decision.headers, body=body, content_type="application/json")

    async def _generation(self, key: RevocationKey) -> str:
        """Return what changes when a user is revoked."""
        return (await self._gateway.state.get(key.key) or "") if key.kind == "user" else ""


def _handshake(request: AuthRequest) -> AuthRequest:
    """Return the WebSocket handshake that a request to an endpoint stands for."""
    return request.replace(method="GET")


def _request_below(request: AuthRequest, path: str, tail: str) -> AuthRequest | None:
    """Return the request to the service's own path, as a WebSocket's; None if its path was written in another way."""
    raw_path = request.raw_path
    if raw_path is not None:
        sent, suffix = raw_path.partition(b"?")[0], tail.encode()
        if not sent.endswith(suffix):
            return None
        raw_path = sent.removesuffix(suffix)
    return request.replace(protocol="websocket", path=path, raw_path=raw_path)
