"""Work out where each service accepts requests. One that is not served never opens what another one protects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.listeners import listener_of
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.model import Protocol
from asgi_gateway.services.model import Mount

__all__ = ["Places"]

_BOTH: tuple[Protocol, ...] = ("http", "websocket")


class Places:
    """Where the services of a configuration accept requests.

    What an accept URL names comes first. What other services leave goes to an ``http.proxy``, which also takes the
    WebSockets at its http accepts, to a redirect, since ports do not count everywhere, and to a service that is not
    served, which refuses both protocols.

    Args:
        services: the configured services.
        by_port: whether services are told apart by the local port on which a request comes in.
    """

    def __init__(self, services: Sequence[ServiceConfig], *, by_port: bool) -> None:
        self._services = services
        self._by_port = by_port
        found = {self._port(config, accept) for config in services for accept in config.accepts}
        self._ports = sorted(port for port in found if port is not None)
        named = [self._named(config) for config in services]
        taken = {
            (mount.path, mount.host, mount.port, protocol)
            for config, mounts in zip(services, named, strict=True)
            if not config.refusal and config.kind != "http.redirect"
            for mount in mounts
            for protocol in mount.protocols
        }
        self._mounts: list[tuple[Mount, ...]] = []
        for config, mounts in zip(services, named, strict=True):
            given = mounts
            if config.refusal:
                given = tuple(_left_over(mounts, taken))
            elif config.kind == "http.redirect":
                given = tuple(_left_over(mounts, taken, ("http",)))
            elif config.kind == "http.proxy":
                given = (*mounts, *_left_over([each for each in mounts if "http" in each.protocols], taken))
            taken |= {(each.path, each.host, each.port, protocol) for each in given for protocol in each.protocols}
            self._mounts.append(given)
        self._exist = [bool(mounts) for mounts in named]

    def of(self, index: int) -> tuple[Mount, ...]:
        """Return where a service accepts requests."""
        return self._mounts[index]

    def exist(self, index: int) -> bool:
        """Return whether a service has accepts with paths, which other services may have taken; tcp has none."""
        return self._exist[index]

    def _named(self, config: ServiceConfig) -> tuple[Mount, ...]:
        return tuple(
            Mount(accept.path.rstrip("/"), accept.kinds, host, port)
            for accept in config.accepts
            if accept.path
            for host in (_hosts(accept) if config.match_host else (None,))
            for port in self._ports_of(config, accept)
        )

    def _ports_of(self, config: ServiceConfig, accept: AcceptURL) -> list[int] | list[None]:
        """Return the ports of an accept URL; every port for a path alone."""
        port = self._port(config, accept)
        return [port] if port is not None else self._ports or [None]

    def _port(self, config: ServiceConfig, accept: AcceptURL) -> int | None:
        if not self._by_port:
            return None
        try:
            listener = listener_of(config, accept)
        except ValueError:
            return None  # reported where listeners are built
        return None if listener is None else listener.port


def _left_over(
    mounts: Sequence[Mount],
    taken: set[tuple[str, str | None, int | None, Protocol]],
    protocols: tuple[Protocol, ...] = _BOTH,
) -> Iterator[Mount]:
    """Yield the places of mounts with those protocols that no service accepts there yet."""
    for path, host, port in dict.fromkeys((mount.path, mount.host, mount.port) for mount in mounts):
        left = frozenset(protocol for protocol in protocols if (path, host, port, protocol) not in taken)
        if left:
            yield Mount(path, left, host, port)


def _hosts(accept: AcceptURL) -> tuple[str | None, ...]:
    """Return the Host headers of an accept URL; a URL without a port accepts any."""
    if accept.host is None:
        return (None,)
    if accept.port is None:
        return (f"{accept.host}:*",)
    explicit = f"{accept.host}:{accept.port}"
    return (explicit, accept.host) if accept.port in (80, 443) else (explicit,)
