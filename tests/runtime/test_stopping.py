"""Code that is told to stop: honest clean-up is never disturbed, and code that has gone on is told again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

import flowbook
from flowbook import shielded, step
from flowbook.core import events as e
from flowbook.runtime.handles import launch
from tests.runtime.driver import Driver

said: list[str] = []
ASKED, TIME_IS_UP = e.CancelRequested("enough"), e.CancelRequested("too long", "timeout")


@step
def say(what: str) -> str:
    said.append(what)
    return what


@step
def fail() -> None:
    raise ValueError("no")


@step
def never(vm: str) -> bool:
    return False


async def clean_up(name: str = "") -> None:
    """Several awaits of several kinds."""
    await say(f"{name}1")
    await asyncio.sleep(10)
    with suppress(ValueError):
        await fail()
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(5, gate.set)
    await gate.wait()
    await asyncio.create_task(asyncio.sleep(1))
    await say(f"{name}2")


async def work(name: str = "") -> None:
    try:
        await asyncio.sleep(1000)
    finally:
        await clean_up(name)


# Clean-up of every honest kind


async def in_finally() -> None:
    await work()


async def in_except() -> None:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        await clean_up()
        raise


async def in_an_error_on_the_way_out() -> None:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        try:
            await fail()
        except ValueError:
            await clean_up()
        raise


async def in_a_context() -> None:
    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await clean_up()

    async with held():
        await asyncio.sleep(1000)


async def shielded_afterwards() -> None:
    cancelled = None
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError as error:
        cancelled = error
    await shielded(clean_up())
    assert cancelled is not None
    raise cancelled


async def in_gathered_tasks() -> None:
    await asyncio.gather(work("a"), work("b"))


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work("a"))
        group.create_task(work("b"))


async def in_a_group_whose_body_waits() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work("a"))
        await asyncio.sleep(1000)


async def in_an_anyio_group() -> None:
    async def one() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await clean_up()

    async with anyio.create_task_group() as group:
        group.start_soon(one)


async def in_an_awaited_task() -> None:
    await asyncio.create_task(work())


async def in_a_time_limit() -> None:
    async with asyncio.timeout(900):
        await work()


async def in_a_generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(1000)
        finally:
            await clean_up()

    async for _ in numbers():
        pass


async def in_a_saga() -> None:
    async with flowbook.saga() as s:
        await s.do(say, "a", undo=say)
        await s.do(say, "b", undo=say)
        await asyncio.sleep(1000)


async def in_an_operation() -> None:
    await flowbook.operation(say, "vm", poll=never, every="100s", cancel=say, confirm=say)


async def in_a_handle() -> None:
    handle = launch(work, label="work")
    try:
        await asyncio.sleep(1000)
    finally:
        handle.task.cancel()
        with suppress(asyncio.CancelledError):
            await handle


HONEST = [
    in_a_generator,
    in_a_saga,
    in_an_operation,
    in_a_handle,
    in_finally,
    in_except,
    in_an_error_on_the_way_out,
    in_a_context,
    shielded_afterwards,
    in_gathered_tasks,
    in_a_group,
    in_a_group_whose_body_waits,
    in_an_anyio_group,
    in_an_awaited_task,
    in_a_time_limit,
]

Flow = Callable[[], Coroutine[Any, Any, Any]]


def lived(flow: Flow, evict: bool, *requests: tuple[int, e.CancelRequested]) -> tuple[Driver, Any]:
    """A run that is told to stop at its first wait, and again after so many more events."""
    said.clear()
    driver = Driver(flow, evict=evict)
    while driver.execution.items:
        driver.turn()
    first = len(driver.history)
    left = sorted(requests, key=lambda request: request[0])
    while True:
        while left and len(driver.history) - first >= left[0][0]:
            driver._tell(left.pop(0)[1])
        if not driver.turn():
            break
    last = driver.history[-1].event
    return driver, last


@pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])
@pytest.mark.parametrize("first", [ASKED, TIME_IS_UP], ids=["asked", "time is up"])
@pytest.mark.parametrize("flow", HONEST, ids=lambda flow: flow.__name__)
def test_clean_up_is_not_disturbed_whenever_it_is_asked_again(
    flow: Flow, first: e.CancelRequested, evict: bool
) -> None:
    driver, alone = lived(flow, evict, (0, first))
    expected, kinds = list(said), driver.kinds()
    assert len(expected) >= 2 and isinstance(alone, e.RunCancelled | e.RunFailed)
    for again in (ASKED, TIME_IS_UP):
        for at in range(1, len(kinds) - kinds.index("CancelRequested") - 1):
            _, last = lived(flow, evict, (0, first), (at, again))
            assert said == expected and last == alone, (flow.__name__, at, again)


# Code that goes on


async def waits_once_more() -> str:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1000)
    await say("stays")
    await asyncio.sleep(500)
    return "done"


async def waits_for_an_event() -> str:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1000)
    gate = asyncio.Event()
    asyncio.get_running_loop().call_later(500, gate.set)
    await gate.wait()
    return "done"


async def waits_for_a_task() -> str:
    other = asyncio.create_task(asyncio.sleep(1500))
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1000)
    await other
    return "done"


async def stubborn() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1000)
    await asyncio.sleep(500)


async def has_a_task_that_stays() -> str:
    await asyncio.create_task(stubborn())
    return "done"


async def has_a_group_that_stays() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(stubborn())
        group.create_task(stubborn())
    return "done"


async def stays_in_an_iteration() -> str:
    async def numbers() -> AsyncIterator[int]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(500)
        yield 1

    async for _ in numbers():
        pass
    return "done"


async def stays_after_an_error() -> str:
    try:
        raise ValueError
    except ValueError:
        await stubborn()
    return "done"


async def loops() -> str:
    for _ in range(1000):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
    return "done"


async def loops_over_steps() -> str:
    owed = flowbook.saga()
    async with owed as s:
        await s.do(say, "a", undo=say)
        for number in range(1000):
            try:
                await asyncio.sleep(1000)
                await say(f"round {number}")
            except asyncio.CancelledError:
                pass
    return "done"


ONCE = [
    waits_once_more,
    waits_for_an_event,
    waits_for_a_task,
    has_a_task_that_stays,
    stays_in_an_iteration,
    stays_after_an_error,
]
STUBBORN = [*ONCE, has_a_group_that_stays, loops, loops_over_steps]


@pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])
@pytest.mark.parametrize("flow", STUBBORN, ids=lambda flow: flow.__name__)
def test_a_run_whose_time_is_up_ends_although_its_code_goes_on(flow: Flow, evict: bool) -> None:
    driver, last = lived(flow, evict, (0, TIME_IS_UP))
    assert isinstance(last, e.RunFailed) and last.failure.type == "TimeoutError" and last.failure.message == "too long"
    begun = driver.history[0].time
    assert driver.clock - begun < 1000
    assert flow is not loops_over_steps or said == ["a", "a"]


@pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])
@pytest.mark.parametrize("flow", ONCE, ids=lambda flow: flow.__name__)
def test_a_run_that_went_on_hears_the_next_request(flow: Flow, evict: bool) -> None:
    alone, last = lived(flow, evict, (0, ASKED))
    assert isinstance(last, e.RunCompleted)
    since = alone.kinds().index("CancelRequested")
    later = len(alone.kinds()) - since - 3
    again = e.CancelRequested("really")
    _, last = lived(flow, evict, (0, ASKED), (later, again))
    assert last == e.RunCancelled("really")


def test_each_request_is_heard_once_by_code_that_goes_on_every_time() -> None:
    driver, last = lived(loops, False, (0, ASKED), (3, ASKED), (6, ASKED))
    assert isinstance(last, e.RunCompleted) and driver.kinds().count("TimerFired") == 997


class Boom(Exception):
    pass


async def boom(seconds: float) -> None:
    await asyncio.sleep(seconds)
    raise Boom


async def in_a_group_with_an_error() -> str:
    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(boom(5))
    await asyncio.sleep(500)
    return "done"


async def in_an_anyio_group_with_an_error() -> str:
    async def one() -> None:
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await clean_up()

    with suppress(ExceptionGroup):
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(boom, 5)
    await asyncio.sleep(500)
    return "done"


@pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])
@pytest.mark.parametrize("flow", [in_a_group_with_an_error, in_an_anyio_group_with_an_error])
def test_what_a_group_made_of_its_errors_did_not_hear_is_said_again(flow: Flow, evict: bool) -> None:
    alone, last = lived(flow, evict)
    assert isinstance(last, e.RunCompleted)
    fired = alone.kinds().index("TimerFired")
    for at in range(fired - 2, len(alone.history) - 4):
        _, last = lived(flow, evict, (at, ASKED))
        assert last == e.RunCancelled("enough") and said == ["1", "2"], at


async def returns_what_it_has() -> str:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        return "partial"
    return "all"


@pytest.mark.parametrize("request_", [ASKED, TIME_IS_UP], ids=["asked", "time is up"])
def test_what_the_code_returns_after_all_is_its_result(request_: e.CancelRequested) -> None:
    _, last = lived(returns_what_it_has, False, (0, request_))
    assert isinstance(last, e.RunCompleted)
