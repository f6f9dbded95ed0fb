"""Histories recorded by released versions replay for ever: same end, same state, same view, nothing new asked for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core import queues, schedule, schedule_state
from flowbook.core.evolve import fold
from flowbook.core.view import RunView
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.execution import Execution
from flowbook.store.base import decode_recorded
from tests.golden import workflows
from tests.golden.record import FOLDER, SCENARIOS, STREAMS

HISTORIES = sorted(FOLDER.glob("*.jsonl"))


def read(path: Path) -> list[e.Recorded]:
    return [decode_recorded(line) for line in path.read_bytes().splitlines()]


def execute(history: list[e.Recorded], until: int = 0) -> Execution:
    started = history[0].event
    assert isinstance(started, e.RunStarted)
    flow = getattr(workflows, started.workflow)
    assert isinstance(flow, Workflow)
    execution = Execution(flow, save=lambda data: pytest.fail("saved"), load=lambda digest: pytest.fail("loaded"))
    execution.begin(history[: until or len(history)])
    return execution


def test_every_scenario_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= set(SCENARIOS)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_it_replays_to_its_end_and_asks_for_nothing(path: Path) -> None:
    execution = execute(read(path))
    assert execution.closed and execution.items == [] and execution.calls == []


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_every_prefix_of_it_replays(path: Path) -> None:
    history = read(path)
    for end in range(1, len(history)):
        execution = execute(history, end)
        asked = {type(item).__name__ for item in execution.items}
        recorded = {type(r.event).__name__ for r in history[end:]}
        assert asked <= recorded | {"StepCancelled", "TimerCancelled", "SignalDropped"}, (end, asked)
        execution.close()


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_state_and_view_fold_it(path: Path) -> None:
    history = read(path)
    state = fold(history)
    (closing,) = [recorded.event for recorded in history if isinstance(recorded.event, e.CLOSING)]
    assert state.closed == e.STATUS[type(closing).__name__]
    view = RunView(None)
    for recorded in history:
        view.apply(recorded)
    assert view.shown()["seq"] == len(history)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_it_is_written_as_it_was_read(path: Path) -> None:
    """A field that is new has a default, and a default is not written: old lines stay what they are."""
    for line in path.read_bytes().splitlines():
        assert msgspec.json.encode(decode_recorded(line)) == line


def test_every_kind_of_event_is_in_some_history() -> None:
    seen = {type(recorded.event) for path in HISTORIES for recorded in read(path)}
    assert not set(get_args(e.AnyEvent)) - seen


def test_a_schedules_stream_adds_up_as_it_did() -> None:
    lines = (STREAMS / "schedule.jsonl").read_bytes().splitlines()
    state, seen = schedule_state.ScheduleState(), set()
    for line in lines:
        recorded = msgspec.json.decode(line, type=schedule.ScheduleRecorded)
        seen.add(type(recorded.event))
        if isinstance(recorded.event, schedule.ScheduleSummed):
            # What was summed up then is what the events add up to now.
            assert bytes(recorded.event.state) == msgspec.json.encode(state)
        state = schedule_state.evolve(state, recorded)
        assert msgspec.json.encode(recorded) == line
    assert seen == set(get_args(schedule.AnyScheduleEvent))
    assert (state.status, state.seq) == ("deleted", len(lines))


def test_a_queues_stream_adds_up_as_it_did() -> None:
    state, seen, told = queues.QueueState(), set(), []
    for line in (STREAMS / "queue.jsonl").read_bytes().splitlines():
        recorded = msgspec.json.decode(line, type=queues.QueueRecorded)
        seen.add(type(recorded.event))
        queues.evolve(state, recorded)
        told.append((state.limits.concurrency, str(state.limits.rate), state.paused, state.reason))
        assert msgspec.json.encode(recorded) == line
    assert seen == set(get_args(queues.AnyQueueEvent))
    assert told[2:] == [
        (4, "10/m", True, "driver update"),
        (4, "10/m", False, ""),
        (4, "10/m", True, ""),
        (None, "None", False, ""),
    ]
