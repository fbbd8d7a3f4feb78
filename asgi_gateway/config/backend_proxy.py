"""Build the back ends of WebSockets: the type ``proxy``, and the WebSockets of ``http.proxy``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asgi_gateway.config.backend_login import build_backend_login
from asgi_gateway.config.kaazing_compat import NOT_SUPPORTED
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath
from asgi_gateway.config.proxy_settings import outgoing_request, proxy_settings
from asgi_gateway.errors import ConfigError, Problem
from asgi_gateway.proxy.login import BackendLogin
from asgi_gateway.proxy.outgoing import OutgoingRequest
from asgi_gateway.proxy.settings import ProxySettings
from asgi_gateway.proxy.targets import Targets
from asgi_gateway.proxy.tcp import TcpProxy
from asgi_gateway.services.backend import Backend

if TYPE_CHECKING:  # backends imports this module
    from asgi_gateway.config.backends import BackendContext

__all__ = ["IDLE", "SocketProperties", "build_proxy", "build_websocket_proxy", "socket_properties"]

AddProblem = Callable[..., None]

IDLE = 3600.0
"""Seconds without a message or byte after which a WebSocket or tunnel is closed, unless ``timeouts`` has ``idle``.

More than for HTTP: a chat or a remote screen may be quiet for long. Peers that are gone are found by pings and TCP's
keepalive.
"""
_DEFLATE = "permessage-deflate"
_SUBPROTOCOL = "subprotocol"
_ORIGINALS = frozenset(
    (
        "maximum.pending.bytes",
        "maximum.recovery.interval",
        "maximum.transferred.bytes",
        "prepared.connection.count",
        "virtual.host",
    )
)
"""Properties of the original's proxy that change nothing: what waits is bounded, and connections are made at once."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADERS_ONLY = (
    ("identity_headers", "identity-headers"),
    ("identity_token", "identity-token"),
    ("connect_login", "connect-login"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketProperties:
    """The properties of a service that concern its WebSockets.

    Args:
        compressed: whether permessage-deflate is offered to back ends.
        subprotocols: the subprotocols that a TCP back end speaks; None to accept the first one that a client offers.
    """

    compressed: bool = False
    subprotocols: tuple[str, ...] | None = None


def build_proxy(
    config: ServiceConfig, context: BackendContext, path: ConfigPath, add_problem: AddProblem
) -> Backend | None:
    """Return the back end of a service of type ``proxy``; None where a problem was added.

    Args:
        config: the service.
        context: what it is built with.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    properties, rest = socket_properties(config, path, add_problem)
    settings = proxy_settings(rest, context, path, add_problem)
    if not _check_connects(config, path, add_problem):
        return None
    if "max_connections" in config.model_fields_set:
        message = "max-connections limits the connections of http.proxy; each WebSocket has one of its own"
        add_problem((*path, "max-connections"), message, "remove it", "warning")
    if not any(connect.is_stream for connect in settings.connects):
        if "message_type" in config.model_fields_set:
            hint = "remove it: text stays text and binary stays binary"
            add_problem((*path, "message-type"), "message-type is for TCP back ends", hint)
        if properties.subprotocols is not None:
            where = (*path, "properties", _SUBPROTOCOL)
            add_problem(where, "subprotocol is for TCP back ends", "remove it: the back end chooses the subprotocol")
        login = build_backend_login(config, context, path, add_problem)
        outgoing = outgoing_request(rest, context, settings, path, add_problem)
        return build_websocket_proxy(config, context, settings, outgoing, (login, properties))
    for attribute, name in _HEADERS_ONLY:
        if getattr(config, attribute):
            add_problem(
                (*path, name), f"{name} needs a back end that gets headers", "a TCP back end gets none; remove it"
            )
    targets = Targets(settings.connects, context.clock.monotonic)
    return TcpProxy(with_idle(settings, config), targets, context.audit, properties.subprotocols)


def build_websocket_proxy(
    config: ServiceConfig,
    context: BackendContext,
    settings: ProxySettings,
    outgoing: OutgoingRequest,
    more: tuple[BackendLogin | None, SocketProperties],
) -> Backend:
    """Return what passes WebSockets on to back ends over ws, wss, http or https.

    Args:
        config: the service.
        context: what it is built with.
        settings: what ``proxy_settings`` returned for the service.
        outgoing: writes the handshake's headers.
        more: what answers the back ends' 401s, and the service's properties of WebSockets.

    Raises:
        ConfigError: the package websockets is not installed.
    """
    try:
        from asgi_gateway.proxy.websocket import WebSocketProxy
    except ImportError:
        hint = 'pip install "asgi-gateway[proxy]"'
        raise ConfigError(Problem("WebSockets to back ends need the package websockets", hint=hint)) from None
    login, properties = more
    return WebSocketProxy(
        with_idle(settings, config),
        outgoing,
        Targets(settings.connects, context.clock.monotonic),
        login=login or BackendLogin(),
        audit=context.audit,
        compressed=properties.compressed,
    )


def socket_properties(
    config: ServiceConfig, path: ConfigPath, add_problem: AddProblem
) -> tuple[SocketProperties, ServiceConfig]:
    """Return the properties of a service that concern its WebSockets, and the service without them.

    Args:
        config: the service.
        path: the service's path in the configuration.
        add_problem: called with a path, a message, a hint and a severity for each problem.
    """
    compressed = False
    subprotocols: tuple[str, ...] | None = None
    rest: dict[str, Any] = {}
    for name, value in config.properties.items():
        where = (*path, "properties", name)
        if name in _ORIGINALS:
            add_problem(where, NOT_SUPPORTED, severity="ignored")
        elif name == _DEFLATE:
            text = str(value).strip().lower()
            if text not in ("enabled", "disabled", "true", "false"):
                add_problem(where, f"invalid value {str(value)!r}", "write enabled or disabled")
            compressed = text in ("enabled", "true")
        elif name == _SUBPROTOCOL:
            subprotocols = tuple(map(str, value if isinstance(value, list | tuple) else [value]))
            if not subprotocols or not all(map(_TOKEN.fullmatch, subprotocols)):
                add_problem(where, "invalid subprotocol", "write the name of one, such as v12.stomp")
        else:
            rest[name] = value
    return SocketProperties(compressed=compressed, subprotocols=subprotocols), config.model_copy(
        update={"properties": rest}
    )


def with_idle(settings: ProxySettings, config: ServiceConfig) -> ProxySettings:
    """Return settings with the time limit of WebSockets, where the service sets none."""
    if "idle" in config.timeouts.model_fields_set:
        return settings
    return replace(settings, timeouts=replace(settings.timeouts, idle=IDLE))


def _check_connects(config: ServiceConfig, path: ConfigPath, add_problem: AddProblem) -> bool:
    """Return whether the connect URLs fit the type ``proxy``."""
    if not config.connect:  # reported with all types that need one
        return False
    for index, connect in enumerate(config.connects):
        if connect.scheme in ("http", "https"):
            hint = "write a ws, wss, tcp or tls URL, or use the type http.proxy"
            add_problem((*path, "connect", index), f"proxy cannot connect to {connect.scheme}", hint)
            return False
    if len({connect.is_stream for connect in config.connects}) > 1:
        hint = "give the service one kind, or make it two services"
        add_problem((*path, "connect"), "connect mixes TCP and WebSocket back ends", hint)
        return False
    return True
