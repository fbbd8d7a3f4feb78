"""Define what a service says of its back ends."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.services.trusted_proxies import TrustedProxies

__all__ = ["CredentialNames", "IdentityHeaders", "ProxySettings", "Rewriting", "Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a back end may take, in seconds.

    Args:
        connect: until the connection stands, its TLS handshake included.
        response: from the end of the request to the head of the response.
        idle: between two pieces of a body, or without a byte in a tunnel.
    """

    connect: float = 10.0
    response: float = 60.0
    idle: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialNames:
    """Where a service's realms read credentials, so that they can be taken out of what a back end gets.

    Args:
        authorization: whether the Authorization header holds them: False on a public service.
        headers: names of headers, in lower case.
        parameters: names of query parameters.
        cookies: names of cookies.
        subprotocols: names of WebSocket subprotocols, as in ``bearer.<token>``.
        session_cookie: what the names of the gateway's own cookies begin with, without ``__Host-`` or ``__Secure-``.
        is_ticket: whether a credential is a ticket of the gateway's, which no back end gets; None where there are none.
    """

    authorization: bool = True
    headers: frozenset[bytes] = frozenset()
    parameters: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()
    subprotocols: frozenset[str] = frozenset()
    session_cookie: str = ""
    is_ticket: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHeaders:
    """The headers that tell a back end who the user is.

    Args:
        names: the header's name by the kind of principal: ``user``, ``roles``, ``groups``, or the name of a class of
            principals without ``Principal``, in lower case.
    """

    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """What is rewritten in responses, where the back end's address would show.

    Args:
        location: Location and Content-Location.
        cookie_path: the Path of Set-Cookie.
        cookie_domain: the Domain of Set-Cookie.
    """

    location: bool = True
    cookie_path: bool = True
    cookie_domain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """What a service says of its back ends.

    Args:
        service: the service's name.
        accepts: the paths of its accept URLs, decoded, without a slash at their end; empty for every path.
        connects: its back ends.
        public: whether it has no realm.
        credentials: where its realms read credentials.
        pass_credentials: whether the back end gets the client's credentials.
        preserve_host: whether the back end gets the client's Host header instead of its own address.
        origin: what becomes of the Origin header: ``preserve``, ``rewrite`` to the back end's, ``remove``.
        forwarded: what becomes of X-Forwarded-* and Forwarded. ``inject``: the gateway writes them. ``ignore``: those
            of trusted proxies pass, and nothing is written. ``exclude``: the back end gets none.
        trusted_proxies: the peers whose X-Forwarded-* and Forwarded are passed on.
        identity: the headers that name the user.
        rewriting: what is rewritten in responses.
        timeouts: how long a back end may take.
        max_body: the longest request body, in bytes; None for any length.
        max_connections: the most connections to one back end.
        tls: for connections to ``https``, ``wss`` and ``tls`` back ends; None where there are none.
        text: whether a TCP back end's bytes become text messages.
    """

    service: str
    accepts: tuple[str, ...]
    connects: tuple[ConnectURL, ...]
    public: bool
    credentials: CredentialNames = field(default_factory=CredentialNames)
    pass_credentials: bool = False
    preserve_host: bool = False
    origin: Literal["preserve", "rewrite", "remove"] = "preserve"
    forwarded: Literal["inject", "ignore", "exclude"] = "inject"
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    identity: IdentityHeaders = field(default_factory=IdentityHeaders)
    rewriting: Rewriting = field(default_factory=Rewriting)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_body: int | None = None
    max_connections: int = 100
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    text: bool = False
