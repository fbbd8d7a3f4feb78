"""Read LDAP URLs as the JDK's login modules take them: ``ldap[s]://host[:port]/base-dn``, separated by spaces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

__all__ = ["Address", "DirectoryURL", "Security", "domain_of", "parse_urls"]

Security = str
"""``tls`` from the first byte, ``starttls``, or ``plain``."""

_LAST_DC = re.compile(r"(?:^|(?<!\\),)\s*dc\s*=\s*([A-Za-z0-9_-]+)\s*$", re.IGNORECASE)
_BEFORE_AT = re.compile(r"^([A-Za-z]+:/*)?.*@", re.DOTALL)
_PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of one server, and the TLS to use with it.

    Args:
        host: name or IP address, without brackets.
        port: TCP port.
        security: ``tls``, ``starttls`` or ``plain``.
    """

    host: str
    port: int
    security: Security

    @property
    def uri(self) -> str:
        """The URL for libldap; ``ldaps`` means TLS from the first byte, on any port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ldaps' if self.security == 'tls' else 'ldap'}://{host}:{self.port}"

    def __str__(self) -> str:
        return self.uri + (" (StartTLS)" if self.security == "starttls" else "")


@dataclass(frozen=True, slots=True)
class DirectoryURL:
    """The parts of an LDAP URL (RFC 4516) that a login module uses.

    Args:
        secure: the scheme is ``ldaps``.
        host: host name or IP address; None looks up the domain's servers in the DNS.
        port: TCP port.
        base: the distinguished name below which entries are searched.
    """

    secure: bool
    host: str | None
    port: int
    base: str

    def security(self, use_ssl: bool | None) -> Security:
        """Return the TLS to use, given the ``useSSL`` option: None means StartTLS on ``ldap://``."""
        if self.secure or use_ssl:
            return "tls"
        return "starttls" if use_ssl is None else "plain"


def parse_urls(text: str) -> tuple[DirectoryURL, ...]:
    """Read space-separated LDAP URLs; percent-encoding in the DN is undone.

    Raises:
        ValueError: there is none, or one of them is invalid.
    """
    urls = tuple(_parse(word) for word in text.split())
    if not urls:
        raise ValueError("the URL is missing; write one such as ldap://ldap.example.com/ou=people,dc=example,dc=com")
    return urls


def _parse(text: str) -> DirectoryURL:
    scheme, separator, _ = text.partition("://")
    shown = redacted(text)
    if not separator or scheme.lower() not in _PORTS:
        raise ValueError(
            f"{shown!r} is not an LDAP URL: it must begin with ldap:// or ldaps:// (spaces in a DN are %20)"
        )
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"the URL of {parts.hostname or 'a directory'} may only hold scheme, host, port and base DN")
    try:
        port = parts.port or _PORTS[scheme.lower()]
        base = unquote_to_bytes(parts.path[1:]).decode()
    except ValueError as error:
        raise ValueError(f"{shown!r} is not an LDAP URL: {redacted(str(error))}") from None
    if not parts.hostname and not domain_of(base):
        raise ValueError(f"{shown!r} has no host, and its DN no domain (dc=…) to look up in the DNS")
    return DirectoryURL(scheme.lower() == "ldaps", parts.hostname or None, port, base)


def redacted(text: str) -> str:
    """Return a text without what precedes an ``@``, which may be a password, and without a query."""
    return _BEFORE_AT.sub(r"\1***@", text.partition("?")[0])


def domain_of(base: str) -> str:
    """Return the DNS domain of a DN's trailing ``dc`` parts (RFC 2247); empty without any."""
    labels: list[str] = []
    while match := _LAST_DC.search(base):
        labels.insert(0, match[1])
        base = base[: match.start()]
    return ".".join(labels)
