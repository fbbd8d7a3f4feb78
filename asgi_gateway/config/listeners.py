"""Find out where ``asgi-gateway run`` listens: the hosts and ports of accept URLs, and their ``*.bind`` options."""

from __future__ import annotations

import re
from dataclasses import replace

from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.services.model import Listener

__all__ = ["BIND_OPTIONS", "bind_option", "listener_of", "merged", "parse_bind", "port_of"]

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SAME_CONNECTION = {"http": "ws", "ws": "http", "https": "wss", "wss": "https"}
"""The scheme whose requests come in over the same connections."""
_TLS = frozenset(("https", "wss"))
BIND_OPTIONS = {
    "http.bind": frozenset(("http", "ws")),
    "https.bind": frozenset(("https", "wss")),
    "ws.bind": frozenset(("http", "ws")),
    "wss.bind": frozenset(("https", "wss")),
    "tcp.bind": frozenset(("http", "https", "ws", "wss")),
}
"""The accept options that name an address, and the schemes of the accept URLs that each may concern."""
_ALL = "0.0.0.0"  # noqa: S104 (what the original's files mean by a port alone)
_BIND = re.compile(
    r"(?:(?:(?P<address>\[[0-9A-Fa-f:.]+\])|\[(?P<interface>@[^\[\]\s/]+)\]|(?P<host>@?[^\s:/@\[\]]+)):)?"
    r"(?P<port>[0-9]{1,5})"
)


def parse_bind(value: object) -> tuple[str, int]:
    """Return the host and port of a ``*.bind`` option.

    The forms are ``8001``, ``192.0.2.1:8001``, ``[::1]:8001``, and for the addresses of a network interface
    ``@eth0:8001`` or ``[@eth0:1]:8001``. A port alone means every IPv4 address of the machine, as it does in KAAZING
    Gateway.

    Raises:
        ValueError: the value has none of these forms. Text after ``"; "`` is a hint.
    """
    match = _BIND.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("not an address; write a port, host:port, [IPv6 address]:port or @interface:port")
    if not 0 < int(match["port"]) < 65536:
        raise ValueError("port must be 1-65535")
    host = match["address"] or match["interface"] or match["host"] or _ALL
    return host.strip("[]"), int(match["port"])


def bind_option(service: ServiceConfig, accept: AcceptURL) -> str:
    """Return the name of the ``*.bind`` option that says where an accept URL is bound; empty if none does.

    That is the option of its scheme. HTTP and WebSocket share their connections, so where the service accepts both at
    one host and port, one option is enough. ``tcp.bind`` is for every scheme.
    """
    own = f"{accept.scheme}.bind"
    if own in service.bind:
        return own
    other = _SAME_CONNECTION[accept.scheme]
    shared = any((each.scheme, each.host, each.port) == (other, accept.host, accept.port) for each in service.accepts)
    options = (f"{other}.bind", "tcp.bind") if shared else ("tcp.bind",)
    return next((option for option in options if option in service.bind), "")


def port_of(accept: AcceptURL) -> int:
    """Return the port of an accept URL with a host: its own, or its scheme's."""
    return accept.port or _DEFAULT_PORTS.get(accept.scheme, 0)


def listener_of(service: ServiceConfig, accept: AcceptURL) -> Listener | None:
    """Return where requests to an accept URL come in; None for a path alone, which every listener serves.

    Args:
        service: the service, for its ``*.bind`` options.
        accept: one of its accept URLs.

    Raises:
        ValueError: the ``*.bind`` option is invalid. Text after ``"; "`` is a hint.
    """
    if accept.scheme not in _DEFAULT_PORTS or accept.host is None:
        return None
    name = accept.host.strip("[]")
    host, port = name, port_of(accept)
    option = bind_option(service, accept)
    if option:
        host, port = parse_bind(service.bind[option])
    return Listener(host, port, accept.scheme in _TLS, names=(name,), option=option or f"{accept.scheme}.bind")


def merged(listeners: list[Listener]) -> list[Listener]:
    """Return each place to listen at once, with the names and services of all accept URLs that lead there.

    The first accept URL that leads there is the one that messages name.
    """
    found: dict[tuple[str, int, bool], Listener] = {}
    for each in listeners:
        key = (each.host, each.port, each.tls)
        known = found.get(key, each)
        found[key] = replace(
            known,
            names=tuple(dict.fromkeys((*known.names, *each.names))),
            services=tuple(dict.fromkeys((*known.services, *each.services))),
        )
    return list(found.values())
