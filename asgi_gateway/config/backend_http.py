"""Build the back end of ``http.proxy``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from asgi_gateway.config.backend_login import build_backend_login
from asgi_gateway.config.backend_proxy import build_websocket_proxy, socket_properties
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.proxy_settings import outgoing_request, proxy_settings
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.proxy.http_and_websockets import HTTPAndWebSockets
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.services.backend import Backend

if TYPE_CHECKING:
    from asgi_gateway.config.backends import BackendContext

__all__ = ["build_http_proxy"]

AddProblem = Callable[..., None]


def build_http_proxy(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return the back end of a service of type ``http.proxy``; None where a problem was added.

    Args:
        config: the service.
        context: what it is built with.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    usable = bool(config.connect)  # reported with all types that need one
    for index, connect in enumerate(config.connects):
        if connect.is_stream:
            usable = False
            message = f"http.proxy cannot connect to {connect.scheme}"
            add_problem((*path, "connect", index), message, "write an http or https URL, or use the type proxy")
    properties, config = socket_properties(config, path, add_problem)
    settings = proxy_settings(config, context, path, add_problem)
    outgoing = outgoing_request(config, context, settings, path, add_problem)
    login = build_backend_login(config, context, path, add_problem)
    if not usable:
        return None
    try:
        from asgi_gateway.proxy.http import HTTPProxy
    except ImportError:
        raise ConfigError(Problem("http.proxy needs aiohttp", hint='pip install "asgi-gateway[proxy]"')) from None
    targets = Targets(settings.connects, context.clock.monotonic)
    proxy = HTTPProxy(settings, outgoing, targets, login=login, audit=context.audit)
    return HTTPAndWebSockets(proxy, build_websocket_proxy(config, context, settings, outgoing, (login, properties)))
