"""Thousands of live sockets: a revoked user's end at once, nobody else's do, and nothing of them is left behind."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asgi_gateway.plugins.clock import SystemClock
from asgi_gateway.sessions.tokens import TokenIssuer
from tests.integration.process import LOOPBACK
from tests.integration.test_live_sockets import Site, site

SOCKETS, USERS = 5_000, 500
AT_ONCE = 200
ROUNDS = 2
WITHIN = 2.0
"""Seconds from a revocation to the last close."""
LEFT = 16 * 2**20
"""Bytes that a worker may hold more after a further round."""
SOCKET = 2**15
"""Bytes that Python may keep for each socket that a worker had at once, to use them again."""


class Client(asyncio.Protocol):
    """The client's end of a WebSocket that only listens: what a library would need for each, 5,000 times, is too much.

    Args:
        user: whose socket it is.
        path: with the token.
    """

    def __init__(self, user: int, path: str) -> None:
        self.user = user
        self.said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.close: tuple[int, str] | None = None
        self.closed_at = 0.0
        self.transport: asyncio.Transport
        self._path = path
        self._data = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: {LOOPBACK}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._upgraded:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.said.set_exception(RuntimeError(head.decode("latin-1")))
                return
            self._upgraded, self._data = True, rest
        while len(self._data) >= 2 and len(self._data) >= (size := 2 + self._data[1]):  # no frame is longer than 125
            self._frame(self._data[0] & 15, self._data[2:size])
            self._data = self._data[size:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.said.done():
            self.said.set_exception(error or RuntimeError("the server closed the connection"))

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 1 and not self.said.done():
            self.said.set_result(payload.decode())
        elif opcode == 8:
            self.close, self.closed_at = (int.from_bytes(payload[:2], "big"), payload[2:].decode()), time.monotonic()
        elif opcode == 9:
            self.transport.write(bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload)


@asynccontextmanager
async def clients(port: int, tokens: list[str]) -> AsyncIterator[list[Client]]:
    """As many sockets as the test is about, each user's spread over the workers as the system spreads them."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def open_one(number: int) -> Client:
        user = number % USERS
        async with gate:
            _, client = await loop.create_connection(
                lambda: Client(user, f"/live?ticket={tokens[user]}"), LOOPBACK, port
            )
            await asyncio.wait_for(client.said, 20)
        return client

    opened = await asyncio.gather(*(open_one(number) for number in range(SOCKETS)))
    yield opened
    for client in opened:
        client.transport.abort()


async def one_round(live: Site, tokens: list[str], user: int) -> Counter[int]:
    """Open all, revoke a user, look at who was closed, close all.

    Returns:
        how many sockets each worker had.
    """
    async with clients(live.process.port, tokens) as opened:
        workers = Counter(int(client.said.result().strip("[").partition(",")[0]) for client in opened)
        begun = time.monotonic()
        assert (await asyncio.to_thread(live.post, f"/revoke/tickets/user{user}")).status_code == 200
        await asyncio.sleep(WITHIN - (time.monotonic() - begun))
        theirs = [client for client in opened if client.user == user]
        assert len(theirs) == SOCKETS // USERS
        assert {client.close for client in theirs} == {(4004, "user revoked")}
        assert max(client.closed_at for client in theirs) - begun < WITHIN
        assert [client.close for client in opened if client.user != user and client.close] == []
        print(f"closed after {max(client.closed_at for client in theirs) - begun:.3f} s; sockets by worker: {workers}")
    return workers


def resident(process: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settled(processes: list[int]) -> dict[int, int]:
    """What the workers hold once it no longer falls."""
    found = {process: resident(process) for process in processes}
    for _ in range(10):
        time.sleep(0.5)
        before, found = found, {process: resident(process) for process in processes}
        if all(found[process] >= before[process] for process in processes):
            break
    return found


@pytest.mark.timing
def test_a_user_is_revoked_under_load(tmp_path: Path) -> None:
    """Of 5,000 sockets of 500 users on two workers, a revoked user's close within two seconds and nobody else's; when
    all have gone and all are opened again, the workers hold no more than the first time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS * 2  # the workers inherit it, and one may get nearly all of the sockets
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    with site(tmp_path, 2) as live:
        issuer, now = TokenIssuer([b"k" * 32], "live"), SystemClock().time()
        tokens = [issuer.issue(f"user{n}", realm="tickets", now=now, life=600) for n in range(USERS)]
        had, held = [], []
        for number in range(ROUNDS):
            had.append(asyncio.run(one_round(live, tokens, number)))
            held.append(settled(list(had[-1])))
        print("held after each round:", held)
        assert len(held[0]) == len(held[1]) == 2
        for worker in held[0]:
            more = max(0, had[1][worker] - had[0][worker])  # the system does not spread them evenly
            assert held[1][worker] - held[0][worker] < LEFT + more * SOCKET
