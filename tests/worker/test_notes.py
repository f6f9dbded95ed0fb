"""What a running attempt says is shown at once and recorded seldom, its last words always."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from typing import Any

import anyio
import pytest

from flowbook import heartbeat, progress, step
from flowbook.core import events as e
from flowbook.core.value import shown
from flowbook.store.values import ValueFiles
from flowbook.worker import notes
from tests.worker.test_attempts import attempt, files, run, streams, value  # noqa: F401
from tests.worker.test_steps import failure, stopped_when


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(notes.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def said_in(files: ValueFiles, clock: Clock, seconds: int, per_second: int) -> tuple[list[Any], list[Any], list[Any]]:  # noqa: F811
    """What is recorded and what is shown of a step that says something all the time, and what is left at its end."""
    recorded: list[Any] = []
    glanced: list[Any] = []

    @step
    async def busy() -> None:
        for turn in range(seconds * per_second):
            clock.now += 1 / per_second
            progress(turn, seconds * per_second)
            heartbeat({"turn": turn})
            due, glances = tried.said()
            recorded.extend(due)
            glanced.extend(glances)
            await asyncio.sleep(0)

    tried = attempt(files, busy)
    run(tried)
    return recorded, glanced, tried.last_said()


def test_a_step_that_is_busy_for_a_day_leaves_few_records(files: ValueFiles, clock: Clock) -> None:  # noqa: F811
    recorded, glanced, _ = said_in(files, clock, 24 * 3600, 1)
    assert len(recorded) < 3200 and len(recorded) + len(glanced) == 2 * 24 * 3600


def test_records_come_at_least_every_tenth_of_its_age(files: ValueFiles, clock: Clock) -> None:  # noqa: F811
    recorded, _, last = said_in(files, clock, 100, 4)
    turns = [shown(note.details)["turn"] / 4 for note in recorded if isinstance(note, e.StepHeartbeat)]
    assert turns[0] == 0
    for before, after in pairwise(turns):
        assert after - before <= max(1.0, after / 10) + 0.5
    (moved, left) = last
    assert isinstance(moved, e.StepProgress) and moved.done == 399
    assert isinstance(left, e.StepHeartbeat) and shown(left.details) == {"turn": 399}


def test_what_was_said_last_is_recorded_when_it_is_stopped(files: ValueFiles) -> None:  # noqa: F811
    @step
    async def endless() -> None:
        for turn in range(3):
            progress(turn)
            tried.said()
        await anyio.sleep_forever()

    tried = attempt(files, endless)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run)
            await anyio.wait_all_tasks_blocked()
            tried.stop()

    with streams():
        anyio.run(main)
    (moved,) = tried.last_said()
    assert isinstance(moved, e.StepProgress) and moved.done == 2.0


def test_long_details_become_a_file_only_when_they_are_recorded(files: ValueFiles) -> None:  # noqa: F811
    @step
    async def leaves() -> None:
        for turn in range(10):
            heartbeat([turn] * 20_000)

    tried = attempt(files, leaves)
    run(tried)
    assert not list(files.all())
    (left,) = tried.last_said()
    assert isinstance(left, e.StepHeartbeat) and [digest for digest, _ in files.all()] == [left.details.file]


def test_the_pause_between_records_grows_with_the_age_and_has_an_end() -> None:
    assert [notes.interval(age) for age in (0, 5, 50, 300, 1e6)] == [1.0, 1.0, 5.0, 30.0, 60.0]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_what_cannot_be_noted_is_the_failure_of_the_attempt(files: ValueFiles, is_async: bool) -> None:  # noqa: F811
    begun = threading.Event()

    def plain() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    async def later() -> None:
        begun.set()
        await asyncio.sleep(60)

    tried = attempt(files, later if is_async else plain)

    def is_told() -> bool:
        if begun.is_set():
            tried.collected.add(e.Chunk("stdout", b"hello"))  # type: ignore[arg-type]
            assert tried.said() == ([], [])
        return begun.is_set()

    told = failure(stopped_when(tried, is_told))
    assert told.type == "TypeError" and told.frames[-1].function in ("plain", "later")


def test_a_result_counts_where_the_last_details_cannot_be_noted(
    files: ValueFiles,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(body: bytes) -> None:
        raise OSError("no space left on device")

    def beats() -> int:
        heartbeat("x" * 100_000)
        monkeypatch.setattr(files, "save", full)
        return 1

    tried = attempt(files, beats)
    assert value(files, run(tried)) == 1
    assert tried.last_said() == []
