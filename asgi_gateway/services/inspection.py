"""Finds settings of the application behind the gateway that change how it reads paths.

Middlewares are looked through by the attributes under which they keep the application that they wrap. What they hide,
such as an application in a closure, is not found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Host, Mount

from asgi_gateway.services.paths import is_below
from asgi_gateway.services.root_path import ApplicationRoot

__all__ = ["DjangoRoot", "FastAPIRoot", "application_roots", "wrapped_applications"]

_ATTRIBUTES = (
    *("app", "_app", "application", "asgi_app", "inner", "other_asgi_app", "wrapped", "wrapped_app"),
    *("application_mapping", "mounts"),  # Channels' ProtocolTypeRouter, hypercorn's DispatcherMiddleware
)
_DJANGO_HANDLER = ("django.core.handlers.asgi", "ASGIHandler")
_MOST = 1000
"""Objects that are looked at; a bound for graphs of an unforeseen kind."""


class FastAPIRoot(ApplicationRoot):
    """The ``root_path`` of a FastAPI application, which replaces that of the scope."""

    __slots__ = ()
    setting = "FastAPI(root_path=...)"

    def read(self, path: str) -> str:
        """Return the path on which the application routes a request whose scope has this path."""
        return path[len(self.prefix) :] if is_below(path, self.prefix) else path


class DjangoRoot(ApplicationRoot):
    """Django's FORCE_SCRIPT_NAME, which replaces the scope's ``root_path``."""

    __slots__ = ()
    setting = "Django's FORCE_SCRIPT_NAME"

    def read(self, path: str) -> str:
        """Return the path on which the application routes a request whose scope has this path."""
        return path.removeprefix(self.prefix)


def application_roots(app: Any) -> list[ApplicationRoot]:
    """Return the root paths that are built into an application or the applications that it wraps.

    Args:
        app: An ASGI application.
    """
    found: dict[ApplicationRoot, None] = {}
    for each in wrapped_applications(app):
        if isinstance(each, Starlette):
            prefix = getattr(each, "root_path", "")
            if isinstance(prefix, str) and prefix:
                found[FastAPIRoot(prefix)] = None
        elif any((cls.__module__, cls.__name__) == _DJANGO_HANDLER for cls in type(each).__mro__):
            prefix = getattr(sys.modules["django.conf"].settings, "FORCE_SCRIPT_NAME", None)
            if isinstance(prefix, str) and prefix:
                found[DjangoRoot(prefix)] = None
    return list(found)


def wrapped_applications(app: Any) -> Iterator[Any]:
    """Yield an application and every application that it wraps, each once.

    Args:
        app: An ASGI application.
    """
    seen: dict[int, Any] = {}
    waiting = [app]
    while waiting and len(seen) < _MOST:
        each = waiting.pop()
        if id(each) in seen or each is None:
            continue
        seen[id(each)] = each
        if isinstance(each, Mapping):
            waiting.extend(each.values())
            continue
        yield each
        waiting.append(getattr(each, "__self__", None))
        attributes = getattr(each, "__dict__", {})
        waiting.extend(attributes[name] for name in _ATTRIBUTES if name in attributes)
        if isinstance(each, Starlette):  # what is mounted at a path of its own has no other path
            waiting.extend(route for route in each.routes if isinstance(route, Host | Mount) and not _path(route))


def _path(route: Host | Mount) -> str:
    return route.path if isinstance(route, Mount) else ""
