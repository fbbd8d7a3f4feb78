"""Report services that accept the same requests, or that only a client's Host header tells apart."""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol

from asgi_gateway.config.accept import AcceptURL
from asgi_gateway.config.listeners import listener_of, port_of
from asgi_gateway.config.model import ServiceConfig
from asgi_gateway.config.path import ConfigPath

__all__ = ["AddProblem", "check_accepts", "service_label"]

_NOT_COMPARED = "; only asgi-gateway run without --port tells services apart by their port"


class AddProblem(Protocol):
    """Adds a problem at a path."""

    def __call__(self, path: ConfigPath, message: str, hint: str = "", severity: str = "error") -> None: ...


def check_accepts(services: dict[int, ServiceConfig], add_problem: AddProblem, *, by_port: bool) -> None:
    """Check the accept URLs of services against each other.

    A service that refuses every request may share its path with a protected one, which then takes the requests. It must
    not share it with a public one, since that would open it.

    Args:
        services: the valid services, by their index.
        add_problem: called for each problem.
        by_port: whether services are told apart by the local port on which a request comes in.
    """
    _Accepts(services, add_problem, by_port).check()


def service_label(service: ServiceConfig | None, index: int) -> str:
    """Return a service's label for messages: its name, its first accept URL, or its number in the file."""
    if service is not None and (name := service.name or next(iter(service.accept), "")):
        return f"service {name!r}"
    return f"service {index + 1} of the file"


class _Accepts:
    def __init__(self, services: dict[int, ServiceConfig], add_problem: AddProblem, by_port: bool) -> None:
        self._services = services
        self._add_problem = add_problem
        self._by_port = by_port
        ports = {self._port(service, accept) for service in services.values() for accept in service.accepts}
        self._ports = sorted(port for port in ports if port is not None)

    def check(self) -> None:
        taken: dict[tuple[object, ...], tuple[int, AcceptURL]] = {}
        served = {index: service for index, service in self._services.items() if not service.refusal}
        for index, service in served.items():
            for position, accept in enumerate(service.accepts):
                for key in self._keys(service, accept):
                    other, other_accept = taken.setdefault(key, (index, accept))
                    if other != index:
                        self._duplicate((index, position, accept), (other, other_accept))
                        break
        self._refused(taken)
        self._by_host_alone(served)

    def _refused(self, taken: dict[tuple[object, ...], tuple[int, AcceptURL]]) -> None:
        for index, service in self._services.items():
            for position, accept in enumerate(service.accepts if service.refusal else ()):
                others = [taken[key][0] for key in self._keys(service, accept) if key in taken]
                if public := [other for other in others if not self._services[other].realm_name]:
                    label = service_label(self._services[public[0]], public[0])
                    message = (
                        f"duplicate accept: {label} is public at the same path, where this service refuses all requests"
                    )
                    self._add_problem(("services", index, "accept", position), message, "change the path")

    def _by_host_alone(self, served: dict[int, ServiceConfig]) -> None:
        """Warn of a public service beside a protected one at the same path, where the client's Host header decides."""
        places: dict[tuple[object, ...], list[tuple[int, int, object]]] = defaultdict(list)
        for index, service in served.items():
            for position, accept in enumerate(service.accepts):
                for kind, path, host, port in self._keys(service, accept):
                    places[kind, path, port].append((index, position, host))
        for found in places.values():
            protected = [(index, host) for index, _, host in found if served[index].realm_name]
            for index, position, host in found:
                others = [other for other, its_host in protected if its_host != host]
                if served[index].realm_name or not others:
                    continue
                message = (
                    f"public at a path where {service_label(served[others[0]], others[0])} asks for a login, and only "
                    "the Host header, which a client chooses, tells them apart"
                )
                hint = "give them different paths, unless what is behind them differs too"
                self._add_problem(("services", index, "accept", position), message, hint, "warning")

    def _port(self, service: ServiceConfig, accept: AcceptURL) -> int | None:
        if not self._by_port:
            return None
        try:
            listener = listener_of(service, accept)
        except ValueError:
            return None  # reported where listeners are built
        return None if listener is None else listener.port

    def _keys(self, service: ServiceConfig, accept: AcceptURL) -> list[tuple[str, str, object, int | None]]:
        """Return a key for each kind of request of an accept URL on each port; equal keys are the same requests."""
        host = (accept.host, accept.port) if service.match_host else None
        port = self._port(service, accept)
        ports = [port] if port is not None or not self._ports else self._ports
        return [(kind, accept.path, host, each) for kind in sorted(accept.kinds) for each in ports]

    def _duplicate(self, mine: tuple[int, int, AcceptURL], first: tuple[int, AcceptURL]) -> None:
        (index, position, accept), (other, other_accept) = mine, first
        service, other_service = self._services[index], self._services[other]
        label = service_label(other_service, other)
        path: ConfigPath = ("services", index, "accept", position)
        differences = ["host"] if accept.host != other_accept.host else []
        if accept.host and other_accept.host and port_of(accept) != port_of(other_accept):
            differences.append("port")
        if service.match_host or not differences:
            self._add_problem(path, f"duplicate accept: {label} accepts the same requests", "change the path")
            return
        hint = "give them different paths"
        if service.realm_name and other_service.realm_name:
            # a client chooses its Host header: it must not lead to a public one
            hint += ", or set match-host: true on both"
        if "port" in differences and not self._by_port:
            hint += _NOT_COMPARED
        message = f"duplicate accept: it differs from {label} by its {' and '.join(differences)} alone"
        redirects = [each for each in (service, other_service) if each.kind == "http.redirect"]
        if len(redirects) == 1 and not self._by_port:
            message = f"{message}, which is not compared here: the redirect answers no request"
            self._add_problem(path, message, _NOT_COMPARED.removeprefix("; "), "warning")
            return
        self._add_problem(path, f"{message}, which is not compared", hint)
