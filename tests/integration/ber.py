"""LDAP messages as bytes (RFC 4511, X.690), for servers that a test plays itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping

SEARCH, BIND, EXTENDED = 0x63, 0x60, 0x77
_ENTRY, _DONE = 0x64, 0x65


def element(tag: int, *parts: bytes) -> bytes:
    """One element of BER, with a long length as libldap writes it."""
    content = b"".join(parts)
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def elements(content: bytes) -> list[tuple[int, bytes]]:
    """The elements in the content of another one, each with its tag."""
    found, position = [], 0
    while position < len(content):
        tag, size, start = content[position], content[position + 1], position + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[position + 2 : start], "big")
        found.append((tag, content[start : start + size]))
        position = start + size
    return found


def message(number: bytes, operation: int, *parts: bytes) -> bytes:
    """An LDAPMessage (RFC 4511 section 4.1.1)."""
    return element(0x30, number, element(operation, *parts))


def result(number: bytes, operation: int, code: int = 0, diagnostic: str = "") -> bytes:
    """The end of an answer: a result code with its diagnostic message."""
    return message(number, operation, b"\x0a\x01" + bytes([code]), b"\x04\x00", element(0x04, diagnostic.encode()))


def done(number: bytes, operation: int) -> bytes:
    """A result that says success."""
    return message(number, operation, b"\x0a\x01\x00\x04\x00\x04\x00")


def entry(number: bytes, name: str, attributes: Mapping[str, list[str]] | None = None) -> bytes:
    """An entry of a search."""
    lists = [
        element(0x30, element(0x04, key.encode()), element(0x31, *(element(0x04, v.encode()) for v in values)))
        for key, values in (attributes or {}).items()
    ]
    return message(number, _ENTRY, element(0x04, name.encode()), element(0x30, *lists))


def search_done(number: bytes) -> bytes:
    """The end of a search."""
    return done(number, _DONE)


def requests(sock: socket.socket) -> Iterator[tuple[bytes, int, bytes]]:
    """Each request's message number as it was sent, operation, and content."""
    pending = b""
    while data := sock.recv(65536):
        pending += data
        while len(pending) > 6:
            start = 2 + (pending[1] & 0x7F if pending[1] & 0x80 else 0)
            size = int.from_bytes(pending[2:start], "big") if start > 2 else pending[1]
            if len(pending) < start + size:
                break
            content, pending = pending[start : start + size], pending[start + size :]
            end = 2 + content[1]
            yield content[:end], content[end], content[end:]
