"""The gateway's own endpoints below a service's path; none of them reaches the application.

``<path>/;a/<name>`` authenticates again for a live WebSocket, ``<path>/;t`` trades a login for a ticket that opens one,
``<path>/;o`` logs out. No service can have such a path, since the gateway refuses paths with parameters.
"""

from __future__ import annotations

import json
import re
from copy import copy
from dataclasses import dataclass, field

from asgi_gateway.errors import HeaderError, StateError
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, AuthRequest, Challenge, Forbid, Headers, Kind, RevocationKey, Unavailable
from asgi_gateway.services.paths import ambiguity
from asgi_gateway.services.table import Service, Ticket
from asgi_gateway.websockets.live import SocketOwner
from asgi_gateway.websockets.reauthorization import NAME_LENGTH

__all__ = ["TEXT", "Endpoints", "Reply"]

_PATH = re.compile(rf"(.*)(/;(?:a/([A-Za-z0-9_-]{{{NAME_LENGTH}}})|t|o))", re.ASCII)
_LOG_OUT = "/;o"
TEXT = "text/plain; charset=utf-8"
"""The content type of what the gateway says."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the gateway's own.

    Args:
        status: the HTTP status.
        headers: besides the content's type and length, and ``Cache-Control``.
        body: the content.
        content_type: what it is.
    """

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    content_type: str = TEXT


class Endpoints:
    """Answers requests to the gateway's own endpoints.

    Args:
        gateway: decides on their logins.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: AuthRequest) -> Reply | Challenge | Forbid | Unavailable | None:
        """The answer to an HTTP request; None if it is for no endpoint."""
        match = _PATH.fullmatch(request.path)
        if match is None or request.kind != "http":
            return None
        path, tail, name = match.groups()
        inner = _request_below(request, path, tail)
        if inner is None or ambiguity(inner.path, inner.raw_path) is not None:
            return None
        try:
            service = self._with_sessions(inner) if tail == _LOG_OUT else self._gateway.find(inner)
            if service is None or not service.realms:
                return None
            origin = request.header(b"origin")
        except HeaderError:
            return None
        ticket = service.ticket
        if name is None and ticket is None and tail != _LOG_OUT:
            return None
        if request.method == "OPTIONS" and origin is not None:
            preflight = service.origins.preflight(request, origin)
            return None if preflight is None else Reply(204, preflight)
        if name is not None:
            return await self._authenticate_again(inner, service, name)
        if request.method != "POST":
            return Reply(405, ((b"allow", b"POST"),), b"Method Not Allowed\n")
        if tail == _LOG_OUT:
            return await self._log_out(inner, service)
        assert ticket is not None
        return await self._issue(inner, service, ticket)

    def _with_sessions(self, request: AuthRequest) -> Service | None:
        """The service with sessions that a path belongs to: of HTTP requests, or of WebSockets alone."""
        for each in (_of_kind("http", request), request):
            service = self._gateway.find(each)
            if service is not None and any(realm.sessions is not None for realm in service.realms):
                return service
        return None

    async def _log_out(self, request: AuthRequest, service: Service) -> Reply | Forbid | Unavailable:
        """End the sessions of the service's realms. The Origin rule is that of WebSockets: a page of another origin
        logs nobody out.
        """
        if (refused := self._gateway.refuse_origin(request, service)) is not None:
            return refused
        request = _of_kind("http", request)
        try:
            headers: Headers = service.origins.response(request.header(b"origin"))
            for realm in service.realms:
                headers += await realm.log_out(request, service.name, self._gateway.revocations)
        except HeaderError as error:
            return self._gateway.deny(request, service, str(error))
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        return Reply(204, (*headers, (b"vary", b"Cookie")))

    async def _authenticate_again(
        self, request: AuthRequest, service: Service, name: str
    ) -> Reply | Challenge | Forbid | Unavailable:
        decision = await self._gateway.decide_for(request, service, fresh=True)
        if not isinstance(decision, Allow):
            return decision
        user = decision.subject.name if decision.subject is not None else ""
        owner = SocketOwner(decision.service, decision.realm, user)
        try:
            # what is configured holds for the socket; a module's limit for this login may be smaller
            theirs = decision.authorization_timeout is not None and await self._gateway.reauthorizations.authorize(
                name, owner, decision.authorization_timeout
            )
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        if not theirs:
            reason = "the WebSocket to authenticate again for is not there, or not this user's"
            return self._gateway.deny(request, service, reason, user, decision.headers)
        return Reply(200, decision.headers, b"OK\n")

    async def _issue(
        self, request: AuthRequest, service: Service, ticket: Ticket
    ) -> Reply | Challenge | Forbid | Unavailable:
        ended = self._gateway.sockets.revocation_epoch
        decision = await self._gateway.decide_for(request, ticket.login)
        if not isinstance(decision, Allow):
            return decision
        try:
            revocation_keys = [(each, await self._seen(each)) for each in decision.revocation_keys]
        except StateError as error:
            return self._gateway.unavailable(request, str(error))
        if ended != self._gateway.sockets.revocation_epoch:
            return self._gateway.unavailable(request, "something was revoked while a ticket was asked for")
        subject = decision.subject
        if subject is None or not subject.name:
            return self._gateway.deny(request, service, "the login has no user to make a ticket for", "")
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
            service=service.name,
            revocation_keys=revocation_keys,
        )
        body = json.dumps({"ticket": text, "expires_in": ticket.life}).encode()
        return Reply(200, decision.headers, body, "application/json")

    async def _seen(self, revocation: RevocationKey) -> str:
        """What changes when a user is revoked."""
        return (await self._gateway.state.get(revocation.key) or "") if revocation.kind == "user" else ""


def _request_below(request: AuthRequest, path: str, tail: str) -> AuthRequest | None:
    """The WebSocket handshake that a request stands for; None if its path was written in another way."""
    raw_path = request.raw_path
    if raw_path is not None:
        sent, suffix = raw_path.partition(b"?")[0], tail.encode()
        if not sent.endswith(suffix):
            return None
        raw_path = sent.removesuffix(suffix)
    return AuthRequest(
        "websocket",
        "GET",
        path,
        request.query,
        request.headers,
        request.remote_address,
        request.scheme,
        raw_path,
        request.remote_port,
        request.id,
    )


def _of_kind(kind: Kind, request: AuthRequest) -> AuthRequest:
    """The same request of another kind."""
    changed = copy(request)
    changed.kind = kind
    return changed
