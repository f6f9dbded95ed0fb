"""The loop's whole surface, and the cancellations that other loops lose."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.to_thread
import pytest

from flowbook.core import events as e
from flowbook.errors import NotDeterministic
from flowbook.runtime.definitions import step
from flowbook.runtime.elsewhere import awakeable
from flowbook.runtime.going_on import patched
from flowbook.runtime.loop import DeterministicLoop
from flowbook.wire import codec
from tests.runtime.driver import Driver, save

both = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])

METHODS = sorted(name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("__"))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_works_or_names_what_to_use_instead(name: str) -> None:
    own = getattr(DeterministicLoop, name)
    assert own is not getattr(asyncio.AbstractEventLoop, name), f"{name} would raise a bare NotImplementedError"
    if getattr(own, "__module__", "") == DeterministicLoop.__module__ and own.__name__ == name and own.__closure__:
        loop = Driver(nothing).execution.loop
        with pytest.raises(NotDeterministic, match=f"{name}.*;"):
            getattr(loop, name)()


async def nothing() -> None:
    return None


@step
def work(x: int) -> int:
    return x


@both
def test_threads_of_anyio_are_implicit_steps(evict: bool) -> None:
    async def flow() -> list[int]:
        first = await anyio.to_thread.run_sync(sum, [1, 2])
        second = await anyio.to_thread.run_sync(sum, [3, 4], abandon_on_cancel=True)
        return [first, second]

    driver = Driver(flow, evict=evict)
    assert driver.run() == [3, 7] and driver.executed == ["sum", "sum"]


def test_elsewhere_anyio_has_its_threads() -> None:
    assert anyio.run(anyio.to_thread.run_sync, lambda: 5) == 5


def cancelled_when(driver: Driver, executed: int) -> Any:
    while len(driver.executed) < executed:
        assert driver.turn()
    driver.mailbox.append(e.CancelRequested())
    return driver.run()


async def _wait_for() -> None:
    for number in range(20):
        await asyncio.wait_for(work(number), 60)


async def _timeout() -> None:
    for number in range(20):
        async with asyncio.timeout(60):
            await work(number)


async def _group() -> None:
    for number in range(20):
        async with asyncio.TaskGroup() as group:
            group.create_task(work(number))


async def _gather() -> None:
    for number in range(20):
        await asyncio.gather(work(number), asyncio.sleep(0))


async def _scope() -> None:
    for number in range(20):
        with anyio.fail_after(60):
            await work(number)


async def _anyio_group() -> None:
    for number in range(20):
        async with anyio.create_task_group() as group:
            group.start_soon(work, number)


async def _shield() -> None:
    for number in range(20):
        await asyncio.shield(work(number))


async def _plain() -> None:
    for number in range(20):
        await work(number)


@both
@pytest.mark.parametrize("executed", [0, 1, 7])
@pytest.mark.parametrize(
    "flow", [_plain, _wait_for, _timeout, _group, _gather, _scope, _anyio_group, _shield], ids=lambda f: f.__name__[1:]
)
def test_a_cancellation_is_never_lost(flow: Any, executed: int, evict: bool) -> None:
    driver = Driver(flow, evict=evict)
    assert isinstance(cancelled_when(driver, executed), e.RunCancelled)
    assert len(driver.executed) < 20


@both
def test_a_cancellation_in_the_same_turn_as_a_result_is_not_lost(evict: bool) -> None:
    """The step's result and the cancellation are applied one after the other, with nothing of the code between."""

    async def flow() -> None:
        await asyncio.wait_for(work(1), 60)
        await asyncio.sleep(3600)

    driver = Driver(flow, evict=evict)
    while not driver.calls:
        driver.turn()
    call = driver.calls.pop()
    driver.mailbox += [driver._execute(call), e.CancelRequested()]
    assert isinstance(driver.run(), e.RunCancelled) and driver.clock < 1010.0


@both
def test_a_step_waits_until_a_promise_whose_token_it_may_hand_on_is_recorded(evict: bool) -> None:
    async def flow() -> int:
        promise = awakeable("answer")
        sent = await work(len(promise.token))
        return int(sent > 0) + await promise

    driver = Driver(flow, evict=evict)
    assert not driver.execution.calls and [type(item) for item in driver.execution.items] == [e.StepWaiting]
    while not driver.executed:
        assert driver.turn()
    assert driver.kinds().index("StepWaiting") < driver.kinds().index("StepCompleted")
    waiting = next(r.event for r in driver.history if isinstance(r.event, e.StepWaiting))
    driver.mailbox.append(
        e.StepCompleted(key=waiting.key, step="answer", value=codec.encode(5, save), digest=waiting.digest)
    )
    assert driver.run() == 6


@both
def test_a_step_waits_until_it_is_recorded_that_its_branch_is_new(evict: bool) -> None:
    """Of a lost worker's steps it is recorded that they began: without the mark they look like those of older code."""

    async def branch() -> str:
        return "new" if patched("a") and patched("b") else "old"

    async def flow() -> Any:
        return await asyncio.gather(branch(), work(1))

    driver = Driver(flow, evict=evict)
    assert not driver.execution.calls
    assert [type(item) for item in driver.execution.items] == [e.PatchMarked, e.PatchMarked]
    assert driver.run() == ["new", 1]
    assert driver.kinds()[1:4] == ["PatchMarked", "PatchMarked", "StepCompleted"]


@both
def test_a_step_that_waits_for_a_record_may_have_begun_before(evict: bool) -> None:
    """Then nobody may say that it surely has not."""

    async def flow() -> int:
        promise = awakeable("answer")
        return await work(len(promise.token))

    driver = Driver(flow, evict=evict)
    while not driver.execution.calls:
        assert driver.turn()
    assert driver.execution.calls[0].again
