"""Define services: where each accepts requests, who may use it, and how a login is traded for a ticket to it."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from asgi_gateway.authentication.realm import Realm
from asgi_gateway.documents import Mark
from asgi_gateway.model import Headers, Protocol
from asgi_gateway.services.authorization import Authorization
from asgi_gateway.services.backend import Backend
from asgi_gateway.services.origins import OriginRules
from asgi_gateway.sessions.tokens import TokenIssuer

__all__ = ["Listener", "Mount", "Service", "Ticket"]


@dataclass(frozen=True, slots=True)
class Mount:
    """One place where a service accepts requests.

    Args:
        path: the prefix, without a slash at its end; empty for every path.
        protocols: ``http``, ``websocket`` or both.
        host: what the Host header must say, in lower case: ``name``, ``name:port``, or ``name:*`` for any port; None
            if the Host header does not matter.
        port: the local port on which requests come in, which no client chooses; None for every port.
    """

    path: str
    protocols: frozenset[Protocol] = frozenset(("http", "websocket"))
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A place where ``asgi-gateway run`` listens, from an accept URL or its ``*.bind`` option.

    Args:
        host: the host or address to bind; ``@name`` for the addresses of a network interface.
        port: the port.
        tls: whether connections are encrypted.
        names: the hosts of the accept URLs that lead here, for certificates.
        option: the accept option that names the address, or would name another, such as ``http.bind``.
        services: the names of the services that accept requests here.
        accept: the accept URL of the first one, for messages.
        mark: the position of the accept URL in the file, for messages.
    """

    host: str
    port: int
    tls: bool
    _: KW_ONLY
    names: tuple[str, ...] = ()
    option: str = ""
    services: tuple[str, ...] = ()
    accept: str = ""
    mark: Mark = field(default=Mark(), repr=False, compare=False)


@dataclass(frozen=True, eq=False, slots=True)
class Service:
    """A part of the application, or a back end, and who may use it. Without realms it is public.

    Args:
        name: for logs and the application.
        mounts: where it accepts requests.
        realms: all of them must succeed, in order.
        authorization: the roles that a subject must hold.
        origins: which pages of other sites may use it.
        ticket: how a login is traded for a ticket to the service; None where it is not.
        refusal: why every request to the service is refused; empty for a service that is served.
        same_user: whether all realms must authenticate the same user.
        allow_encoded_slash: whether a segment of its paths may hold a slash that was sent as ``%2F``.
        backend: what answers its requests; None for the wrapped application.
    """

    name: str
    mounts: tuple[Mount, ...]
    realms: tuple[Realm, ...] = ()
    authorization: Authorization = field(default_factory=Authorization)
    origins: OriginRules = field(default_factory=OriginRules)
    ticket: Ticket | None = field(default=None, kw_only=True)
    refusal: str = field(default="", kw_only=True)
    same_user: bool = field(default=True, kw_only=True)
    allow_encoded_slash: bool = field(default=False, kw_only=True)
    backend: Backend | None = field(default=None, kw_only=True)

    @property
    def credential_headers(self) -> frozenset[bytes]:
        """The names, in lower case, of the headers besides Authorization that its realms read credentials from."""
        return frozenset(name.lower().encode("latin-1") for realm in self.realms for name in realm.reader.headers)

    @property
    def cache_headers(self) -> Headers:
        """Headers that keep caches from sharing a response that credentials opened (RFC 9111 section 3.5).

        Caches know of Authorization by themselves. They know nothing of a cookie, a query parameter or another header
        that carries credentials.
        """
        cookies = any(realm.sessions is not None or realm.reader.cookies for realm in self.realms)
        names = [b"Cookie"] if cookies else []
        names += sorted({name.encode("latin-1") for realm in self.realms for name in realm.reader.headers})
        elsewhere = any(not realm.reader.authorization_only for realm in self.realms)
        if not names and not elsewhere:
            return ()
        vary: Headers = ((b"vary", b", ".join(names)),) if names else ()
        return ((b"cache-control", b"no-store"), *vary)


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
