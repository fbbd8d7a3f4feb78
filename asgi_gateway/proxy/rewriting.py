"""Pass the headers of back ends' responses on: nothing of the connection, of the back end's address, or of the gateway.

Location, Content-Location and the Path and Domain of Set-Cookie are translated back: what the back end says of its own
address and path is said of the service's path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from asgi_gateway.proxy.connect import ConnectURL
from asgi_gateway.proxy.mapping import MappedPath
from asgi_gateway.proxy.outgoing import VIA_NAME, own_cookie_pattern
from asgi_gateway.proxy.settings import ProxySettings

__all__ = ["InvalidResponse", "ResponseHeaders"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REFERENCE = re.compile(
    r"(?:(?P<scheme>https?):)?//(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^:@\[\]]+)(?::(?P<port>[0-9]*))?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DROPPED = frozenset(
    (
        b"alt-svc",  # leads clients past the gateway
        b"date",  # the server writes its own
        b"gateway-socket",
        b"keep-alive",
        b"sec-challenge-identity",
        b"server",
        b"te",
        b"trailer",
        b"upgrade",
    )
)
_SPECIAL = frozenset((b"connection", b"location", b"content-location", b"set-cookie", b"via"))
_PLAIN_CONNECTION = frozenset((b"close", b"keep-alive", b"upgrade", b""))
_KEPT_ALTHOUGH_LISTED = frozenset((b"content-length", b"set-cookie", b"cache-control", b"via"))
_WITHOUT_LENGTH = (204, 304)
_KNOWN_NAMES = 2000
_OWN_VIA = (b"via", b"1.1 " + VIA_NAME)
_FRAMES = frozenset((b"content-length", b"transfer-encoding"))
_KEEP, _CHANGE, _DROP, _FRAMING = range(4)


class InvalidResponse(Exception):
    """The back end's response cannot be passed on."""


@dataclass(frozen=True, slots=True)
class _Context:
    connect: ConnectURL
    mapped: MappedPath
    host: str


class ResponseHeaders:
    """Writes the headers of responses for the clients of one service.

    Args:
        settings: what the service says of its back ends.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self._rewriting = settings.rewriting
        self._addresses = {(_host(each.host), each.port or _DEFAULT_PORTS["http"]) for each in settings.connects}
        self._domains = tuple(each.host for each in settings.connects if each.unix is None)
        self._preserves_host = settings.preserve_host
        self._own_cookie = own_cookie_pattern(settings.credentials.session_cookie)
        self._names: dict[bytes, tuple[bytes, int]] = {}

    def write(
        self,
        received: Sequence[tuple[bytes, bytes]],
        status: int,
        connect: ConnectURL,
        mapped: MappedPath,
        host: str = "",
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers for the client, names in lower case.

        Args:
            received: the back end's headers.
            status: the status.
            connect: the back end.
            mapped: the request's path.
            host: the client's Host header.

        Raises:
            InvalidResponse: a header is malformed, or the length is not one number.
        """
        written: list[tuple[bytes, bytes]] = []
        special: list[tuple[bytes, bytes]] = []
        framing: list[tuple[bytes, bytes]] = []
        if _BAD_VALUE.search(b"".join([value for _, value in received])):
            raise InvalidResponse("a header has a control character")
        for raw_name, value in received:
            name, rule = self._names.get(raw_name) or self._learn(raw_name)
            if rule == _KEEP:
                written.append((name, value))
            elif rule == _CHANGE:
                special.append((name, value))
            elif rule == _FRAMING:
                framing.append((name, value))
        if framing:
            written += _length(framing, status)
        if not special:
            written.append(_OWN_VIA)
            return written
        context = _Context(connect, mapped, host)
        special.sort(key=_is_connection)
        while special and _is_connection(special[-1]):
            written = _without_listed(written, special.pop()[1])
        via = [value for name, value in special if name == b"via"]
        written += [header for header in (self._changed(each, context) for each in special) if header]
        written.append((b"via", b", ".join([*via, b"1.1 " + VIA_NAME])))
        return written

    def _learn(self, raw_name: bytes) -> tuple[bytes, int]:
        name = raw_name.lower()
        if _TOKEN.fullmatch(name) is None:
            raise InvalidResponse("a header's name is invalid")
        dropped = name in _DROPPED or name.startswith(b"proxy-")
        rule = _DROP if dropped else _CHANGE if name in _SPECIAL else _KEEP
        rule = _FRAMING if name in _FRAMES else rule
        if len(self._names) >= _KNOWN_NAMES:
            self._names.clear()
        return self._names.setdefault(raw_name, (name, rule))

    def _changed(self, header: tuple[bytes, bytes], context: _Context) -> tuple[bytes, bytes] | None:
        """Return a header that may hold the back end's address as the client gets it; None to leave it out."""
        name, value = header
        if name == b"set-cookie":
            cookie = self._cookie(value, context.connect, context.mapped)
            return None if cookie is None else (name, cookie)
        if name == b"via" or not self._rewriting.location:
            return None if name == b"via" else header
        location = self.location(value.decode("latin-1"), context.connect, context.mapped, context.host)
        return name, location.encode("latin-1")

    def location(self, reference: str, connect: ConnectURL, mapped: MappedPath, host: str = "") -> str:
        """Return a reference to the back end as one to the service; any other reference as it is.

        Args:
            reference: a URL or a path.
            connect: the back end.
            mapped: the request's path.
            host: the client's Host header, which names the back end too where it is passed on.
        """
        path, rest = reference, ""
        if (match := _REFERENCE.fullmatch(reference)) is not None:
            scheme = (match["scheme"] or ("https" if connect.tls else "http")).lower()
            if not self._is_backend(match["authority"], scheme, host):
                return reference
            path, rest = match["path"] or "/", match["rest"]
        elif not reference.startswith("/"):
            return reference
        else:
            end = min((at for at in (path.find("?"), path.find("#")) if at >= 0), default=len(path))
            path, rest = path[:end], path[end:]
        below = _below(path, connect.path)
        if below is None:
            return path + rest
        # two slashes in front would be read as a host
        return ("/" + f"{mapped.prefix}{below}".lstrip("/")) + rest

    def _is_backend(self, authority: str, scheme: str, host: str) -> bool:
        found = _address(authority, scheme)
        if found is None:
            return False
        return found in self._addresses or (self._preserves_host and bool(host) and found == _address(host, scheme))

    def _cookie(self, value: bytes, connect: ConnectURL, mapped: MappedPath) -> bytes | None:
        """Return a Set-Cookie for the client; None for a cookie of the gateway's name."""
        pair, *attributes = value.split(b";")
        # browsers send a cookie without a name as its value alone, which servers read as name and value (RFC 6265bis)
        name = pair.strip(b" \t").lstrip(b"= \t").partition(b"=")[0].strip(b" \t")
        if self._own_cookie is not None and self._own_cookie.fullmatch(name):
            return None
        changed = [pair]
        for attribute in attributes:
            key, _, text = attribute.partition(b"=")
            kind = key.strip(b" \t").lower()
            if kind == b"domain" and self._rewriting.cookie_domain and self._is_domain(text):
                continue
            if kind == b"path" and self._rewriting.cookie_path and not name.lower().startswith(b"__host-"):
                path = self._cookie_path(text.strip(b" \t").decode("latin-1"), connect, mapped)
                attribute = key + b"=" + path.encode("latin-1")
            changed.append(attribute)
        return b";".join(changed)

    def _is_domain(self, text: bytes) -> bool:
        domain = text.strip(b" \t").decode("latin-1").lower().lstrip(".")
        return any(host == domain or host.endswith(f".{domain}") for host in self._domains) and bool(domain)

    @staticmethod
    def _cookie_path(path: str, connect: ConnectURL, mapped: MappedPath) -> str:
        below = _below(path, connect.path)
        if below is not None:
            return f"{mapped.prefix}{'' if below == '/' else below}" or "/"
        if _below(connect.path or "/", path.rstrip("/")) is not None:  # the cookie is for more than the service
            return mapped.prefix or "/"
        return path


def _is_connection(header: tuple[bytes, bytes]) -> bool:
    return header[0] == b"connection"


def _length(framing: list[tuple[bytes, bytes]], status: int) -> list[tuple[bytes, bytes]]:
    """Return the header of the body's length, if the response has a body and states its length."""
    name, value = framing[0]
    if name == b"transfer-encoding":
        if len(framing) > 1 or value.lower() != b"chunked":
            raise InvalidResponse("transfer-encoding beside content-length, or another one than chunked")
        return []
    if len(framing) > 1 or not value.isdigit():
        raise InvalidResponse("the header content-length is not one number")
    return [] if status in _WITHOUT_LENGTH else [(name, value)]


def _without_listed(written: list[tuple[bytes, bytes]], connection: bytes) -> list[tuple[bytes, bytes]]:
    listed = {option.strip(b" \t").lower() for option in connection.split(b",")} - _PLAIN_CONNECTION
    removed = listed - _KEPT_ALTHOUGH_LISTED
    return [header for header in written if header[0] not in removed] if removed else written


def _below(path: str, root: str) -> str | None:
    """Return what follows a root without a slash at its end in a path; None if the path is not below it."""
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return None


def _host(host: str) -> str:
    return host.strip("[]").lower().rstrip(".")


def _address(authority: str, scheme: str) -> tuple[str, int] | None:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    return _host(match["host"]), int(match["port"] or _DEFAULT_PORTS[scheme])
