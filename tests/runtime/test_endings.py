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
from flowbook.runtime.primitives import signal
from tests.runtime.driver import Driver

both = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


class Picky(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


@step
def picky() -> None:
    raise Picky(1, 2)


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
