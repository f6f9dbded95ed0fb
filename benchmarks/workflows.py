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


@workflow
async def paced(steps: int = 10) -> None:
    """Does so many steps, then as many more as each signal says."""
    done = 0
    while steps:
        for _ in range(steps):
            done = await nothing(done + 1)
        steps = int(await signal("go"))


@workflow
async def mapped(steps: int = 10) -> int:
    return len(await nothing.map(range(steps), concurrency=100))


@step
async def weight(before: bytes, size: int, number: int) -> bytes:
    return number.to_bytes(8, "big") * (size // 8)


@workflow
async def carried(size: int = 1024, rounds: int = 10) -> int:
    value = b""
    for number in range(rounds):
        value = await weight(value, size, number)
    return len(value)
