"""Match host names with certificates."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["host_names", "is_for_servers", "matches_hostname"]


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses of a certificate's subjectAltName; empty if it has none.

    The subject's common name does not count: no current client accepts it (RFC 9525 section 2).
    """
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):  # ValueError: a malformed extension
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def is_for_servers(certificate: x509.Certificate) -> bool:
    """Return whether a certificate names TLS servers as its purpose, or no purpose (RFC 5280 section 4.2.1.12)."""
    from cryptography import x509

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except (x509.DuplicateExtension, ValueError):  # ValueError: a malformed extension
        return False
    purposes = x509.ExtendedKeyUsageOID
    return purposes.SERVER_AUTH in usage or purposes.ANY_EXTENDED_KEY_USAGE in usage


def matches_hostname(pattern: str, host: str) -> bool:
    """Return whether a name from a certificate covers a host name or an IP address (RFC 6125 section 6.4).

    Args:
        pattern: a DNS name, an IP address, or ``*.`` and a domain of at least two labels. The star stands for exactly
            one label; stars elsewhere cover nothing.
        host: a DNS name, with U-labels or A-labels, or an IP address with or without brackets.
    """
    host, pattern = _normal(host), _normal(pattern)
    if pattern == host:
        return "*" not in host
    if not pattern.startswith("*.") or _is_address(host):
        return False
    domain = pattern[2:]
    label, _, rest = host.partition(".")
    return bool(label) and "." in domain and "*" not in domain and rest == domain


def _normal(name: str) -> str:
    name = name.strip("[]").removesuffix(".").lower()
    if _is_address(name):
        return str(ipaddress.ip_address(name))
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:  # an invalid host name, which equals no other
        return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
