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
from flowbook.runtime.elsewhere import other_run
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


async def leaves(last: Any, *more: Any) -> None:
    """Its cancellation takes a few turns of the loop to come to its end."""
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with contextlib.suppress(Picky):
            await last()
        for one in more:
            await one()


def withdraw() -> Any:
    return other_run("other").cancel()


def hears() -> Any:
    return signal("late")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (withdraw, ["CancelSent", "RunCompleted"]),
        (picky, ["RunCompleted", "picky"]),
        (lambda: asyncio.sleep(60), ["TimerStarted", "RunCompleted"]),
        (hears, ["SignalAwaited", "RunCompleted"]),
    ],
)
def test_what_a_task_asks_for_at_once_when_its_run_ends_comes_before_the_end(last: Any, said: list[str]) -> None:
    """How many turns of the loop that takes made a difference, and whether the run was re-executed meanwhile."""

    async def work() -> None:
        tasks.append(asyncio.create_task(leaves(last)))
        await nothing()

    tasks: list[asyncio.Task[None]] = []
    driver = Driver(work)
    while "StepCompleted" not in driver.kinds():
        driver.turn()
    again = Execution(driver.workflow, save=save, load=load)
    again.begin(driver.history)
    assert asked(driver.execution) == asked(again) == ["TimerCancelled", *said]
    assert driver.run() is None


def test_what_a_task_owes_when_its_run_ends_is_wound_up() -> None:
    async def owes() -> None:
        async with saga() as done:
            await done.do(nothing, undo=nothing)

    async def work() -> None:
        tasks.append(asyncio.create_task(leaves(owes)))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    driver = Driver(work)
    assert driver.run() is None
    assert driver.kinds()[-2:] == ["ObligationSettled", "RunCompleted"]


async def stays() -> None:
    for _ in range(3):
        with contextlib.suppress(asyncio.CancelledError):
            await hears()


@pytest.mark.parametrize("rest", [lambda: leaves(picky, withdraw), lambda: leaves(picky, hears), stays])
def test_a_run_that_goes_on_leaves_what_comes_to_the_next_one(rest: Any) -> None:
    """The engine lets no run go on that has not seen a signal: it asks again, and what remains of it has no say."""

    async def work(n: int) -> None:
        tasks.append(asyncio.create_task(rest()))
        await asyncio.sleep(0)
        continue_as_new(n + 1)

    tasks: list[asyncio.Task[None]] = []
    driver = Driver(work, 1)
    late = e.SignalReceived(name="late", value=driver.execution.values.encoded(1))
    driver._tell(late)
    for call in driver.execution.calls:
        driver._tell(driver._execute(call))
    said = asked(driver.execution)
    assert "CancelSent" not in said and said.count("SignalAwaited") == (rest is stays)
    assert [item.signals for item in driver.execution.items if isinstance(item, e.RunContinued)] == [(late,)]


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
