"""Whether the event loop stays responsive, measured so that a busy machine alone does not fail a test."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

__all__ = ["assert_responsive"]


async def assert_responsive(work: Callable[[], Awaitable[None]], *, limit: float = 0.05, tries: int = 4) -> None:
    """Assert that a ticker of 10 ms runs late by less than ``limit`` seconds (99th percentile) while work is done.

    A blocked loop is late in every try; a machine with other work to do is late in some. So the best try counts.

    Args:
        work: what is done meanwhile; done anew for each try.
        limit: seconds.
        tries: how often it is tried at the most.
    """
    latest = []
    for _ in range(tries):
        latest.append(await _lag(work))
        if latest[-1] < limit:
            return
    raise AssertionError(f"the loop was late by {', '.join(f'{lag:.3f}' for lag in latest)} s, the limit is {limit} s")


async def _lag(work: Callable[[], Awaitable[None]]) -> float:
    lags: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await anyio.sleep(0.01)
            lags.append(time.perf_counter() - began - 0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await work()
        await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    lags.sort()
    return lags[int(len(lags) * 0.99)]
