"""What the gateway keeps for a live WebSocket, and what it costs per message: in one process, without a network."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from asgi_gateway.model import RevocationKey
from asgi_gateway.websockets.closable import ClosableWebSocket
from asgi_gateway.websockets.live import LiveSocket, LiveSockets, SocketOwner

SOCKETS, USERS, MESSAGES, ROUNDS = 5_000, 500, 20_000, 15
MESSAGE = {"type": "websocket.send", "text": "hello"}


async def _receive() -> dict[str, Any]:
    return MESSAGE


async def _send(message: Any) -> None:
    pass


def _socket(index: int) -> LiveSocket:
    user = f"user{index % USERS}"
    return LiveSocket(_receive, _send, SocketOwner("chat", "demo", user), (RevocationKey("user", user, "demo"),))


def _bytes(action: Callable[[int], object]) -> float:
    """Bytes that an action keeps, for one socket of many."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(SOCKETS):
        action(index)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown / SOCKETS


async def _messages(socket: ClosableWebSocket) -> float:
    """Seconds for some messages both ways."""
    receive: Callable[[], Awaitable[Any]] = socket.receive
    send = socket.send
    start = time.perf_counter()
    for _ in range(MESSAGES):
        await receive()
        await send(MESSAGE)
    return time.perf_counter() - start


async def main() -> None:
    """Measure and print."""
    sockets = LiveSockets()
    held: list[LiveSocket] = []
    print(f"\nLive WebSockets: {SOCKETS} of {USERS} users in one process")
    each = _bytes(lambda index: held.append(_socket(index)))
    known = _bytes(lambda index: sockets.add(held[index]))
    timer = _bytes(lambda index: held[index].set_deadlines(3600, None, None))
    print(f"  {'bytes for a timer':<62} {timer:6.0f}  {'':>10}   at most 300")
    print(f"  {'bytes for a socket, and for being found by its user':<62} {each:6.0f} + {known:.0f}")
    plain, timed = _socket(0), held[0]
    pairs = [(await _messages(timed), await _messages(plain)) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"  {'messages with a timer / without one':<62} {ratio:6.3f}  {'':>10}   about 1")
    start = time.perf_counter()
    ended = sockets.end(RevocationKey("user", "user7", "demo"))
    await asyncio.sleep(0)  # they are ended by the loop
    if not all(socket.ended for socket in held[7::USERS]):
        raise RuntimeError("sockets of a revoked user are still open")
    took = 1000 * (time.perf_counter() - start)
    print(
        f"  {f'milliseconds to end the {ended} sockets of a user':<62} {took:6.2f}  {'':>10}   at most 2000 everywhere"
    )
    for socket in held:
        await socket.wait_closed()
        sockets.discard(socket)


if __name__ == "__main__":
    asyncio.run(main())
