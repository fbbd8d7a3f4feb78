"""What the gateway costs under uvicorn: requests, WebSocket handshakes, idle sockets, start-up. Ratios to the bare app.

Both servers run at once; rounds against them take turns, so that the machine's moods meet both alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.inprocess import BASIC

CONNECTIONS, SECONDS, ROUNDS, SOCKETS = 32, 1.0, 9, 500
SHORT_ROUNDS, SHORT_SECONDS, PAUSE = 60, 0.2, 0.02
HANDSHAKE = (
    b"GET /chat/echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: " + BASIC + b"\r\n\r\n"
)
REQUEST = b"GET /app/hello HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + BASIC + b"\r\n\r\n"


class Client(asyncio.Protocol):
    """One connection that, while told to, asks again as soon as it was answered."""

    def __init__(self, length: int, request: bytes) -> None:
        self.length, self.request, self.got, self.count, self.going = length, request, 0, 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= self.length:
            self.got -= self.length
            self.count += 1
            if self.going:
                self.transport.write(self.request)  # type: ignore[attr-defined]

    def go(self) -> None:
        """Begin to ask."""
        self.going = True
        self.transport.write(self.request)  # type: ignore[attr-defined]


async def answer_length(port: int, request: bytes) -> int:
    """The bytes of one answer, which must be the application's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    body = await reader.readexactly(5)
    writer.close()
    return len(head) + len(body)


async def connected(port: int, request: bytes) -> list[Client]:
    """Clients of a server that gives the application's answer."""
    length, loop = await answer_length(port, request), asyncio.get_running_loop()
    clients = [Client(length, request) for _ in range(CONNECTIONS)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    return clients


async def requests(clients: list[Client], seconds: float) -> float:
    """Requests a second."""
    before, start = sum(client.count for client in clients), time.perf_counter()
    for client in clients:
        client.go()
    await asyncio.sleep(seconds)
    rate = (sum(client.count for client in clients) - before) / (time.perf_counter() - start)
    for client in clients:
        client.going = False
    await asyncio.sleep(PAUSE)  # the last answers come in before the other server has its turn
    return rate


async def compared(ours: int, theirs: int, request: bytes = REQUEST) -> tuple[float, float]:
    """The median ratio of two servers' requests a second, and ours.

    Rounds are short and take turns, the first and the second of a pair too, since the machine's speed changes while it
    is measured: over a second it may have changed, over a fifth it hardly has.
    """
    both = [await connected(port, request) for port in (ours, theirs)]
    pairs = []
    for number in range(SHORT_ROUNDS):
        first = number % 2
        rates = {index: await requests(both[index], SHORT_SECONDS) for index in (first, 1 - first)}
        pairs.append((rates[0], rates[1]))
    for client in (*both[0], *both[1]):
        client.transport.close()
    return statistics.median(a / b for a, b in pairs), statistics.median(a for a, _ in pairs)


async def handshake(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An open WebSocket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(head.decode())
    return reader, writer


async def handshakes(port: int) -> float:
    """WebSocket handshakes a second, eight at a time."""
    end, count = time.perf_counter() + SECONDS, 0

    async def worker() -> None:
        nonlocal count
        while time.perf_counter() < end:
            _, writer = await handshake(port)
            writer.transport.abort()
            count += 1

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(8)))
    return count / (time.perf_counter() - start)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def idle(port: int, pid: int) -> float:
    """Bytes of the server's memory for one idle WebSocket: the growth over some, after as many for warming up."""
    warm = [await handshake(port) for _ in range(SOCKETS)]
    await asyncio.sleep(0.3)
    before = resident(pid)
    more = [await handshake(port) for _ in range(SOCKETS)]
    await asyncio.sleep(0.3)
    grown = resident(pid) - before
    for _, writer in warm + more:
        writer.transport.abort()
    return grown / SOCKETS


@contextlib.contextmanager
def server(target: str, *extra: str) -> Iterator[tuple[int, int]]:
    """A uvicorn with one worker: its port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "uvicorn", target, "--port", str(port), "--no-access-log", *extra]
    process = subprocess.Popen([*command, "--log-level", "error"])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


def startup() -> float:
    """Seconds until the reference application can be served: a fresh interpreter that imports and configures it."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-W", "ignore", "-c", "import example_app.app"], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def main() -> None:
    """Measure and print."""
    with server("bench.apps:bare") as (bare, bare_pid), server("bench.apps:gated", "--factory") as (gated, gated_pid):
        print("\nUnder uvicorn (gateway / bare application, medians of rounds in turn)")
        ratio, rate = await compared(gated, bare)
        print(f"  {'requests':<62} {ratio:6.3f}  {rate:8.0f}/s   at least 0.95")
        with server("bench.apps:with_dict", "--factory") as (peer, _):
            ratio, rate = await compared(peer, bare)
        print(f"  {'peer: the same with AuthenticationMiddleware on a dict':<62} {ratio:6.3f}  {rate:8.0f}/s")
        pairs = [(await handshakes(gated), await handshakes(bare)) for _ in range(ROUNDS)]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        rate = statistics.median(ours for ours, _ in pairs)
        print(f"  {'WebSocket handshakes':<62} {ratio:6.3f}  {rate:8.0f}/s   at least 0.90")
        ours, theirs = await idle(gated, gated_pid), await idle(bare, bare_pid)
        print(f"  {'KiB more for an idle WebSocket':<62} {(ours - theirs) / 1024:6.2f}  {'':>10}   at most 2.00")
    print(f"  {'seconds to start the reference application':<62} {startup():6.2f}  {'':>10}   at most 1.00")


if __name__ == "__main__":
    asyncio.run(main())
