"""URLs as the client needs them: the origin, the credentials in them, and whether others can read what is sent."""

from __future__ import annotations

import ipaddress
import logging
from typing import TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from asgi_gateway.http.headers import basic_value

__all__ = ["Origin", "is_confidential", "origin", "url_credentials", "without_credentials"]

logger = logging.getLogger("asgi_gateway.client")

_DEFAULT_PORTS = {"http": 80, "https": 443}

Origin: TypeAlias = tuple[str, str, int | None]


def origin(location: str) -> Origin:
    """Return scheme (ws counts as http), host and port of a URL."""
    parts = urlsplit(location)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(scheme)


def without_credentials(location: str) -> str:
    """Return a URL without the user name and password in it, so that a library does not send them by itself."""
    parts = urlsplit(location)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def url_credentials(location: str) -> str | None:
    """Return the Basic credentials in a URL as an Authorization value; None where there are none.

    They are left out, with a warning, where others could read them on the way.

    Raises:
        HeaderError: Basic cannot carry them.
    """
    parts = urlsplit(location)
    if not parts.username and not parts.password:
        return None
    if not is_confidential(location):
        logger.warning("the credentials in the URL are not sent to %s without TLS", parts.hostname)
        return None
    return basic_value(unquote(parts.username or ""), unquote(parts.password or ""))


def is_confidential(location: str) -> bool:
    """Return whether only the server can read what is sent to a URL: over TLS, or to this machine itself."""
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
