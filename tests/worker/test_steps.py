"""What a step may ask for: a context, heartbeats, an end, a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from flowbook import RetryAfter, RetryPolicy, heartbeat, log, progress, step, step_context
from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.messages import AttemptFailed
from flowbook.core.token import read
from flowbook.core.value import shown
from flowbook.errors import UserError
from flowbook.store.values import ValueFiles
from flowbook.worker.attempts import Attempt
from tests.worker.test_attempts import attempt, beside, files, run, streams, value  # noqa: F401


def failure(outcome: Any) -> Failure:
    assert isinstance(outcome, AttemptFailed), outcome
    return outcome.failure


def stopped_when(tried: Attempt, ready: Callable[[], bool], within: float = 10.0) -> Any:
    """Run the attempt, stop it once ``ready``, and give its outcome."""

    async def stop(_: list[Any]) -> None:
        with anyio.fail_after(within):
            while not ready():
                await anyio.sleep(0.01)
        tried.stop()

    return beside(tried, stop)


def test_a_step_knows_its_attempt(files: ValueFiles) -> None:  # noqa: F811
    @step
    def known() -> Any:
        context = step_context()
        return [context.run, context.workflow, context.step, context.attempt, context.idempotency_key, context.token]

    own, workflow, name, number, key, token = value(files, run(attempt(files, known)))
    assert (own, workflow, name, number) == ("run", "flow", "known", 1)
    assert len(key) == 32 and read(token) == ("run", "/k", 1)


def test_outside_a_run_it_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    progress(1, 2)
    heartbeat("x")
    log("to", "stderr")
    assert capsys.readouterr().err == "to stderr\n"
    with pytest.raises(UserError, match="step_context"):
        step_context()


@pytest.mark.parametrize("is_async", [False, True])
def test_progress_log_and_details_are_noted_once(files: ValueFiles, is_async: bool) -> None:  # noqa: F811
    def work() -> int:
        progress(1, 4)
        progress(2, 4, "half")
        log("a", 1)
        heartbeat({"at": 2})
        return 1

    async def awork() -> int:
        return work()

    tried = attempt(files, step(awork if is_async else work))
    outcome = run(tried)
    assert isinstance(outcome, e.StepCompleted)
    assert [(chunk.stream, chunk.text) for chunk in outcome.output] == [("log", "a 1\n")]
    moved, left = tried.last_said()
    assert isinstance(moved, e.StepProgress) and (moved.done, moved.total, moved.text) == (2.0, 4.0, "half")
    assert isinstance(left, e.StepHeartbeat) and shown(left.details) == {"at": 2}
    assert tried.last_said() == []


def test_a_silent_step_fails_with_what_to_do(files: ValueFiles) -> None:  # noqa: F811
    @step(heartbeat_timeout="50ms")
    async def silent() -> None:
        await asyncio.sleep(60)

    tried = attempt(files, silent)

    async def main() -> Any:
        outcome: list[Any] = []

        async def go() -> None:
            outcome.append(await tried.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go)
            while not outcome:
                await anyio.sleep(0.01)
                tried.check_heartbeat(time.monotonic())
        return outcome[0]

    told = failure(anyio.run(main))
    assert told.type == "HeartbeatTimeout" and "call heartbeat()" in told.message and told.retryable


def test_a_step_that_beats_is_left_alone(files: ValueFiles) -> None:  # noqa: F811
    @step(heartbeat_timeout="10s")
    async def beating() -> int:
        heartbeat()
        return 1

    tried = attempt(files, beating)
    assert value(files, run(tried)) == 1
    tried.check_heartbeat(time.monotonic() + 5)
    assert not tried.stopped


def test_a_thread_is_stopped_where_it_is(files: ValueFiles, tmp_path: Path) -> None:  # noqa: F811
    seen: list[str] = []

    @step
    def spinning() -> None:
        try:
            seen.append("begun")
            while True:
                time.sleep(0.001)
        finally:
            seen.append("cleaned up")

    outcome = stopped_when(attempt(files, spinning), lambda: bool(seen))
    assert outcome is None
    deadline = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == ["begun", "cleaned up"]


def test_a_step_may_look_whether_it_is_still_wanted(files: ValueFiles) -> None:  # noqa: F811
    seen: list[bool] = []

    @step
    async def polite() -> None:
        context = step_context()
        try:
            seen.append(context.cancelled)
            await asyncio.sleep(60)
        finally:
            seen.append(context.cancelled)

    stopped_when(attempt(files, polite), lambda: bool(seen))
    assert seen == [False, True]


def test_an_external_step_waits_outside(files: ValueFiles) -> None:  # noqa: F811
    @step(external=True, timeout="1h", retry=3)
    def ask() -> str:
        return "ignored"

    tried = attempt(files, ask)
    assert tried.gate is not None
    tried.gate.set()
    outcome = run(tried)
    assert isinstance(outcome, e.StepWaiting)
    assert outcome.expires - time.time() > 3500 and outcome.retry.maximum_attempts == 3


def test_an_at_most_once_step_waits_until_its_beginning_is_recorded(files: ValueFiles) -> None:  # noqa: F811
    seen: list[int] = []

    @step(at_most_once=True)
    async def pay() -> int:
        seen.append(1)
        return 1

    tried = attempt(files, pay)

    async def main() -> Any:
        assert tried.gate is not None
        outcome: list[Any] = []

        async def go() -> None:
            outcome.append(await tried.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go)
            for _ in range(5):
                await anyio.sleep(0)
            assert not seen
            tried.gate.set()
        return outcome[0]

    assert value(files, anyio.run(main)) == 1


def test_an_exception_may_say_when_to_try_again(files: ValueFiles) -> None:  # noqa: F811
    @step
    def busy() -> None:
        raise RetryAfter("30s", "busy")

    told = failure(run(attempt(files, busy)))
    assert (told.type, told.message, told.retry_after) == ("RetryAfter", "busy", 30.0)


def test_what_derives_from_an_error_that_is_not_retried_is_not_either() -> None:
    policy = RetryPolicy(maximum_attempts=5, non_retryable=(OSError, "KeyError"))
    assert policy.non_retryable == ("OSError", "KeyError")
    assert not policy.allows(1, Failure("ConnectionError", "", bases=("OSError",)))
    assert policy.allows(1, Failure("ValueError", ""))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"isolate": "thread"}, "isolate"),
        ({"memory": "1GB"}, "memory"),
        ({"memory": "much", "isolate": "process"}, "size"),
        ({"at_most_once": True, "retry": 3}, "exclude"),
        ({"external": True, "isolate": "process"}, "external"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        step(name="plain", **options)(lambda: None)
