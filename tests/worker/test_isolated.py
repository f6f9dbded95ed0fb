"""Steps in a process of their own: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from flowbook.core import events as e
from flowbook.core.ids import Key, RunId
from flowbook.core.keys import idempotency_key
from flowbook.engine.processes import is_alive
from flowbook.store.values import ValueFiles
from tests.worker import steps
from tests.worker.test_attempts import attempt, beside, files, run, value  # noqa: F401
from tests.worker.test_steps import failure, stopped_when

pytestmark = pytest.mark.slow


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def eventually(condition: Callable[[], bool], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_step_in_its_own_process(files: ValueFiles) -> None:  # noqa: F811
    tried = attempt(files, steps.apart, 5)
    outcome = run(tried)
    pid, x, number, own, name = value(files, outcome)
    assert pid != os.getpid() and (x, number, own, name) == (5, 1, "run", "apart")
    assert isinstance(outcome, e.StepCompleted)
    assert [chunk.stream for chunk in outcome.output] == ["stdout", "display", "log"]
    kinds = [type(note) for note in tried.last_said()]
    assert kinds == [e.StepProgress, e.StepHeartbeat]
    assert value(files, run(attempt(files, steps.apart_and_async, 1))) == 2


def test_in_an_imported_run_its_idempotency_key_is_that_which_it_had(files: ValueFiles) -> None:  # noqa: F811
    key = value(files, run(attempt(files, steps.known_apart, original="first")))
    assert key == idempotency_key(RunId("first"), Key("/k"))


def test_a_failure_in_its_own_process_has_its_frames(files: ValueFiles) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.failing, 4)))
    assert (told.type, told.message) == ("ValueError", "no 8")
    assert told.frames[-1].locals["here"] == 8


@pytest.mark.parametrize(
    ("how", "what"), [("exit", "exited with code 7"), ("segfault", "SIGSEGV"), ("kill", "out of memory")]
)
def test_a_process_that_dies_is_a_failure_with_a_name(files: ValueFiles, how: str, what: str) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.dying, how)))
    assert told.type == "ProcessDied" and what in told.message and told.retryable


def test_memory_is_limited(files: ValueFiles) -> None:  # noqa: F811
    assert failure(run(attempt(files, steps.hungry))).type == "MemoryError"


def test_a_process_is_stopped_and_cleans_up(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "pid"
    outcome = stopped_when(attempt(files, steps.endless, str(path)), lambda: path.exists() and bool(path.read_text()))
    assert outcome is None and not path.exists()


def test_a_process_has_its_time(files: ValueFiles) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.too_slow)))
    assert told.type == "TimeoutError" and "700ms" in told.message


def test_all_that_is_printed_there_is_its_output_in_its_order(files: ValueFiles) -> None:  # noqa: F811
    outcome = run(attempt(files, steps.shows_in_order))
    assert value(files, outcome) == ""
    assert isinstance(outcome, e.StepCompleted)
    shown = [chunk for chunk in outcome.output if chunk.stream != "stderr"]
    assert [(chunk.stream, chunk.text or chunk.data["text/plain"]) for chunk in shown] == [
        ("stdout", "one\ntwo\nthree\n"),
        ("display", "'four'"),
        ("stdout", "five\n"),
        ("log", "six\n"),
        ("stdout", "seven \\udcff\n"),
    ]
    assert [chunk.text for chunk in outcome.output if chunk.stream == "stderr"] == ["eight\n"]


def test_much_output_comes_whole_and_in_order(files: ValueFiles) -> None:  # noqa: F811
    outcome = run(attempt(files, steps.talks_for_long, 5000))
    assert isinstance(outcome, e.StepCompleted)
    printed = "".join(chunk.text for chunk in outcome.output if chunk.stream == "stdout")
    assert printed.split()[1::3] == [f"{number:06}" for number in range(5000)]
    places = [chunk.data["text/plain"] if chunk.data else chunk.text.splitlines()[-1][:11] for chunk in outcome.output]
    assert places[:4] == ["line 000000", "{'number': 0}", "line 000100", "{'number': 100}"]


def test_what_it_has_started_ends_with_it(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    run(attempt(files, steps.leaves_a_program, str(tmp_path / "pid")))
    (pid,) = lines(tmp_path / "pid")
    eventually(lambda: not is_alive(int(pid)))


def test_a_crash_is_noticed_although_a_fork_of_it_lives(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.crashes_with_a_fork, str(tmp_path / "pid"))))
    assert told.type == "ProcessDied" and "SIGSEGV" in told.message
    (pid,) = lines(tmp_path / "pid")
    eventually(lambda: not is_alive(int(pid)))


def test_its_exit_functions_run_and_its_threads_hold_nobody_up(files: ValueFiles) -> None:  # noqa: F811
    outcome = run(attempt(files, steps.ends_slowly))
    assert value(files, outcome) == 1
    assert isinstance(outcome, e.StepCompleted) and outcome.output[0].text == "at exit\n"


def test_a_result_counts_however_long_the_process_takes_to_end(files: ValueFiles) -> None:  # noqa: F811
    for _ in range(3):
        # Starting it takes of its time as well.
        outcome = run(attempt(files, steps.ends_later_than_it_may))
        if isinstance(outcome, e.StepCompleted):
            break
    assert value(files, outcome) == 1


@pytest.mark.parametrize("made", [steps.hangs, steps.hangs_and_is_async])
def test_it_fails_where_it_hangs(files: ValueFiles, made: Any) -> None:  # noqa: F811
    told = failure(run(attempt(files, made)))
    assert told.type == "TimeoutError" and told.frames[-1].function == made.name
    assert told.frames[-1].source in ("time.sleep(0.001 * turn)", "await asyncio.sleep(600)")


def test_it_sees_that_it_is_cancelled(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "seen"
    stopped_when(attempt(files, steps.sees_that_it_is_cancelled, str(path)), lambda: bool(lines(path)))
    assert lines(path)[1:] == ["True"]


def test_it_finishes_a_part_that_is_not_to_be_broken_off(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "seen"
    stopped_when(attempt(files, steps.finishes_a_part, str(path)), lambda: bool(lines(path)))
    assert lines(path)[1:] == ["finished"]


def test_running_out_of_memory_names_the_limit(files: ValueFiles) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.hungry)))
    assert told.type == "MemoryError" and told.message.startswith("the step needed more than its memory limit of 600MB")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process takes")
def test_a_memory_limit_too_small_for_python_says_what_is_needed(files: ValueFiles) -> None:  # noqa: F811
    told = failure(run(attempt(files, steps.too_little_memory)))
    assert told.type == "UserError" and 'memory="50MB" is too small' in told.message and not told.retryable
    assert told.frames[-1].function == "too_little_memory"


def test_what_cannot_be_saved_is_located(files: ValueFiles) -> None:  # noqa: F811
    given, left = (failure(run(attempt(files, made))) for made in (steps.gives_a_lock, steps.leaves_a_lock))
    assert given.type == left.type == "UnsavableValue" and not given.retryable
    assert "step 'gives_a_lock', line" in given.message and given.frames[-1].function == "gives_a_lock"
    assert left.frames[-1].source == "heartbeat(threading.Lock())"


def test_signs_of_life_come_from_its_process_as_long_as_that_lives(files: ValueFiles) -> None:  # noqa: F811
    assert value(files, watched(attempt(files, steps.quiet))) == 1
    assert failure(watched(attempt(files, steps.frozen))).type == "HeartbeatTimeout"


def watched(tried: Any) -> Any:
    """The outcome of an attempt whose heartbeat is looked at all the time."""

    async def look(outcomes: list[Any]) -> None:
        while not outcomes:
            await anyio.sleep(0.02)
            tried.check_heartbeat(time.monotonic())

    return beside(tried, look)


def test_its_last_words_are_kept(files: ValueFiles) -> None:  # noqa: F811
    outcome = run(attempt(files, steps.says_why_it_dies))
    assert "SIGABRT" in failure(outcome).message
    assert "std::bad_alloc" in outcome.output[0].text  # type: ignore[union-attr]
