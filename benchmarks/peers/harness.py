"""The same work for every peer: what a script gives is four callables, what it prints is one JSON object.

Standard library only: it runs in the peer's own environment.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

Run = Callable[[str, int], Awaitable[Any]]
"""Start a workflow of so many steps under this id, and wait for its result."""


async def measure(sequence: Run, parallel: Run | None, *, runs: int = 200, steps: int = 1000, fan: int = 1000) -> None:
    """W1 to W4, each once after a warm-up, printed."""
    await sequence("warm", 5)
    figures: dict[str, float] = {}
    begin = time.perf_counter()
    room = asyncio.Semaphore(100)

    async def one(number: int) -> None:
        async with room:
            await sequence(f"w1-{number}", 10)

    await asyncio.gather(*(one(number) for number in range(runs)))
    figures["W1 steps/s"] = runs * 10 / (time.perf_counter() - begin)
    begin = time.perf_counter()
    await sequence("w2", steps)
    figures["W2 ms/step"] = (time.perf_counter() - begin) / steps * 1000
    if parallel is not None:
        begin = time.perf_counter()
        await parallel("w3", fan)
        figures["W3 steps/s"] = fan / (time.perf_counter() - begin)
    times = []
    for number in range(100):
        begin = time.perf_counter()
        await sequence(f"w4-{number}", 1)
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    figures["W4 p50 ms"] = statistics.median(times)
    figures["W4 p99 ms"] = times[98]
    json.dump(figures, sys.stdout)
    sys.stdout.write("\n")
