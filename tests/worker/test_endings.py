"""How a plain or asynchronous step ends: whatever it raises is its failure, and stopping it leaves nothing undone."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from flowbook import NonRetryable, RetryPolicy, heartbeat, log, progress, step, step_context, uninterrupted
from flowbook.core import events as e
from flowbook.core.ids import Key, RunId, WorkerId
from flowbook.store.values import ValueFiles
from flowbook.wire.protocol import Commit
from flowbook.worker.attempts import Attempt
from flowbook.worker.held import HeldRun, run_attempt
from flowbook.worker.workplace import Workplace
from tests.worker.test_attempts import attempt, beside, files, run, streams, value  # noqa: F401
from tests.worker.test_steps import failure, stopped_when


class Odd(BaseException):
    pass


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    @property
    def retry_after(self) -> float:
        raise RuntimeError("no time")


class Hasty(Exception):
    retry_after = float("inf")


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize(
    "error", [Odd(), KeyboardInterrupt(), SystemExit(2), Wordless(), Hasty(), StopIteration()], ids=repr
)
def test_whatever_a_step_raises_is_its_failure(
    files: ValueFiles,  # noqa: F811
    error: BaseException,
    is_async: bool,
) -> None:
    def plain() -> None:
        raise error

    async def later() -> None:
        raise error

    told = failure(run(attempt(files, later if is_async else plain)))
    expected = "RuntimeError" if is_async and isinstance(error, StopIteration) else type(error).__name__
    assert (told.type, told.retry_after) == (expected, 0.0)
    assert told.frames[-1].function in ("plain", "later")


@pytest.mark.parametrize("noted", [False, True])
def test_of_endless_words_the_first_and_the_last_are_kept(files: ValueFiles, noted: bool) -> None:  # noqa: F811
    def plain() -> None:
        error = ValueError("begin" if noted else "begin" + "x" * 1_000_000 + "end")
        if noted:
            error.add_note("x" * 1_000_000 + "end")
        raise error

    told = failure(run(attempt(files, plain)))
    assert told.message.startswith("begin") and told.text.rstrip().endswith("end")
    assert len(told.message) < 70_000 and len(told.text) < 70_000 and "characters are not kept …]" in told.text


def test_a_generators_exit_in_a_thread_is_a_failure_too(files: ValueFiles) -> None:  # noqa: F811
    def plain() -> None:
        raise GeneratorExit

    assert failure(run(attempt(files, plain))).type == "GeneratorExit"


def test_a_generators_exit_in_an_asynchronous_step_is_a_failure_too(files: ValueFiles) -> None:  # noqa: F811
    async def later() -> None:
        await asyncio.sleep(0.001)
        raise GeneratorExit("odd")

    assert failure(run(attempt(files, later))).type == "GeneratorExit"


def test_an_attempt_that_is_thrown_away_with_its_loop_has_no_outcome(files: ValueFiles) -> None:  # noqa: F811
    async def hangs() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        running = tried.run()
        task = asyncio.create_task(running)
        await asyncio.sleep(0.01)
        with pytest.raises(GeneratorExit):
            running.throw(GeneratorExit)
        task.cancel()

    tried = attempt(files, hangs)
    anyio.run(main)


def test_bytes_are_refused_where_text_is_written(files: ValueFiles) -> None:  # noqa: F811
    def writes() -> None:
        sys.stdout.write(b"hello")  # type: ignore[arg-type]

    told = failure(run(attempt(files, writes)))
    assert (told.type, told.frames[-1].function) == ("TypeError", "writes")
    assert told.message == "write() argument must be str, not bytes"


def test_details_that_cannot_be_saved_are_an_error_of_the_line_that_left_them(files: ValueFiles) -> None:  # noqa: F811
    def beating() -> None:
        heartbeat(threading.Lock())

    told = failure(run(attempt(files, beating)))
    assert told.type == "UnsavableValue" and "heartbeat details of beating" in told.message
    assert told.frames[-1].source == "heartbeat(threading.Lock())"


def test_details_are_what_they_were_when_they_were_left(files: ValueFiles) -> None:  # noqa: F811
    def beating() -> None:
        seen = {"done": 1}
        heartbeat(seen)
        seen["done"] = 2

    tried = attempt(files, beating)
    run(tried)
    (left,) = tried.last_said()
    assert isinstance(left, e.StepHeartbeat) and bytes(left.details.data) == b'{"done":1}'


def test_text_that_is_no_unicode_is_spelt_out(files: ValueFiles) -> None:  # noqa: F811
    def lists() -> None:
        name = b"caf\xe9.csv".decode(errors="surrogateescape")
        print(name)
        log(name)
        progress(1, float("nan"), name)
        raise ValueError(name)

    tried = attempt(files, lists)
    outcome = run(tried)
    told = failure(outcome)
    assert [chunk.text for chunk in outcome.output] == ["caf\\udce9.csv\n", "caf\\udce9.csv\n"]  # type: ignore[union-attr]
    assert told.message == "caf\\udce9.csv" and "caf\\udce9.csv" in told.text
    assert told.frames[-1].locals["name"]["preview"] == "'caf\\udce9.csv'"
    (moved,) = tried.last_said()
    assert isinstance(moved, e.StepProgress) and (moved.total, moved.text) == (0.0, "caf\\udce9.csv")


def test_a_failure_may_say_that_it_is_final(files: ValueFiles) -> None:  # noqa: F811
    def refuse() -> None:
        raise NonRetryable("no such customer")

    told = failure(run(attempt(files, refuse)))
    assert not told.retryable and not RetryPolicy(maximum_attempts=0).allows(1, told)


def test_a_step_that_hangs_in_a_thread_fails_where_it_hangs(files: ValueFiles) -> None:  # noqa: F811
    @step(timeout="100ms")
    def hangs() -> None:
        turn = 0
        while True:
            turn += 1
            time.sleep(0.001)

    told = failure(run(attempt(files, hangs)))
    assert told.type == "TimeoutError" and told.frames[-1].function == "hangs"
    assert "turn" in told.frames[-1].locals and told.frames[-1].file == __file__
    assert "in hangs" in told.text and "took longer than its timeout" in told.text


def test_an_asynchronous_step_that_hangs_fails_where_it_hangs(files: ValueFiles) -> None:  # noqa: F811
    async def inner(seconds: float) -> None:
        await asyncio.sleep(seconds)

    @step(timeout="50ms")
    async def hangs() -> None:
        await inner(60.0)

    told = failure(run(attempt(files, hangs)))
    assert [frame.function for frame in told.frames] == ["hangs", "inner"]
    assert told.frames[-1].source == "await asyncio.sleep(seconds)" and told.frames[-1].locals == {"seconds": 60.0}


def test_a_silent_step_fails_where_it_is_silent(files: ValueFiles) -> None:  # noqa: F811
    begun = threading.Event()

    @step(heartbeat_timeout="10s")
    def silent() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    tried = attempt(files, silent)
    told = failure(_checked(tried, begun.is_set, 11.0))
    assert told.type == "HeartbeatTimeout" and told.frames[-1].function == "silent"


def _checked(tried: Attempt, ready: Any, after: float) -> Any:
    """The outcome of an attempt whose heartbeat is looked at, once ``ready``, as if so much time had passed."""

    async def look(_: list[Any]) -> None:
        while not ready():
            await anyio.sleep(0.005)
        tried.check_heartbeat(time.monotonic() + after)
        if not tried.stopped:
            tried.stop()

    return beside(tried, look)


def test_signs_of_life_can_be_given_for_a_step(files: ValueFiles) -> None:  # noqa: F811
    begun = threading.Event()

    @step(heartbeat_timeout="10s", auto_heartbeat=True)
    async def quiet() -> None:
        begun.set()
        await asyncio.sleep(60)

    assert _checked(attempt(files, quiet), begun.is_set, 1000.0) is None


def test_clean_up_is_not_broken_off_by_being_stopped_again(files: ValueFiles) -> None:  # noqa: F811
    seen: list[str] = []

    @step
    async def cleans() -> None:
        try:
            seen.append("begun")
            await asyncio.sleep(60)
        finally:
            print("cleaning up")
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append("cleaned up")

    tried = attempt(files, cleans)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run)
            while not seen:
                await anyio.sleep(0)
            tried.stop()
            await anyio.sleep(0)
            tried.stop()

    with streams():
        anyio.run(main)
    assert seen == ["begun", "cleaned up"]
    (shown,) = tried.last_said()
    assert isinstance(shown, e.StepOutput) and shown.output[0].text == "cleaning up\n"


def test_a_step_has_not_begun_while_it_waits_for_a_thread(files: ValueFiles) -> None:  # noqa: F811
    go = threading.Event()

    @step(timeout="10s")
    def holds() -> None:
        go.wait(30)

    async def main() -> list[Any]:
        place = Workplace(files, threads=asyncio.Semaphore(1))
        tried = [attempt(files, holds, place=place) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for each in tried:
                tasks.start_soon(each.run)
            while tried[0].began is None:
                await anyio.sleep(0.005)
            assert [each.began for each in tried[1:]] == [None, None]
            tried[1].check_heartbeat(time.monotonic() + 1000)
            tried[1].stop()
            go.set()
        return tried

    with streams():
        first, second, third = anyio.run(main)
    assert first.began and not second.began and third.began


@pytest.mark.parametrize("option", ["at_most_once", "external"])
def test_the_start_of_a_step_is_said_when_it_has_its_thread(files: ValueFiles, option: str) -> None:  # noqa: F811
    go = threading.Event()

    @step
    def holds() -> None:
        go.wait(30)

    @step(**{option: True})  # type: ignore[call-overload]
    def waits() -> None:
        pass

    async def main() -> Attempt:
        place = Workplace(files, threads=asyncio.Semaphore(1))
        first, second = attempt(files, holds, place=place), attempt(files, waits, place=place)
        held = HeldRun(RunId("run"), "", WorkerId("w"), place, lambda held, attempt: None, cast(Any, None))
        held.attempts[Key("/k")] = second
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.run)
            tasks.start_soon(run_attempt, held, second, lambda held: None)
            while first.began is None:
                await anyio.sleep(0.005)
            await anyio.wait_all_tasks_blocked()
            assert held.report() is None
            go.set()
            while (report := held.report()) is None:
                await anyio.sleep(0.005)
            assert [type(item) for item in report.items] == [e.StepStarted] and second.began is None
            held.commit(Commit(RunId("run"), (), reports=1))
            # It is recorded and about to begin: no other worker may have it.
            assert held.hand_over() is None and second.gate is not None
            second.gate.set()
        return second

    with streams():
        assert anyio.run(main).began


def test_a_run_whose_step_waits_for_a_thread_is_handed_over(files: ValueFiles) -> None:  # noqa: F811
    @step(at_most_once=True)
    def waits() -> None:
        pass

    async def main() -> None:
        place = Workplace(files, threads=asyncio.Semaphore(0))
        tried = attempt(files, waits, place=place)
        held = HeldRun(RunId("run"), "", WorkerId("w"), place, lambda held, attempt: None, cast(Any, None))
        held.attempts[Key("/k")] = tried
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_attempt, held, tried, lambda held: None)
            await anyio.wait_all_tasks_blocked()
            released = held.hand_over()
            assert released is not None and released.unfinished

    anyio.run(main)


def test_a_part_of_a_step_is_not_interrupted(files: ValueFiles) -> None:  # noqa: F811
    seen: list[str] = []
    inside, go = threading.Event(), threading.Event()

    @step
    def moves() -> None:
        with uninterrupted():
            inside.set()
            while not go.is_set():
                time.sleep(0.001)
            seen.append("moved")
        seen.append("went on")

    tried = attempt(files, moves)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run)
            while not inside.is_set():
                await anyio.sleep(0.001)
            tried.stop()
            await anyio.sleep(0.05)
            go.set()

    with streams():
        anyio.run(main)
    ended = time.monotonic() + 10
    while not seen and time.monotonic() < ended:
        time.sleep(0.005)
    assert seen == ["moved"]


def test_a_thread_that_cannot_be_stopped_at_once_is_not_given_to_another(files: ValueFiles) -> None:  # noqa: F811
    begun, go = threading.Event(), threading.Event()

    @step
    def blocks() -> None:
        begun.set()
        go.wait(30)

    async def main() -> None:
        threads = asyncio.Semaphore(1)
        tried = attempt(files, blocks, place=Workplace(files, threads=threads))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run)
            await anyio.to_thread.run_sync(begun.wait)
            tried.stop()
        assert threads.locked()
        go.set()
        with anyio.fail_after(10):
            await threads.acquire()

    with streams():
        anyio.run(main)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["late", "late and stopped"])
def test_an_attempt_has_not_failed_before_the_end_of_such_a_part(files: ValueFiles, is_stopped: bool) -> None:  # noqa: F811
    go = threading.Event()

    @step(timeout="50ms")
    def moves() -> None:
        with uninterrupted():
            go.wait(30)
            log("moved")
        log("went on")

    tried = attempt(files, moves)

    async def let_go(outcomes: list[Any]) -> None:
        await anyio.sleep(0.15)
        assert not outcomes
        if is_stopped:
            tried.stop()
            await anyio.sleep(0.01)
            assert not outcomes
        go.set()

    outcome = beside(tried, let_go)
    if is_stopped:
        assert outcome is None
    else:
        assert failure(outcome).type == "TimeoutError" and failure(outcome).frames[-1].function == "moves"
        assert [chunk.text for chunk in outcome.output] == ["moved\n"]


def test_a_step_called_by_itself_has_a_context() -> None:
    @step
    def pays(amount: int) -> Any:
        context = step_context()
        heartbeat({"at": 1})
        progress(1, 2)
        return context.step, context.attempt, context.heartbeat_details, context.idempotency_key, inner()

    @step
    def inner() -> str:
        return step_context().step

    @step
    async def later() -> str:
        await asyncio.sleep(0)
        return step_context().idempotency_key

    name, number, details, key, within = pays(3)
    assert (name, number, details, within) == ("pays", 1, None, "pays")
    assert len(key) == 32 and pays(3)[3] != key
    assert asyncio.run(later()) != asyncio.run(later())


def test_stdout_of_bytes_goes_to_the_log(files: ValueFiles, capsysbinary: pytest.CaptureFixture[bytes]) -> None:  # noqa: F811
    def raw() -> int:
        return sys.stdout.buffer.write(b"bytes")

    assert value(files, run(attempt(files, raw))) == 5


def test_a_display_too_large_is_a_line_that_says_so(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    from flowbook import display

    class Large:
        def _repr_html_(self) -> str:
            return "x" * (33 * 1024**2)

    def shows() -> None:
        display(Large())
        display("small")

    outcome = run(attempt(files, shows))
    assert isinstance(outcome, e.StepCompleted)
    refused, small = outcome.output
    assert "a display of 33 MB is not kept" in refused.text and small.data == {"text/plain": "'small'"}


def test_a_stopped_step_in_a_thread_has_no_outcome(files: ValueFiles) -> None:  # noqa: F811
    begun = threading.Event()

    @step(timeout="60s")
    def spins() -> None:
        begun.set()
        while True:
            time.sleep(0.001)

    assert stopped_when(attempt(files, spins), begun.is_set) is None
