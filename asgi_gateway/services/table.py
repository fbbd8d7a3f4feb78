"""Services, and which of them a request is for: the longest prefix, segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.model import Allow, Kind
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.origins import OriginRules
from asgi_gateway.sessions.tokens import TokenIssuer

__all__ = ["Accept", "Service", "ServiceTable", "Ticket", "unshared"]


@dataclass(frozen=True, slots=True)
class Accept:
    """One place where a service accepts requests.

    Args:
        path: the prefix, without a slash at its end; empty for everything.
        kinds: ``http``, ``websocket`` or both.
        host: what the Host header must say, in lower case: ``name``, ``name:port``, or ``name:*`` for any port; None
            for whatever it says.
    """

    path: str
    kinds: frozenset[Kind] = frozenset(("http", "websocket"))
    host: str | None = None


@dataclass(eq=False, slots=True)
class Service:
    """A part of the application and who may use it. Without realms it is public.

    Args:
        name: for logs and the application.
        accepts: where it is.
        realms: all of them must succeed, in order.
        authorization: the roles that must be held.
        origins: which pages of other sites may use it.
        refusal: the reason why every request is refused, for logs; empty for a service that is served.
    """

    name: str
    accepts: tuple[Accept, ...]
    realms: tuple[Realm, ...] = ()
    authorization: Authorization = field(default_factory=Authorization)
    origins: OriginRules = field(default_factory=OriginRules)
    allow_public: Allow | None = None
    """The decision for a public service; None for a protected one. Set by the gateway."""
    allow_at_once: Allow | None = None
    """The same, if nothing of the request needs to be looked at."""
    realm: Realm | None = None
    """The only realm, if there is just one and nothing but its credentials decides on HTTP requests."""
    ticket: Ticket | None = None
    """How a login is traded for a ticket to the service; None where it is not."""
    refusal: str = ""

    @property
    def credential_headers(self) -> frozenset[bytes]:
        """The names, in lower case, of the headers besides Authorization that its realms read credentials from."""
        return frozenset(name.lower().encode("latin-1") for realm in self.realms for name in realm.reader.headers)


@dataclass(frozen=True, eq=False, slots=True)
class Ticket:
    """Trades a login for a ticket that opens one WebSocket.

    Args:
        login: who may have one: realms, roles and origins as a service has them.
        issuer: makes the ticket.
        realm: the realm that takes it, one of the service's.
        life: seconds within which it has to be used.
    """

    login: Service
    issuer: TokenIssuer
    realm: str
    life: float


class ServiceTable:
    """Finds a request's service. Costs a dictionary look-up for each segment of the path, however many services."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = tuple(services)
        self.by_host = any(accept.host is not None for service in services for accept in service.accepts)
        self._any_host: dict[str, dict[str, Service]] = {"http": {}, "websocket": {}}
        self._of_host: dict[str, dict[tuple[str, str], Service]] = {"http": {}, "websocket": {}}
        for service in services:
            for accept in service.accepts:
                self._add(service, accept)
        self._depth = max((a.path.count("/") for service in services for a in service.accepts), default=0)

    def _add(self, service: Service, accept: Accept) -> None:
        for kind in accept.kinds:
            if accept.host is None:
                other = self._any_host[kind].setdefault(accept.path, service)
            else:
                other = self._of_host[kind].setdefault((accept.path, accept.host), service)
            if other is not service:
                raise ValueError(f"services {other.name} and {service.name} accept the same {accept.path or '/'}")

    def find(self, kind: str, path: str, host: str = "") -> Service | None:
        """The service of the longest prefix, or None.

        Args:
            kind: ``http`` or ``websocket``.
            path: the path below the root, already found to have one reading only.
            host: the Host header in lower case; looked at only by services that match the host.
        """
        any_host = self._any_host[kind]
        if not self.by_host and (service := any_host.get(path)) is not None:
            return service
        if path.count("/") > self._depth:  # what lies deeper than any service cannot matter
            path = "/".join(path.split("/", self._depth + 1)[: self._depth + 1])
        of_host = self._of_host[kind] if self.by_host else None
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
    """What several workers would have to share, each as a few words.

    Args:
        services: the services, those that tickets are had from included.
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
