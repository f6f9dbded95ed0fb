"""What workflow code prints and displays is noted once, in its place, however often it is re-executed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowbook.core import events as e
from flowbook.runtime import output
from flowbook.runtime.definitions import step
from tests.runtime.driver import Driver

both = pytest.mark.parametrize("evict", [False, True], ids=["held", "evicted"])


@step
def double(number: int) -> int:
    return 2 * number


def say(text: str) -> None:
    """As a worker's stdout does with what is printed."""
    send = output.sink.get()
    assert send is not None
    send(e.Chunk(stream="stdout", text=f"{text}\n"))


def told(driver: Driver) -> list[tuple[int, str]]:
    events = [r.event for r in driver.history]
    return [(event.after, "".join(c.text for c in event.output)) for event in events if isinstance(event, e.RunOutput)]


@both
def test_it_is_noted_once_and_before_the_runs_end(evict: bool) -> None:
    async def child() -> None:
        say("in a task")
        await double(2)

    async def work() -> None:
        say("first")
        await double(1)
        say("second")
        say("third")
        await asyncio.create_task(child())
        say("last")

    driver = Driver(work, evict=evict)
    driver.run()
    assert [text for _, text in told(driver)] == ["first\n", "second\nthird\nin a task\n", "last\n"]
    assert driver.kinds()[-1] == "RunCompleted"
    again = Driver(work)
    again.history = driver.history
    assert not again._activate().items


@both
def test_a_task_that_fails_unnoticed_is_told_of(evict: bool) -> None:
    async def fails() -> None:
        raise ValueError("nobody looks")

    async def work() -> int:
        task = asyncio.create_task(fails())
        await double(1)
        del task
        return await double(2)

    driver = Driver(work, evict=evict)
    assert driver.run() == 4
    assert "ValueError: nobody looks" in "".join(text for _, text in told(driver))


def test_too_much_is_cut() -> None:
    chunks = [e.Chunk(stream="stdout", text="x" * 1000) for _ in range(200)]
    (one,) = output.joined(chunks[:3])
    assert one.text == "x" * 3000
    cut = output.joined(chunks)
    assert sum(len(chunk.text) for chunk in cut) < output.MOST + 100 and "more was printed" in cut[-1].text


def test_streams_and_displays_keep_their_order() -> None:
    shown: list[Any] = [
        e.Chunk(stream="stdout", text="a"),
        e.Chunk(stream="stderr", text="b"),
        e.Chunk(stream="display", data={"text/plain": "c"}),
        e.Chunk(stream="stdout", text="d"),
    ]
    assert list(output.joined(shown)) == shown
