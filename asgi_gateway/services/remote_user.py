"""REMOTE_USER for WSGI applications behind the gateway (RFC 3875 section 4.1.11).

A bridge such as a2wsgi's ``WSGIMiddleware`` or asgiref's ``WsgiToAsgi`` makes the WSGI environ from the ASGI scope and
leaves the user out. Both run the application in a copy of the request's contextvars.Context, so the name goes that way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from copy import copy
from functools import partial
from typing import Any

__all__ = ["RemoteUser", "with_remote_user"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_BRIDGES = {("asgiref.wsgi", "WsgiToAsgi"): "wsgi_application", ("a2wsgi.wsgi", "WSGIMiddleware"): "app"}
"""The bridges that are recognised, with the attribute that holds the WSGI application."""

_remote_user: ContextVar[str] = ContextVar("asgi_gateway.remote_user", default="")


class RemoteUser:
    """An ASGI application: a WSGI application below a bridge, whose environ names the user as REMOTE_USER.

    The name is encoded as WSGI wants it (PEP 3333): its UTF-8 bytes, each as one Latin-1 character. On a public service
    there is no REMOTE_USER. ``GatewayMiddleware`` does this itself for a bridge that it wraps directly; elsewhere, such
    as below a Starlette ``Mount``, it has to be written: ``RemoteUser(flask_app, WsgiToAsgi)``.

    Args:
        application: The WSGI application.
        bridge: Makes an ASGI application of a WSGI application, and runs it in a copy of the request's context.
    """

    def __init__(self, application: WSGIApp, bridge: Callable[[WSGIApp], ASGIApp]) -> None:
        self._application = application
        self._bridge = bridge(self._call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        name = user.display_name if user is not None and user.is_authenticated else ""
        token = _remote_user.set(name)
        try:
            await self._bridge(scope, receive, send)
        finally:
            _remote_user.reset(token)

    def _call(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("REMOTE_USER", None)
        if name := _remote_user.get():
            environ["REMOTE_USER"] = name.encode("utf-8").decode("latin-1")
        return self._application(environ, start_response)


def with_remote_user(app: Any) -> Any:
    """Return an application whose environ has REMOTE_USER, if it is a known bridge; else the application itself.

    Args:
        app: An ASGI application. It is not changed: a copy of the bridge gets the user.
    """
    for cls in type(app).__mro__:
        attribute = _BRIDGES.get((cls.__module__, cls.__name__))
        if attribute is not None:
            return RemoteUser(getattr(app, attribute), partial(_copied, app, attribute))
    return app


def _copied(bridge: Any, attribute: str, application: WSGIApp) -> Any:
    changed = copy(bridge)
    setattr(changed, attribute, application)
    return changed
