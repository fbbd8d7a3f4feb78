"""Match a request to a service: the longest prefix wins, segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.services.model import Mount, Service
from asgi_gateway.services.paths import folded

__all__ = ["ServiceTable", "unshared"]


class ServiceTable:
    """Finds a request's service: a dictionary look-up for each segment of the path, however many services.

    Args:
        services: the services.
        port: the local port whose requests are looked up; None if the port does not matter.

    Raises:
        ValueError: two services accept the same requests.
    """

    def __init__(self, services: Sequence[Service], port: int | None = None) -> None:
        mounts = [(each, mount) for each in services for mount in each.mounts if mount.port in (None, port)]
        self.by_host = any(mount.host is not None for _, mount in mounts)
        self._any_host: dict[str, dict[str, Service]] = {"http": {}, "websocket": {}}
        self._of_host: dict[str, dict[tuple[str, str], Service]] = {"http": {}, "websocket": {}}
        for service, mount in mounts:
            self._add(service, mount)
            self._add(service, replace(mount, path=folded(mount.path)))
        self._depth = max((mount.path.count("/") for _, mount in mounts), default=0)

    def _add(self, service: Service, mount: Mount) -> None:
        for protocol in mount.protocols:
            if mount.host is None:
                other = self._any_host[protocol].setdefault(mount.path, service)
            else:
                other = self._of_host[protocol].setdefault((mount.path, mount.host), service)
            if other is not service:
                raise ValueError(f"services {other.name} and {service.name} accept the same {mount.path or '/'}")

    def find(self, protocol: str, path: str, host: str = "") -> Service | None:
        """Return the service of the longest prefix; None if no service accepts the path.

        Args:
            protocol: ``http`` or ``websocket``.
            path: the path below the root, already found to have one reading only.
            host: the Host header in lower case; looked at only by services that match the host.

        Returns:
            The service; None if there is none, or if the path belongs to another service once Unicode is normalised, as
            some applications and file systems do.
        """
        service = self._longest(protocol, path, host)
        if path.isascii() or service is self._longest(protocol, folded(path), host):
            return service
        return None

    def _longest(self, protocol: str, path: str, host: str) -> Service | None:
        any_host = self._any_host[protocol]
        if not self.by_host and (service := any_host.get(path)) is not None:
            return service
        if path.count("/") > self._depth:  # what lies deeper than any service cannot matter
            path = "/".join(path.split("/", self._depth + 1)[: self._depth + 1])
        of_host = self._of_host[protocol] if self.by_host else None
        any_port = f"{_without_port(host)}:*" if of_host else ""
        while True:
            if of_host:
                service = of_host.get((path, host)) or of_host.get((path, any_port))
                if service is not None:
                    return service
            service = any_host.get(path)
            if service is not None or not path:
                return service
            path = path[: path.rindex("/")]


def unshared(services: Sequence[Service], realms: Sequence[Realm]) -> list[str]:
    """Return what several workers would have to share, each as a few words.

    Args:
        services: the services, including those that issue tickets.
        realms: their realms, each once.
    """
    modules = [
        f"realm {realm.name}, login module {entry.name}: used tokens"
        for realm in realms
        for entry in realm.chain.entries
        if entry.module.replay_protected
    ]
    sessions = [f"realm {realm.name}: sessions" for realm in realms if realm.sessions is not None]
    several = [service.name for service in services if len(service.realms) > 1]
    return modules + sessions + [f"service {name}: the first of several realms" for name in several]


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
