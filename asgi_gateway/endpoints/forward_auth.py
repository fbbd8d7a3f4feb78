"""Answer the checks of other proxies: nginx auth_request, Traefik ForwardAuth, Caddy forward_auth, HAProxy, Envoy.

A check is decided on as its original request would be if it came directly: the same services, realms, sessions and
Origin rules. 200 tells the proxy to go on, and says who the user is in the service's identity headers. Every other
status is an answer for the proxy's client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from asgi_gateway.endpoints.responses import response_to
from asgi_gateway.errors import HeaderError
from asgi_gateway.gateway import Gateway, request_of
from asgi_gateway.model import Allow, AuthRequest, Decision, Forbid, Refusal, Response
from asgi_gateway.services.identity import SCOPE_KEY
from asgi_gateway.services.original_request import (
    PROXY_KINDS,
    ForwardAuthSettings,
    Scope,
    as_handshake,
    is_handshake,
    original_request,
)
from asgi_gateway.services.paths import path_below_root
from asgi_gateway.services.root_path import RootPath

__all__ = ["ForwardAuth"]

Decide = Callable[[AuthRequest, Callable[[AuthRequest], Awaitable[Decision]]], Awaitable[Decision]]

_CLOSE = (b"connection", b"close")
_BODY = (b"content-length", b"transfer-encoding")
_NOT_LISTED = "the peer that asks forward-auth is not one of trusted-proxies"


class ForwardAuth:
    """Answers checks.

    Args:
        gateway: decides.
        settings: where proxies ask, and of which kind they are.
        root_path: settles the root of the original request's path.
        decide: calls the gateway's decision; refuses if that fails.
    """

    def __init__(self, gateway: Gateway, settings: ForwardAuthSettings, root_path: RootPath, decide: Decide) -> None:
        self._gateway = gateway
        self._accept = settings.accept
        self._kind = PROXY_KINDS[settings.kind]
        self._below = f"{settings.accept}/" if self._kind.uri is None else None
        self._identities = settings.identities
        self._root_path = root_path
        self._decide = decide

    def concerns(self, scope: Scope) -> bool:
        """Return whether a scope is that of a check.

        Args:
            scope: an ASGI scope of any type, whose root is settled.
        """
        path = scope.get("path")
        if path is None:
            return False
        if scope.get("root_path"):
            path = path_below_root(scope)
        return path == self._accept or (self._below is not None and path.startswith(self._below))

    async def answer(self, scope: Scope) -> Response:
        """Return the response to a check, whose body is never waited for.

        Args:
            scope: the check's own scope, of an HTTP request or of a WebSocket handshake, which is not accepted.
        """
        outcome = await self._outcome(scope)
        response = self._response(outcome) if isinstance(outcome, Allow) else self._refusal(outcome)
        if scope.get("http_version", "1.1")[:2] == "1." and _announces_body(scope["headers"]):
            # what follows on the connection may be a body, or the next request of a proxy that never sends one
            response = replace(response, headers=(*response.headers, _CLOSE))
        return response

    async def _outcome(self, scope: Scope) -> Decision:
        if not self._gateway.trusted_proxies.trusts_peer(scope):
            return self._gateway.deny(request_of(scope), _NOT_LISTED)
        try:
            original = original_request(scope, self._kind, self._accept)
        except HeaderError as error:
            return self._gateway.deny(request_of(scope), f"forward-auth: {error}")
        if self._root_path.concerns_every_scope:
            settled = self._root_path.settle(original)
            original = settled.scope
            if settled.refusal is not None:
                return self._gateway.deny(request_of(original), settled.refusal)
        if is_handshake(original["headers"]):
            return await self._decide_handshake(original)
        return self._gateway.cached_decision(original) or await self._decide(request_of(original), self._gateway.decide)

    async def _decide_handshake(self, original: Scope) -> Decision:
        """Decide on a WebSocket handshake.

        The proxy's back end may still take it for a plain request. So where another service than that of WebSockets
        accepts plain requests of the path, or where the method is not a handshake's, it has to pass as one too.
        """
        request = request_of(as_handshake(original))
        decision = await self._decide(request, self._gateway.decide)
        if not isinstance(decision, Allow):
            return decision
        plain = request_of(original)
        if plain.method == "GET" and self._is_for_handshakes_too(request, plain):
            return decision
        plain_decision = await self._decide(plain, self._gateway.decide)
        return decision if isinstance(plain_decision, Allow) else plain_decision

    def _is_for_handshakes_too(self, handshake: AuthRequest, plain: AuthRequest) -> bool:
        """Return whether no other service accepts a handshake's path as a plain request."""
        route, plain_route = self._gateway.route_for(handshake), self._gateway.plain_route(plain)
        if plain_route is None:
            return True
        encoded_slash = b"%2f" in (plain.raw_path or b"").lower()  # with two readings, which both have to be decided on
        return not isinstance(route, Forbid) and plain_route.service is route.service and not encoded_slash

    def _response(self, allow: Allow) -> Response:
        """Return the response that lets a request in: what the decision adds to responses, and who the user is."""
        write = self._identities.get(allow.service)
        identity = () if write is None else write(allow.additions[SCOPE_KEY])
        return Response(status=200, headers=(*allow.headers, *identity))

    def _refusal(self, refusal: Refusal) -> Response:
        """Return the response that refuses a request; 403 where the proxy would make an error of it."""
        response = response_to(refusal)
        if not self._kind.knows_errors and response.status not in (401, 403):
            response = replace(response_to(Forbid(reason="")), headers=response.headers)
        return response if self._kind.passes_bodies else replace(response, body=b"")


def _announces_body(headers: Any) -> bool:
    return any(name in _BODY and value != b"0" for name, value in headers)
