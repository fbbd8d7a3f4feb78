"""What the extended handshake costs: round trips until the socket is open, messages afterwards, idle memory."""

from __future__ import annotations

import asyncio
import statistics
import time
from base64 import b64encode

from bench.inprocess import BASIC
from bench.served import ROUNDS, SECONDS, SOCKETS, resident, server

MARKER = b"\xef\x83\xbfN"
OPENING = (
    b"GET /chat/echo?.kl=Y HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
PLAIN = OPENING + b"Authorization: " + BASIC + b"\r\n\r\n"
EXTENDED = OPENING + b"Sec-WebSocket-Protocol: x-kaazing-handshake\r\n\r\n"
LOGIN = b"GET /chat/echo HTTP/1.1\r\nSec-WebSocket-Protocol: \r\nAuthorization: " + BASIC + b"\r\n\r\n"
TEXT = b64encode(bytes(48))
TALKERS = 16


class Socket:
    """A WebSocket client that does no more than it must."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.waits = 0

    async def ask(self, data: bytes, until: bytes = b"\r\n\r\n") -> bytes:
        """Write, and wait for an answer: one round trip."""
        self.waits += 1
        self.writer.write(data)
        return await self.reader.readuntil(until)

    async def message(self) -> bytes:
        """The next message, which must be short."""
        _, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(size)


def frame(data: bytes, opcode: int = 1) -> bytes:
    """A client's frame whose mask is zero."""
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + data


async def opened(port: int, extended: bool) -> Socket:
    """An open WebSocket, by the plain or by the extended handshake."""
    socket = Socket(*await asyncio.open_connection("127.0.0.1", port))
    head = await socket.ask(EXTENDED if extended else PLAIN)
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(head.decode())
    if extended:
        assert await socket.message() == MARKER
        socket.waits += 1
        socket.writer.write(frame(LOGIN))
        answer = [await socket.message() for _ in range(3)]
        if not answer[0].startswith(b"HTTP/1.1 101") or answer[1:] != [b"", MARKER]:
            raise RuntimeError(repr(answer))
    return socket


async def messages(port: int, extended: bool) -> float:
    """Messages a second, each sent when the one before it was echoed, over several sockets."""
    sockets = [await opened(port, extended) for _ in range(TALKERS)]
    sent, answer, end = frame(TEXT), len(TEXT) + 2, time.perf_counter() + SECONDS

    async def talk(socket: Socket) -> int:
        count = 0
        while time.perf_counter() < end:
            socket.writer.write(sent)
            await socket.reader.readexactly(answer)
            count += 1
        return count

    start = time.perf_counter()
    total = sum(await asyncio.gather(*map(talk, sockets)))
    seconds = time.perf_counter() - start
    for socket in sockets:
        socket.writer.transport.abort()
    return total / seconds


async def idle(port: int, pid: int, extended: bool) -> float:
    """Bytes of the server's memory for one idle WebSocket: the growth over some, after as many for warming up."""
    warm = [await opened(port, extended) for _ in range(SOCKETS)]
    await asyncio.sleep(0.3)
    before = resident(pid)
    more = [await opened(port, extended) for _ in range(SOCKETS)]
    await asyncio.sleep(0.3)
    grown = resident(pid) - before
    for socket in warm + more:
        socket.writer.transport.abort()
    return grown / SOCKETS


async def main() -> None:
    """Measure and print."""
    with server("bench.apps:bare") as (bare, bare_pid), server("bench.apps:gated", "--factory") as (gated, gated_pid):
        print("\nThe extended handshake under uvicorn (against the bare application, medians of rounds in turn)")
        extra = (await opened(gated, True)).waits - (await opened(bare, False)).waits
        print(f"  {'round trips more than a plain handshake':<62} {extra:6d}  {'':>10}   at most 2")
        pairs = [(await messages(gated, True), await messages(bare, False)) for _ in range(ROUNDS)]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        rate = statistics.median(ours for ours, _ in pairs)
        print(f"  {'messages through an open socket':<62} {ratio:6.3f}  {rate:8.0f}/s   at least 0.97")
        ours, theirs = await idle(gated, gated_pid, True), await idle(bare, bare_pid, False)
        print(f"  {'KiB more for an idle WebSocket':<62} {(ours - theirs) / 1024:6.2f}  {'':>10}   at most 2.00")


if __name__ == "__main__":
    asyncio.run(main())
