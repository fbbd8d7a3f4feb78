"""The JavaScript and Java clients of KAAZING, played byte by byte: what they send, and what they insist on.

Both open a WebSocket with the subprotocol ``x-kaazing-handshake``, wait for the marker, and hold an HTTP login in its
first messages. What differs:

- the JavaScript client lives in a browser, which sends the page's origin and checks the handshake as RFC 6455 says. Its
  requests are text, and name the application's subprotocols.
- the Java client asks for cookies over HTTP first. Its origin is ``privileged://`` with the host and port it connects
  to. It compares the status line and some headers of the handshake letter by letter. Its requests are binary, and name
  no subprotocols.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.integration.servers import basic

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

Passwords = Callable[[str], str | None]
"""Returns the credentials ``user:password`` for a challenge; None gives up."""


class ClientError(Exception):
    """The client does not connect, as the original would not."""


@dataclass(kw_only=True)
class KaazingClient(ABC):
    """What both clients have in common.

    Args:
        port: the port of the server.
        path: the path of the WebSocket, with its query.
        passwords: the client's challenge handler.
        subprotocols: what the application names.
        host: the host that the URL names; the connection goes to the loopback in any case.
    """

    port: int
    path: str
    passwords: Passwords
    subprotocols: Sequence[str] = ()
    host: str = "127.0.0.1"
    challenges: list[str] = field(default_factory=list)
    subprotocol: str = ""
    close_code: int | None = None
    _buffer: bytes = b""
    _socket: socket.socket | None = None

    text_requests: ClassVar[bool]
    """Whether requests inside the socket are text messages."""

    def __enter__(self) -> Self:
        """Connect and log in.

        Raises:
            ClientError: the server answers otherwise than the client expects, or the login is refused.
        """
        try:
            self.prepare()
            self._socket = self.connection()
            self._open()
            self._expect_marker()
            credentials: str | None = None
            while (status := self._ask(credentials)) == 401:
                credentials = self.passwords(self.challenges[-1])
                if credentials is None:
                    raise ClientError("the application has no credentials for the challenge")
            if status != 101:
                raise ClientError(f"the login ended with {status}")
            self._expect_marker()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def authority(self) -> str:
        """The host and port as the URL writes them."""
        return f"{self.host}:{self.port}"

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def prepare(self) -> None:
        """Do what the client does before it opens the WebSocket."""

    @abstractmethod
    def opening_headers(self, key: str, protocols: str) -> list[str]:
        """Return the header lines of the opening."""

    @abstractmethod
    def request_headers(self) -> list[str]:
        """Return the header lines of a request inside the socket."""

    @abstractmethod
    def check_opening(self, lines: list[str], accept: str) -> str:
        """Return the subprotocol that the server chose for the outer socket.

        Raises:
            ClientError: the client takes the handshake for a failed one.
        """

    def _target(self, *parameters: str) -> str:
        return self.path + ("&" if "?" in self.path else "?") + "&".join(parameters)

    def _open(self) -> None:
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
        accept = base64.b64encode(digest).decode()
        headers = self.opening_headers(key, ",".join(["x-kaazing-handshake", *self.subprotocols]))
        self._write("\r\n".join([f"GET {self._target('.kl=Y')} HTTP/1.1", *headers, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        chosen = self.check_opening(head.decode("latin-1").split("\r\n"), accept)
        if chosen != "x-kaazing-handshake":
            raise ClientError("the server does not know the extended handshake")

    def _expect_marker(self) -> None:
        message = self.receive()
        if message != b"\xef\x83\xbfN":
            raise ClientError(f"{message!r} in place of the marker")

    def _ask(self, credentials: str | None) -> int:
        """Send a request inside the socket, and return the status of its response."""
        lines = [f"GET {self.path} HTTP/1.1", *self.request_headers()]
        if credentials is not None:
            name, _, password = credentials.partition(":")
            lines.append(f"Authorization: {basic(name, password)['Authorization']}")
        head = "\r\n".join([*lines, "", ""])
        self.send(head if self.text_requests else head.encode())
        response = ""
        while (part := self.receive()) not in (b"", ""):
            response += part if isinstance(part, str) else part.decode()
        found = response.split("\r\n")
        if not found[0].startswith("HTTP/1.1"):
            raise ClientError(f"{response!r} is no response")
        status = int(found[0].split(" ")[1])
        for line in found[1:]:
            if status == 401 and line.startswith("WWW-Authenticate"):
                self.challenges.append(line.removeprefix("WWW-Authenticate").lstrip(": "))
                break
            if line.startswith("Sec-WebSocket-Protocol"):
                self.subprotocol = line.removeprefix("Sec-WebSocket-Protocol").lstrip(": ")
            if line.startswith("Sec-WebSocket-Extensions"):
                raise ClientError("the server chose an extension that the gateway does not have")
        return status

    # ------------------------------------------------------------------------------------------------------- messages

    def send(self, message: str | bytes) -> None:
        """Send one message."""
        if isinstance(message, str):
            self._send_frame(TEXT, message.encode())
        else:
            self._send_frame(BINARY, message)

    def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ClientError: the server closed the socket.
        """
        while True:
            kind, data = self._frame()
            if kind == PING:
                self._send_frame(PONG, data)
            elif kind == CLOSE:
                self.close_code = struct.unpack("!H", data[:2])[0] if data else 1005
                raise ClientError(f"the server closed the socket with {self.close_code}")
            elif kind in (TEXT, BINARY):
                return data.decode() if kind == TEXT else data

    def close(self) -> None:
        """Close the socket, and wait until the server has closed it."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        with connection, suppress(OSError):
            mask = b"\0" * 4
            connection.sendall(bytes([0x80 | CLOSE, 0x80 | 2]) + mask + struct.pack("!H", 1000))
            while connection.recv(65536):
                pass

    def _send_frame(self, kind: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._write(head + mask + masked)

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        if first & 0x70:
            raise ClientError("a frame has reserved bits set: no extension was negotiated")
        size = second
        if second in (126, 127):
            size = int.from_bytes(self._take(2 if second == 126 else 8), "big")
        return first & 0x0F, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._read()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _read(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise ClientError(f"the server closed the connection after {self._buffer!r}")
        self._buffer += data

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)


@dataclass(kw_only=True)
class JavaScriptClient(KaazingClient):
    """The JavaScript client in a browser, on a page of the service.

    Args:
        origin: the origin of its page; by default the service's own.
    """

    origin: str = ""
    text_requests = True

    def opening_headers(self, key: str, protocols: str) -> list[str]:
        return [
            f"Host: {self.authority}",
            "Connection: Upgrade",
            "Pragma: no-cache",
            "Cache-Control: no-cache",
            "Upgrade: websocket",
            f"Origin: {self.origin or f'http://{self.authority}'}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            f"Sec-WebSocket-Protocol: {protocols}",
        ]

    def request_headers(self) -> list[str]:
        return [
            "WebSocket-Protocol: ",
            f"Sec-WebSocket-Protocol: {','.join(self.subprotocols)}",
            "Sec-WebSocket-Extensions: x-kaazing-idle-timeout,x-kaazing-ping-pong",
        ]

    def check_opening(self, lines: list[str], accept: str) -> str:
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        upgraded = headers.get("upgrade", "").lower() == "websocket" and "upgrade" in headers["connection"].lower()
        if lines[0].split(" ")[:2] != ["HTTP/1.1", "101"] or not upgraded:
            raise ClientError(lines[0])
        if headers["sec-websocket-accept"] != accept or "sec-websocket-extensions" in headers:
            raise ClientError("the handshake is not that of the request")
        return headers.get("sec-websocket-protocol", "")


@dataclass(kw_only=True)
class JavaClient(KaazingClient):
    """The Java client.

    Args:
        origin: what stands in its Origin header; by default what it always sends.
        origin_over_http: whether its HTTP requests carry it too; the Java runtime drops it unless told not to.
    """

    origin: str = ""
    origin_over_http: bool = False
    text_requests = False
    cookies: str = ""

    def __post_init__(self) -> None:
        self.origin = self.origin or f"privileged://{self.authority}"

    def prepare(self) -> None:
        path, question, query = self.path.partition("?")
        number = str(secrets.randbelow(10**16))
        target = f"{path}/;e/cookies?.krn={number}&{query}{'&' if question else ''}.kl=Y"
        headers = ["User-Agent: Java/17.0.12", f"Host: {self.authority}", "Accept: */*", "Connection: keep-alive"]
        if self.origin_over_http:
            headers.append(f"Origin: {self.origin}")
        with self.connection() as connection:
            connection.sendall("\r\n".join([f"GET {target} HTTP/1.1", *headers, "", ""]).encode())
            response = b""
            while b"\r\n\r\n" not in response:
                response += connection.recv(65536)
        head, _, body = response.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")):
            raise ClientError(f"the request for cookies: {head.decode('latin-1')}")
        self.cookies = body.decode()

    def opening_headers(self, key: str, protocols: str) -> list[str]:
        cookies = [f"Cookie: {self.cookies}"] if self.cookies else []
        return [
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Host: {self.authority}",
            f"Origin: {self.origin}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            f"Sec-WebSocket-Protocol: {protocols}",
            *cookies,
        ]

    def request_headers(self) -> list[str]:
        return ["Sec-WebSocket-Extensions: x-kaazing-idle-timeout"]

    def check_opening(self, lines: list[str], accept: str) -> str:
        if lines[0] != "HTTP/1.1 101 Web Socket Protocol Handshake":
            raise ClientError(f"WebSocket upgrade failed: {lines[0]}")
        found: dict[str, Any] = {}
        for line in lines[1:]:
            if line.startswith("Upgrade: "):
                found["upgrade"] = line.removeprefix("Upgrade: ").lower() == "websocket"
            elif line == "Connection: Upgrade":
                found["connection"] = True
            elif line.startswith("Sec-WebSocket-Accept"):
                found["accept"] = line.removeprefix("Sec-WebSocket-Accept").lstrip(": ") == accept
            elif line.startswith("Sec-WebSocket-Protocol"):
                found["protocol"] = line.removeprefix("Sec-WebSocket-Protocol").lstrip(": ")
        if not (found.get("upgrade") and found.get("connection") and found.get("accept")):
            raise ClientError("WebSocket Connection upgrade unsuccessful")
        return str(found.get("protocol", ""))
