"""A fault in deciding about one run or schedule is that one's: it is paused and says so, and all others go on."""

from __future__ import annotations

from typing import Any

import pytest

from flowbook.client import schedule_asks
from flowbook.core import schedule as s
from flowbook.core.ids import Seq
from flowbook.core.value import NOTHING
from flowbook.engine import schedules, turn
from flowbook.errors import InternalError
from flowbook.store.base import Group
from tests.engine.conftest import MODULE, Project
from tests.engine.scripted import PLACE

pytestmark = pytest.mark.anyio

START = s.ScheduledStart(workflow="flow", module=MODULE.digest, place=PLACE)
REASON = "the engine met a fault of its own: ZeroDivisionError: oh; its log has more"


def breaking(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, when: Any) -> None:
    """The function fails for arguments that are meant, and does what it does for all others."""
    whole = getattr(module, name)

    def broken(*arguments: Any) -> Any:
        if when(*arguments):
            raise ZeroDivisionError("oh")
        return whole(*arguments)

    monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize("where", ["decide", "consequences", "evolve"])
async def test_a_run_that_cannot_be_decided_about_waits_for_people(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    async with project.engine(), project.client() as client:
        await project.start(client, "r1")
        await project.start(client, "r2")
        with monkeypatch.context() as patch:
            breaking(patch, turn, where, lambda state, said, *_: getattr(_event(said), "name", "") == "boom")
            with pytest.raises(
                InternalError, match='run "r1": the engine met a fault of its own: ZeroDivisionError: oh'
            ):
                await client.signal("r1", "boom", NOTHING)
            found = await client.run("r1")
            assert (found["status"], found["reason"]) == ("paused", REASON)
            assert (await client.signal("r2", "go", NOTHING))["status"] == "running"
        assert "Traceback" in caplog.text and "run r1 could not be decided about" in caplog.text
        kinds = [type(recorded.event).__name__ for recorded in await client.history("r1")]
        assert kinds == ["RunStarted", "RunPaused"]
        await client.resume("r1")
        await client.signal("r1", "boom", NOTHING)
    async with project.engine(), project.client() as client:
        assert [recorded.seq for recorded in await client.history("r1")] == [1, 2, 3, 4]


def _event(said: Any) -> Any:
    return getattr(said, "event", said)


async def test_a_run_that_cannot_even_be_started_leaves_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with project.engine(), project.client() as client:
        with monkeypatch.context() as patch:
            breaking(patch, turn, "decide", lambda state, message, now: getattr(message, "run", "") == "r1")
            with pytest.raises(InternalError):
                await project.start(client, "r1")
        await project.start(client, "r2")
        assert [run["id"] for run in await client.runs()] == ["r2"]


@pytest.mark.parametrize("where", ["decide", "consequences", "evolve"])
async def test_a_schedule_that_cannot_be_decided_about_is_paused(
    project: Project, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with project.engine(), project.client() as client:
        await client.put_module(MODULE)
        for name in ("a", "b"):
            await client.ask(schedule_asks.set_schedule(name, s.ScheduleSpec(run=START, every=3600.0)))
        with monkeypatch.context() as patch:
            breaking(patch, schedules, where, lambda state, said, *_: state.name == "a" and "Pause" not in str(said))
            with pytest.raises(InternalError, match='schedule "a"'):
                await client.ask(schedule_asks.trigger("a", ""))
            found = await client.ask(schedule_asks.schedule("a", 1))
            assert (found["status"], found["reason"]) == ("paused", REASON)
            assert (await client.ask(schedule_asks.trigger("b", "")))["started"]
        await client.ask(schedule_asks.resume("a"))
        assert (await client.ask(schedule_asks.trigger("a", "")))["started"]


async def test_a_time_that_cannot_be_computed_ends_no_engine_now_or_later(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, schedules, "due", lambda state: state.name == "a" and not state.is_paused)
    async with project.engine(), project.client() as client:
        await client.put_module(MODULE)
        for name in ("a", "b"):
            await client.ask(schedule_asks.set_schedule(name, s.ScheduleSpec(run=START, every=3600.0)))
        found = {each["name"]: each["status"] for each in await client.ask(schedule_asks.schedules())}
        assert found == {"a": "paused", "b": "active"}
    async with project.engine() as host:
        assert host.engine.schedules.are_awaited


async def test_what_an_earlier_version_let_in_ends_no_engine(project: Project) -> None:
    """A time at the end of Python's calendar, as a backfill could once ask for it."""
    late = 253_402_214_400.0
    made = Group()
    facts: list[s.AnyScheduleEvent] = [
        s.ScheduleSet("x", s.ScheduleSpec(run=START, crons=("@daily",), start=late)),
        s.ScheduleFired(late, "buffered", why="backfill", overlap="buffer_all"),
    ]
    for number, fact in enumerate(facts, 1):
        made.note(s.stream("x"), Seq(number), 100.0, fact)
    project.store.commit(made)
    for _ in range(2):
        async with project.engine(), project.client() as client:
            (found,) = await client.ask(schedule_asks.schedules())
            assert found["name"] == "x"
            assert (await client.status())["open_runs"] <= 1
