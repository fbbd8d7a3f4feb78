"""What the stores of ExpiringState cost: memory in µs, SQLite with two processes, Redis against a bare SET NX PX."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from redis.asyncio import Redis

from asgi_gateway.plugins.state_store import ExpiringState
from asgi_gateway.stores.memory import MemoryState
from asgi_gateway.stores.redis import RedisState
from asgi_gateway.stores.sqlite import SqliteState

PUTS, ROUNDS, CALLERS, PROCESSES = 10_000, 15, 20, 2


async def memory() -> float:
    """A put into a memory store, in µs of processor time, the fastest of ten rounds; half of the entries expire."""
    state, times = MemoryState(), []
    for number in range(10):
        keys = [f"nonce {number} {index}" for index in range(PUTS)]
        begun = time.process_time()
        for index, key in enumerate(keys):
            await state.put_if_absent(key, "used", 1e-3 if index % 2 else 60)
        times.append((time.process_time() - begun) / PUTS * 1e6)
    return min(times)


async def _put_many(state: ExpiringState, name: str, puts: int) -> None:
    async def caller(number: int) -> None:
        for index in range(puts // CALLERS):
            await state.put_if_absent(f"{name} {number} {index}", "used", 60)

    await asyncio.gather(*map(caller, range(CALLERS)))


def _process(file: str, name: str, barrier: Barrier) -> None:
    async def put() -> None:
        state = SqliteState(file, timeout=10)
        await state.open()
        barrier.wait()
        await _put_many(state, name, PUTS)
        barrier.wait()
        await state.close()

    asyncio.run(put())


def sqlite() -> float:
    """Puts per second of two processes with one file."""
    with tempfile.TemporaryDirectory() as directory:
        barrier = multiprocessing.Barrier(PROCESSES + 1)
        processes = [
            multiprocessing.Process(target=_process, args=(f"{directory}/state.db", f"p{n}", barrier))
            for n in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        barrier.wait()
        begun = time.perf_counter()
        barrier.wait()
        rate = PROCESSES * PUTS / (time.perf_counter() - begun)
        for process in processes:
            process.join()
        return rate


async def _redis(url: str) -> tuple[float, float]:
    state, bare, number = RedisState(url), Redis.from_url(url), 0

    async def ours() -> None:
        nonlocal number
        number += 1
        await state.put_if_absent(f"{number}", "used", 60)

    async def plain() -> None:
        nonlocal number
        number += 1
        await bare.set(f"{number}", "used", nx=True, px=60_000)

    async def timed(call: Callable[[], Awaitable[None]], callers: int) -> float:
        async def caller() -> None:
            for _ in range(200 // callers):
                await call()

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return time.perf_counter() - begun

    ratios = [
        statistics.median([await timed(ours, callers) / await timed(plain, callers) for _ in range(ROUNDS)])
        for callers in (1, CALLERS)
    ]
    await state.close()
    await bare.aclose()
    return ratios[0], ratios[1]


def redis() -> tuple[float, float]:
    """Paired ratios to a bare ``SET NX PX``: one caller, and several at once."""
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", directory]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.02)
            return asyncio.run(_redis(f"unix://{socket}"))
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Print what was measured, with what is wanted."""
    print("\nExpiringState.put_if_absent")
    print(f"  memory: {asyncio.run(memory()):.1f} µs (wanted: 3 at most)")
    print(f"  SQLite, {PROCESSES} processes: {sqlite():,.0f} /s (wanted: 5,000 at least)")
    one, several = redis()
    print(f"  Redis: {one:.2f} of a bare SET NX PX, {several:.2f} with {CALLERS} at once (wanted: 1.2 at most)")


if __name__ == "__main__":
    main()
