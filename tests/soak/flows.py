"""The workflows of the soak: each uses one part of Flowbook, and says by its result whether it went as it should."""

from __future__ import annotations

import asyncio

from flowbook import (
    Queue,
    RetryPolicy,
    continue_as_new,
    operation,
    query,
    saga,
    shielded,
    signal,
    sleep,
    step,
    step_context,
    update,
    workflow,
)


@step
async def number(x: int) -> int:
    return x


@step
def threaded(x: int) -> int:
    print("in a thread", x)
    return x


@step(retry=RetryPolicy(maximum_attempts=5, initial_interval=0.02))
async def shaky(x: int) -> int:
    if step_context().attempt < 2:
        raise ConnectionError("the first attempt always fails")
    return x


@step
async def broken() -> None:
    raise ValueError("it always does")


@step(queue=Queue("narrow", concurrency=3))
async def queued(x: int) -> int:
    return x


@step
async def blob(size: int, mark: int) -> bytes:
    return mark.to_bytes(8, "big") * (size // 8)


@step
async def slow() -> None:
    await asyncio.sleep(60.0)


@step
async def release(x: int) -> None:
    return None


@workflow
async def steps(count: int = 10) -> int:
    total = 0
    for turn in range(count):
        total += await number(turn) if turn % 3 else await threaded(turn)
    return total


@workflow
async def retried(x: int = 1) -> int:
    return await shaky(x)


@workflow
async def failing() -> None:
    await broken()


@workflow
async def resting(seconds: float = 1.0) -> str:
    await sleep(seconds)
    await asyncio.sleep(0.01)
    return "rested"


@workflow
async def asked() -> int:
    return int(await signal("answer", timeout="2m"))


@workflow
async def cart() -> int:
    items: list[int] = []

    @query
    def content() -> list[int]:
        return items

    @update
    async def add(item: int) -> int:
        items.append(await number(item))
        return len(items)

    await signal("checkout", timeout="2m")
    return len(items)


@workflow
async def wide(count: int = 50) -> int:
    return sum(await asyncio.gather(*(number(x) for x in range(count))))


@workflow
async def in_queue(count: int = 3) -> int:
    return sum(await asyncio.gather(*(queued(x) for x in range(count))))


@workflow
async def parent(children: int = 2) -> int:
    return sum(await asyncio.gather(*(steps.start(3) for _ in range(children))))


@workflow
async def going_on(turn: int = 0) -> int:
    await number(turn)
    if turn < 3:
        continue_as_new(turn + 1)
    return turn


@workflow
async def heavy(size: int = 200_000, mark: int = 0) -> int:
    return len(await blob(size, mark))


@workflow
async def cancelled() -> None:
    try:
        await slow()
    finally:
        await shielded(number(1))


@workflow
async def provisioned(x: int = 1) -> int:
    return await operation(number, x, poll=number, every=0.05, timeout="1m", cancel=release)


@workflow
async def undone(x: int = 1) -> int:
    async with saga() as s:
        await s.do(number, x, undo=release)
        await s.do(broken)
    return x
