"""Tell which peers are proxies whose headers about the client count: ``security/trusted-proxies``.

This is the one place that reads ``X-Forwarded-For`` and ``X-Forwarded-Proto``. ``PeerSettler.settle`` runs before
anything else looks at a request: from then on the scope's ``client`` and ``scheme`` are the client's. Who really opened
the connection is kept at ``PEER_KEY`` of a scope that was changed; ``real_peer`` returns it, and
``TrustedProxies.trusts_peer`` says whether it is a listed proxy.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from asgi_gateway._runtime.bounded_cache import BoundedCache
from asgi_gateway.services.rewriting_servers import rewriting_server

__all__ = ["PEER_KEY", "PeerSettler", "TrustedProxies", "parse_trusted_proxy", "real_peer"]

logger = logging.getLogger("asgi_gateway.trusted_proxies")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Scope = MutableMapping[str, Any]

PEER_KEY = "asgi_gateway.peer"
"""The key of a settled scope that holds the peer of the connection as ``scope["client"]`` was; None for a peer of a
Unix socket. A scope without the key was not changed: its ``client`` is the peer. Where the server put another address
in the peer's place, the port is 0, and the peer is not trusted."""
_KNOWN_PEERS = 1024
_SECURE = {"http": False, "https": True, "ws": False, "wss": True}
_SCHEMES = {"http": ("http", "https"), "websocket": ("ws", "wss")}
_UNIX_PEERS = ("unix:", "unix")
"""How nginx and others write a peer of a Unix socket in X-Forwarded-For."""
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w-]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


def parse_trusted_proxy(text: str) -> _Network | None:
    """Return the network of an address or a network in CIDR notation; None for ``unix``, peers of a Unix socket.

    Raises:
        ValueError: the text is neither. Text after ``"; "`` is a hint.
    """
    if text == "unix":
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("neither an address nor a network; write 10.0.0.5, 10.0.0.0/8, ::1 or unix") from None


def real_peer(scope: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the address and port of the connection's peer, whatever its headers say; None for a Unix socket.

    Args:
        scope: an ASGI scope, settled or not.
    """
    peer = scope[PEER_KEY] if PEER_KEY in scope else scope.get("client")
    return None if peer is None else (peer[0], peer[1])


class TrustedProxies:
    """The peers whose headers about the client count. An empty list trusts nobody.

    Args:
        entries: addresses, networks in CIDR notation, or ``unix`` for peers of a Unix socket.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        found = [parse_trusted_proxy(entry) for entry in entries]
        self._networks = [network for network in found if network is not None]
        self._unix = None in found
        self._known: BoundedCache[str, bool] = BoundedCache(_KNOWN_PEERS)

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: str | None) -> bool:
        """Return whether a peer is listed.

        Args:
            address: the peer's address; None or empty for a peer of a Unix socket.
        """
        if not address:
            return self._unix
        known = self._known.get(address)
        if known is None:
            parsed = _parsed(address)
            known = parsed is not None and self._lists(parsed)
            self._known.put(address, known)
        return known

    def trusts_peer(self, scope: Mapping[str, Any]) -> bool:
        """Return whether the peer of a request's connection is listed.

        Port 0 is no peer's: some servers give it to an address that they took from a header.

        Args:
            scope: the ASGI scope, settled or not.
        """
        peer = real_peer(scope)
        return self.trusts(None) if peer is None else peer[1] != 0 and self.trusts(peer[0])

    def settle(self, scope: Scope) -> Scope:
        """Return the scope with the client's address and scheme, where a listed proxy names them.

        The address is the rightmost entry of X-Forwarded-For that is not a listed proxy; whatever is to the left of it
        was written by a client. The scheme is that of X-Forwarded-Proto, if that occurs once and has one value. All
        other headers are ignored. The client's port is 0: nobody knows it.

        Args:
            scope: an ASGI scope of any type. It is not changed.
        """
        names = _SCHEMES.get(scope["type"])
        if names is None or not self.trusts_peer(scope):
            return scope
        forwarded, protocols = [], []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded.append(value)
            elif name == b"x-forwarded-proto":
                protocols.append(value)
        changes: dict[str, Any] = {}
        if forwarded and (address := self.client_address(b",".join(forwarded))) is not None:
            changes["client"] = (address, 0)
        if len(protocols) == 1:
            secure = _SECURE.get(protocols[0].decode("latin-1").strip(" \t").lower())
            if secure is not None:
                changes["scheme"] = names[secure]
        return {**scope, **changes, PEER_KEY: real_peer(scope)} if changes else scope

    def client_address(self, forwarded: bytes) -> str | None:
        """Return the rightmost address of X-Forwarded-For that is not a listed proxy's.

        An entry that is not an address ends the search: what is to the left of it may be the client's own.

        Args:
            forwarded: the header's lines, joined with commas.

        Returns:
            the address in its usual form; the last proxy's if no entry further to the left is an address; None if
            there is none at all.
        """
        found: str | None = None
        for entry in reversed(forwarded.decode("latin-1").split(",")):
            text = entry.strip(" \t")
            if not text or (self._unix and text in _UNIX_PEERS):  # empty elements do not count (RFC 9110 section 5.6.1)
                continue
            match = _WITH_PORT.fullmatch(text)
            parsed = _parsed(text if match is None else match["v6"] or match["v4"])
            if parsed is None:
                break
            found = str(parsed)
            if not self._lists(parsed):
                break
        return found

    def _lists(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


class PeerSettler:
    """Settles the client's address and scheme of each scope, unless the server has put them in place before.

    Args:
        trusted: the proxies whose headers count.
    """

    def __init__(self, trusted: TrustedProxies) -> None:
        self._trusted = trusted
        self._looked = self._rewritten = False

    def settle(self, scope: Scope) -> Scope:
        """Return the scope as ``TrustedProxies.settle`` does; one whose peer counts as unknown if the server rewrites.

        Called on the server's own call stack, with the scope of the lifespan too, so that the server's middleware can
        be seen. It is looked for once in the lifespan and once in a request.

        Args:
            scope: an ASGI scope of any type. It is not changed.
        """
        if not self._looked:
            self._look(requests=scope["type"] != "lifespan")
        if not self._rewritten or scope["type"] == "lifespan":
            return self._trusted.settle(scope)
        client = scope.get("client")
        return {**scope, PEER_KEY: (client[0] if client else "unknown", 0)}

    def _look(self, *, requests: bool) -> None:
        found = rewriting_server()
        self._looked = requests or found is not None
        if found is not None:
            self._rewritten = True
            logger.warning(
                "%s replaces the address of the peer, which trusted-proxies needs: no proxy is believed, and"
                " forward-auth refuses all (hint: %s)",
                *found,
            )


def _parsed(text: str) -> _Address | None:
    """Return an address without its zone; an IPv4 address that is mapped into IPv6 as what it is."""
    try:
        parsed = ipaddress.ip_address(text)
        if isinstance(parsed, ipaddress.IPv4Address):
            return parsed
        return parsed.ipv4_mapped or ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
