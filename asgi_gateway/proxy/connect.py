"""Parse connect URLs: where a back end listens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

__all__ = ["ConnectURL", "parse_connect", "unsupported_scheme"]

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "tcp": 0, "tls": 0}
_TLS = frozenset(("https", "wss", "tls"))
_STREAMS = frozenset(("tcp", "tls"))
_ALIASES = {"ssl": "tls", "tcp+ssl": "tls", "http+ssl": "https", "ws+ssl": "wss"}
# Schemes of the original that lead to back ends of other kinds.
_OTHER = re.compile(r"(agrona|amqps?|httpxe?|jmx|mcp|pipe|rtmp[st]?|snmp|socks|sse|udp|ws[enrx])(s|\+ssl)?")
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^/:\[\]@?#\s\\]*)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#\s]*)?",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectURL:
    """A parsed connect URL.

    Args:
        scheme: ``http``, ``https``, ``ws``, ``wss``, ``tcp`` or ``tls``; of a Unix socket the scheme without ``+unix``.
        host: the host in lower case, an IPv6 address without brackets; ``localhost`` for a Unix socket.
        port: the port; 0 for a Unix socket.
        path: the path as it is sent, percent-encoded, without a slash at its end; empty for the root and for streams.
        unix: the path of the Unix socket, or None.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    unix: str | None = None

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in _TLS

    @property
    def is_stream(self) -> bool:
        """Whether it is a TCP connection without HTTP."""
        return self.scheme in _STREAMS

    @property
    def authority(self) -> str:
        """The host and, unless it is the scheme's default, the port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.unix is not None or self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        where = f"unix:{self.unix}" if self.unix is not None else self.authority
        return f"{self.scheme}://{where}{self.path}"


def unsupported_scheme(text: str) -> str:
    """Return the scheme of a URL, if it is one of KAAZING Gateway's that lead to no back end here; else ""."""
    scheme, separator, _ = text.lower().partition("://")
    return scheme if separator and _OTHER.fullmatch(scheme) else ""


def parse_connect(text: str) -> ConnectURL:
    """Parse a connect URL, such as ``http://host:9000/path``, ``tcp://host:61613`` or ``http+unix://%2Frun%2Fapp.sock/``.

    Args:
        text: the URL. Its schemes are http, https, ws, wss, tcp and tls (``ssl``, ``tcp+ssl``); with ``+unix`` the host
            is the percent-encoded path of a Unix socket; ``unix:///run/app.sock`` is a stream to one.

    Raises:
        ValueError: the text is no such URL. Text after ``"; "`` is a hint.
    """
    match = _URL.fullmatch(text)
    if match is None:
        if "@" in text:
            raise ValueError("a user name or password in a URL is not supported; write it in connect-login")
        raise ValueError("not a URL; write http://host:port/path, ws://host:port/path or tcp://host:port")
    scheme, host, path = match["scheme"].lower(), match["host"].lower(), match["path"] or ""
    if scheme == "unix":
        if host or not path.strip("/"):
            raise ValueError("not the URL of a Unix socket; write unix:///run/app.sock")
        return ConnectURL(scheme="tcp", host="localhost", port=0, unix=unquote(path))
    base, plus, suffix = scheme.partition("+")
    over_unix = suffix == "unix"
    scheme = _ALIASES.get(scheme, base if over_unix or not plus else scheme)
    if scheme not in _PORTS:
        raise ValueError(f"unsupported scheme {scheme}; write an http, https, ws, wss, tcp or tls URL")
    if not host:
        raise ValueError("missing host; write http://host:port/path")
    if not host.isascii():
        raise ValueError("host is not ASCII; write it in its ASCII form, which begins with xn--")
    path = _checked(path, scheme)
    if over_unix:
        return _unix(scheme, match["host"], match["port"], path)
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("missing port; write tcp://host:port" if not match["port"] else "port must be 1-65535")
    return ConnectURL(scheme=scheme, host=host.strip("[]"), port=port, path=path)


def _unix(scheme: str, host: str, port: str | None, path: str) -> ConnectURL:
    socket = unquote(host)
    if not socket.startswith("/") or "\0" in socket or port:
        raise ValueError(f"not the URL of a Unix socket; write {scheme}+unix://%2Frun%2Fapp.sock/path")
    return ConnectURL(scheme=scheme, host="localhost", port=0, path=path, unix=socket)


def _checked(path: str, scheme: str) -> str:
    path = path.rstrip("/")
    if path and scheme in _STREAMS:
        raise ValueError(f"a {scheme} URL has no path; write {scheme}://host:port")
    if not _PATH.fullmatch(path) or _DOTS.search(path) or "//" in path:
        raise ValueError("invalid path; write it percent-encoded, without dot segments or //")
    return path
