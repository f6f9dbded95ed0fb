"""What the simulation has found, as the shortest story that shows it."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import anyio
import pytest

import flowbook
from flowbook.core.retry import RetryPolicy
from flowbook.errors import FlowbookError, RunConflict, StoreError
from flowbook.store.base import Group
from flowbook.store.memory import MemoryStore
from flowbook.testing import TestEngine
from flowbook.testing.engine import START
from flowbook.testing.network import Weather
from flowbook.testing.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@flowbook.step(retry=RetryPolicy(maximum_attempts=0, initial_interval=60.0))
def refused() -> None:
    raise ConnectionError("not now")


@flowbook.workflow
async def impatient() -> str:
    try:
        async with asyncio.timeout(45):
            await refused()
    except TimeoutError:
        await flowbook.sleep("1h")
    return "gave up"


@pytest.mark.parametrize("evict", [False, True])
async def test_a_retry_given_up_while_the_run_was_not_in_memory_is_no_longer_due(evict: bool) -> None:
    """The engine had the run activated again and again, for as long as it lived."""
    async with TestEngine(evict=evict) as env:
        run = await env.start(impatient)
        assert await run.result() == "gave up"
        kinds = Counter(type(recorded.event).__name__ for recorded in run.history)
    assert kinds["StepCancelled"] == 1 and kinds["StepAttemptFailed"] == 1


@flowbook.workflow
async def two_timers() -> list[Any]:
    return list(await asyncio.gather(asyncio.sleep(1, "one"), asyncio.sleep(5, "two")))


async def test_a_timer_that_was_due_while_the_disk_was_full_does_not_take_the_next_one_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit, refusals = MemoryStore.commit, iter([True])

    def full(store: MemoryStore, group: Group) -> None:
        if any(type(entry.recorded.event).__name__ == "TimerFired" for entry in group.entries) and next(
            refusals, False
        ):
            raise StoreError("the disk is full")
        commit(store, group)

    monkeypatch.setattr(MemoryStore, "commit", full)
    async with TestEngine() as env:
        assert await (await env.start(two_timers)).result() == ["one", "two"]


@flowbook.workflow
async def waits() -> str:
    return await flowbook.signal("go")


class Slow(Weather):
    """Everything is on its way for a second and a half."""

    def latency(self) -> float:
        return 1.5


async def test_a_run_dropped_while_a_new_engine_was_claiming_it_is_taken_up() -> None:
    """The worker let it go under the old engine's lease; the new one took it to be held, for ever."""
    async with TestEngine() as env:
        run = await env.start(waits)
        await env.sleep(2.0)
        world: World = env._world_now
        world.network.weather = Slow()
        world.engine.kill()  # type: ignore[union-attr]
        # Back at 3.8 s, its claim known at 6.8 s; idle for five seconds at 5 s.
        await env.sleep(10.0)
        world.network.weather = Weather()
        await run.signal("go", "at last")
        assert await run.result() == "at last"


@flowbook.workflow
async def branching() -> str:
    return "new" if flowbook.patched("mended") else "old"


async def test_a_new_run_takes_the_new_branch_even_where_a_signal_was_there_before_its_code() -> None:
    async with TestEngine() as env:
        assert await (await env.start(branching, signal=("go", 1))).result() == "new"


doomed: list[World] = []
"""Worlds whose worker dies with the first step that it begins."""


@flowbook.step
async def work(what: str) -> str:
    if doomed:
        doomed.pop().workers[0].kill()
        raise asyncio.CancelledError
    return what


async def cleaned() -> str:
    return await work("clean" if flowbook.patched("clean first") else "dirty")


@flowbook.workflow
async def branching_beside_a_step() -> list[Any]:
    return list(await asyncio.gather(cleaned(), work("done")))


@pytest.mark.parametrize("evict", [False, True])
async def test_a_new_run_takes_the_new_branch_again_when_its_worker_was_lost_at_once(evict: bool) -> None:
    """It was recorded that a step had begun, and not yet that the branch was the new one: so that was older code's.

    The run took the old branch then, and was paused where the step was one of the new branch's.
    """
    async with TestEngine(evict=evict) as env:
        env._world_now.network.weather = Slow()
        doomed.append(env._world_now)
        assert await (await env.start(branching_beside_a_step)).result() == ["clean", "done"]


@flowbook.step
def begin() -> str:
    return "vm"


@flowbook.step
def poll(vm: str) -> bool:
    return False


@flowbook.step
async def end(vm: str) -> None:
    await asyncio.sleep(10)


@flowbook.workflow
async def limited(how: str) -> str:
    with anyio.move_on_after(5):
        if how == "anyio":
            async with anyio.create_task_group() as nursery:
                nursery.start_soon(provision)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(provision())
    return "too slow"


async def provision() -> None:
    await flowbook.operation(begin, poll=poll, every="1s", cancel=end)


@pytest.mark.parametrize("how", ["anyio", "asyncio"])
@pytest.mark.parametrize("evict", [False, True])
async def test_a_cancelled_scope_waits_for_the_clean_up_inside(how: str, evict: bool) -> None:
    """anyio delivers its cancellation in every turn of a loop, to a task that could not end yet: it spun."""
    async with TestEngine(evict=evict) as env:
        run = await env.start(limited, how)
        assert await run.result() == "too slow"
        assert (env.now() - START).total_seconds() == 15


@flowbook.workflow
async def rounds(left: int) -> str:
    await flowbook.sleep("1h")
    if left:
        flowbook.continue_as_new(left - 1)
    return "done"


async def test_the_same_start_again_is_known_after_the_run_has_gone_on_as_another() -> None:
    """A client that was not answered asks again: by then the last run of the chain has other arguments."""
    async with TestEngine() as env:
        first = await env.start(rounds, 2, id="chain")
        await env.sleep("90m")
        again = await env.start(rounds, 2, id="chain")
        assert (first.id, again.id) == ("chain", "chain~2")
        with pytest.raises(RunConflict):
            await env.start(rounds, 1, id="chain")
        assert await again.result() == "done"


@flowbook.step(retry=RetryPolicy(maximum_attempts=2, initial_interval=20.0))
async def slow_at_last() -> str:
    if not (flowbook.step_context().attempt - 1):
        raise ConnectionError("not yet")
    await asyncio.sleep(30)
    return "done"


@flowbook.workflow
async def patient() -> str:
    return await slow_at_last()


@pytest.mark.parametrize("evict", [False, True])
@pytest.mark.parametrize("at", [10.0, 35.0])
async def test_a_clock_that_is_set_back_holds_up_no_retry_and_drops_no_attempt(evict: bool, at: float) -> None:
    """A retry waited for the machine's clock to catch up; what ran was taken for a retry far away and dropped."""
    async with TestEngine(evict=evict) as env:
        run = await env.start(patient)
        await env.sleep(at)
        env._world_now.machine.set_back += 3600.0
        assert await run.result() == "done"
        begun, took = run.history[0].time, run.history[-1].time - run.history[0].time
        kinds = Counter(type(recorded.event).__name__ for recorded in run.history)
    assert begun and took < 60.0
    assert kinds["StepAttemptFailed"] == kinds["StepCompleted"] == 1


async def test_a_request_that_comes_twice_is_answered_and_harms_nobody() -> None:
    """The second one's end found no trace of the first, and that was the end of the engine."""

    class Twice(Weather):
        def carry(self, end: Any, data: bytes) -> list[bytes]:
            return [data, data] if data.startswith(b'{"type":"Request"', 4) else [data]

    world = World(Random(1), START.timestamp(), Twice())
    try:

        async def ask() -> None:
            async with world.client() as client:
                with pytest.raises(FlowbookError, match="no module"):
                    await client.module("nowhere")

        world.run(ask()).result()
        world.settle()
        assert world.engine is not None and world.engine.alive and not world.loop.errors
    finally:
        world.close()


async def withdraws() -> None:
    try:
        await flowbook.signal("never")
    finally:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await flowbook.get_run("other").cancel("withdrawn")


@flowbook.workflow
async def ends_before_a_task() -> str:
    task = asyncio.create_task(withdraws())
    await flowbook.sleep("1s")
    return "done" if task else ""


@pytest.mark.parametrize("evict", [False, True])
async def test_what_a_task_asks_for_when_its_run_ends_is_heard_whether_or_not_that_was_in_memory(evict: bool) -> None:
    """It came a turn of the loop too late, after the end, and was said to nobody; but first by a re-execution."""
    async with TestEngine(evict=evict) as env:
        other = await env.start(waits, id="other")
        run = await env.start(ends_before_a_task)
        assert await run.result() == "done"
        assert await other.wait() == "cancelled"
        kinds = [type(recorded.event).__name__ for recorded in run.history]
    assert kinds[-3:] == ["CancelSent", "StepCompleted", "RunCompleted"]
