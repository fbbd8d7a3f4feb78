"""HTTP/1.1 heads that travel inside WebSocket messages: what both ends of the extended handshake read and write.

A message holds one complete head, so that nothing is buffered and no end is guessed. Reading is strict and linear:
lines end in CR LF, names are tokens, values hold no control characters, and everything has a bound. Source: RFC 9112.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from asgi_gateway.errors import HeaderError

__all__ = [
    "HANDSHAKE_PROTOCOL",
    "MARKER",
    "MAX_HEADERS",
    "NO_REDIRECT",
    "RequestHead",
    "ResponseHead",
    "format_request",
    "format_response",
    "parse_request",
    "parse_response",
]

HANDSHAKE_PROTOCOL = "x-kaazing-handshake"
MARKER = b"\xef\x83\xbf"
"""U+F0FF, which begins a control message of the connection."""
NO_REDIRECT = MARKER + b"N"
"""The control message for "no redirect"; ``R`` and a URL in place of ``N`` redirect the client."""
MAX_HEADERS = 64
"""The most header lines that one head may have."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])(?: [\t -~\x80-\xff]*+)?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+((?:[!-~\x80-\xff]|[ \t]++(?=[!-~\x80-\xff]))*+)[ \t]*+")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A frozen request head.

    Args:
        method: in upper case.
        target: path and query as they were sent.
        headers: names in lower case.
    """

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of every line of one name, given in lower case."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A frozen response: status, headers (names in lower case) and body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)


def parse_request(message: bytes) -> RequestHead:
    """Read a request head that fills the message.

    Raises:
        HeaderError: it is malformed, has too many headers, or something follows it.
    """
    line, headers, body = _split(message)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or body:
        raise HeaderError("a message of the extended handshake is not an HTTP/1.1 request head")
    return RequestHead(match[1].decode(), match[2], headers)


def parse_response(message: bytes) -> ResponseHead:
    """Read a response: its head, and as its body all that follows.

    Raises:
        HeaderError: the head is malformed or has too many headers.
    """
    line, headers, body = _split(message)
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise HeaderError("a message of the extended handshake is not an HTTP/1.1 response")
    return ResponseHead(int(match[1]), headers, body)


def format_request(target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return a ``GET`` request's head.

    Raises:
        HeaderError: a name or value would break the head apart.
    """
    return _format(f"GET {target} HTTP/1.1".encode("ascii"), ((n.encode(), v.encode("latin-1")) for n, v in headers))


def format_response(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """Return a response: head and body in one message.

    Raises:
        HeaderError: a name or value would break the head apart.
    """
    return _format(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), headers) + body


def _split(message: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    head, end, body = message.partition(b"\r\n\r\n")
    if not end:
        raise HeaderError("a message of the extended handshake has no complete HTTP head")
    first, *lines = head.split(b"\r\n", MAX_HEADERS + 1)
    if len(lines) > MAX_HEADERS:
        raise HeaderError(f"a message of the extended handshake has more than {MAX_HEADERS} headers")
    return first, tuple(_read_header(line) for line in lines), body


def _read_header(line: bytes) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise HeaderError("a message of the extended handshake has a malformed header")
    return match[1].lower(), match[2]


def _format(line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [line]
    for name, value in headers:
        if _HEADER.fullmatch(written := name + b": " + value) is None:
            raise HeaderError(f"the header {name!r} cannot be written")
        lines.append(written)
    return b"\r\n".join([*lines, b"", b""])
