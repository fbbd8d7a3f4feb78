"""What the client asks of a URL: its origin, and whether what is sent there can be read on the way."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["Origin", "is_confidential", "origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin: TypeAlias = tuple[str, str, int | None]


def origin(location: str) -> Origin:
    """Scheme (ws counts as http), host and port of a URL."""
    parts = urlsplit(location)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(scheme)


def is_confidential(location: str) -> bool:
    """Whether what is sent there can be read by nobody on the way: TLS, or this machine itself."""
    parts = urlsplit(location)
    if parts.scheme in ("https", "wss"):
        return True
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
