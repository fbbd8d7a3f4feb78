"""Parse the origins of ``allow-origin`` into what browsers send (RFC 6454 section 6.2, WHATWG URL)."""

from __future__ import annotations

import ipaddress
import re

__all__ = ["origin_list", "parse_origin"]

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:@\[\]]+)(?::([0-9]{1,5}))?")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBERS = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_ORIGIN = {"ws": "http", "wss": "https"}
_OPAQUE = ("about", "blob", "data", "file", "filesystem", "ftp", "javascript")
_MESSAGE = "no browser sends such an origin"


def origin_list(text: str) -> list[str]:
    """Return the origins of a list that is separated by commas or white space, as they were written."""
    return text.replace(",", " ").split()


def parse_origin(text: str) -> str:
    """Return an origin in the form in which browsers send it.

    Letters are lower case, the scheme's own port is left out, IPv6 addresses are in their short form, and one slash at
    the end is removed.

    Args:
        text: such as ``https://app.example.com``; ``*`` stays as it is.

    Raises:
        ValueError: no browser sends such an origin. Text after ``"; "`` is a hint.
    """
    if text == "*":
        return text
    if text.lower() == "null":
        raise ValueError("the origin null stands for any sandboxed or local page; name an origin, or *")
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        hint = "write * for every origin" if "*" in text else "write scheme://host or scheme://host:port, or *"
        raise ValueError(f"{_MESSAGE}; {hint}")
    scheme, authority, rest = match.groups()
    if scheme in _NO_ORIGIN:
        raise ValueError(f"{_MESSAGE}; write {_NO_ORIGIN[scheme]}:// for the page that opens a WebSocket")
    if scheme in _OPAQUE:
        raise ValueError(f"{_MESSAGE}: pages of {scheme} URLs have the origin null; name an origin, or *")
    if rest not in ("", "/"):
        raise ValueError(f"{_MESSAGE}: an origin has no path; write scheme://host or scheme://host:port, or *")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError(f"{_MESSAGE}; write scheme://host or scheme://host:port, or *")
    host, port = _host(parts[1]), None if parts[2] is None else int(parts[2])
    if port is not None and not 0 < port < 65536:
        raise ValueError("port must be 1-65535")
    suffix = "" if port is None or port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{host}{suffix}"


def _host(host: str) -> str:
    if "*" in host:
        raise ValueError(f"{_MESSAGE}: wildcards in a host are not supported; list each origin, or write * for all")
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        if _NUMBERS.fullmatch(host):  # browsers read a host that ends in a number as an IPv4 address
            return str(ipaddress.IPv4Address(host.removesuffix(".")))
    except ValueError:
        raise ValueError(f"{_MESSAGE}: invalid IP address; write it in its usual form") from None
    if not host.isascii():
        raise ValueError(f"{_MESSAGE}: browsers send international names in ASCII; write {_ascii_name(host)}")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{_MESSAGE}: invalid host name; write scheme://host or scheme://host:port, or *")
    return host


def _ascii_name(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return "the name that begins with xn--"
