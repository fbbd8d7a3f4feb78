"""Find out where ``asgi-gateway run`` listens: the hosts and ports of accept URLs, and their ``*.bind`` options."""

from __future__ import annotations

import re
from dataclasses import replace

from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.services.model import Listener

__all__ = ["listener_of", "merged", "parse_bind", "port_of"]

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_TLS = frozenset(("https", "wss"))
_ALL = "0.0.0.0"  # noqa: S104 (what the original's files mean by a port alone)
_BIND = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):)?([0-9]{1,5})")


def parse_bind(value: object) -> tuple[str, int]:
    """Return the host and port of a ``*.bind`` option: ``8001``, ``192.0.2.1:8001``, ``[::1]:8001``.

    A port alone means every IPv4 address of the machine, as it does in KAAZING Gateway.

    Raises:
        ValueError: the value is neither a port nor a host and port. Text after ``"; "`` is a hint.
    """
    text = str(value).strip()
    if "@" in text:
        raise ValueError("names of network interfaces are not supported; write the interface's address and the port")
    match = _BIND.fullmatch(text)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("not an address; write a port, or host:port")
    return (match[1] or _ALL).strip("[]"), int(match[2])


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
    option = f"{accept.scheme}.bind"
    port = port_of(accept)
    bind = service.bind.get(option, service.bind.get("tcp.bind"))
    host, port = (accept.host.strip("[]"), port) if bind is None else parse_bind(bind)
    return Listener(host, port, accept.scheme in _TLS, (accept.host.strip("[]"),), option)


def merged(listeners: list[Listener]) -> list[Listener]:
    """Return each place to listen at once, with the names of all accept URLs that lead there."""
    found: dict[tuple[str, int, bool], Listener] = {}
    for each in listeners:
        key = (each.host, each.port, each.tls)
        known = found.get(key)
        found[key] = each if known is None else replace(known, names=tuple(dict.fromkeys((*known.names, *each.names))))
    return list(found.values())
