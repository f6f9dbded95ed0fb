"""Steps: what they take, and what they give."""

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_type

from flowbook import RetryPolicy, record, step, workflow


@step
def load(order_id: str, limit: float = 1.0) -> dict[str, int]:
    return {order_id: int(limit)}


@step(retry=RetryPolicy(maximum_attempts=3), timeout="30s")
async def score(order: dict[str, int]) -> float:
    return float(len(order))


@step(queue="gpu", priority=3)
def train(rows: int) -> list[float]:
    return [0.0] * rows


async def look() -> bytes:
    return b""


@workflow
async def checkout(order_id: str, limit: float = 100.0) -> float:
    loading: Coroutine[Any, Any, dict[str, int]] = load(order_id)
    assert_type(await loading, dict[str, int])
    order = await load(order_id, limit=limit)
    assert_type(order, dict[str, int])
    assert_type(await score(order), float)
    both = await asyncio.gather(load("a"), score(order))
    assert_type(both, tuple[dict[str, int], float])
    async with asyncio.TaskGroup() as tasks:
        training = tasks.create_task(train(3))
    assert_type(training.result(), list[float])
    assert_type(await record(len, "three"), int)
    assert_type(await record(lambda: "now"), str)
    assert_type(await record(look), bytes)
    return await score(order)


async def wrong() -> None:
    await load(3)  # type: ignore[arg-type]
    await load()  # type: ignore[call-arg]
    await load("a", size=3)  # type: ignore[call-arg]
    await score(await train(2))  # type: ignore[arg-type]
    text: str = await load("a")  # type: ignore[assignment]
    load("a")["a"]  # type: ignore[index]
    load("a")  # type: ignore[unused-coroutine]
    await record(len)  # type: ignore[arg-type,call-arg]
    print(text)


def plain() -> dict[str, int]:
    # Outside a workflow the function itself is called.
    found: dict[str, int] = load.function("a")
    return found
