"""A flood of logins from a process of its own, so that its work does not count as the server's slowness.

``python -m tests.integration.flood PORT CONNECTIONS`` goes on until its standard input ends, and prints how often which
answer came, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64encode
from collections import Counter


async def connection(number: int, port: int, ended: asyncio.Event, answers: Counter[str]) -> None:
    """Ask with ever new wrong passwords over one connection, until told to end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in range(1_000_000):
        credentials = b64encode(f"alice:wrong-{number}-{turn}".encode()).decode()
        writer.write(f"GET /who HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = head.split(" ", 2)[1]
        answers[status if status != "503" or "\r\nretry-after: " in head else "503 without retry-after"] += 1
        length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
        if ended.is_set():
            break
        await asyncio.sleep(0.1)  # a client that was refused does not come back at once
    writer.close()


async def main(port: int, connections: int) -> None:
    answers: Counter[str] = Counter()
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(connection(number, port, ended, answers))
        await asyncio.to_thread(sys.stdin.read)
        ended.set()
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
