"""What happens to runs, seen by clients and by a worker that does as told."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.messages import AttemptFailed, Ran
from flowbook.core.retry import RetryPolicy
from flowbook.core.value import NOTHING, Value
from flowbook.engine import fleet
from flowbook.engine.engine import MOST_BEHIND
from flowbook.engine.holding import UNEXPLAINED
from flowbook.engine.links import WorkerLink
from flowbook.engine.processes import is_alive
from flowbook.errors import FlowbookError, RunClosed, RunConflict, StoreError, UnknownRun
from flowbook.store.mark import Mark
from flowbook.store.memory import MemoryStore
from flowbook.wire.protocol import (
    Activate,
    Alive,
    Commit,
    Draining,
    Evict,
    Glimpse,
    Inspect,
    Inspection,
    ModuleSource,
    NeedModule,
    pack,
)
from tests.engine.conftest import MODULE, Project
from tests.engine.scripted import ScriptedWorker

pytestmark = pytest.mark.anyio

ONE = Value("json", msgspec.Raw(b"1"), size=1)


def done(key: str = "k", attempt: int = 1) -> e.StepCompleted:
    return e.StepCompleted(key=Key(key), step="s", value=ONE, attempt=attempt)


def begun(key: str = "k", attempt: int = 1, worker: str = "w1") -> e.StepStarted:
    return e.StepStarted(key=Key(key), step="s", attempt=attempt, worker=WorkerId(worker))


async def kinds(client: object, run: str = "r1") -> list[str]:
    return [type(recorded.event).__name__ for recorded in await client.history(run)]  # type: ignore[attr-defined]


async def test_a_run_from_start_to_end(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        summary = await project.start(client, arguments={"a": ONE}, name="first")
        assert summary["status"] == "running" and summary["name"] == "first"
        activate = await worker.take("r1")
        assert [type(r.event) for r in activate.history] == [e.RunStarted]
        assert await worker.report("r1", begun()) == ["StepStarted"]
        assert await worker.report("r1", done(), e.RunCompleted(value=ONE)) == ["StepCompleted", "RunCompleted"]
        summary = await client.wait("r1")
        assert summary["status"] == "succeeded"
        assert summary["result"] == ONE
        assert [run["id"] for run in await client.runs()] == ["r1"]
        assert await kinds(client) == ["RunStarted", "StepStarted", "StepCompleted", "RunCompleted"]


async def test_the_same_start_is_the_same_run_and_another_is_a_conflict(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client, arguments={"a": ONE})
        await project.start(client, arguments={"a": ONE})
        assert await kinds(client) == ["RunStarted"]
        with pytest.raises(RunConflict):
            await project.start(client, arguments={"a": NOTHING})


async def test_an_unknown_run_and_an_unknown_module_are_named(project: Project) -> None:
    async with project.engine(), project.client() as client:
        with pytest.raises(UnknownRun, match="nope"):
            await client.run("nope")
        with pytest.raises(UnknownRun, match="nope"):
            await client.signal("nope", "go", ONE)
        with pytest.raises(FlowbookError, match="m9"):
            await client.start("r1", "flow", "m9", e.Place("/", "python"))


async def test_a_stale_lease_and_a_repeated_report_decide_nothing(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.tell("r1", done("a"), lease="old")
        await worker.tell("r1", done("b"), number=1)
        await worker.tell("r1", done("c"), number=1)
        assert await worker.report("r1", done("d")) == ["StepCompleted", "StepCompleted"]
        keys = [r.event.key for r in await client.history("r1", after=1)]  # type: ignore[union-attr]
        assert keys == ["b", "d"]


async def test_a_failed_attempt_is_tried_again_and_its_worker_may_forget_the_run(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        policy = RetryPolicy(maximum_attempts=2, initial_interval=0.05)
        failed = AttemptFailed(key=Key("k"), step="s", attempt=1, failure=Failure("ValueError", "no"), retry=policy)
        assert await worker.report("r1", failed) == ["StepAttemptFailed"]
        await worker.release("r1")
        activate = await worker.take("r1")
        assert isinstance(activate.history[-1].event, e.StepAttemptFailed)
        failed = msgspec.structs.replace(failed, attempt=2)
        assert await worker.report("r1", failed) == ["StepFailed"]


async def test_timers_fire_and_wake_a_run_that_nobody_holds(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        due = host.engine.clock.now() + 0.1
        await worker.report("r1", e.TimerStarted(key=Key("t"), due=due))
        assert (await client.run("r1"))["status"] == "waiting"
        assert (await client.run("r1"))["waits"][0]["due"] == due
        await worker.release("r1")
        activate = await worker.take("r1")
        assert isinstance(activate.history[-1].event, e.TimerFired)
        assert activate.history[-1].time >= due


async def test_a_signal_is_kept_once_and_reaches_the_worker(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", e.SignalAwaited(key=Key("w"), name="go"))
        await client.signal("r1", "go", ONE, id="x")
        await client.signal("r1", "go", ONE, id="x")
        commit = await worker.next(Commit)
        assert [type(r.event) for r in commit.events] == [e.SignalReceived]
        await worker.report("r1", e.RunCompleted(value=ONE))
        await client.signal("r1", "go", ONE, id="x")
        with pytest.raises(RunClosed):
            await client.signal("r1", "go", ONE)


async def test_cancel_says_what_it_did(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        assert await client.cancel("r1") == {"outcome": "queued"}
        assert isinstance((await worker.next(Commit)).events[-1].event, e.CancelRequested)
        await worker.report("r1", e.RunCancelled())
        assert await client.cancel("r1") == {"outcome": "already done"}


async def test_a_release_that_crossed_an_event_brings_the_run_back(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await client.signal("r1", "go", ONE)
        await worker.release("r1", seq=1)
        assert isinstance((await worker.take("r1")).history[-1].event, e.SignalReceived)


async def test_a_lost_worker_loses_its_attempt_and_another_goes_on(project: Project) -> None:
    async with project.engine(), project.client() as client:
        async with ScriptedWorker(project.home.folder, pid=999_999_999) as worker:
            await project.start(client)
            await worker.take("r1")
            await worker.report("r1", begun())
        async with ScriptedWorker(project.home.folder, "w2") as second:
            activate = await second.take("r1")
            last = activate.history[-1].event
            assert isinstance(last, e.StepAttemptFailed) and last.lost and "gone" in last.failure.message
            assert await second.report("r1", done(attempt=1)) == []
            assert await second.report("r1", done(attempt=2)) == ["StepCompleted"]


async def test_after_five_lost_attempts_the_step_has_failed(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        for attempt in range(1, 6):
            async with ScriptedWorker(project.home.folder, f"w{attempt}", pid=999_999_999) as worker:
                await worker.take("r1")
                await worker.report("r1", begun(attempt=attempt, worker=f"w{attempt}"))
        async with ScriptedWorker(project.home.folder, "last") as worker:
            activate = await worker.take("r1")
            assert isinstance(activate.history[-1].event, e.StepFailed)


async def test_a_step_that_kills_its_worker_before_its_start_is_told_has_failed_after_five(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        await project.start(client, "innocent")
        for attempt in range(1, 6):
            async with ScriptedWorker(project.home.folder, f"w{attempt}", pid=999_999_999) as worker:
                await worker.next(Activate)
                await worker.next(Activate)
                await worker.report("innocent", begun(attempt=attempt, worker=f"w{attempt}"))
                Mark(project.home.running(worker.pid)).begin(Ran(RunId("r1"), Key("k"), "s", attempt))
        async with ScriptedWorker(project.home.folder, "last") as worker:
            ends = {(packet := await worker.next(Activate)).run: packet.history[-1].event for _ in range(2)}
        failed, other = ends[RunId("r1")], ends[RunId("innocent")]
        assert isinstance(failed, e.StepFailed) and failed.attempt == 5 and "5th time" in failed.failure.message
        assert isinstance(other, e.StepAttemptFailed) and other.planned


async def test_a_worker_that_was_to_leave_is_no_loss_of_its_steps(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        for attempt in range(1, 8):
            async with ScriptedWorker(project.home.folder, f"w{attempt}", pid=999_999_999) as worker:
                await worker.take("r1")
                await worker.report("r1", begun(attempt=attempt, worker=f"w{attempt}"))
                await worker.stream.send(pack(Draining()))
        async with ScriptedWorker(project.home.folder, "last") as worker:
            last = (await worker.take("r1")).history[-1].event
            assert isinstance(last, e.StepAttemptFailed) and last.attempt == 7 and last.planned


async def test_where_the_code_of_a_dead_worker_stood_is_told(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        async with ScriptedWorker(project.home.folder, pid=999_999_999) as worker:
            await worker.take("r1")
            await worker.report("r1", begun())
            text = 'Fatal Python error: x\n\nCurrent thread 0x01 (most recent):\n  File "/w/a.py", line 3 in f\n'
            project.home.trace(worker.pid).write_text(text)
        async with ScriptedWorker(project.home.folder, "w2") as second:
            last = (await second.take("r1")).history[-1].event
            assert isinstance(last, e.StepAttemptFailed) and "at line 3 of a.py (in f)" in last.failure.message
        assert not list(project.home.folder.glob("trace-*"))


async def test_code_that_takes_its_workers_down_is_paused(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        await project.start(client, "innocent")
        for number in range(5):
            async with ScriptedWorker(project.home.folder, f"w{number}", pid=999_999_999) as worker:
                await worker.next(Activate)
                await worker.next(Activate)
                Mark(project.home.running(worker.pid)).set("r1")
        summary = await client.wait("r1", timeout=5)
        assert summary["status"] == "paused" and "5 times" in summary["reason"]
        assert (await client.run("innocent"))["status"] == "running"


async def test_a_worker_that_dies_again_and_again_while_it_runs_nobodys_code_pauses_nobody(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        for number in range(8):
            async with ScriptedWorker(project.home.folder, f"w{number}", pid=999_999_999) as worker:
                await worker.take("r1")
        assert (await client.run("r1"))["status"] == "running"


async def test_a_run_whose_workers_die_for_ever_without_a_word_is_paused(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        for number in range(UNEXPLAINED):
            assert (await client.run("r1"))["status"] == "running"
            async with ScriptedWorker(project.home.folder, f"w{number}", pid=999_999_999) as worker:
                await worker.take("r1")
        summary = await client.wait("r1", timeout=5)
        assert summary["status"] == "paused" and "20 times in a row" in summary["reason"]
        assert "workers' log" in summary["reason"]


async def test_a_worker_that_got_on_before_it_died_is_no_reason_to_pause(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client)
        for number in range(1, UNEXPLAINED + 2):
            async with ScriptedWorker(project.home.folder, f"w{number}", pid=999_999_999) as worker:
                await worker.take("r1")
                await worker.report("r1", e.TimerStarted(Key(f"/{number}"), due=1e12))
        assert (await client.run("r1"))["status"] == "waiting"


async def test_a_worker_that_cannot_start_pauses_the_run_until_somebody_resumes_it(project: Project) -> None:
    project.fail_starts = "yes"
    async with project.engine(), project.client() as client:
        await project.start(client)
        summary = await client.wait("r1", timeout=10)
        assert summary["status"] == "paused"
        assert "no worker could be started" in summary["reason"] and "exited with code 3" in summary["reason"]
        assert len(project.children) == 3
        project.fail_starts = ""
        assert (await client.resume("r1"))["status"] == "running"
        async with ScriptedWorker(project.home.folder) as worker:
            await worker.take("r1")


async def test_the_first_cancel_of_a_paused_run_gives_it_a_chance_the_second_closes_it(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", e.RunPaused(reason="the code no longer fits"))
        assert (await client.wait("r1"))["status"] == "paused"
        assert await client.cancel("r1") == {"outcome": "queued"}
        assert isinstance((await worker.take("r1")).history[-1].event, e.CancelRequested)
        await worker.report("r1", e.RunPaused(reason="still not"))
        assert await client.cancel("r1") == {"outcome": "cancelled"}
        assert (await client.run("r1"))["status"] == "cancelled"


async def test_a_worker_that_comes_back_after_an_engine_crash_keeps_its_run(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun())
        await client.signal("r1", "go", ONE)
    project.home.workers.write_bytes(msgspec.json.encode({"w1": os.getpid()}))
    holding = {"r1": 2, "gone": 7}
    async with project.engine(grace=5), ScriptedWorker(project.home.folder, holding=holding) as worker:
        commit = await worker.next(Commit)
        assert commit.lease and [type(r.event) for r in commit.events] == [e.SignalReceived]
        assert (await worker.next(Evict)).run == "gone"
        assert await worker.report("r1", begun(), done()) == ["StepCompleted"]


@pytest.mark.parametrize("noted", [b"", b'{"w1":', b"{}"])
async def test_a_worker_that_only_the_history_names_is_waited_for(project: Project, noted: bytes) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun())
    project.home.workers.write_bytes(noted)
    async with project.engine(grace=5), ScriptedWorker(project.home.folder, holding={"r1": 2}) as worker:
        assert (await worker.next(Commit)).lease
        assert await worker.report("r1", done()) == ["StepCompleted"]


async def test_a_worker_known_to_be_gone_is_not_waited_for(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    project.home.workers.write_bytes(msgspec.json.encode({"w1": process.pid}))
    async with project.engine(grace=math.inf), ScriptedWorker(project.home.folder, "w2") as second:
        last = (await second.take("r1")).history[-1].event
        assert isinstance(last, e.StepAttemptFailed) and last.lost


async def test_a_worker_that_ends_while_it_is_waited_for_is_waited_for_no_longer(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun())
    project.home.workers.write_bytes(b'{"w1": 4242}')
    looks = iter([True, True])
    monkeypatch.setattr(fleet, "is_alive", lambda pid: next(looks, False))
    async with project.engine(grace=math.inf), ScriptedWorker(project.home.folder, "w2") as second:
        last = (await second.take("r1")).history[-1].event
        assert isinstance(last, e.StepAttemptFailed) and last.lost


async def test_the_end_of_a_workers_process_is_noticed_though_its_connection_is_held_open(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await project.start(client)
        while not project.children:
            await anyio.sleep(0.01)
        (child,) = project.children
        async with ScriptedWorker(project.home.folder, pid=child.pid) as worker:
            await worker.take("r1")
            await worker.report("r1", begun())
            child.end(-9)
            await worker.tell("r1", done())
            with anyio.fail_after(3):
                while worker.worker in host.fleet.links:
                    await anyio.sleep(0.01)
            kinds = [type(recorded.event) for recorded in await client.history("r1")]
            assert kinds[-1] is e.StepCompleted


@pytest.mark.parametrize("is_seen", [True, False])
async def test_the_end_of_a_worker_started_by_hand_is_noticed_where_it_was_seen_to_live(
    project: Project, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    looks = iter([is_seen])
    monkeypatch.setattr(fleet, "is_alive", lambda pid: next(looks, False))
    async with project.engine() as host, ScriptedWorker(project.home.folder) as worker:
        while not host.fleet.links:
            await anyio.sleep(0)
        host.fleet.look()
        await anyio.sleep(2 * fleet.LAST_WORDS)
        assert (worker.worker in host.fleet.links) is not is_seen


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say what state a process is in")
def test_a_process_that_nobody_has_buried_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(process.pid)


async def test_only_a_worker_that_could_be_heard_is_silent(project: Project) -> None:
    async with project.engine() as host, ScriptedWorker(project.home.folder) as worker:
        while not host.fleet.links:
            await anyio.sleep(0)
        (link,) = host.fleet.links.values()
        ended: list[WorkerLink] = []
        host.fleet._end = ended.append  # type: ignore[method-assign]
        for _ in range(30):
            host.fleet.look()
        await worker.stream.send(pack(Alive(0)))
        while link.silent:
            await anyio.sleep(0)
        for _ in range(30):
            host.fleet.look()
        assert not ended
        host.fleet.look()
        assert ended == [link]


async def test_a_worker_that_does_not_come_back_is_lost(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun())
    async with project.engine(), ScriptedWorker(project.home.folder, "w2") as second:
        last = (await second.take("r1")).history[-1].event
        assert isinstance(last, e.StepAttemptFailed) and last.lost


async def test_sleepers_are_not_re_executed_after_a_restart(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", e.TimerStarted(key=Key("t"), due=host.engine.clock.now() + 0.5))
        await worker.release("r1")
        await project.start(client, "r2")
        await worker.take("r2")
    async with project.engine(), ScriptedWorker(project.home.folder) as worker:
        assert (await worker.next(Activate)).run == "r2"
        assert (await worker.next(Activate)).run == "r1"
        assert worker.seqs["r1"] == 3


async def test_a_run_given_away_is_taken_from_the_worker_that_comes_back_late(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder, "w2") as second:
        await project.start(client)
        await second.take("r1")
        async with ScriptedWorker(project.home.folder, "w1", holding={"r1": 1}) as first:
            assert (await first.next(Evict)).run == "r1"
            await first.tell("r1", done("late"), number=1, lease="any")
            assert (await first.next(Evict)).run == "r1"
        assert await second.report("r1", done("k")) == ["StepCompleted"]


async def test_modules_and_moments_go_through_a_worker(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.stream.send(pack(NeedModule(Digest("m1"))))
        assert (await worker.next(ModuleSource)).module == MODULE
        async with anyio.create_task_group() as tasks:
            found: list[object] = []

            async def look() -> None:
                found.append(await client.at("r1", 1))

            tasks.start_soon(look)
            asked = await worker.next(Inspect)
            assert [r.seq for r in asked.history] == [1]
            await worker.stream.send(pack(Inspection(asked.request, values={"x": ONE})))
        assert found == [{"event": 1, "stack": [], "values": {"x": ONE}}]


async def test_a_fork_gets_what_it_may_reuse(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", done(), e.RunFailed(failure=Failure("ValueError", "no"), step="s"))
        await project.start(client, "r2", origin=e.Origin(RunId("r1"), Seq(2)))
        activate = await worker.take("r2")
        assert [type(r.event) for r in activate.reuse] == [e.RunStarted, e.StepCompleted]
        assert (await client.run("r2"))["origin"] == {"run": "r1", "seq": 2}


async def test_a_full_disk_refuses_and_recovers(project: Project) -> None:
    store = project.store
    assert isinstance(store, MemoryStore)
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        store.refuse = "the disk is full"
        with pytest.raises(StoreError, match="full"):
            await client.signal("r1", "go", ONE)
        with pytest.raises(StoreError, match="full"):
            await project.start(client, "r2")
        await worker.tell("r1", begun(), done())
        await worker.tell("r1", e.RunCompleted(value=ONE))
        assert (await client.run("r1"))["seq"] == 1
        assert "the disk is full" in (await client.status())["notices"]
        assert [run["id"] for run in await client.runs()] == ["r1"]
        store.refuse = ""
        assert (await client.wait("r1", timeout=5))["status"] == "succeeded"
        assert await kinds(client) == ["RunStarted", "StepStarted", "StepCompleted", "RunCompleted"]
        assert (await client.status())["notices"] == []


async def test_watching_a_run_gives_a_view_then_patches_then_an_end(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        updates = []
        async for update in client.watch("r1"):
            updates.append(update)
            if len(updates) == 1:
                await worker.report("r1", done())
            elif len(updates) == 2:
                await worker.report("r1", e.RunCompleted(value=ONE))
        assert updates[0]["view"] == {"module": "flow", "kinds": ["RunStarted"], "seq": 1}
        assert updates[1]["seq"] == 2 and [["kinds"], ["RunStarted", "StepCompleted"]] in updates[1]["patch"]
        assert updates[-1]["seq"] == 3
        assert (await client.view("r1", at=2))["seq"] == 2


async def test_what_a_step_says_meanwhile_is_shown_and_not_recorded(project: Project) -> None:
    def moved(attempt: int, done: float) -> Glimpse:
        return Glimpse(RunId("r1"), (e.StepProgress(key=Key("k"), step="s", attempt=attempt, done=done),))

    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        await worker.report("r1", begun(attempt=2))
        updates = client.watch("r1")
        assert (await anext(updates))["view"]["seq"] == 2
        await worker.stream.send(pack(moved(1, 99.0)) + pack(moved(2, 7.0)))
        update = await anext(updates)
        assert update["seq"] == 2 and [["glimpsed"], 7.0] in update["patch"]
        await updates.aclose()
        assert await kinds(client) == ["RunStarted", "StepStarted"]


async def test_watching_the_list_of_runs(project: Project) -> None:
    async with project.engine(), project.client() as client:
        updates = client.watch()
        assert (await anext(updates)) == {"runs": []}  # type: ignore[arg-type]
        await project.start(client)
        assert [run["id"] for run in (await anext(updates))["runs"]] == ["r1"]  # type: ignore[arg-type]
        await updates.aclose()  # type: ignore[attr-defined]


class Behind(MemoryStore):
    """A store whose database is as far behind as the test says."""

    behind = 0

    def backlog(self) -> int:
        return self.behind

    def drain(self) -> bool:
        return self.behind > 0


async def test_nothing_is_decided_while_the_database_is_too_far_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowbook.engine.host.DRAIN_EVERY", 0.0)
    store = project.store = Behind()
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await worker.take("r1")
        store.behind = MOST_BEHIND + 1
        commits = store.commits
        await worker.tell("r1", begun())
        while not host.engine.delay:
            await anyio.sleep(0)
        assert any("keep up" in notice for notice in (await client.status())["notices"])
        assert store.commits == commits
        store.behind = MOST_BEHIND
        assert (await worker.next(Commit)).reports == 1
        assert store.commits == commits + 1
        store.behind = 0
        assert (await client.status())["notices"] == []


async def test_a_report_that_means_nothing_pauses_its_run_and_harms_no_other(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await project.start(client)
        await project.start(client, "innocent")
        for _ in range(2):
            await worker.next(Activate)
        item = {"kind": "TimerStarted", "key": "/t", "due": None}
        report = {"type": "RunReport", "run": "r1", "lease": worker.leases["r1"], "number": 1, "items": [item]}
        body = msgspec.json.encode(report)
        await worker.stream.send(len(body).to_bytes(4, "big") + body)
        summary = await client.wait("r1", timeout=5)
        assert summary["status"] == "paused" and "cannot be recorded" in summary["reason"]
        assert (await worker.next(Commit)).run == "r1"
        assert await worker.report("innocent", e.TimerStarted(Key("/t"), due=1e12)) == ["TimerStarted"]
