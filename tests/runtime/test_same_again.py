"""Whatever asyncio and anyio offer: the same result held in memory, re-executed before every event, and from the
history.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import numpy
import pandas
import pytest

from flowbook.core import events as e
from flowbook.runtime.definitions import Workflow, step
from flowbook.runtime.primitives import record
from flowbook.testing.replaying import _replayed
from tests.runtime.driver import Driver, load


@step
def double(number: int) -> int:
    return 2 * number


@step
def told(what: Any) -> Any:
    return what


@step
def table() -> pandas.DataFrame:
    return pandas.DataFrame({"x": [1, 2, 3]})


@step
def total(of: pandas.DataFrame) -> int:
    return int(of["x"].sum())


@step
def array() -> numpy.ndarray:
    return numpy.arange(3)


@step
def largest(of: numpy.ndarray) -> int:
    return int(of.max())


@step
def long_list() -> list[int]:
    return list(range(20_000))


@step
def count(of: list[int]) -> int:
    return len(of)


async def a_changed_value_is_passed_on_as_it_is() -> list[int]:
    frame, numbers, many = await table(), await array(), await long_list()
    frame["x"] = frame["x"] * 100
    numbers[0] = 7
    many.append(1)
    return [await total(frame), await largest(numbers), await count(many)]


async def anyio_cancels_in_order() -> list[int]:
    ended: list[int] = []

    async def child(number: int) -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(number)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(child, number)
        await double(1)
        group.cancel_scope.cancel()
    return ended


async def futures_wait_in_order() -> list[int]:
    groups = [asyncio.gather(double(number), double(number)) for number in range(6)]
    shields = [asyncio.shield(asyncio.ensure_future(double(10 + number))) for number in range(6)]
    seen: list[int] = []
    waiting: set[Any] = {*groups, *shields}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            seen += [await told(future.result())]
    return seen


async def done_futures_complete_in_order() -> list[int]:
    futures = [asyncio.get_running_loop().create_future() for _ in range(10)]
    for number, future in enumerate(futures):
        future.set_result(number)
    return [await told(await next_done) for next_done in asyncio.as_completed(futures)]


async def a_generator_that_is_left_cleans_up() -> list[Any]:
    seen: list[Any] = []

    async def rows() -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield await double(number)
        finally:
            seen.append(await told("closed"))

    async for row in rows():
        seen.append(row)
        if row:
            break
    await double(3)
    return seen


async def a_generator_nobody_closes_is_closed_at_the_end() -> str:
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await told("closed")

    kept = rows()
    await anext(kept)
    await double(1)
    return "done"


async def sleeping_for_ever_ends_by_a_time_limit() -> list[str]:
    seen = []
    with anyio.move_on_after(5):
        await anyio.sleep_forever()
    seen.append("anyio")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(float("inf")), 5)
    seen.append("asyncio")
    return [*seen, str(await double(1))]


async def deaf_to_many_cancellations() -> int:
    heard = 0
    with anyio.move_on_after(1):
        await anyio.sleep(2)
        return heard
    with anyio.CancelScope() as scope:
        scope.cancel()
        for _ in range(30):
            try:
                await anyio.sleep(0)
            except asyncio.CancelledError:
                heard += 1
    return heard


async def threads_see_copies() -> list[Any]:
    numbers = [1, 2]

    def change() -> int:
        numbers.append(3)
        return len(numbers)

    seen = [await asyncio.to_thread(change), await anyio.to_thread.run_sync(change)]
    await double(1)
    return [*seen, numbers]


async def threads_wait_for_their_limiter() -> list[int]:
    limiter = anyio.CapacityLimiter(1)
    seen: list[int] = []

    async def one(number: int) -> None:
        seen.append(await anyio.to_thread.run_sync(functools.partial(max, number, 0), limiter=limiter))

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(one, number)
    return seen


async def what_is_recorded_may_be_any_callable() -> list[int]:
    class Counter:
        def __call__(self) -> int:
            return 5

    return [await record(functools.partial(int, "7")), await record(Counter()), await record(max, 1, 2)]


async def synchronised() -> list[Any]:
    seen: list[Any] = []
    barrier, condition = asyncio.Barrier(2), asyncio.Condition()
    queue: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    limiter = anyio.CapacityLimiter(2)

    async def party(number: int) -> None:
        async with limiter:
            await double(number)
        await barrier.wait()
        async with condition:
            seen.append(number)
            condition.notify_all()
        await queue.put(-number)

    async def watcher() -> None:
        async with condition:
            await condition.wait_for(lambda: len(seen) == 2)
            seen.append("both")

    async with asyncio.TaskGroup() as group:
        group.create_task(watcher())
        for number in range(2):
            group.create_task(party(number))
    return [*seen, await queue.get(), await queue.get()]


async def a_task_group_starts_its_child() -> list[Any]:
    async def serve(*, task_status: anyio.abc.TaskStatus[int]) -> None:
        task_status.started(await double(4))
        await anyio.sleep(60)

    async with anyio.create_task_group() as group:
        port = await group.start(serve)
        group.cancel_scope.cancel()
    return [port]


async def garbage_is_of_no_account() -> int:
    gone: list[int] = []

    class Node:
        def __init__(self) -> None:
            self.me = self

    for _ in range(2000):
        node = Node()
        weakref.finalize(node, gone.append, 1)
        del node
    # Were cycles collected in between, how many would be chance.
    return await double(len(gone))


WORK = [
    (a_changed_value_is_passed_on_as_it_is, [600, 7, 20_001]),
    (anyio_cancels_in_order, list(range(8))),
    (futures_wait_in_order, None),
    (done_futures_complete_in_order, list(range(10))),
    (a_generator_that_is_left_cleans_up, [0, 2, "closed"]),
    (a_generator_nobody_closes_is_closed_at_the_end, "done"),
    (sleeping_for_ever_ends_by_a_time_limit, ["anyio", "asyncio", "2"]),
    (deaf_to_many_cancellations, 30),
    (threads_see_copies, [3, 3, [1, 2]]),
    (threads_wait_for_their_limiter, [0, 1, 2]),
    (what_is_recorded_may_be_any_callable, [7, 5, 2]),
    (synchronised, None),
    (a_task_group_starts_its_child, [8]),
    (garbage_is_of_no_account, 0),
]


@pytest.mark.parametrize(("work", "expected"), WORK, ids=[work.__name__ for work, _ in WORK])
def test_the_same_again(work: Any, expected: Any) -> None:
    held, evicted = Driver(work), Driver(work, evict=True)
    results = [held.run(), evicted.run()]
    assert results[0] == results[1]
    assert not isinstance(results[0], e.RunFailed), results[0]
    assert expected is None or results[0] == expected
    told = [[(type(r.event), getattr(r.event, "key", None)) for r in driver.history] for driver in (held, evicted)]
    assert told[0] == told[1]
    for driver in (held, evicted):
        assert _replayed(driver.history, Workflow(work), load) == results[0]


def test_closing_a_generator_is_part_of_the_history() -> None:
    for work in (a_generator_that_is_left_cleans_up, a_generator_nobody_closes_is_closed_at_the_end):
        driver = Driver(work)
        driver.run()
        steps = [r.event.step for r in driver.history if isinstance(r.event, e.StepCompleted)]
        assert steps.count("told") == 1


def test_a_run_that_leaves_memory_closes_its_generators_without_doing_anything() -> None:
    async def work() -> None:
        async def rows() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await told("closed")

        async for row in rows():
            await double(row)
            await asyncio.sleep(60)

    driver = Driver(work)
    while "TimerStarted" not in driver.kinds():
        driver.turn()
    before = list(driver.executed)
    driver.execution.close()
    assert driver.executed == before == ["double"] and not driver.execution.calls
