"""One attempt: where it runs, what of it is recorded, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, WorkerId
from flowbook.core.messages import AttemptFailed
from flowbook.core.module import Module
from flowbook.runtime.commands import Argument, DurableFuture, StepCall, StepCommand
from flowbook.runtime.definitions import Step, step
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import NOWHERE, Places
from flowbook.runtime.output import display
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.worker import capture
from flowbook.worker.attempts import Attempt
from flowbook.worker.workplace import Workplace
from tests.worker import steps


@pytest.fixture
def files(tmp_path: Path) -> ValueFiles:
    return ValueFiles(tmp_path)


def beside(tried: Attempt, meanwhile: Callable[[list[Any]], Coroutine[Any, Any, None]]) -> Any:
    """The outcome of an attempt that runs beside ``meanwhile``, which is given a list for it to come into."""
    outcomes: list[Any] = []

    async def main() -> None:
        async def go() -> None:
            outcomes.append(await tried.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go)
            await meanwhile(outcomes)

    with streams():
        anyio.run(main)
    return outcomes[0]


@contextmanager
def streams() -> Iterator[None]:
    """The worker's streams. Not a fixture: pytest puts its own in place before the test begins."""
    before = sys.stdout, sys.stderr
    capture.install()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def attempt(
    files: ValueFiles,
    made: Any,
    *args: Any,
    places: Places = NOWHERE,
    not_before: float = 0.0,
    place: Workplace | None = None,
    original: str = "",
) -> Attempt:
    target = made if isinstance(made, Step) else Step(made)
    loop = asyncio.new_event_loop()
    loop.close()
    command = StepCommand(Key("/k"), target, DurableFuture(loop=loop), Digest("d"), args, {})
    module = LoadedModule(Module(Digest("m"), "steps", "", folder=str(Path(__file__).parents[2])), steps, places.file)
    module.places = places
    of_run = RunId("run"), "flow", RunId(original)
    return Attempt(StepCall(command, 1, not_before), module, place or Workplace(files), *of_run)


def run(tried: Attempt) -> e.StepCompleted | AttemptFailed | None:
    with streams():
        return anyio.run(tried.run)


def value(files: ValueFiles, outcome: Any) -> Any:
    assert isinstance(outcome, e.StepCompleted), outcome
    return codec.decode(outcome.value, files.load)


def test_a_step_begins_in_the_folder_that_another_has_left(
    files: ValueFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "home").mkdir()
    monkeypatch.chdir(home)
    place = Workplace(files, folder=str(home), start=str(home))

    def leaves() -> None:
        gone = tempfile.mkdtemp(dir=tmp_path)
        os.chdir(gone)
        os.rmdir(gone)

    run(attempt(files, leaves, place=place))
    assert value(files, run(attempt(files, os.getcwd, place=place))) == str(home)
    run(attempt(files, leaves, place=place))
    outcome = run(attempt(files, steps.where, place=place))
    assert value(files, outcome) == str(home)
    assert place.running == 0


def test_a_step_that_begins_where_another_has_gone_is_told_so(
    files: ValueFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (there := tmp_path / "there").mkdir()
    place = Workplace(files, start=str(tmp_path))
    outcomes: list[Any] = []

    async def works_there() -> str:
        os.chdir(there)
        outcomes.append(await attempt(files, os.getcwd, place=place).run())
        return os.getcwd()

    assert value(files, run(attempt(files, works_there, place=place))) == str(there)
    (other,) = outcomes
    assert value(files, other) == str(there)
    assert [chunk.stream for chunk in other.output] == ["log"] and 'isolate="process"' in other.output[0].text


def test_steps_begin_where_a_module_has_gone_when_it_was_loaded(
    files: ValueFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home := tmp_path / "home").mkdir()
    (data := home / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    place = Workplace(files, folder=str(home), start=str(home))
    for goes in ("data", "data", "."):
        place.loading()
        os.chdir(goes)
        place.loaded()
        assert value(files, run(attempt(files, os.getcwd, place=place))) == str(data)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_step_gives_its_value(files: ValueFiles, kind: str) -> None:
    async def later(number: int) -> int:
        return number + 1

    assert value(files, run(attempt(files, later if kind == "async" else lambda number: number + 1, 41))) == 42


def test_arguments_are_each_attempts_own_copy(files: ValueFiles) -> None:
    rows = codec.encode([1, 2], files.save)

    def spoil(rows: list[int]) -> list[int]:
        rows.append(3)
        return rows

    for _ in range(2):
        assert value(files, run(attempt(files, spoil, Argument(rows)))) == [1, 2, 3]


def test_output_is_recorded_in_order_and_with_the_attempt_that_made_it(files: ValueFiles) -> None:
    def talk() -> None:
        print("one")
        print("two")
        print("trouble", file=sys.stderr)
        display({"a": 1})

    outcome = run(attempt(files, talk))
    assert isinstance(outcome, e.StepCompleted)
    assert [(chunk.stream, chunk.text or chunk.data) for chunk in outcome.output] == [
        ("stdout", "one\ntwo\n"),
        ("stderr", "trouble\n"),
        ("display", {"text/plain": "{'a': 1}"}),
    ]


def test_two_attempts_at_once_do_not_mix_their_output(files: ValueFiles) -> None:
    async def talk(word: str) -> None:
        for _ in range(3):
            print(word)
            await anyio.sleep(0)

    tried = [attempt(files, talk, word) for word in ("left", "right")]

    async def both() -> list[Any]:
        return list(await asyncio.gather(*(each.run() for each in tried)))

    with streams():
        outputs = ["".join(chunk.text for chunk in outcome.output) for outcome in anyio.run(both)]
    assert outputs == ["left\n" * 3, "right\n" * 3]


def test_endless_output_is_cut(files: ValueFiles) -> None:
    def shout() -> None:
        for _ in range(40):
            print("x" * 100_000)

    outcome = run(attempt(files, shout))
    assert isinstance(outcome, e.StepCompleted)
    first, cut, last = outcome.output
    assert (len(first.text), len(last.text)) == (capture.HEAD, capture.TAIL)
    assert cut.text == f"\n[… {40 * 100_001 - capture.HEAD - capture.TAIL:,} characters are not kept …]\n"


def test_open_figures_are_recorded_and_closed(files: ValueFiles) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")

    def draw() -> None:
        pyplot.plot([1, 2])

    outcome = run(attempt(files, draw))
    assert isinstance(outcome, e.StepCompleted)
    assert [sorted(chunk.data) for chunk in outcome.output] == [["image/png", "text/plain"]]
    assert pyplot.get_fignums() == []


def test_a_failure_has_its_frames_locals_and_cell(files: ValueFiles) -> None:
    def fail(order: int) -> None:
        doubled = order * 2
        raise ValueError(f"no {doubled}")

    places = Places(__file__, lambda line: ("cell-1", 3, line - fail.__code__.co_firstlineno))
    outcome = run(attempt(files, fail, 21, places=places))
    assert isinstance(outcome, AttemptFailed)
    frame = outcome.failure.frames[-1]
    assert (outcome.failure.type, outcome.failure.message) == ("ValueError", "no 42")
    assert (frame.cell, frame.number, frame.line, frame.locals) == ("cell-1", 3, 2, {"order": 21, "doubled": 42})
    assert "raise ValueError" in outcome.failure.text


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("x")])
def test_leaving_the_interpreter_is_a_failure_of_the_step(files: ValueFiles, error: BaseException) -> None:
    def leave() -> None:
        raise error

    outcome = run(attempt(files, leave))
    assert isinstance(outcome, AttemptFailed)
    assert outcome.failure.type == type(error).__name__


def test_an_unsavable_value_is_located_and_not_tried_again(files: ValueFiles) -> None:
    def connect() -> Any:
        return threading.Lock()

    outcome = run(attempt(files, connect, places=Places(__file__, lambda line: ("c", 4, 1))))
    assert isinstance(outcome, AttemptFailed)
    assert outcome.failure.retryable is False
    assert "step 'connect', cell 4, line 1" in outcome.failure.message
    assert [frame.function for frame in outcome.failure.frames] == ["connect"]


def test_a_timeout_is_named(files: ValueFiles) -> None:
    @step(timeout="50ms")
    async def slow() -> None:
        await anyio.sleep(60)

    outcome = run(attempt(files, slow))
    assert isinstance(outcome, AttemptFailed)
    assert (outcome.failure.type, "timeout of 50ms" in outcome.failure.message) == ("TimeoutError", True)


def test_a_stopped_attempt_has_no_outcome(files: ValueFiles) -> None:
    async def forever() -> None:
        await anyio.sleep_forever()

    tried = attempt(files, forever)

    async def stop() -> Any:
        async with anyio.create_task_group() as group:
            group.start_soon(tried.run)
            await anyio.wait_all_tasks_blocked()
            tried.stop()
        return tried.stopped

    assert anyio.run(stop) is True


def test_a_retry_waits_for_its_time(files: ValueFiles) -> None:
    due = time.time() + 0.05
    outcome = run(attempt(files, time.time, not_before=due))
    assert value(files, outcome) >= due


def test_notes_about_a_running_attempt(files: ValueFiles) -> None:
    tried = attempt(files, lambda: None)
    assert tried.said() == ([], [])
    run(tried)
    tried.collected.add(e.Chunk(stream="stdout", text="half"))
    ((shown,), _) = tried.said()
    assert isinstance(shown, e.StepOutput)
    assert (shown.output[0].text, tried.said()) == ("half", ([], []))
    started = tried.started(WorkerId("w"))
    assert (started.worker, started.attempt, tried.announced) == ("w", 1, True)
