"""The back ends behind all proxies: they echo WebSocket messages and TCP bytes, and take less time than any proxy.

usage: python -m bench.backends WEBSOCKET-PORT TCP-PORT
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class TcpEcho(asyncio.Protocol):
    """Send back every byte. What is not taken stops the reading."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class WebSocketEcho(TcpEcho):
    """Accept every WebSocket, and send back every message that fits into one frame of less than 64 KiB."""

    def __init__(self) -> None:
        self.buffer = b""
        self.open = False

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self.buffer, self.open = rest, True
            lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
            key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
            accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
        while (frame := self._frame()) is not None:
            self.transport.write(frame)

    def _frame(self) -> bytes | None:
        """Take one masked frame, and return the same frame as a server sends it; None until it is complete."""
        buffer = self.buffer
        if len(buffer) < 6:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        end = start + 4 + size
        if len(buffer) < end:
            return None
        mask = int.from_bytes(buffer[start : start + 4] * (size // 4 + 1), "big") >> (8 * (4 - size % 4))
        data = (int.from_bytes(buffer[start + 4 : end], "big") ^ mask).to_bytes(size, "big")
        head = bytes((buffer[0], buffer[1] & 0x7F)) + buffer[2:start]
        self.buffer = buffer[end:]
        return head + data


async def main(websocket_port: int, tcp_port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(WebSocketEcho, "127.0.0.1", websocket_port),
        await loop.create_server(TcpEcho, "127.0.0.1", tcp_port),
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(*map(int, sys.argv[1:])))
