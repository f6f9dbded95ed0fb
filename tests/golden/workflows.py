"""The workflows of the golden histories. NEVER EDIT ONE: the recorded histories must replay on this very code.

A new feature gets a new workflow and a new recording (``python -m tests.golden.record NAME``); old ones stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio

from flowbook import (
    RetryPolicy,
    awakeable,
    continue_as_new,
    get_run,
    heartbeat,
    log,
    now,
    on_signal,
    operation,
    patched,
    progress,
    query,
    random,
    record,
    saga,
    set_attributes,
    signal,
    sleep,
    step,
    update,
    uuid4,
    workflow,
)

tries = {"shaky": 0, "polls": 0, "removals": 0}


@step
async def double(x: int) -> int:
    return 2 * x


@step(retry=RetryPolicy(maximum_attempts=3))
async def shaky(x: int) -> int:
    tries["shaky"] += 1
    if tries["shaky"] < 3:
        raise ConnectionError("not yet")
    return x


@step
async def broken() -> None:
    raise ValueError("no")


@step
async def ready(vm: str) -> bool:
    tries["polls"] += 1
    return tries["polls"] >= 3


@step
async def make(name: str) -> str:
    return f"vm-{name}"


@step
async def remove(vm: str) -> None:
    return None


@workflow
async def steps() -> list[int]:
    first = await double(1)
    second, third = await asyncio.gather(double(first), shaky(5))
    handles = [double.start(number) for number in range(3)]
    return [first, second, third, *[await handle for handle in handles]]


@workflow
async def failures() -> str:
    try:
        await broken()
    except ValueError as error:
        return str(error)
    return "?"


@workflow
async def time_and_chance() -> list[Any]:
    begun = now()
    numbers = [random(), str(uuid4()), await record(lambda: 7)]
    await sleep("1h")
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(60)
    except TimeoutError:
        numbers.append("timed out")
    with anyio.move_on_after(5) as scope:
        await anyio.sleep(60)
    return [*numbers, scope.cancelled_caught, (now() - begun).total_seconds() >= 3600]


@workflow
async def messages() -> list[Any]:
    seen: list[Any] = []

    @on_signal("note")
    def note(value: Any) -> None:
        seen.append(value)

    @query
    def so_far() -> list[Any]:
        return seen

    @update
    async def add(x: int) -> int:
        seen.append(await double(x))
        return len(seen)

    @add.validator
    def _(x: int) -> None:
        if x < 0:
            raise ValueError("negative")

    return [*seen, await signal("stop")]


@workflow
async def child(x: int) -> int:
    await sleep("1m")
    return await double(x)


@workflow
async def children() -> list[int]:
    return list(await asyncio.gather(child.start(1), child.start(2)))


@workflow
async def outside() -> Any:
    promise = awakeable("answer")
    return await promise


@workflow
async def counting(left: int, seen: list[int]) -> list[int]:
    seen = [*seen, await signal("item")]
    if left > 1:
        continue_as_new(left - 1, seen)
    return seen


@workflow
async def long_operation() -> str:
    return str(await operation(make, "a", poll=ready, every="10s", timeout="1h", cancel=remove))


@workflow
async def taken_back() -> str:
    async with saga() as s:
        await s.do(make, "b", undo=remove)
        await broken()
    return "?"


@workflow
async def labelled() -> str:
    set_attributes(stage="one")
    return "new" if patched("golden") else "old"


@workflow
async def fan_out() -> list[int]:
    return list(await double.map([1, 2, 3], concurrency=2))


@step(queue="gpu")
async def double_there(x: int) -> int:
    return 2 * x


@step(heartbeat_timeout="1h")
async def slow(x: int) -> int:
    progress(x, 3, "half-way")
    heartbeat({"x": x})
    log(f"at {x}")
    await asyncio.sleep(x)
    return x


@step(retry=RetryPolicy(maximum_attempts=1))
async def cannot_remove(vm: str) -> None:
    raise ValueError("it is locked")


@workflow
async def elsewhere() -> list[int]:
    return [await double_there(1), await double(2)]


@workflow
async def at_length() -> list[Any]:
    seen: list[Any] = [await slow(3)]
    try:
        async with asyncio.timeout(2):
            await slow(60)
    except TimeoutError:
        seen.append("given up")
    await sleep("1s")
    return seen


@workflow
async def at_times(x: int) -> list[Any]:
    small = double.when(lambda x: x < 10, x).start(x)
    large = double.when(lambda x: x > 100, x).start(x)
    return [await small, await large]


@workflow
async def tells() -> str:
    await get_run("messages").signal("stop", "told")
    return "told"


@workflow
async def owes_for_good() -> str:
    async with saga() as s:
        await s.do(make, "c", undo=cannot_remove)
        await broken()
    return "?"


@workflow
async def in_turn() -> int:
    return await double(3)


@workflow
async def waits_long() -> Any:
    return [await double(4), await signal("go")]


@step(retry=RetryPolicy(maximum_attempts=1))
async def remove_at_last(vm: str) -> None:
    tries["removals"] += 1
    if tries["removals"] < 2:
        raise ValueError("it is locked")


@workflow
async def owed_again() -> str:
    async with saga() as s:
        await s.do(make, "d", undo=remove_at_last)
        await broken()
    return "?"


@step
async def make_slowly(name: str) -> str:
    await asyncio.sleep(60)
    return f"vm-{name}"


@workflow
async def begun_in_vain() -> str:
    return str(await operation(make_slowly, "e", poll=ready, every="10s", timeout="1h", cancel=remove))


@workflow
async def cancels() -> str:
    await get_run("waits_long").cancel("no longer needed")
    return "told"


@workflow
async def shares() -> Any:
    return await waits_long.options(id="waits_long", on_conflict="use_existing").start()


@workflow
async def goes_on(left: int) -> str:
    print(f"{left} left")
    if left:
        child.options(id="left_behind").start(left)
        await sleep("1s")
        continue_as_new(left - 1)
    await sleep("5m")
    return "done"


@workflow
async def annotated() -> str:
    made = make.undo(remove).start("f")
    await made
    await broken()
    return "?"


@workflow
async def structures() -> list[Any]:
    """Every way to wait for several things, and to write it: Python's own do it otherwise in each version."""
    found: list[Any] = [await asyncio.wait_for(double(1), 60), await asyncio.wait_for(sleep("1s"), None)]
    try:
        await asyncio.wait_for(asyncio.sleep(100), 5)
    except TimeoutError:
        found.append("late")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(double(number)) for number in (2, 3)]
    found += [task.result() for task in tasks]
    found += [await soonest for soonest in asyncio.as_completed([double(4), double(5)], timeout=50)]
    done, _ = await asyncio.wait([asyncio.create_task(double(6)), asyncio.create_task(asyncio.sleep(9))], timeout=3)
    found += [task.result() for task in done]
    found += [{await double(number) for number in (7, 8)}, {number: await double(number) for number in (9,)}]
    found += [number async for number in _doubled(10, 11)]
    found.append([f"{await double(12)} and {await double(13)}", await asyncio.to_thread(len, "four")])
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    async with anyio.create_task_group() as scoped, asyncio.timeout(30):
        scoped.start_soon(_fill, queue)
        found += [await queue.get() for _ in range(2)]
        with anyio.fail_after(20):
            await (
                asyncio
                .sleep(2)
            )  # fmt: skip
        scoped.cancel_scope.cancel()
    for _ in (1, 2):
        try:
            async with asyncio.timeout(None) as limit:
                limit.reschedule(asyncio.get_running_loop().time() + 1)
                await asyncio.Event().wait()
        except TimeoutError:
            found.append(await asyncio.shield(double(14)))
    return found


async def _doubled(*numbers: int) -> AsyncIterator[int]:
    for number in numbers:
        yield await double(number)


async def _fill(queue: asyncio.Queue[int]) -> None:
    for number in (15, 16, 17, 18):
        await queue.put(await double(number))
