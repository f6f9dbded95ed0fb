"""The workflows that are measured. No-op steps: what is left is Flowbook's own cost."""

from __future__ import annotations

import asyncio

from flowbook import signal, sleep, step, workflow


@step
async def nothing(x: int) -> int:
    return x


@workflow
async def sequence(steps: int = 1000) -> int:
    for number in range(steps):
        await nothing(number)
    return steps


@workflow
async def parallel(steps: int = 1000) -> int:
    return len(await asyncio.gather(*(nothing(number) for number in range(steps))))


@workflow
async def single(x: int = 0) -> int:
    return int(await nothing(x))


@workflow
async def sleeper(duration: str = "1d") -> None:
    await sleep(duration)


@workflow
async def answering() -> int:
    """Answers each ping with a step, until it is told to stop: a round trip is a signal and what follows from it."""
    answered = 0
    while await signal("ping") is not None:
        answered = await nothing(answered + 1)
    return answered
