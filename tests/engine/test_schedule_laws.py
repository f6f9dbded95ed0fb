"""Schedules over engines that die before and after commits, on disks that refuse, with clocks that jump: laws."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowbook.core import events as e
from flowbook.core import schedule as s
from flowbook.core.chains import following
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest
from flowbook.core.schedule_times import times
from flowbook.core.value import NOTHING
from flowbook.engine.engine import Engine
from flowbook.engine.runs import LiveRun
from flowbook.engine.told import Told
from flowbook.errors import FlowbookError
from flowbook.store.base import Group, decode_recorded
from flowbook.store.memory import MemoryStore
from tests.core.test_schedule import HOUR, T0

START = s.ScheduledStart(workflow="flow", module=Digest("m"), place=e.Place("/p", "py"))
NAMES = ("a", "b")
TIMINGS: dict[str, dict[str, Any]] = {
    "a": {"every": HOUR},
    "b": {"crons": ("*/40 * * * *", "0 */3 * * *"), "timezone": "Europe/Oslo", "jitter": 300.0},
}


class Killed(BaseException):
    """The process is gone."""


class Disk(MemoryStore):
    """Kills before or after a commit when told to; a test sees each commit."""

    fate = ""

    def commit(self, group: Group) -> None:
        fate, self.fate = self.fate, ""
        if fate == "before":
            raise Killed
        super().commit(group)
        if fate == "after":
            raise Killed


class Nobody:
    """Stands in for workers, watchers and queues."""

    def want(self, run: LiveRun) -> None: ...
    def note(self, *what: Any) -> None: ...
    def act(self) -> None: ...
    def offer(self, *what: Any) -> None: ...


class World:
    """One disk, engines on it one after the other, a clock the test moves."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.time = T0
        self.boot()

    def now(self) -> float:
        return self.time

    def boot(self) -> None:
        """As the host does it."""
        self.engine = Engine(self.disk, self)
        self.engine.placement = self.engine.publication = self.engine.queues = Nobody()
        self.engine.runs.recall(self.disk.closed_ids(), self.disk.continued_ids(), self.disk.closed_runs(100))
        for found, records in self.disk.open_runs():
            self.engine.arm(self.engine.runs.add(LiveRun(found, list(records))))
        self.engine.schedules.recall(self.disk)

    def settle(self) -> None:
        """Ring what is due and take turns until nothing is left to do, or the engine dies; then the next one does."""
        while True:
            try:
                self._settle()
                return
            except Killed:
                self.boot()

    def _settle(self) -> None:
        engine, timers = self.engine, self.engine.timers._heap
        while True:
            due = [timer for timer in timers if timer[0] <= self.time]
            for timer in due:
                timers.remove(timer)
                engine.ring(timer[1], timer[0])
            if not (due or engine._inbox or engine.schedules.are_told):
                return
            engine.turn()

    def tell(self, name: str, message: s.AnyScheduleMessage) -> None:
        self.engine.schedules.tell(name, message, lambda events, error: None)
        self.settle()

    def end(self, status: str) -> None:
        """The first open run ends."""
        run = next(iter(self.engine.runs.open), None)
        if run is not None:
            failed = e.RunFailed(failure=Failure("E", "x"))
            events = {"ok": e.RunCompleted(value=NOTHING), "bad": failed, "next": e.RunContinued(run=following(run))}
            self.engine.tell(Told(run, [events[status]]))
            self.settle()

    def heal(self) -> None:
        self.disk.refuse = self.disk.fate = ""
        self.engine.flush()
        self.time += 2.0
        self.settle()


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(1.0, 20 * HOUR)),
        st.tuples(st.just("back"), st.floats(1.0, 3 * HOUR)),
        st.tuples(st.just("end"), st.sampled_from(["ok", "bad", "next"])),
        st.tuples(st.just("fate"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("refuse"), st.just("full")),
        st.tuples(st.just("heal"), st.just("")),
        st.tuples(st.just("kill"), st.just("")),
        st.tuples(st.just("trigger"), st.sampled_from(NAMES)),
        st.tuples(st.just("code"), st.sampled_from(NAMES)),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(moves=MOVES, overlaps=st.tuples(st.sampled_from(s.OVERLAPS), st.sampled_from(s.OVERLAPS)))
def test_law_every_time_is_decided_once_and_has_its_run(
    moves: list[tuple[str, Any]], overlaps: tuple[str, str]
) -> None:
    # Sums so often that every engine goes on from one.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowbook.core.scheduling.SUM_EVERY", 5)
        live(moves, overlaps)


def live(moves: list[tuple[str, Any]], overlaps: tuple[str, str]) -> None:
    world = World()
    specs = {
        name: s.ScheduleSpec(run=START, overlap=overlap, **TIMINGS[name])
        for name, overlap in zip(NAMES, overlaps, strict=True)
    }
    for name, spec in specs.items():
        world.tell(name, s.SetSchedule(name, spec))
    for number, (move, detail) in enumerate(moves):
        match move:
            case "wait":
                world.time += detail
                world.settle()
            case "back":
                # Only an engine that is started again sees a clock that was set back.
                world.time = max(T0, world.time - detail)
                world.boot()
                world.settle()
            case "end":
                world.end(detail)
            case "fate":
                world.disk.fate = detail
            case "refuse":
                world.disk.refuse = detail
            case "heal":
                world.heal()
            case "kill":
                world.boot()
                world.settle()
            case "trigger":
                world.tell(detail, s.TriggerSchedule(id=str(number)))
            case "code":
                code = msgspec.structs.replace(START, module=Digest(str(number)))
                world.tell(detail, s.SetSchedule(detail, msgspec.structs.replace(specs[detail], run=code)))
    world.heal()
    world.heal()
    for name in NAMES:
        check(world, name)


def check(world: World, name: str) -> None:
    facts = [msgspec.json.decode(record, type=s.ScheduleRecorded) for record in world.disk.history(s.stream(name))]
    assert [recorded.seq for recorded in facts] == list(range(1, len(facts) + 1))
    spec = s.ScheduleSpec(run=START, **TIMINGS[name])
    decided: list[float] = []
    begun: list[str] = []
    for recorded in facts:
        event = recorded.event
        if isinstance(event, s.ScheduleFired | s.ScheduleReleased) and event.run:
            begun.append(event.run)
        if isinstance(event, s.ScheduleFired) and event.why == "due":
            decided.append(event.at)
        elif isinstance(event, s.ScheduleSkipped) and event.why == "due":
            last = event.last
            decided += takewhile(lambda at, last=last: at <= last, times(spec, event.first - 0.001))  # type: ignore[misc]
    state = world.engine.schedules.states[name]
    assert decided == list(takewhile(lambda at: at <= state.cursor, times(spec, T0)))
    latest = s.ScheduleSpec(run=START, **TIMINGS[name])
    waiting = [
        at for at in takewhile(lambda at: at <= world.time - latest.jitter, times(latest, T0)) if at > state.cursor
    ]
    assert not waiting, "a time that has come was not decided"
    runs = {run: decode_recorded(entries[0].record).event for run, entries in world.disk._runs.items() if run[0] != "$"}
    of_schedule = [run for run, first in runs.items() if isinstance(first, e.RunStarted) and first.schedule == name]
    assert len(begun) == len(set(begun))
    gone_on = [
        event.run
        for run in of_schedule
        for entry in world.disk._runs[run]
        if isinstance(event := decode_recorded(entry.record).event, e.RunContinued)
    ]
    assert sorted(of_schedule) == sorted([*begun, *gone_on])
    assert set(state.running) == {run for run in of_schedule if run not in world.disk._closed}
    if state.spec is not None and state.spec.overlap != "allow_all":
        assert not state.buffer or state.running


def test_a_refused_answer_is_an_error() -> None:
    world = World()
    told: list[FlowbookError | None] = []
    world.disk.refuse = "full"
    spec = s.ScheduleSpec(run=START, every=HOUR)
    world.engine.schedules.tell("a", s.SetSchedule("a", spec), lambda events, error: told.append(error))
    world.settle()
    assert [type(error).__name__ for error in told] == ["StoreError"] and world.engine.schedules.states == {}
