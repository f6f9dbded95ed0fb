"""Where the code is: the frames of every task, through coroutines and generators, and what their variables hold."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from flowbook.runtime import frames
from flowbook.runtime.definitions import step
from flowbook.runtime.outcomes import NOWHERE
from flowbook.runtime.primitives import signal
from tests.runtime.driver import Driver

Work = Callable[[], Awaitable[Any]]


@step
def double(number: int) -> int:
    return 2 * number


def stopped(work: Any) -> Driver:
    """A run that waits for its signal."""
    driver = Driver(work)
    while driver.turn():
        pass
    return driver


async def deep(level: int) -> Any:
    here = level * 10
    return await (deep(level - 1) if level else signal("go")) or here


async def nested() -> Any:
    outer = "kept"
    return outer, await deep(2)


async def through_a_generator() -> None:
    async def rows() -> AsyncIterator[int]:
        inside = 5
        await signal("go")
        yield inside

    around = 1
    async for _ in rows():
        around += 1


async def through_a_context() -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[int]:
        opening = 7
        await signal("go")
        yield opening

    async with opened():
        pass


COMPREHENSION = ["<listcomp>"] if sys.version_info < (3, 12) else []
"""The frame of its own that it has in some versions."""


async def through_a_comprehension() -> list[Any]:
    return [await deep(0) for number in (1, 2)]


async def in_an_anyio_group() -> None:
    async def child(number: int) -> None:
        mine = number
        await signal(f"go{mine}")

    async with anyio.create_task_group() as group:
        group.start_soon(child, 1)


@pytest.mark.parametrize(
    ("work", "functions", "local"),
    [
        (nested, ["deep", "deep", "deep", "nested"], {"here": 0, "level": 0}),
        (through_a_generator, ["rows", "through_a_generator"], {"inside": 5}),
        (through_a_context, ["opened", "through_a_context"], {"opening": 7}),
        (through_a_comprehension, ["deep", *COMPREHENSION, "through_a_comprehension"], {"level": 0}),
        (in_an_anyio_group, ["in_an_anyio_group", "child"], {}),
    ],
)
def test_the_stack_goes_all_the_way_in(work: Any, functions: list[str], local: dict[str, Any]) -> None:
    driver = stopped(work)
    stack = frames.stack(driver.execution, NOWHERE)
    assert [frame.function for frame in stack] == functions
    assert local.items() <= stack[0].locals.items()
    driver.execution.close()


def test_tasks_are_called_by_their_name_or_their_function() -> None:
    async def worker(number: int) -> None:
        await signal(f"go{number}")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker(1), name="the first")
            group.create_task(worker(2))

    driver = stopped(work)
    stack = frames.stack(driver.execution, NOWHERE)
    assert [(frame.function, frame.task) for frame in stack] == [
        ("work", ""),
        ("worker", "the first"),
        ("worker", "worker"),
    ]
    driver.execution.close()


def test_variables_of_every_frame_are_values() -> None:
    driver = stopped(nested)
    found = {name: driver.execution.values.decoded(value) for name, value in frames.values(driver.execution).items()}
    assert found == {"outer": "kept", "level": 2, "here": 20, "deep.level": 1, "deep.here": 10}
    driver.execution.close()


def test_a_variable_that_cannot_be_saved_is_told_by_its_looks() -> None:
    async def work() -> None:
        lock = threading.Lock()
        number = 1
        await signal("go")
        del lock, number

    driver = stopped(work)
    found = frames.values(driver.execution)
    assert found["lock"].codec == "none" and "lock" in found["lock"].preview
    assert found["number"].codec == "json"
    driver.execution.close()


def test_a_run_that_failed_shows_where() -> None:
    async def work() -> None:
        about_to = await double(4)
        raise ValueError(about_to)

    driver = Driver(work)
    driver.run()
    (frame,) = frames.stack(driver.execution, NOWHERE)
    assert frame.function == "work" and frame.locals == {"about_to": 8}
