"""Import the application that ``asgi-gateway run`` serves, and recognise one that is behind a gateway already."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from asgi_gateway._runtime.imports import import_object
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.gateway import Gateway
from asgi_gateway.middleware import GatewayMiddleware

__all__ = ["import_application", "is_behind"]

_DEPTH = 50


def import_application(target: str) -> Any:
    """Import an ASGI application; a factory is called.

    Args:
        target: ``module:attribute``. The attribute may be a function without parameters that returns the application.

    Raises:
        ConfigError: there is no such module or attribute, importing it fails, or it is not an ASGI application.
    """
    found = import_object(target, "application", "module:app")
    if not _is_factory(found):
        _check(target, found)
        return found
    try:
        app = found()
    except Exception as error:
        raise _error(f"{target}(): {type(error).__name__}: {error}") from error
    if inspect.iscoroutine(app):
        app.close()
        raise _error(f"{target} is an async function without parameters", "name an application, or a plain factory")
    _check(f"{target}()", app)
    return app


def is_behind(app: Any, gateway: Gateway) -> bool:
    """Return whether an application is behind a gateway of the same configuration already.

    Seen are GatewayMiddleware itself, middlewares around it that have their application as ``app``, and
    ``add_middleware`` of Starlette and FastAPI.

    Args:
        app: the application.
        gateway: the gateway of the configuration.

    Raises:
        ConfigError: the application is behind a gateway of another configuration.
    """
    for _ in range(_DEPTH):
        if isinstance(app, GatewayMiddleware):
            return _same(app.gateway, gateway)
        for entry in getattr(app, "user_middleware", ()):
            cls = getattr(entry, "cls", None)
            if isinstance(cls, type) and issubclass(cls, GatewayMiddleware):
                config = getattr(entry, "kwargs", {}).get("config", next(iter(getattr(entry, "args", ())), None))
                return _same(config, gateway)
        app = getattr(app, "app", None)
        if app is None:
            break
    return False


def _same(config: object, gateway: Gateway) -> bool:
    identity = config.identity if isinstance(config, Gateway) else None
    if isinstance(config, str | Path):
        identity = str(Path(config).absolute())
    if identity != gateway.identity:
        # the identity of a mapping holds the whole configuration, which is nothing for a message
        other = identity if identity is not None and Path(identity).is_absolute() else "a mapping"
        message = f"the application is behind a GatewayMiddleware of another configuration already ({other})"
        raise _error(message, "name the inner application, or give run the same configuration file")
    return True


def _is_factory(found: Any) -> bool:
    """Return whether a callable can be called without arguments, as no ASGI application can."""
    if not callable(found) or inspect.isclass(found):
        return False
    try:
        signature = inspect.signature(found)
        signature.bind()
    except (TypeError, ValueError):
        return False
    return all(each.kind is not inspect.Parameter.VAR_POSITIONAL for each in signature.parameters.values())


def _check(target: str, app: Any) -> None:
    if inspect.isclass(app):
        raise _error(
            f"{target} is a class, not an ASGI application", "name an instance, or a function that returns one"
        )
    if not callable(app):
        raise _error(f"{target} is not an ASGI application: it is of type {type(app).__name__}")
    try:
        signature = inspect.signature(app)
    except ValueError:  # a callable of an extension module may have none
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        hint = {
            1: "wrap an ASGI 2 application with asgiref.compatibility.guarantee_single_callable",
            2: "wrap a WSGI application with a2wsgi.WSGIMiddleware",
        }.get(len(signature.parameters), "an ASGI application takes scope, receive and send")
        raise _error(f"{target} is not an ASGI application: its parameters are {signature}", hint) from None


def _error(message: str, hint: str = "") -> ConfigError:
    return ConfigError(Problem(message, hint=hint))
