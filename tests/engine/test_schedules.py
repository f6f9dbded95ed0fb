"""Schedules in a real engine, over its socket, on a clock the test moves: no time is lost or carried out twice."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from flowbook.client import AsyncClient
from flowbook.client.asks import Ask
from flowbook.core import events as e
from flowbook.core import schedule as s
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, RunId
from flowbook.core.messages import StartRun
from flowbook.engine.host import Host
from flowbook.errors import FlowbookError, StoreError, UnknownSchedule, UserError
from flowbook.store.local import LocalStore
from flowbook.store.memory import MemoryStore
from flowbook.wire.calls import Nothing
from flowbook.wire.schedules import ChangeSchedule, OfSchedule
from tests.engine.conftest import MODULE, Project
from tests.engine.scripted import PLACE, ScriptedWorker
from tests.engine.test_runs import ONE

pytestmark = pytest.mark.anyio

T0 = 1_767_225_600.0  # 2026-01-01T00:00:00Z
HOUR = 3600.0


class Wheel:
    """The time is what the test says."""

    def __init__(self) -> None:
        self.time = T0

    def now(self) -> float:
        return self.time


WHEEL = Wheel()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    WHEEL.time = T0
    monkeypatch.setattr("tests.engine.conftest.SystemClock", lambda: WHEEL)


def start(module: str = MODULE.digest) -> s.ScheduledStart:
    return s.ScheduledStart(workflow="flow", module=Digest(module), place=PLACE)


async def ask(client: AsyncClient, method: str, params: Any) -> Any:
    return await client._ask(Ask(method, params))


async def made(client: AsyncClient, name: str = "nightly", **options: Any) -> Any:
    await client.put_module(MODULE)
    spec = s.ScheduleSpec(**{"run": start(), "every": HOUR, **options})
    return await ask(client, "set_schedule", s.SetSchedule(name, spec))


async def change(client: AsyncClient, what: Any, name: str = "nightly") -> Any:
    return await ask(client, "change_schedule", ChangeSchedule(name, what))


async def one(client: AsyncClient, name: str = "nightly") -> Any:
    return await ask(client, "schedule", OfSchedule(name))


async def at(host: Host, hours: float) -> None:
    """The time is now so late, and the engine's timers have noticed."""
    WHEEL.time = T0 + hours * HOUR
    host.engine.timers._earlier.set()
    for _ in range(20):
        await anyio.sleep(0)


async def ids(client: AsyncClient) -> list[str]:
    return sorted(summary["id"] for summary in await client.runs())


def run(hour: int) -> str:
    return f"nightly-2026-01-01T{hour:02}:00:00Z"


async def test_a_time_starts_a_run_and_a_worker_gets_it(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        summary = await made(client, crons=("0 3 * * *",), every=0.0, timezone="Europe/Oslo")
        assert summary["next"][0] == T0 + 2 * HOUR and summary["status"] == "active"
        await at(host, 1.9)
        assert await ids(client) == []
        await at(host, 2)
        activate = await worker.take(run(2))
        started = activate.history[0].event
        assert isinstance(started, e.RunStarted)
        assert (started.schedule, started.module, started.name) == ("nightly", MODULE.digest, "nightly")
        assert started.attributes == {"scheduled_time": "2026-01-01T02:00:00Z"}
        summary = await one(client)
        assert summary["running"] == [run(2)] and summary["started"] == 1
        assert summary["recent"] == [{"at": T0 + 2 * HOUR, "run": run(2)}]
        await worker.report(run(2), e.RunCompleted(value=ONE))
        assert (await one(client))["running"] == []


async def test_the_end_of_a_run_releases_the_next_in_the_same_commit(project: Project) -> None:
    assert isinstance(project.store, MemoryStore)
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await made(client, overlap="buffer_all")
        await at(host, 1)
        await worker.take(run(1))
        await at(host, 2)
        assert (await one(client))["buffered"] == [T0 + 2 * HOUR]
        before = project.store.commits
        await worker.report(run(1), e.RunCompleted(value=ONE))
        assert project.store.commits == before + 1
        await worker.take(run(2))
        assert (await one(client))["running"] == [run(2)]


async def test_the_other_run_is_terminated_for_the_next(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client, overlap="terminate_other")
        await at(host, 1)
        await at(host, 2)
        assert (await client.run(run(1)))["status"] == "terminated"
        assert (await one(client))["running"] == [run(2)]


async def test_a_run_that_goes_on_as_another_is_still_the_schedules(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await made(client)
        await at(host, 1)
        await worker.take(run(1))
        await worker.report(run(1), e.RunContinued(run=RunId(f"{run(1)}~2"), seen=e.Seq(1)))
        assert (await one(client))["running"] == [f"{run(1)}~2"]
        await worker.take(f"{run(1)}~2")
        await worker.report(f"{run(1)}~2", e.RunCompleted(value=ONE))
        assert (await one(client))["running"] == []


async def test_a_failure_pauses(project: Project) -> None:
    async with project.engine() as host, project.client() as client, ScriptedWorker(project.home.folder) as worker:
        await made(client, pause_on_failure=True)
        await at(host, 1)
        await worker.take(run(1))
        await worker.report(run(1), e.RunFailed(failure=Failure("KeyError", "'x'")))
        summary = await one(client)
        assert (summary["status"], summary["reason"]) == ("paused", f"run {run(1)} failed: KeyError: 'x'")
        await at(host, 3)
        assert await ids(client) == [run(1)]
        resumed = await change(client, s.ResumeSchedule())
        assert resumed["schedule"]["next"][0] == T0 + 4 * HOUR


async def test_an_engine_that_slept_makes_up_for_it_once(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client, overlap="allow_all", catch_up=2.5 * HOUR)
        await at(host, 1)
    WHEEL.time = T0 + 5 * HOUR
    for _ in range(3):
        async with project.engine() as host, project.client() as client:
            await at(host, 5)
            assert await ids(client) == [run(1), run(3), run(4), run(5)]
            assert (await one(client))["skipped"] == 1


async def test_a_disk_that_refuses_loses_no_time_and_starts_nothing_twice(project: Project) -> None:
    assert isinstance(project.store, MemoryStore)
    async with project.engine() as host, project.client() as client:
        await made(client, overlap="allow_all")
        project.store.refuse = "the disk is full"
        await at(host, 1)
        with pytest.raises(StoreError):
            await change(client, s.TriggerSchedule(id="t"))
        assert (await one(client))["started"] == 0
        project.store.refuse = ""
        host.engine.flush()
        await at(host, 1 + 2 / HOUR)
        assert await ids(client) == [run(1)]
        await at(host, 2)
        assert await ids(client) == [run(1), run(2)]


async def test_the_same_trigger_twice_is_one(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client)
        await at(host, 0.5)
        name = "nightly-2026-01-01T00:30:00Z"
        for _ in range(2):
            answer = await change(client, s.TriggerSchedule(id="once"))
            assert answer["started"] == [name]
        skipped = await change(client, s.TriggerSchedule(id="other"))
        assert (skipped["started"], skipped["skipped"]) == ([], 1)
        again = await change(client, s.TriggerSchedule("allow_all", "third"))
        assert again["started"] == [f"{name}-2"]


async def test_an_id_somebody_took_is_left_alone(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client)
        await ask(client, "start", StartRun(RunId(run(1)), "flow", MODULE.digest, PLACE))
        await at(host, 1)
        assert await ids(client) == [run(1), f"{run(1)}-2"]


async def test_backfill_list_and_delete(project: Project) -> None:
    async with project.engine(), project.client() as client:
        await made(client)
        await made(client, "hourly", overlap="allow_all")
        answer = await change(client, s.BackfillSchedule(T0 - 3 * HOUR, T0 - HOUR, id="b"), "hourly")
        assert len(answer["started"]) == 3 and len(await ids(client)) == 3
        assert [found["name"] for found in await ask(client, "schedules", Nothing())] == ["hourly", "nightly"]
        assert (await change(client, s.DeleteSchedule(), "hourly"))["schedule"] is None
        assert [found["name"] for found in await ask(client, "schedules", Nothing())] == ["nightly"]
        with pytest.raises(UnknownSchedule, match='no schedule "hourly"'):
            await one(client, "hourly")
        with pytest.raises(UnknownSchedule):
            await change(client, s.PauseSchedule(), "nobody")
        assert len(await ids(client)) == 3


async def test_what_makes_no_sense_is_refused_and_changes_nothing(project: Project) -> None:
    async with project.engine(), project.client() as client:
        with pytest.raises(UserError, match="is not a cron expression"):
            await made(client, crons=("x",))
        with pytest.raises(FlowbookError, match="no module"):
            spec = s.ScheduleSpec(run=start("nowhere"), every=HOUR)
            await ask(client, "set_schedule", s.SetSchedule("nightly", spec))
        assert await ask(client, "schedules", Nothing()) == []


async def test_new_code_is_pinned_for_later_runs(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client, overlap="allow_all")
        await at(host, 1)
        other = msgspec.structs.replace(MODULE, digest=Digest("m2"))
        await client.put_module(other)
        for _ in range(2):
            spec = s.ScheduleSpec(run=start("m2"), every=HOUR, overlap="allow_all")
            await ask(client, "set_schedule", s.SetSchedule("nightly", spec))
        await at(host, 2)
        assert [(await client.run(run(hour)))["module"] for hour in (1, 2)] == [MODULE.digest, "m2"]
        (_, records), *_ = project.store.streams(s.PREFIX)
        assert len(records) == 4


async def test_the_engine_stays_for_a_schedule_that_is_not_paused(project: Project) -> None:
    async with project.engine() as host, project.client() as client:
        await made(client)
        assert host.engine.schedules.are_awaited
        await change(client, s.PauseSchedule())
        assert not host.engine.schedules.are_awaited
        await change(client, s.ResumeSchedule())
        assert host.engine.schedules.are_awaited
        await change(client, s.DeleteSchedule())
        assert not host.engine.schedules.are_awaited


async def test_a_run_whose_end_was_lost_does_not_block_its_schedule(project: Project) -> None:
    store = MemoryStore()
    project.store = store
    async with project.engine() as host, project.client() as client:
        await made(client)
        await at(host, 1)
    del store._runs[RunId(run(1))]
    async with project.engine() as host, project.client() as client:
        await at(host, 2)
        assert (await one(client))["running"] == [run(2)]


async def test_the_view_tells_of_schedules(project: Project) -> None:
    project.store = LocalStore(project.home)
    try:
        async with project.engine() as host, project.client() as client:
            await made(client)
            await made(client, "old")
            await at(host, 1)
            await at(host, 2)
            await change(client, s.PauseSchedule("holiday"))
            await change(client, s.DeleteSchedule(), "old")
            columns = "name, workflow, status, reason, fired, skipped, timezone, spec ->> '$.every' as every"
            found = await client.sql(f"select {columns}, epoch(last_fired) as last from schedules")
            assert found["rows"] == [["nightly", "flow", "paused", "holiday", 1, 1, "UTC", "3600.0", T0 + HOUR]]
            counted = await client.sql("select count(*) from runs")
            assert counted["rows"] == [[2]]
    finally:
        project.store.close()
