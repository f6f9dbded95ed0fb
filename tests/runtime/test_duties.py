"""What a run owes, while its code is stopped, dropped or cleaning up: taken back once, and never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.errors import HistoryMismatch, NotStarted
from flowbook.runtime.dataflow import Call
from flowbook.runtime.definitions import Step, step
from flowbook.runtime.going_on import continue_as_new
from flowbook.runtime.handles import launch
from flowbook.runtime.operation import operation
from tests.runtime.cloud import create, delete, obligations, turns_until, unmake, world
from tests.runtime.driver import Driver

pytestmark = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@pytest.fixture(autouse=True)
def fresh() -> None:
    world.__init__()  # type: ignore[misc]


@step
def bad(after: object = None) -> None:
    raise ValueError("no")


def test_a_run_that_is_terminated_while_it_undoes_undoes_once(evict: bool) -> None:
    async def flow() -> None:
        await create.undo(unmake).map(["a", "b"])
        await bad()

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: any(call.command.step.name == "unmake" for call in driver.execution.calls))
    driver._tell(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert world.said == ["create", "create", "unmake", "unmake"]
    assert obligations(driver)[2:] == ["undone", "undone"]


# Clean-up code that cancels


@step
def tick(n: int) -> int:
    return n


@step
def delete_in(name: str, region: str) -> None:
    world.say(f"delete in {region}")


@pytest.mark.parametrize("end", [None, e.CancelRequested(), e.TerminateRequested()])
@pytest.mark.parametrize("how", ["given", "tested"])
def test_an_undo_that_needs_what_the_run_never_had_stays_owed_and_stops_no_other(
    how: str, end: e.AnyEvent | None, evict: bool
) -> None:
    async def flow() -> None:
        async def region() -> str:
            await asyncio.Event().wait()
            return "eu"

        never = launch(region, label="region")
        await create.undo(unmake).start("first")
        undo = Call(unmake).when(bool, never) if how == "tested" else delete_in
        await create.undo(undo, **({} if how == "tested" else {"region": never})).start("second")
        await (asyncio.Event().wait() if end is not None else bad())

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: driver.executed.count("create") == 2)
    driver.mailbox += [] if end is None else [end]
    assert isinstance(driver.run(), e.RunFailed | e.RunCancelled | e.RunTerminated)
    assert world.said == ["create", "create", "unmake"]
    assert obligations(driver)[2:] == ["failed OutcomeUnknown", "undone"]


@pytest.mark.parametrize("how", ["task", "itself", "exit"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_generator_whose_clean_up_breaks_off_leaves_nothing_owed(how: str, fails: bool, evict: bool) -> None:
    open_still: list[Any] = []

    async def flow() -> None:
        await create.undo(unmake).start("a")

        async def ticks() -> AsyncIterator[int]:
            beat = asyncio.create_task(asyncio.sleep(10_000))
            try:
                while True:
                    yield await tick(1)
            finally:
                if how == "exit":
                    raise SystemExit(3)
                (asyncio.current_task() if how == "itself" else beat).cancel()  # type: ignore[union-attr]
                if how == "task":
                    await beat

        ticking = ticks()
        async for _ in ticking:
            if fails:
                await bad()
            break
        open_still.append(ticking)

    driver = Driver(flow, evict=evict)
    ended = driver.run()
    assert ended is None or isinstance(ended, e.RunFailed)
    assert obligations(driver)[1:] == (["undone"] if fails else ["kept"])


def test_clean_up_that_cancels_every_task_twice_leaves_the_duties_alone(evict: bool) -> None:
    async def flow() -> str:
        machine = asyncio.create_task(operation(create, "a", poll=never_ready, cancel=delete))
        await asyncio.sleep(5)
        for _ in range(2):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([machine])
        return "ok"

    driver = Driver(flow, evict=evict)
    assert driver.run() == "ok"
    assert world.said[-1] == "delete" and obligations(driver) == ["owes create", "cancelled"]


@step
def never_ready(vm: str) -> bool:
    return False


# Runs that end well


@step
def lost(name: str) -> str:
    raise ConnectionError("no answer")


@step
def refused(name: str) -> str:
    raise ValueError("no")


@step
def idle(name: str) -> str:
    raise NotStarted("no quota")


async def leaves_it(how: Step[..., str], goes_on: bool) -> str:
    how.undo(delete).start("a")
    await tick(1)
    if goes_on:
        continue_as_new()
    return "done"


async def catches_it(how: Step[..., str], goes_on: bool) -> str:
    with suppress(ValueError, OSError, NotStarted):
        await how.undo(delete).start("a")
    if goes_on:
        continue_as_new()
    return "done"


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("flow", [leaves_it, catches_it])
@pytest.mark.parametrize(
    ("how", "told"),
    [(create, "kept"), (lost, "failed OutcomeUnknown"), (refused, "nothing to undo"), (idle, "not started")],
)
def test_a_run_that_ends_well_keeps_only_what_was_done(
    flow: Callable[..., Any], how: Step[..., str], told: str, goes_on: bool, evict: bool
) -> None:
    async def work() -> str:
        return await flow(how, goes_on)

    driver = Driver(work, evict=evict)
    ended = driver.run()
    assert ended == "done" or (goes_on and isinstance(ended, e.RunContinued))
    assert obligations(driver) == ["owes delete", told]


@pytest.mark.parametrize(("last", "told"), [(ConnectionError, "failed OutcomeUnknown"), (ValueError, "kept")])
def test_a_step_done_in_rounds_is_kept_with_all_of_them(last: type[Exception], told: str, evict: bool) -> None:
    @step
    def grow(n: int) -> int:
        if n == 1:
            raise last
        return n + 1

    async def flow() -> None:
        with suppress(ValueError, OSError):
            await grow.until(lambda n: n > 5, every="1s").undo(delete).start(0)

    driver = Driver(flow, evict=evict)
    driver.run()
    assert obligations(driver) == ["owes delete", told]


def test_what_a_run_would_keep_is_taken_back_where_it_is_terminated_meanwhile(evict: bool) -> None:
    async def flow() -> str:
        create.undo(delete).start("a")
        await tick(1)
        return "done"

    driver = Driver(flow, evict=evict)
    turns_until(driver, lambda: driver.executed == ["tick"] and not driver.execution.items)
    driver._tell(e.TerminateRequested())
    assert isinstance(driver.run(), e.RunTerminated)
    assert world.said == ["create", "delete"] and obligations(driver) == ["owes delete", "undone"]


def test_code_that_no_longer_owes_what_the_history_owes_is_told_so(evict: bool) -> None:
    async def flow() -> None:
        await create.undo(unmake).start("a")

    async def edited() -> None:
        await tick(1)

    driver = Driver(flow, evict=evict)
    driver.run()
    again = Driver(edited, evict=evict)
    again.history = driver.history
    with pytest.raises(HistoryMismatch, match="owes 'unmake' here, and the code does not") as found:
        again._activate()
    assert found.value.difference["asked"] == "it waits for step 'tick'"
