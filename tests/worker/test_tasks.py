"""Steps of queues in a worker's hands: they are steps like others."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from flowbook import heartbeat, progress, step, step_context
from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId
from flowbook.core.messages import AttemptFailed
from flowbook.core.module import Module
from flowbook.core.retry import RetryPolicy
from flowbook.core.value import Value, shown
from flowbook.errors import UserError
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.wire.protocol import Glimpse, Task, TaskRef, TaskReport, pack
from flowbook.worker import tasks as worker_tasks
from flowbook.worker.attempts import Attempt
from flowbook.worker.tasks import RemoteTask, Tasks, run_task
from flowbook.worker.workplace import Workplace
from tests.worker import steps
from tests.worker.test_attempts import files, streams  # noqa: F401

REF = TaskRef(RunId("run"), Key("/k"), 1, "gpu")


@step
def tells() -> Any:
    context = step_context()
    progress(1, 2)
    heartbeat({"page": 3})
    return [context.workflow, context.heartbeat_details]


@step
def tells_and_fails() -> None:
    heartbeat(7)
    raise ValueError("no")


@step(at_most_once=True)
def pays() -> str:
    return "paid"


@step(heartbeat_timeout="10s")
async def silent() -> None:
    await anyio.sleep_forever()


class Hands:
    """One worker's tasks, and what it says about them."""

    def __init__(self, files: ValueFiles, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
        self.begun: list[tuple[RemoteTask, Attempt]] = []
        self.tasks = Tasks(Workplace(files), lambda task, attempt: self.begun.append((task, attempt)))
        module = Module(Digest("m"), "steps", "", folder=str(Path(__file__).parents[2]))
        self.module = LoadedModule(module, steps, "")
        self._patch = monkeypatch

    def begin(self, made: Step[..., Any], details: Value | None = None) -> None:
        asked = e.StepScheduled(key=REF.key, step=made.name, queue="gpu", once=made.at_most_once)
        packet = Task(REF, Digest("m"), "flow", asked, details)
        self._patch.setattr(worker_tasks, "step_of", lambda module, packet: made)
        self.tasks.take(packet)
        self.tasks.begin(packet, self.module)

    def run(self) -> list[Any]:
        """Run it to its end; all that is said then."""
        ((task, attempt),) = self.begun

        async def main() -> None:
            with anyio.fail_after(10):
                await run_task(task, attempt, lambda: None)

        with streams():
            anyio.run(main)
        return [item for report in self.tasks.outgoing() for item in report.items]


@pytest.fixture
def hands(files: ValueFiles, monkeypatch: pytest.MonkeyPatch) -> Hands:  # noqa: F811
    return Hands(files, monkeypatch)


def test_it_knows_its_workflow_and_what_the_attempt_before_left(hands: Hands, files: ValueFiles) -> None:  # noqa: F811
    hands.begin(tells, codec.encode("left", files.save))
    moved, left, done = hands.run()
    assert shown(done.value) == ["flow", "left"]
    assert isinstance(moved, e.StepProgress) and shown(left.details) == {"page": 3}


def test_what_it_said_last_is_recorded_before_its_failure(hands: Hands) -> None:
    hands.begin(tells_and_fails)
    left, failed = hands.run()
    assert isinstance(left, e.StepHeartbeat) and shown(left.details) == 7
    assert isinstance(failed, AttemptFailed) and failed.failure.type == "ValueError"


def test_one_that_runs_at_most_once_begins(hands: Hands) -> None:
    hands.begin(pays)
    (done,) = hands.run()
    assert shown(done.value) == "paid"


def test_it_may_not_be_silent_for_longer_than_it_said(hands: Hands) -> None:
    hands.begin(silent)
    ((task, attempt),) = hands.begun

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run_task, task, attempt, lambda: None)
            await anyio.wait_all_tasks_blocked()
            assert hands.tasks.attempts == [attempt]
            attempt.check_heartbeat(1e12)

    anyio.run(main)
    (failed,) = [item for report in hands.tasks.outgoing() for item in report.items]
    assert isinstance(failed, AttemptFailed) and failed.failure.type == "HeartbeatTimeout"


def test_what_cannot_be_written_down_is_the_steps_failure(hands: Hands) -> None:
    hands.begin(tells)
    ((task, _),) = hands.begun
    odd = TaskReport(REF, 1, (e.StepOutput(REF.key, "tells", 1, (e.Chunk("display", data={"x": object()}),)),))
    with pytest.raises(TypeError) as caught:
        pack(odd)
    told = hands.tasks.unsayable(odd, caught.value)
    assert pack(told) and task.over and not told.ended
    (failed,) = told.items
    assert isinstance(failed, AttemptFailed) and not failed.failure.retryable
    assert "cannot be recorded" in failed.failure.message
    assert failed.failure.bases == ("UnsavableValue",)
    assert list(hands.tasks.outgoing()) == [told]
    hands.tasks.answered(REF, 1)
    # It counts until it has really stopped.
    assert len(hands.tasks) and hands.run() == []
    hands.tasks.answered(REF, 2)
    assert not len(hands.tasks)


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_one_whose_thread_cannot_be_stopped_at_once_has_not_ended(hands: Hands, how: str) -> None:
    begun, go = threading.Event(), threading.Event()

    @step(timeout="50ms" if how == "late" else "1m")
    def blocks() -> None:
        begun.set()
        go.wait(30)

    hands.begin(blocks)
    ((task, attempt),) = hands.begun
    said: list[tuple[list[type], bool]] = []

    def speak() -> None:
        said.extend(([type(item) for item in report.items], report.ended) for report in hands.tasks.outgoing())

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run_task, task, attempt, speak)
            await anyio.to_thread.run_sync(begun.wait)
            if how == "cancelled":
                hands.tasks.cancel(REF)
        # How it ends is known: that it was cancelled again changes nothing.
        hands.tasks.cancel(REF)
        assert said == ([] if how == "cancelled" else [([AttemptFailed], False)]) and len(hands.tasks)
        said.clear()
        go.set()
        with anyio.fail_after(10):
            while not said:
                await anyio.sleep(0.005)

    with streams():
        anyio.run(main)
    assert said == [([], True)]
    hands.tasks.answered(REF, 2)
    assert not len(hands.tasks)


def test_what_is_not_recorded_yet_is_shown(hands: Hands) -> None:
    hands.begin(silent)
    ((task, attempt),) = hands.begun

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run_task, task, attempt, lambda: None)
            await anyio.wait_all_tasks_blocked()
            context = attempt._context
            assert context is not None
            for turn in (1.0, 2.0, 3.0):
                context.progress = (turn, 3.0, "")
                hands.tasks.hear()
            attempt.stop()
            glimpses = list(hands.tasks.glimpses())
            assert [item.done for glimpse in glimpses for item in glimpse.items] == [2.0, 3.0]  # type: ignore[union-attr]
            assert all(isinstance(glimpse, Glimpse) for glimpse in glimpses)

    anyio.run(main)
    recorded = [item.done for report in hands.tasks.outgoing() for item in report.items if hasattr(item, "done")]
    assert recorded == [1.0]


@pytest.mark.parametrize("retry", [True, False, 0, -1, 2.0, "3"])
def test_a_number_of_attempts_is_one(retry: Any) -> None:
    with pytest.raises(UserError, match="write the number of attempts"):
        step(retry=retry)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("initial_interval", float("inf")),
        ("initial_interval", -1),
        ("maximum_interval", "soon"),
        ("backoff_coefficient", float("nan")),
        ("backoff_coefficient", 0.5),
        ("maximum_attempts", 2.5),
        ("maximum_attempts", -1),
        ("jitter", 1.5),
    ],
)
def test_a_policy_says_what_is_wrong_with_it(option: str, given: Any) -> None:
    with pytest.raises(UserError, match=option):
        RetryPolicy(**{option: given})


def test_a_policy_takes_times_as_people_write_them() -> None:
    policy = RetryPolicy("1s", maximum_interval="2m", non_retryable=ValueError)
    assert (policy.initial_interval, policy.maximum_interval, policy.non_retryable) == (1.0, 120.0, ("ValueError",))


@pytest.mark.parametrize("option", ["timeout", "heartbeat_timeout"])
@pytest.mark.parametrize("given", [True, float("inf"), float("nan"), 0, -1, "soon"])
def test_a_limit_is_a_time(option: str, given: Any) -> None:
    with pytest.raises(UserError, match=option):
        step(**{option: given})
