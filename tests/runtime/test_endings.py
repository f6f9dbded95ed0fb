"""How code may end, and how it may refuse to: exits, exceptions of any kind, and code that catches everything."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.runtime.definitions import step
from flowbook.runtime.execution import Execution
from flowbook.runtime.going_on import continue_as_new
from flowbook.runtime.primitives import signal
from flowbook.runtime.saga import saga
from tests.runtime.driver import Driver, load, save

both = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


class Picky(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


@step
def picky() -> None:
    raise Picky(1, 2)


@step
def nothing() -> None:
    """Is done."""


@step
def undecodable() -> None:
    b"\xff".decode()


@both
@pytest.mark.parametrize("error", [SystemExit("out"), KeyboardInterrupt(), ValueError("bad")])
def test_what_the_code_raises_fails_the_run_and_nothing_else(evict: bool, error: BaseException) -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        raise error

    ended = Driver(work, evict=evict).run()
    assert isinstance(ended, e.RunFailed) and ended.failure.type == type(error).__name__


def test_sys_exit_in_a_task_is_the_tasks() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def work() -> str:
        task = asyncio.create_task(leave())
        with contextlib.suppress(SystemExit):
            await task
        return "still here"

    assert Driver(work).run() == "still here"


@both
@pytest.mark.parametrize(("failing", "caught"), [(picky, Picky), (undecodable, UnicodeDecodeError)])
def test_an_exception_is_caught_by_its_class_whatever_its_init_wants(evict: bool, failing: Any, caught: Any) -> None:
    async def work() -> str:
        try:
            await failing()
        except caught as error:
            return str(error)
        return "nothing"

    assert "failed" in Driver(work, evict=evict).run()


@pytest.mark.parametrize(
    "value", [10**5000, "\ud800", {"\ud800": 1}, lambda: iter([])], ids=["int", "text", "key", "code"]
)
def test_a_result_that_cannot_be_saved_fails_the_run_or_is_saved(value: Any) -> None:
    async def work() -> Any:
        return value

    driver = Driver(work)
    driver.run()
    assert isinstance(driver.history[-1].event, e.RunCompleted | e.RunFailed)


@pytest.mark.parametrize("delay", [math.nan, math.inf])
def test_a_sleep_that_is_no_time(delay: float) -> None:
    async def work() -> None:
        await asyncio.sleep(delay)

    driver = Driver(work)
    ended = driver.run()
    if math.isnan(delay):
        assert isinstance(ended, e.RunFailed) and "NaN" in ended.failure.message
    else:
        assert driver.kinds() == ["RunStarted"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_that_catches_everything_can_still_be_dropped() -> None:
    async def work() -> Any:
        while True:
            try:
                return await signal("go")
            except BaseException:
                continue

    driver = Driver(work)
    driver.turn()
    driver.execution.close()
    assert driver.execution.closed


def test_code_outside_a_run_may_not_wake_it() -> None:
    kept: list[asyncio.Event] = []

    async def work() -> None:
        kept.append(asyncio.Event())
        await kept[0].wait()

    driver = Driver(work)
    driver.turn()
    with pytest.raises(Exception, match="no part of it"):
        kept[0].set()
    driver.execution.close()


def asked(execution: Execution) -> list[str]:
    """What the code asks for, in its order, and which steps it calls."""
    return [type(item).__name__ for item in execution.items] + [call.command.step.name for call in execution.calls]


async def cleans(*work: Any) -> None:
    """Waits until it is cancelled, and has something to do then."""
    try:
        await asyncio.Event().wait()
    finally:
        for one in work:
            await one()


def begin(*work: Any) -> None:
    """A task beside the workflow's own code."""
    # Kept alive by whoever cleans up; a task that nobody refers to may be collected, as with asyncio.
    TASKS.append(asyncio.create_task(cleans(*work)))


TASKS: list[asyncio.Task[None]] = []


def hears() -> Any:
    return signal("late")


async def fails() -> None:
    with contextlib.suppress(Picky):
        await picky()


@both
@pytest.mark.parametrize(
    ("work", "last"),
    [
        ([nothing], ["StepCompleted"]),
        ([fails, nothing], ["StepFailed", "StepCompleted"]),
        ([lambda: asyncio.sleep(60)], ["TimerStarted", "TimerFired"]),
        ([hears], ["SignalAwaited", "SignalReceived"]),
    ],
)
@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_what_a_task_does_to_clean_up_is_done_before_its_run_ends(
    evict: bool, work: list[Any], last: list[str], ending: str
) -> None:
    async def flow() -> str:
        begin(*work)
        await nothing()
        if ending == "raises":
            raise ValueError("bad")
        return "done"

    driver = Driver(flow, evict=evict)
    while driver.turn():
        pass
    if hears in work:
        assert driver.kinds()[-1] == "SignalAwaited"
        driver.send("late", 1)
    driver.run()
    closing = "RunCompleted" if ending == "returns" else "RunFailed"
    assert driver.kinds() == ["RunStarted", "StepCompleted", *last, closing]


def test_a_run_ends_as_plain_asyncio_does() -> None:
    def told(said: list[str]) -> Any:
        async def one(name: str, seconds: float, then: Any = None) -> None:
            try:
                await asyncio.sleep(0.2)
            finally:
                said.append(f"{name} is cancelled")
                await asyncio.sleep(seconds)
                said.append(f"{name} has cleaned up")
                if then is not None:
                    await then()

        async def swallows() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.01)
            said.append("it goes on a little")

        async def flow() -> str:
            tasks = [asyncio.create_task(each) for each in (one("a", 0.02), one("b", 0.01, swallows), swallows())]
            await asyncio.sleep(0)
            said.append(f"main leaves {len(tasks)}")
            return "done"

        return flow

    plain: list[str] = []
    asyncio.run(told(plain)())
    durable: list[str] = []
    assert Driver(told(durable)).run() == "done"
    # In which order asyncio cancels them is left to chance; Flowbook's is that in which they began.
    assert sorted(durable) == sorted(plain) and durable[:3] == ["main leaves 3", "a is cancelled", "b is cancelled"]


@pytest.mark.parametrize(
    ("event", "closing"),
    [
        (e.CancelRequested(reason="enough"), "RunCompleted"),
        (e.CancelRequested(cause="timeout", reason="too late"), "RunFailed"),
        (e.TerminateRequested(), "RunTerminated"),
    ],
)
@both
def test_clean_up_that_takes_for_ever_can_be_ended(evict: bool, event: e.AnyEvent, closing: str) -> None:
    async def books() -> None:
        async with saga() as done:
            await done.do(nothing, undo=nothing)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await hears()

    async def flow() -> str:
        begin(hears)
        TASKS.append(asyncio.create_task(books()))
        await asyncio.sleep(1)
        return "done"

    driver = Driver(flow, evict=evict)
    while driver.turn():
        pass
    assert driver.kinds()[-2:] == ["SignalAwaited", "SignalAwaited"]
    driver._tell(event)
    driver.run()
    assert driver.kinds()[-2:] == ["ObligationSettled", closing] and driver.executed == ["nothing", "nothing"]
    again = Execution(driver.workflow, save=save, load=load)
    again.begin(driver.history)
    assert again.closed and not asked(again)


@both
def test_a_run_that_goes_on_cleans_up_first_and_leaves_what_comes_to_the_next_one(evict: bool) -> None:
    async def flow(n: int) -> None:
        begin(nothing)
        await asyncio.sleep(0)
        continue_as_new(n + 1)

    driver = Driver(flow, 1, evict=evict)
    driver.send("late", 1)
    late = driver.mailbox[0]
    ended = driver.run()
    assert isinstance(ended, e.RunContinued) and ended.signals == (late,)
    assert driver.executed == ["nothing"]


def test_what_a_task_owes_when_its_run_ends_is_wound_up() -> None:
    async def owes() -> None:
        async with saga() as done:
            await done.do(nothing, undo=nothing)

    async def work() -> None:
        begin(owes)
        await asyncio.sleep(0)

    driver = Driver(work)
    assert driver.run() is None
    assert driver.kinds()[-2:] == ["ObligationSettled", "RunCompleted"]


def test_a_run_that_would_go_on_and_is_cancelled_ends_once() -> None:
    async def work(n: int) -> None:
        continue_as_new(n + 1)

    driver = Driver(work, 1)
    driver._tell(e.CancelRequested(carried=True))
    driver._tell(e.SignalReceived(name="late", value=driver.execution.values.encoded(1)))
    assert asked(driver.execution) == ["RunCancelled"]


def test_a_run_whose_code_has_ended_is_not_terminated_as_well() -> None:
    async def work() -> int:
        return 7

    driver = Driver(work)
    driver._tell(e.TerminateRequested())
    assert asked(driver.execution) == ["RunCompleted"]
