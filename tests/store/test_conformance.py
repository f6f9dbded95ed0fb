"""What every store promises. Each implementation passes all of it."""

from __future__ import annotations

import msgspec
import pytest

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.module import Module
from flowbook.core.schedule import (
    PREFIX,
    AnyScheduleEvent,
    ScheduledStart,
    ScheduleFired,
    SchedulePaused,
    ScheduleRecorded,
    ScheduleSet,
    ScheduleSpec,
    stream,
)
from flowbook.store.base import Group, Store, decode_recorded, stored_module
from tests.store.conftest import events, group


def test_a_history_comes_back_as_it_was(store: Store) -> None:
    store.commit(group("r"))
    found = [decode_recorded(record) for record in store.history(RunId("r"))]
    assert [recorded.event for recorded in found] == events("r")
    assert [recorded.seq for recorded in found] == [1, 2, 3, 4, 5, 6]
    assert found[0].time == 101.125


def test_a_part_of_a_history(store: Store) -> None:
    store.commit(group("r"))
    assert [decode_recorded(r).seq for r in store.history(RunId("r"), after=2, limit=2)] == [3, 4]
    assert store.history(RunId("r"), after=6) == []
    assert store.history(RunId("nope")) == []


def test_histories_grow_over_commits_and_drains(store: Store) -> None:
    history = events("r")
    for number, event in enumerate(history):
        store.commit(group("r", [event], after=number))
        if number % 2:
            store.drain()
    assert [decode_recorded(r).event for r in store.history(RunId("r"))] == history


def test_one_group_may_hold_many_runs(store: Store) -> None:
    both = group("a")
    both.entries += group("b", events("b", closed=False)).entries
    store.commit(both)
    assert dict(store.open_runs()).keys() == {"b"}
    assert store.closed_ids() == ["a"]


def test_runs_that_went_on_are_known(store: Store) -> None:
    store.commit(group("a"))
    goes_on = e.RunContinued(run=RunId("r~2"))
    store.commit(group("r", [*events("r", closed=False), goes_on]))
    assert store.continued_ids() == ["r"]
    store.drain()
    assert store.continued_ids() == ["r"] and sorted(store.closed_ids()) == ["a", "r"]


def test_open_runs_come_whole(store: Store) -> None:
    store.commit(group("r", events("r", closed=False)))
    store.drain()
    store.commit(group("r", [e.CancelRequested()], after=5))
    ((run, records),) = store.open_runs()
    assert run == "r" and [decode_recorded(record).seq for record in records] == [1, 2, 3, 4, 5, 6]


def test_closed_runs_come_newest_first(store: Store) -> None:
    for number, run in enumerate(("a", "b", "c")):
        last: e.AnyEvent = e.RunCancelled() if run == "b" else events(run)[-1]
        store.commit(group(run, [*events(run, closed=False), last], time=100.0 * number))
    assert [closed.run for closed in store.closed_runs(2)] == ["c", "b"]
    (cancelled,) = store.closed_runs(5, "cancelled")
    assert cancelled.run == "b"
    assert isinstance(decode_recorded(cancelled.first).event, e.RunStarted)
    assert isinstance(decode_recorded(cancelled.last).event, e.RunCancelled)


def test_modules_are_kept_by_digest(store: Store) -> None:
    module = stored_module(Module(Digest("d"), "flow", "source"))
    for _ in range(2):
        made = Group()
        made.modules.append(module)
        store.commit(made)
    assert store.module(Digest("d")) == module.body
    assert store.module(Digest("other")) is None


def test_idle_marks_of_open_runs_are_remembered(store: Store) -> None:
    store.commit(group("open", events("open", closed=False)))
    marks = group("closed")
    marks.idle = {RunId("open"): Seq(3), RunId("closed"): Seq(5)}
    store.commit(marks)
    later = Group()
    later.idle = {RunId("open"): Seq(5)}
    store.commit(later)
    store.drain()
    store.tidy()
    assert store.idle_runs() == {"open": 5}


def test_nothing_to_drain_is_said(store: Store) -> None:
    store.commit(group("r"))
    assert store.backlog() in (0, group("r").size)
    while store.drain():
        pass
    assert store.backlog() == 0
    assert not store.drain()


def test_a_schedules_events_are_a_stream_beside_the_runs(store: Store) -> None:
    start = ScheduledStart(workflow="flow", module=Digest("m"), place=e.Place("/p", "python"))
    facts: list[AnyScheduleEvent] = [
        ScheduleSet("nightly", ScheduleSpec(run=start, crons=("0 3 * * *",))),
        ScheduleFired(10.0, "started", RunId("nightly-1")),
        SchedulePaused("why not"),
    ]
    made = group("r", events("r", closed=False))
    for number, fact in enumerate(facts, 1):
        made.note(stream("nightly"), Seq(number), 100.5, fact)
    store.commit(made)
    store.drain()
    other = Group()
    other.note(RunId("$other/x"), Seq(1), 1.0, SchedulePaused())
    store.commit(other)
    ((found, records),) = store.streams(PREFIX)
    assert found == "$schedule/nightly"
    decoded = [msgspec.json.decode(record, type=ScheduleRecorded) for record in records]
    assert [recorded.seq for recorded in decoded] == [1, 2, 3] and decoded[0].time == 100.5
    assert msgspec.json.encode([recorded.event for recorded in decoded]) == msgspec.json.encode(facts)
    assert dict(store.open_runs()).keys() == {"r"} and store.closed_ids() == []
    since = [dict(store.streams(PREFIX, kind))[stream("nightly")] for kind in ("ScheduleFired", "ScheduleDeleted")]
    assert since == [records[1:], records]


def test_both_ends_of_closed_runs_are_found_by_id(store: Store) -> None:
    for run in ("a", "b", "c"):
        store.commit(group(run, events(run, closed=run != "c")))
    found = {ended.run: ended for ended in store.ends([RunId(run) for run in ("b", "c", "nobody")])}
    assert found.keys() == {"b"}
    assert isinstance(decode_recorded(found[RunId("b")].first).event, e.RunStarted)
    assert isinstance(decode_recorded(found[RunId("b")].last).event, e.RunCompleted)


def test_who_owes_something_outside(store: Store) -> None:
    opened = [e.ObligationOpened(Key(key), "vm") for key in "ab"]
    first = events("r", closed=False)[0]
    store.commit(group("both", [first, *opened]))
    store.commit(group("one", [first, *opened, e.ObligationSettled(Key("a")), e.RunTerminated()]))
    store.commit(group("none", [first, *opened, *(e.ObligationSettled(Key(key)) for key in "ab")]))
    assert store.owing() == {"both", "one"}


@pytest.mark.parametrize("drained", [False, True])
def test_what_is_owed_after_the_end_of_a_run_changes_nothing_of_its_end(store: Store, drained: bool) -> None:
    started, owed = events("r")[0], Key("a")
    store.commit(group("r", [started, e.ObligationOpened(owed, "vm"), e.RunTerminated(reason="x")]))
    store.commit(group("later", time=200.0))
    if drained:
        store.drain()
    seen_to = [e.ObligationRetried(owed, RunId("t")), e.ObligationFailed(owed, Failure("ValueError", "no"))]
    store.commit(group("r", [*seen_to, e.ObligationSettled(owed, "settled", "by hand")], after=3, time=300.0))
    assert not dict(store.open_runs()) and store.owing() == set() and sorted(store.closed_ids()) == ["later", "r"]
    (ended,) = store.ends([RunId("r")])
    last = decode_recorded(ended.last)
    assert (last.seq, last.event) == (3, e.RunTerminated(reason="x"))
    assert [closed.run for closed in store.closed_runs(10, "")] == ["later", "r"]
    assert [(size.run, size.status, size.events) for size in store.closed_sizes() if size.run == "r"] == [
        ("r", "terminated", 6)
    ]
    assert [decode_recorded(record).seq for record in store.history(RunId("r"), after=3)] == [4, 5, 6]


def test_the_last_word_about_each_step_of_a_queue(store: Store) -> None:
    for number, (step, queue) in enumerate((("load", "a"), ("train", "b"), ("load", "c"))):
        asked = e.StepScheduled(Key(f"k{number}"), step, queue)
        store.commit(group(f"r{number}", [events("r")[0], asked], time=100.0 * number))
        store.drain()
    found = [decode_recorded(record).event for record in store.latest_scheduled()]
    assert [(event.step, event.queue) for event in found if isinstance(event, e.StepScheduled)] == [
        ("train", "b"),
        ("load", "c"),
    ]


def test_which_steps_of_queues_began_lately(store: Store) -> None:
    worker = WorkerId("w")
    for number, queue in enumerate(("a", "b")):
        here, there = Key("here"), Key("there")
        told = [
            events("r")[0],
            e.StepScheduled(there, "load", queue),
            e.StepStarted(key=here, step="own", attempt=1, worker=worker),
            e.StepStarted(key=there, step="load", attempt=1, worker=worker),
            e.StepStarted(key=there, step="load", attempt=2, worker=worker),
        ]
        store.commit(group(f"r{number}", told, time=100.0 * (number + 1)))
        store.drain()
    every = store.begun(0.0)
    assert [queue for queue, _ in every] == ["a", "a", "b", "b"]
    assert every == sorted(every, key=lambda each: each[1])
    assert store.begun(every[1][1]) == every[1:]
    assert store.begun(1000.0) == []
