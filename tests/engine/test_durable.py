"""What happens across runs, and what ends a run from outside: real engine, real socket, a scripted worker."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from flowbook.client import AsyncClient
from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core import messages as m
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.token import token
from flowbook.core.value import NOTHING
from flowbook.errors import FlowbookError, RunClosed, RunConflict, StoreError, UserError
from flowbook.store.memory import MemoryStore
from flowbook.wire import calls
from flowbook.wire.protocol import Activate, Commit
from tests.engine.conftest import MODULE, Project
from tests.engine.scripted import PLACE, ScriptedWorker
from tests.engine.test_runs import ONE, begun, kinds

pytestmark = pytest.mark.anyio

CHILD = e.ChildStarted(key=Key("c"), step="flow", run=RunId("r1.c"))
OWES = e.ObligationOpened(key=Key("o"), name="vm")


async def ask(client: AsyncClient, method: str, params: Any) -> Any:
    return await client._ask(Ask(method, params))


async def started(client: AsyncClient, run: str = "r1", **options: Any) -> Any:
    await client.put_module(MODULE)
    return await ask(client, "start", m.StartRun(RunId(run), "flow", MODULE.digest, PLACE, **options))


async def test_a_child_begins_with_its_parents_event_and_its_end_is_the_calls_result(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        assert await worker.report("r1", CHILD) == ["ChildStarted"]
        await worker.take("r1.c")
        summary = await client.run("r1.c")
        assert summary["parent"] == "r1" and (await client.run("r1"))["waits"][0]["kind"] == "child"  # type: ignore[typeddict-item]
        await worker.report("r1.c", e.RunCompleted(value=ONE))
        commit = await worker.next(Commit)
        assert commit.run == "r1"
        (settled,) = [recorded.event for recorded in commit.events]
        assert isinstance(settled, e.StepCompleted) and (settled.key, settled.value) == ("c", ONE)


async def test_a_child_whose_id_is_taken_fails_in_its_parent(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client, "r1.c")
        await worker.take("r1.c")
        await started(client)
        await worker.take("r1")
        await worker.report("r1", CHILD)
        assert (await kinds(client))[-1] == "StepFailed"


async def test_a_run_that_ends_takes_its_children_along(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await worker.report("r1", CHILD)
        await worker.take("r1.c")
        await worker.report("r1", e.RunFailed(failure=Failure("ValueError", "no")))
        assert await kinds(client, "r1.c") == ["RunStarted", "CancelRequested"]


async def test_parent_and_child_are_one_commit(project: Project) -> None:
    store = project.store = RefusingStore()
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        store.refuse = True
        await worker.tell("r1", CHILD)
        with anyio.move_on_after(0.3):
            await worker.next(Commit)
        assert await kinds(client) == ["RunStarted"] and len(await client.runs()) == 1
        store.refuse = False
        await worker.take("r1.c")
        assert await kinds(client) == ["RunStarted", "ChildStarted"]


class RefusingStore(MemoryStore):
    refuse = False

    def commit(self, group: Any) -> None:
        if self.refuse:
            raise StoreError("the disk is full")
        super().commit(group)


async def test_a_signal_to_another_run_arrives_and_a_closed_one_refuses(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        for run in ("r1", "r2"):
            await started(client, run)
            await worker.take(run)
        sent = e.SignalSent(key=Key("g"), step="signal", run=RunId("r2"), name="go", value=ONE)
        await worker.report("r1", sent)
        assert await kinds(client, "r2") == ["RunStarted", "SignalReceived"]
        assert (await kinds(client))[-1] == "StepCompleted"
        await worker.report("r2", e.RunCompleted(value=NOTHING))
        await worker.report("r1", e.SignalSent(key=Key("h"), step="signal", run=RunId("r2"), name="go", value=ONE))
        assert (await kinds(client))[-1] == "StepFailed"
        await worker.report("r1", e.SignalSent(key=Key("i"), step="signal", run=RunId("nobody"), name="go", value=ONE))
        failed = (await client.history("r1"))[-1].event
        assert isinstance(failed, e.StepFailed) and "nobody" in failed.failure.message


async def test_a_chain_is_spoken_to_at_its_end_and_waited_for_to_its_end(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await client.signal("r1", "go", ONE)
        unread = e.SignalReceived(name="go", value=ONE)
        await worker.report("r1", e.RunContinued(run=RunId("r1~2"), signals=(unread,), seen=Seq(2)))
        activate = await worker.take("r1~2")
        assert [type(r.event).__name__ for r in activate.history] == ["RunStarted", "SignalReceived"]
        await client.signal("r1", "more", ONE)
        assert (await kinds(client, "r1~2"))[-1] == "SignalReceived"
        await worker.report("r1~2", e.RunCompleted(value=ONE))
        summary = await client.wait("r1")
        assert (summary["id"], summary["status"], summary["result"]) == ("r1~2", "succeeded", ONE)
        assert (await client.run("r1"))["status"] == "continued"
    async with project.engine(), project.client() as client:
        assert (await client.wait("r1"))["id"] == "r1~2"


async def test_where_a_run_has_gone_on_is_known_to_the_next_engine(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await worker.report("r1", e.RunFailed(failure=Failure("ValueError", "no")))
        assert (await started(client, on_closed="allow"))["id"] == "r1~2"
        await worker.take("r1~2")
        await worker.report("r1~2", e.RunContinued(run=RunId("r1~3"), seen=Seq(1)))
        await started(client, "other")
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await client.signal("r1~2", "go", ONE)
        assert await kinds(client, "r1~3") == ["RunStarted", "SignalReceived"]
        await worker.next(Activate)
        await worker.next(Activate)
        await worker.tell("other", e.SignalSent(Key("g"), "signal", RunId("r1~2"), "go", ONE))
        while (await worker.next(Commit)).run != "other":
            pass
        assert await kinds(client, "r1~3") == ["RunStarted", "SignalReceived", "SignalReceived"]


async def test_continuing_waits_for_a_signal_the_code_has_not_seen(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await client.signal("r1", "go", ONE)
        assert await worker.report("r1", e.RunContinued(run=RunId("r1~2"), seen=Seq(1))) == ["SignalReceived"]
        assert (await client.run("r1"))["status"] == "running"


async def test_an_id_may_be_used_again(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        with pytest.raises(RunConflict, match="already running"):
            await started(client, on_conflict="fail")
        again = await started(client, on_conflict="terminate_existing")
        assert again["id"] == "r1~2" and (await client.run("r1"))["status"] == "terminated"
        assert (await worker.next(Commit)).run == "r1"
        await worker.take("r1~2")
        await worker.report("r1~2", e.RunFailed(failure=Failure("ValueError", "no")))
        with pytest.raises(RunConflict, match="exists already and has failed"):
            await started(client, on_closed="reject")
        assert (await started(client, on_closed="allow_failed"))["id"] == "r1~3"


async def test_terminate_asks_the_worker_only_where_something_is_owed(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        assert await worker.report("r1", OWES) == ["ObligationOpened"]
        assert await ask(client, "terminate", calls.Terminate(RunId("r1"), "enough")) == {"outcome": "queued"}
        assert (await kinds(client))[-1] == "TerminateRequested"
        assert (await client.run("r1"))["obligations"][0]["name"] == "vm"
        await worker.report("r1", e.ObligationSettled(key=Key("o"), outcome="undone"), e.RunTerminated())
        assert (await client.wait("r1"))["status"] == "terminated"
        await started(client, "r2")
        outcome = await ask(client, "terminate", calls.Terminate(RunId("r2")))
        assert outcome == {"outcome": "terminated"}
        assert await ask(client, "terminate", calls.Terminate(RunId("r2"))) == {"outcome": "already done"}


async def test_who_wants_to_know_watches_on_until_an_ended_run_owes_nothing(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await worker.report("r1", OWES, e.RunFailed(failure=Failure("ValueError", "no")))
        seen = [update async for update in client.watch("r1")]
        assert seen[-1]["view"]["kinds"][-1] == "RunFailed"
        updates = client.watch("r1", settled=True)
        assert (await anext(updates))["view"]["kinds"][-1] == "RunFailed"
        await ask(client, "settle_obligation", calls.SettleObligation(RunId("r1"), "", "by hand"))
        last = [update async for update in updates]
        assert "ObligationSettled" in str(last[-1]["patch"])


async def test_a_runs_own_time_out_cancels_it(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client, timeout=0.2)
        await worker.take("r1")
        commit = await worker.next(Commit)
        (event,) = [recorded.event for recorded in commit.events]
        assert isinstance(event, e.CancelRequested) and event.cause == "timeout"


async def test_a_runs_time_out_outlives_the_engine(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await started(client, timeout=0.3)
    async with project.engine(), project.client() as client:
        with anyio.fail_after(5):
            while (await kinds(client))[-1] != "CancelRequested":
                await anyio.sleep(0.02)


async def test_an_update_is_answered_when_it_was_handled_and_once(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        update = calls.Update(RunId("r1"), "u1", "add", (ONE,))
        answers: list[Any] = []

        async def send() -> None:
            answers.append(await ask(client, "update", update))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(send)
            while (await kinds(client))[-1] != "UpdateReceived":
                await anyio.sleep(0.01)
            await worker.report("r1", e.UpdateCompleted(id="u1", name="add", value=ONE))
        answers.append(await ask(client, "update", update))
        assert [answer["status"] for answer in answers] == ["completed"] * 3
        assert (await kinds(client)).count("UpdateReceived") == 1


async def test_an_update_of_a_run_that_ends_first_is_refused(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")

        async def send() -> None:
            with pytest.raises(RunClosed, match="before update"):
                await ask(client, "update", calls.Update(RunId("r1"), "u1", "add"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            while (await kinds(client))[-1] != "UpdateReceived":
                await anyio.sleep(0.01)
            await worker.report("r1", e.RunCompleted(value=NOTHING))


async def test_nobody_waits_for_an_update_of_a_run_that_is_paused(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        says = 'run "r1" is paused: unlike. Update "add" is recorded and handled when it goes on: `flowbook resume r1`'

        async def send(id: str) -> None:
            with pytest.raises(FlowbookError, match=says):
                await ask(client, "update", calls.Update(RunId("r1"), id, "add"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, "before")
            while (await kinds(client))[-1] != "UpdateReceived":
                await anyio.sleep(0.01)
            await worker.report("r1", e.RunPaused(reason="unlike"))
        await send("after")
        with pytest.raises(FlowbookError, match=says):
            await ask(client, "update_result", calls.OfUpdate(RunId("r1"), "after", "add"))
        await client.resume("r1")
        await worker.take("r1")

        async def hear() -> None:
            answer = await ask(client, "update", calls.Update(RunId("r1"), "after", "add"))
            assert answer["status"] == "completed"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            await worker.report("r1", e.UpdateCompleted(id="after", name="add", value=ONE))


async def test_a_step_is_finished_by_its_token(project: Project) -> None:
    async with project.engine(), project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        await worker.report("r1", begun(), e.StepWaiting(key=Key("k"), step="s"))
        assert (await client.run("r1"))["waits"][0]["kind"] == "outside"
        text = token(RunId("r1"), Key("k"), 1)
        await ask(client, "complete", calls.Complete(text, value=ONE))
        assert (await kinds(client))[-1] == "StepCompleted"
        with pytest.raises(UserError, match="it has ended"):
            await ask(client, "complete", calls.Complete(text, value=ONE))
        with pytest.raises(UserError, match="not a token"):
            await ask(client, "complete", calls.Complete("what?", value=ONE))


async def test_what_waits_outside_expires(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await started(client)
        await worker.take("r1")
        expires = host.engine.clock.now() + 0.2
        await worker.report("r1", e.StepWaiting(key=Key("k"), step="s", expires=expires))
        commit = await worker.next(Commit)
        assert [type(recorded.event) for recorded in commit.events] == [e.StepFailed]


async def test_a_start_brings_its_signal_also_to_a_run_that_is_there(project: Project) -> None:
    async with project.engine(), project.client() as client:
        go = m.SendSignal("go", ONE, "once")
        await started(client, signals=(go,))
        await started(client, signals=(go,))
        assert await kinds(client) == ["RunStarted", "SignalReceived"]
