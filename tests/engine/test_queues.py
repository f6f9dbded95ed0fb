"""Steps and runs in queues: real engine, real socket, scripted workers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from flowbook.client import AsyncClient, queue_asks
from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId, Seq, WorkerId
from flowbook.core.messages import AttemptFailed, ReportItem, StartRun
from flowbook.core.queues import Limits, rate
from flowbook.core.retry import RetryPolicy
from flowbook.core.value import Value
from flowbook.engine import tasks as engine_tasks
from flowbook.errors import StoreError, UserError
from flowbook.store.base import Group, decode_recorded
from flowbook.store.memory import MemoryStore
from flowbook.wire.protocol import (
    CancelTask,
    Commit,
    Drain,
    Draining,
    Task,
    TaskRef,
    TaskReport,
    TaskReported,
    pack,
)
from tests.engine.conftest import MODULE, Project
from tests.engine.scripted import PLACE, ScriptedWorker
from tests.engine.test_runs import ONE, kinds

pytestmark = pytest.mark.anyio

TWO = Value("json", msgspec.Raw(b"2"), size=1)


class TaskWorker(ScriptedWorker):
    """Serves queue gpu; answers tasks as told."""

    def __init__(self, project: Project, worker: str = "t1", **hello: Any) -> None:
        super().__init__(project.home.folder, worker, **{"queues": ("gpu",), **hello})
        self.numbers: dict[TaskRef, int] = {}

    async def task(self, timeout: float = 5.0) -> Task:
        return await self.next(Task, timeout)

    async def none(self, kind: type[Any] = Task) -> None:
        """Nothing of this kind comes."""
        with pytest.raises(TimeoutError):
            await self.next(kind, 0.1)

    async def send(self, ref: TaskRef, *items: ReportItem, ended: bool = True) -> None:
        self.numbers[ref] = self.numbers.get(ref, 0) + 1
        await self.stream.send(pack(TaskReport(ref, self.numbers[ref], items, ended)))

    async def complete(self, task: Task) -> None:
        await self.send(task.task, result(task))
        await self.next(TaskReported)


def result(task: Task) -> e.StepCompleted:
    return e.StepCompleted(key=task.step.key, step=task.step.step, value=ONE, attempt=task.task.attempt)


def failed(task: Task) -> AttemptFailed:
    retry = RetryPolicy(initial_interval=0.0, maximum_attempts=2)
    return AttemptFailed(task.task.key, "s", task.task.attempt, Failure("ValueError", "no"), retry)


def asked(key: str = "k", **options: Any) -> e.StepScheduled:
    return e.StepScheduled(key=Key(key), step="s", queue="gpu", arguments=(ONE,), **options)


def limited(**limits: Any) -> dict[str, Any]:
    return {"limits": Limits(**limits).plain()}


@asynccontextmanager
async def running(project: Project, *items: ReportItem, grace: float = 0.2) -> AsyncIterator[Any]:
    """An engine, a client, and a worker that holds run r1, which has reported these."""
    async with (
        project.engine(grace=grace) as host,
        project.client() as client,
        ScriptedWorker(project.home.folder) as holder,
    ):
        await project.start(client)
        await holder.take("r1")
        if items:
            await holder.report("r1", *items)
        yield host, client, holder


async def test_a_step_of_a_queue_runs_where_its_queue_is_served(project: Project) -> None:
    async with running(project, asked()) as (_, client, holder), TaskWorker(project) as worker:
        task = await worker.task()
        assert (task.task, task.workflow, task.module) == (TaskRef(RunId("r1"), Key("k"), 1, "gpu"), "flow", "m1")
        assert task.step.arguments == (ONE,)
        assert await kinds(client) == ["RunStarted", "StepScheduled", "StepStarted"]
        await worker.complete(task)
        told = [type(recorded.event) for _ in range(2) for recorded in (await holder.next(Commit)).events]
        assert told == [e.StepStarted, e.StepCompleted]
        assert await kinds(client) == ["RunStarted", "StepScheduled", "StepStarted", "StepCompleted"]


async def test_output_and_progress_are_facts_of_the_run(project: Project) -> None:
    async with running(project, asked()) as (_, client, _), TaskWorker(project) as worker:
        task = await worker.task()
        progress = e.StepProgress(key=Key("k"), step="s", attempt=1, done=1, total=2)
        other = e.StepProgress(key=Key("another"), step="s", attempt=1, done=1)
        await worker.send(task.task, progress, other, ended=False)
        await worker.complete(task)
        assert (await kinds(client))[-2:] == ["StepProgress", "StepCompleted"]


async def test_a_failed_attempt_goes_through_the_queue_again_after_its_time(project: Project) -> None:
    async with running(project, asked()) as (_, client, _), TaskWorker(project) as worker:
        task = await worker.task()
        retry = RetryPolicy(initial_interval=0.05, maximum_attempts=2)
        await worker.send(task.task, AttemptFailed(Key("k"), "s", 1, Failure("ValueError", "no"), retry))
        again = await worker.task()
        assert again.task.attempt == 2
        await worker.complete(again)
        kind = ["StepScheduled", "StepStarted", "StepAttemptFailed", "StepStarted", "StepCompleted"]
        assert (await kinds(client))[1:] == kind


async def test_the_next_attempt_gets_what_the_last_one_left(project: Project) -> None:
    async with running(project, asked()) as (_, _, _), TaskWorker(project) as worker:
        task = await worker.task()
        beat = e.StepHeartbeat(key=Key("k"), step="s", attempt=1, details=ONE)
        await worker.send(task.task, beat, failed(task))
        assert (await worker.task()).details == ONE


async def test_no_more_run_than_the_queue_allows(project: Project) -> None:
    steps = [asked(key, options=limited(concurrency=2)) for key in "abc"]
    async with (
        running(project, *steps),
        TaskWorker(project, "t1", concurrency=1) as first,
        TaskWorker(project, "t2", concurrency=5) as second,
    ):
        mine, other = await first.task(), await second.task()
        assert {mine.task.key, other.task.key} == {"a", "b"}
        await second.none()
        await first.complete(mine)
        assert (await _either(first, second)).task.key == "c"


async def _either(*workers: TaskWorker) -> Task:
    for _ in range(50):
        for worker in workers:
            with anyio.move_on_after(0.02):
                return await worker.task()
    raise AssertionError("no worker got the task")


async def test_a_rate_spreads_hand_outs(project: Project) -> None:
    steps = [asked(key, options=limited(rate=rate("2/300ms"))) for key in "abc"]
    async with running(project, *steps) as (_, client, _), TaskWorker(project) as worker:
        for _ in range(3):
            await worker.task()
        begun = [each.time for each in await client.history("r1") if isinstance(each.event, e.StepStarted)]
        # What is recorded is when the turn began that recorded it: on a busy machine some time after the hand-out.
        assert begun[1] - begun[0] < 0.25 and begun[2] - begun[0] >= 0.25


async def test_priority_and_keys(project: Project) -> None:
    limits = limited(concurrency=1, key_concurrency=1)
    steps = [asked("a", concurrency_key="x"), asked("b", concurrency_key="x"), asked("c", concurrency_key="y")]
    steps += [asked("d", priority=5)]
    items = [msgspec.structs.replace(each, options=limits) for each in steps]
    async with running(project, *items), TaskWorker(project) as worker:
        order = []
        for _ in items:
            task = await worker.task()
            order.append(task.task.key)
            await worker.complete(task)
        assert order == ["d", "a", "c", "b"]


async def test_a_worker_that_dies_loses_its_task_to_another(project: Project) -> None:
    async with running(project, asked()) as (_, client, _):
        async with TaskWorker(project, pid=2**22 + 1) as lost:
            await lost.task()
        async with TaskWorker(project, "t2") as worker:
            task = await worker.task()
            assert task.task.attempt == 2
            await worker.complete(task)
            assert "StepAttemptFailed" in await kinds(client)


async def test_the_holders_death_does_not_touch_the_task(project: Project) -> None:
    async with project.engine() as host, project.client() as client, TaskWorker(project) as worker:
        async with ScriptedWorker(project.home.folder, pid=2**22 + 1) as holder:
            await project.start(client)
            await holder.take("r1")
            await holder.report("r1", asked())
            task = await worker.task()
        async with ScriptedWorker(project.home.folder, "w2") as holder:
            while host.engine.runs.open["r1"].holder is None:
                await anyio.sleep(0.01)
            await worker.complete(task)
            assert await kinds(client) == ["RunStarted", "StepScheduled", "StepStarted", "StepCompleted"]


async def test_a_late_report_of_a_lost_attempt_decides_nothing(project: Project) -> None:
    async with running(project, asked(), grace=0.05) as (_, client, _):
        async with TaskWorker(project) as worker:
            first = await worker.task()
        async with TaskWorker(project, "t2") as other:
            second = await other.task()
            async with TaskWorker(project, tasks=(first.task,)) as worker:
                assert (await worker.next(CancelTask)).task == first.task
                await worker.send(first.task, result(first))
                await other.complete(second)
                assert (await kinds(client)).count("StepCompleted") == 1


async def test_a_worker_that_comes_back_keeps_its_task_and_is_sent_what_it_missed(project: Project) -> None:
    async with running(project, asked("a"), asked("b"), grace=5.0) as (_, client, _):
        async with TaskWorker(project) as worker:
            one, _ = await worker.task(), await worker.task()
        async with TaskWorker(project, tasks=(one.task,)) as worker:
            missed = await worker.task()
            assert (missed.task.key, missed.task.attempt) == ("b", 1)
            await worker.complete(missed)
            await worker.send(one.task, result(one))
            await worker.next(TaskReported)
            assert (await kinds(client)).count("StepCompleted") == 2


async def test_an_engine_that_died_neither_repeats_nor_forgets_tasks(project: Project) -> None:
    steps = [asked(key, options=limited(concurrency=1)) for key in "ab"]
    async with running(project, *steps), TaskWorker(project) as worker:
        task = await worker.task()
    async with project.engine(grace=5.0), project.client() as client:
        async with TaskWorker(project, tasks=(task.task,)) as worker:
            await worker.none()
            await worker.complete(task)
            second = await worker.task()
            assert second.task.key == "b"
            await worker.complete(second)
        found = await kinds(client)
        assert (found.count("StepStarted"), found.count("StepCompleted")) == (2, 2)


async def test_a_retry_costs_the_same_however_long_the_history_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def decode(record: bytes) -> e.Recorded:
        decoded.append(record)
        return decode_recorded(record)

    monkeypatch.setattr(engine_tasks, "decode_recorded", decode)
    keys = [f"k{number}" for number in range(20)]
    async with running(project, *map(asked, keys)), TaskWorker(project) as worker:
        for task in [await worker.task() for _ in keys]:
            left = [e.StepHeartbeat(task.task.key, "s", 1, value) for value in (ONE, TWO)]
            await worker.send(task.task, *left[: int(task.task.key[1:]) % 3], failed(task))
        again = {task.task.key: task.details for task in [await worker.task() for _ in keys]}
        assert [again[Key(key)] for key in keys] == [(None, ONE, TWO)[number % 3] for number in range(len(keys))]
        # What is to be done, for which run, and what was left: nothing of what lies between.
        assert len(decoded) <= 2 * len(keys) + 3 * len(keys)


async def test_a_rate_holds_over_the_engines_death(project: Project) -> None:
    limits = limited(rate=rate("2/1s"))
    async with running(project, asked("a", options=limits)) as (_, client, holder), TaskWorker(project) as worker:
        await worker.complete(await worker.task())
        await holder.report("r1", e.RunCompleted(value=ONE))
        begun = [each.time for each in await client.history("r1") if isinstance(each.event, e.StepStarted)]
    async with (
        project.engine(),
        project.client() as client,
        TaskWorker(project) as worker,
        ScriptedWorker(project.home.folder) as holder,
    ):
        await project.start(client, "r2")
        await holder.take("r2")
        await holder.report("r2", asked("b", options=limits), asked("c", options=limits))
        for _ in range(2):
            await worker.complete(await worker.task())
        begun += [each.time for each in await client.history("r2") if isinstance(each.event, e.StepStarted)]
    assert begun[2] - begun[0] >= 1.0


async def test_an_engine_that_died_gives_lost_tasks_to_others(project: Project) -> None:
    async with running(project, asked()), TaskWorker(project) as worker:
        await worker.task()
    async with project.engine(), TaskWorker(project, "t2") as worker:
        assert (await worker.task()).task.attempt == 2


async def test_a_cancelled_task_counts_until_it_has_stopped(project: Project) -> None:
    steps = [asked(key, options=limited(concurrency=1)) for key in "ab"]
    async with running(project, *steps) as (_, client, holder), TaskWorker(project) as worker:
        task = await worker.task()
        await holder.report("r1", e.StepCancelled(key=Key("a"), step="s"))
        assert (await worker.next(CancelTask)).task == task.task
        await worker.none()
        await worker.send(task.task, result(task))
        assert (await worker.task()).task.key == "b"
        assert "StepCompleted" not in await kinds(client)


async def test_a_failed_attempt_counts_until_it_has_stopped(project: Project) -> None:
    steps = [asked(key, options=limited(concurrency=1)) for key in "ab"]
    async with running(project, *steps, grace=5.0) as (_, client, _):
        async with TaskWorker(project) as worker:
            task = await worker.task()
            await worker.send(task.task, failed(task), ended=False)
            await worker.next(TaskReported)
            assert "StepAttemptFailed" in await kinds(client)
            await worker.none()
        # Another connection changes nothing of that.
        async with TaskWorker(project, tasks=(task.task,)) as worker:
            assert (await worker.next(CancelTask)).task == task.task
            await worker.none()
            worker.numbers[task.task] = 1
            await worker.send(task.task)
            found = await worker.task()
            await worker.complete(found)
            other = await worker.task()
            assert {(each.task.key, each.task.attempt) for each in (found, other)} == {("a", 2), ("b", 1)}


async def test_a_run_that_ends_stops_its_tasks(project: Project) -> None:
    async with running(project, asked("a"), asked("b")) as (_, client, _), TaskWorker(project, concurrency=1) as worker:
        await worker.task()
        await client.ask(queue_asks.Ask("terminate", StopRun("r1")))
        await worker.next(CancelTask)
        (queue,) = [each for each in await client.ask(queue_asks.queues()) if each["name"] == "gpu"]
        assert (queue["waiting"], queue["running"]) == (0, 1)


class StopRun(msgspec.Struct):
    run: str
    reason: str = ""
    now: bool = True


async def test_where_nobody_serves_a_queue_a_worker_is_started(project: Project) -> None:
    async with running(project, asked()):
        while "gpu" not in project.served:
            await anyio.sleep(0.01)


async def test_where_no_worker_starts_the_run_is_paused(project: Project) -> None:
    project.fail_starts = "no"
    async with running(project, asked()) as (_, client, _):
        summary = await client.wait("r1", 5)
        assert summary["status"] == "paused" and "no worker of queue 'gpu' could be started" in summary["reason"]


async def test_a_paused_queue_hands_out_nothing_and_limits_outlive_the_engine(project: Project) -> None:
    async with running(project) as (_, client, holder), TaskWorker(project) as worker:
        await client.ask(queue_asks.pause("gpu", "lunch"))
        await client.ask(queue_asks.set_limits("gpu", Limits(concurrency=1)))
        await holder.report("r1", asked("a"), asked("b", options=limited(concurrency=9)))
        await worker.none()
    async with project.engine(), project.client() as client, TaskWorker(project) as worker:
        (queue,) = [each for each in await client.ask(queue_asks.queues()) if each["name"] == "gpu"]
        assert (queue["paused"], queue["reason"], queue["waiting"]) == (True, "lunch", 2)
        await worker.none()
        await client.ask(queue_asks.resume("gpu"))
        await worker.task()
        await worker.none()


async def test_a_draining_worker_is_given_nothing(project: Project) -> None:
    async with running(project) as (_, client, holder):
        async with TaskWorker(project) as worker:
            assert await client.ask(queue_asks.drain("t1")) == worker.pid
            await worker.next(Drain)
            await worker.stream.send(pack(Draining()))
            await holder.report("r1", asked())
            await worker.none()
        with pytest.raises(UserError, match="no worker"):
            await client.ask(queue_asks.drain("nobody"))


async def test_a_name_that_can_be_none_is_refused(project: Project) -> None:
    async with project.engine(), project.client() as client:
        with pytest.raises(UserError, match="cannot be the name of a queue"):
            await client.ask(queue_asks.pause("a/b", ""))


async def test_what_the_disk_refuses_is_handed_out_when_it_takes_it(project: Project) -> None:
    store = project.store = MemoryStore()
    async with running(project, asked()) as (_, client, _):
        store.refuse = "the disk is full"
        async with TaskWorker(project) as worker:
            await worker.none()
            with pytest.raises(StoreError):
                await client.ask(queue_asks.pause("gpu", ""))
            store.refuse = ""
            await worker.complete(await worker.task())
            assert (await kinds(client)).count("StepStarted") == 1


# Runs in queues


async def queued(client: AsyncClient, run: str, **options: Any) -> Any:
    await client.put_module(MODULE)
    message = StartRun(RunId(run), "flow", MODULE.digest, PLACE, queue="batch", **options)
    return await client.ask(queue_asks.Ask("start", message))


async def test_a_run_waits_in_its_queue_and_counts_while_it_is_open(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.ask(queue_asks.set_limits("batch", Limits(concurrency=1)))
        await queued(client, "r1")
        await queued(client, "r2")
        await queued(client, "r3", priority=3)
        await worker.take("r1")
        assert await kinds(client) == ["RunStarted", "RunBegan"]
        assert [(await client.run(run))["status"] for run in ("r2", "r3")] == ["queued", "queued"]
        assert [run["id"] for run in await client.runs(status="queued")] == ["r3", "r2"]
        await worker.report("r1", e.RunCompleted(value=ONE))
        await worker.take("r3")


async def test_an_admitted_run_stays_admitted_when_the_engine_dies(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.ask(queue_asks.set_limits("batch", Limits(concurrency=1)))
        await queued(client, "r1")
        await worker.take("r1")
        await worker.report("r1", e.SignalAwaited(key=Key("s"), name="go"))
        await queued(client, "r2")
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        assert (await client.run("r2"))["status"] == "queued"
        await worker.take("r1")
        await worker.report("r1", e.RunCompleted(value=ONE))
        await worker.take("r2")


async def test_a_run_whose_time_is_up_in_its_queue_fails_without_having_begun(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await client.ask(queue_asks.pause("batch", ""))
        await queued(client, "r1", timeout=0.1)
        summary = await client.wait("r1", 5)
        assert summary["status"] == "failed" and summary["error"] is not None
        assert summary["error"].type == "TimeoutError" and "in queue 'batch'" in summary["error"].message


async def test_a_turn_that_the_disk_refuses_comes_again(project: Project) -> None:
    store = project.store = MemoryStore()
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.ask(queue_asks.pause("batch", ""))
        await queued(client, "r1")
        store.refuse = "the disk is full"
        with pytest.raises(StoreError):
            await queued(client, "r2")
        store.refuse = ""
        await client.ask(queue_asks.resume("batch"))
        store.refuse = "the disk is full"
        await anyio.sleep(0.1)
        store.refuse = ""
        await worker.take("r1")
        assert [queue["name"] for queue in await client.ask(queue_asks.queues())] == ["batch", "default"]


async def test_a_run_that_a_worker_still_holds_has_had_its_turn(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.ask(queue_asks.set_limits("batch", Limits(concurrency=1)))
        await queued(client, "r1")
        await worker.take("r1")
        await queued(client, "r2", priority=1)
    returning = ScriptedWorker(project.home.folder, holding={"r1": 1})
    async with project.engine(grace=5.0), project.client() as client, returning as worker:
        await worker.next(Commit)
        await anyio.sleep(0.1)
        assert [(await client.run(run))["status"] for run in ("r1", "r2")] == ["running", "queued"]


async def test_a_run_cancelled_in_its_queue_ends_without_having_begun(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.ask(queue_asks.set_limits("batch", Limits(concurrency=1)))
        await queued(client, "r1")
        await worker.take("r1")
        await queued(client, "r2")
        await client.cancel("r2", "no longer wanted")
        summary = await client.wait("r2", 5)
        assert (summary["status"], summary["reason"]) == ("cancelled", "no longer wanted")


async def test_a_rate_that_the_code_gave_holds_over_a_restart(project: Project) -> None:
    """No open run names it any more, and its period is longer than what an engine looks back for anyhow."""
    made = Group()
    began = time.time() - 200.0
    history: list[e.AnyEvent] = [
        e.RunStarted(RunId("old"), "flow", MODULE.digest, PLACE),
        asked(options=limited(rate=rate("1/10m"))),
        e.StepStarted(Key("k"), "s", worker=WorkerId("w")),
        e.StepCompleted(Key("k"), "s", ONE),
        e.RunCompleted(ONE),
    ]
    for number, event in enumerate(history, 1):
        made.add(RunId("old"), Seq(number), began + number, event)
    project.store.commit(made)
    async with running(project, asked("next")) as (_, client, _worker), TaskWorker(project) as worker:
        await worker.none()
        (queue,) = [each for each in await client.ask(queue_asks.queues()) if each["name"] == "gpu"]
        assert (queue["limits"]["rate"], queue["waiting"]) == ("1/10m", 1)


async def test_a_queue_in_use_is_not_deleted(project: Project) -> None:
    async with running(project, asked()) as (_, client, _worker):
        with pytest.raises(UserError, match="in use: 1 wait, 0 run"):
            await client.ask(queue_asks.delete("gpu"))
        async with TaskWorker(project) as worker:
            task = await worker.task()
            with pytest.raises(UserError, match=r"in use: worker \d+ serves it"):
                await client.ask(queue_asks.delete("gpu"))
            await worker.complete(task)
        await client.ask(queue_asks.set_limits("gpu", Limits(concurrency=3)))
        while (await client.status())["workers"][1:]:
            await anyio.sleep(0.01)
        await client.ask(queue_asks.delete("gpu"))
        assert [queue["name"] for queue in await client.ask(queue_asks.queues())] == ["default"]
        status = await client.ask(queue_asks.pause("gpu", ""))
        assert status["new"] and status["limits"]["concurrency"] is None
    async with project.engine(), project.client() as client:
        found = {queue["name"]: queue for queue in await client.ask(queue_asks.queues())}
        assert found["gpu"]["paused"] and found["gpu"]["limits"]["concurrency"] is None
