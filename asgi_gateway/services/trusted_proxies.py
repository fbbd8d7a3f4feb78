"""Tell which peers are proxies whose headers about the client count: ``security/trusted-proxies``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["TrustedProxies", "parse_trusted_proxy"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: str | None) -> bool:
        """Return whether a peer is listed.

        Args:
            address: the peer's address; None or empty for a peer of a Unix socket.
        """
        if not address:
            return self._unix
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)
