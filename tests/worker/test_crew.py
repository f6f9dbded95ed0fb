"""Attempts share a task only as long as none of them can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from flowbook.worker.crew import Crew

pytestmark = pytest.mark.anyio

known: ContextVar[str] = ContextVar("known", default="nothing")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watched:
    """A crew, with what went wrong in it and the tasks its work had."""

    def __init__(self) -> None:
        self.broken: list[BaseException] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.done: list[Any] = []
        self.crew = Crew(self.broken.append)

    def run(self, *works: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        for work in works:
            self.crew.run(self._work(work))

    async def _work(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.tasks.append(asyncio.current_task())
        self.done.append(await work())

    async def rest(self) -> None:
        await self.crew.rest(5.0)


async def quick() -> str:
    return "quick"


async def test_what_never_waits_shares_a_task_in_order() -> None:
    watched = Watched()

    def numbered(number: int) -> Callable[[], Coroutine[Any, Any, int]]:
        async def work() -> int:
            return number

        return work

    watched.run(*[numbered(number) for number in range(20)])
    await watched.rest()
    assert watched.done == list(range(20))
    assert len(set(watched.tasks)) == 1


async def test_what_waits_holds_up_nobody_and_keeps_its_task() -> None:
    watched, gate = Watched(), asyncio.Event()

    async def waits() -> str:
        before = asyncio.current_task()
        await gate.wait()
        assert asyncio.current_task() is before
        return "waited"

    watched.run(waits, quick, waits, quick)
    while len(watched.done) < 2:
        await asyncio.sleep(0)
    assert watched.done == ["quick", "quick"]
    gate.set()
    await watched.rest()
    assert watched.done == ["quick", "quick", "waited", "waited"]
    assert watched.tasks[0] not in watched.tasks[1:]
    watched.run(quick)
    await watched.rest()
    assert watched.tasks[-1] not in watched.tasks[:-1]


async def test_each_has_a_context_of_its_own() -> None:
    watched = Watched()

    async def changes() -> str:
        before = known.get()
        known.set("something")
        return before

    async def changes_later() -> str:
        before = known.get()
        known.set("something")
        await asyncio.sleep(0)
        return before + known.get()

    watched.run(changes, changes, changes_later, changes)
    await watched.rest()
    assert sorted(watched.done) == ["nothing", "nothing", "nothing", "nothingsomething"]
    assert known.get() == "nothing"


async def test_time_outs_and_task_groups_work_in_it() -> None:
    watched = Watched()

    async def late() -> str:
        try:
            async with asyncio.timeout(0.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    async def grouped() -> str:
        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(quick()), group.create_task(quick())
        return first.result() + second.result()

    watched.run(late, grouped, quick)
    await watched.rest()
    assert sorted(watched.done) == ["late", "quick", "quickquick"]


async def test_an_exception_goes_to_the_owner_and_the_rest_goes_on() -> None:
    watched = Watched()

    async def fails() -> None:
        raise ZeroDivisionError

    async def fails_later() -> None:
        await asyncio.sleep(0)
        raise KeyError

    watched.run(fails, quick, fails_later, quick)
    while len(watched.done) < 2 or len(watched.broken) < 2:
        await asyncio.sleep(0)
    assert [type(error) for error in watched.broken] == [ZeroDivisionError, KeyError]
    assert watched.done == ["quick", "quick"]


@pytest.mark.parametrize("uncancels", [False, True])
async def test_a_cancellation_that_was_not_noticed_hits_no_other(uncancels: bool) -> None:
    watched = Watched()

    async def cancels_itself() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if uncancels:
            task.uncancel()
        return "cancelled"

    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    watched.run(cancels_itself, waits)
    while len(watched.done) < 2:
        await asyncio.sleep(0)
    assert watched.done == ["cancelled", "waited"]
    assert not watched.broken


async def test_cancelling_the_task_of_one_that_waits_ends_that_one() -> None:
    watched = Watched()

    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "told"
        return "never"

    watched.run(waits)
    await asyncio.sleep(0)
    (task,) = watched.tasks
    assert task is not None
    task.cancel()
    await watched.rest()
    assert watched.done == ["told"]


async def test_leaving_cancels_what_runs_and_closes_what_has_not_begun() -> None:
    watched = Watched()
    told: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("told")

    watched.run(waits)
    await asyncio.sleep(0)
    watched.run(quick)
    watched.crew.leave()
    await watched.rest()
    assert told == ["told"] and not watched.done and not watched.broken
