"""What a schedule does: tables of overlap policies, catching up, pauses, limits; and the law that no time is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowbook.core import calendar
from flowbook.core import messages as m
from flowbook.core import schedule as s
from flowbook.core.event import Place
from flowbook.core.ids import Digest, RunId, Seq
from flowbook.core.schedule_state import ScheduleState, due, evolve, upcoming
from flowbook.core.schedule_times import checked, fire_times, times
from flowbook.core.scheduling import GRACE, MOST_AT_ONCE, MOST_BUFFERED, consequences, decide
from flowbook.core.value import NOTHING
from flowbook.errors import UnknownSchedule, UserError

START = s.ScheduledStart(workflow="flow", module=Digest("m"), place=Place("/p", "py"), arguments={"a": NOTHING})
T0 = 1_767_225_600.0  # 2026-01-01T00:00:00Z
HOUR = 3600.0


def spec(**options: object) -> s.ScheduleSpec:
    return s.ScheduleSpec(**{"run": START, "every": HOUR, **options})  # type: ignore[arg-type]


class Life:
    """A schedule under a clock that a test moves, with its runs."""

    def __init__(self, **options: object) -> None:
        self.state = ScheduleState()
        self.now = T0
        self.log: list[s.AnyScheduleEvent] = []
        self.said: list[tuple[str, m.AnyMessage]] = []
        self.ids: set[str] = set()
        self.tell(s.SetSchedule("nightly", spec(**options)))

    def tell(self, message: s.AnyScheduleMessage) -> list[s.AnyScheduleEvent]:
        events = decide(self.state, message, self.now, self.free)
        for event in events:
            self.said += consequences(self.state, event)
            self.state = evolve(self.state, s.ScheduleRecorded(Seq(self.state.seq + 1), self.now, event))
        self.ids |= {run for run, message in self.said if isinstance(message, m.StartRun)}
        self.log += events
        return events

    def free(self, run: RunId) -> bool:
        return run not in self.ids

    def at(self, hours: float) -> list[s.AnyScheduleEvent]:
        self.now = T0 + hours * HOUR
        return self.tell(s.ScheduleDue())

    def ends(self, hour: float, status: str = "succeeded", **more: str) -> list[s.AnyScheduleEvent]:
        return self.tell(s.ScheduledRunEnded(run(hour), status, **more))  # type: ignore[arg-type]

    def starts(self) -> list[str]:
        return [run for run, message in self.said if isinstance(message, m.StartRun)]


def run(hour: float) -> RunId:
    return RunId(f"nightly-2026-01-01T{int(hour):02}:{round(hour % 1 * 60):02}:00Z")


def short(events: Sequence[s.AnyScheduleEvent]) -> list[str]:
    """Events in a word each, hours counted from the start."""
    words = []
    for event in events:
        match event:
            case s.ScheduleFired():
                words.append(f"{event.outcome}@{(event.at - T0) / HOUR:g}")
            case s.ScheduleSkipped():
                span = f"{(event.first - T0) / HOUR:g}-{(event.last - T0) / HOUR:g}"
                words.append(f"{event.reason}@{span}x{event.count}")
            case s.ScheduleReleased():
                words.append(f"released@{(event.at - T0) / HOUR:g}")
            case _:
                words.append(type(event).__name__)
    return words


def test_a_time_starts_a_run_once() -> None:
    life = Life()
    assert life.at(0.9) == []
    assert short(life.at(1)) == ["started@1"]
    assert life.at(1) == []
    ((started, message),) = life.said
    assert started == "nightly-2026-01-01T01:00:00Z"
    assert isinstance(message, m.StartRun)
    assert (message.workflow, message.module, message.schedule, message.name) == ("flow", "m", "nightly", "nightly")
    assert message.arguments == {"a": NOTHING}
    assert message.attributes == {"scheduled_time": "2026-01-01T01:00:00Z"}


@pytest.mark.parametrize(
    ("overlap", "while_open", "at_end"),
    [
        ("skip", ["overlap@2-3x2"], []),
        ("buffer_one", ["buffered@2", "overlap@3-3x1"], ["released@2"]),
        ("buffer_all", ["buffered@2", "buffered@3"], ["released@2"]),
        ("cancel_other", ["buffered@2", "buffered@3"], ["released@3"]),
        ("terminate_other", ["buffered@2", "buffered@3"], ["released@3"]),
        ("allow_all", ["started@2", "started@3"], []),
    ],
)
def test_what_a_time_means_while_a_run_is_open(overlap: str, while_open: list[str], at_end: list[str]) -> None:
    life = Life(overlap=overlap)
    life.at(1)
    assert short(life.at(3)) == while_open
    assert short(life.ends(1)) == ["ScheduleRunEnded", *at_end]


@pytest.mark.parametrize(("overlap", "kind"), [("cancel_other", m.CancelRun), ("terminate_other", m.TerminateRun)])
def test_the_open_run_is_ended_for_the_next(overlap: str, kind: type) -> None:
    life = Life(overlap=overlap)
    life.at(1)
    life.at(2)
    told, message = life.said[-1]
    assert told == run(1) and isinstance(message, kind)
    life.ends(1, "cancelled")
    assert life.starts() == [run(1), run(2)]


def test_buffered_times_run_one_after_the_other() -> None:
    life = Life(overlap="buffer_all")
    life.at(4)
    assert life.starts() == [run(1)]
    for hour in (1, 2, 3, 4):
        life.ends(hour)
    assert life.starts() == [run(1), run(2), run(3), run(4)]
    assert not life.state.buffer and not life.state.running


def test_a_run_that_goes_on_as_another_is_still_open() -> None:
    life = Life()
    life.at(1)
    life.ends(1, "continued", next=f"{run(1)}~2")
    assert short(life.at(2)) == ["overlap@2-2x1"]
    life.tell(s.ScheduledRunEnded(RunId(f"{run(1)}~2"), "succeeded"))
    assert short(life.at(3)) == ["started@3"]


@pytest.mark.parametrize(
    ("catch_up", "overlap", "expected"),
    [
        (s.CATCH_UP, "skip", ["started@1", "overlap@2-10x9"]),
        (3 * HOUR, "skip", ["missed@1-6x6", "started@7", "overlap@8-10x3"]),
        (3 * HOUR, "allow_all", ["missed@1-6x6", "started@7", "started@8", "started@9", "started@10"]),
        (0.0, "skip", ["missed@1-9x9", "started@10"]),
    ],
)
def test_after_a_sleep_the_window_decides(catch_up: float, overlap: str, expected: list[str]) -> None:
    assert short(Life(catch_up=catch_up, overlap=overlap).at(10)) == expected


def test_a_clock_set_back_repeats_nothing() -> None:
    life = Life(overlap="allow_all")
    life.at(3)
    assert life.at(1) == []
    assert due(life.state) == T0 + 4 * HOUR
    assert short(life.at(4)) == ["started@4"]


def test_a_clock_that_was_years_ahead_is_mended_by_a_pause() -> None:
    life = Life(overlap="skip")
    life.at(5 * 24 * 365)
    while due(life.state) is not None and due(life.state) <= life.now:  # type: ignore[operator]
        life.tell(s.ScheduleDue())
    life.ends(1)
    assert life.at(2) == []
    life.tell(s.PauseSchedule())
    life.tell(s.ResumeSchedule())
    assert due(life.state) == T0 + 3 * HOUR


def test_much_that_was_missed_takes_several_messages() -> None:
    life = Life(every=1.0, overlap="skip")
    life.now = T0 + 2.5 * MOST_AT_ONCE
    for _ in range(3):
        assert due(life.state) <= life.now  # type: ignore[operator]
        life.tell(s.ScheduleDue())
    assert due(life.state) == life.now + 1.0
    assert life.state.skipped == 2.5 * MOST_AT_ONCE - 1


def test_times_of_a_pause_are_not_made_up_for() -> None:
    life = Life()
    life.at(1)
    life.ends(1)
    life.tell(s.PauseSchedule("holiday"))
    assert life.state.status == "paused" and life.state.reason == "holiday" and due(life.state) is None
    assert life.at(3) == []
    life.now = T0 + 3.5 * HOUR
    life.tell(s.ResumeSchedule())
    assert due(life.state) == T0 + 4 * HOUR
    assert short(life.at(4)) == ["started@4"]


def test_a_failure_pauses_where_that_is_asked_for() -> None:
    life = Life(pause_on_failure=True, overlap="buffer_all")
    life.at(2)
    assert short(life.ends(1, "failed", reason="KeyError: 'x'")) == ["ScheduleRunEnded", "SchedulePaused"]
    assert life.state.reason == f"run {run(1)} failed: KeyError: 'x'"
    assert life.starts() == [run(1)]
    life.tell(s.ResumeSchedule())
    assert life.starts() == [run(1), run(2)]


@pytest.mark.parametrize("status", ["cancelled", "terminated", "succeeded"])
def test_only_a_failure_pauses(status: str) -> None:
    life = Life(pause_on_failure=True)
    life.at(1)
    assert short(life.ends(1, status)) == ["ScheduleRunEnded"]


def test_bounds_are_included() -> None:
    life = Life(start=T0 + 2 * HOUR, end=T0 + 4 * HOUR, overlap="allow_all")
    assert short(life.at(9)) == ["started@2", "started@3", "started@4", "ScheduleFinished"]
    assert life.state.status == "finished" and due(life.state) is None


def test_a_limit_counts_runs_not_skips_nor_triggers() -> None:
    life = Life(limit=2)
    life.tell(s.TriggerSchedule(id="t"))
    assert short(life.at(1)) == ["overlap@1-1x1"]
    life.tell(s.ScheduledRunEnded(run(0), "succeeded"))
    life.at(2)
    life.ends(2)
    assert len(upcoming(life.state, life.now, 5)) == 1
    life.at(3)
    life.ends(3)
    assert life.at(4) == [] and life.state.status == "finished" and upcoming(life.state, life.now, 5) == []


def test_a_limit_counts_what_waits() -> None:
    life = Life(limit=2, overlap="buffer_all")
    assert short(life.at(5)) == ["started@1", "buffered@2", "ScheduleFinished"]


def test_that_no_time_will_come_is_recorded_and_that_one_comes_after_all() -> None:
    life = Life(limit=2, overlap="cancel_other")
    assert short(life.at(2)) == ["started@1", "buffered@2", "ScheduleFinished"] and life.state.status == "finished"
    # What a trigger takes the place of has started nothing.
    life.tell(s.TriggerSchedule())
    assert life.log[-1] == s.ScheduleFinished(over=False) and life.state.status == "active"
    life.tell(s.PauseSchedule())
    assert life.tell(s.SetSchedule("nightly", spec(end=T0 + HOUR)))[-1] == s.ScheduleSet("nightly", spec(end=T0 + HOUR))
    assert life.tell(s.ResumeSchedule())[-1] == s.ScheduleFinished()
    life.tell(s.DeleteSchedule())
    assert not life.state.finished


def test_a_trigger_runs_even_in_a_pause_and_once() -> None:
    life = Life()
    life.tell(s.PauseSchedule())
    life.now = T0 + 90.4
    assert short(life.tell(s.TriggerSchedule(id="x"))) == ["started@0.025"]
    assert life.tell(s.TriggerSchedule(id="x")) == []
    assert short(life.tell(s.TriggerSchedule(id="y"))) == ["overlap@0.025-0.025x1"]
    life.tell(s.TriggerSchedule("allow_all", "z"))
    assert life.starts() == ["nightly-2026-01-01T00:01:30Z", "nightly-2026-01-01T00:01:30Z-2"]


def test_a_backfill_runs_one_after_the_other() -> None:
    life = Life()
    life.now = T0 + 30 * HOUR
    message = s.BackfillSchedule(T0 - 2 * HOUR, T0, id="b")
    assert short(life.tell(message)) == ["started@-2", "buffered@-1", "buffered@0"]
    assert life.tell(message) == []
    assert life.starts() == ["nightly-2025-12-31T22:00:00Z"]


def test_a_backfill_of_times_that_ran_runs_them_again() -> None:
    life = Life()
    life.at(1)
    life.ends(1)
    life.tell(s.BackfillSchedule(T0 + HOUR, T0 + HOUR))
    assert life.starts() == [run(1), f"{run(1)}-2"]


@pytest.mark.parametrize(
    ("start", "end", "overlap", "part"),
    [
        (T0, T0 - 1, "", "before its start"),
        (0.0, T0, "", f"more than {MOST_BUFFERED} times from 1970-01-01 00:00.00:00 to 2026-01-01 00:00"),
        (T0 + 1, T0 + 2, "", "is of the past, and 2026-01-01 00:00:01"),
        (T0 - HOUR, T0 + 90_000, "", "to 2026-01-02 01:00"),
        (1e12, 1e12, "", "is of the past"),
        (1e300, 1e300, "", "a time that no schedule has"),
        (T0, T0, "never", "overlap='never' is not known"),
    ],
)
def test_a_backfill_that_makes_no_sense(start: float, end: float, overlap: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        Life().tell(s.BackfillSchedule(start, end, overlap))


def test_a_backfill_up_to_the_end_of_today_ends_with_what_has_come() -> None:
    life = Life(overlap="allow_all")
    life.at(3.5)
    life.log.clear()
    life.tell(s.BackfillSchedule(T0 + HOUR, T0 + 24 * HOUR - 0.000001))
    assert short(life.log) == ["started@1", "started@2", "started@3"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"every": 86_400_000_000.0}, "a hundred years are the longest"),
        ({"every": 0.5}, "a second is the shortest"),
        ({"start": 253_402_214_400.0}, "start of schedule 'x' has to lie between the years 1970 and 9000"),
        ({"end": 1e300}, "end of schedule"),
        ({"start": -1.0}, "start of schedule"),
        ({"jitter": 1e12}, "jitter of schedule 'x' cannot be longer"),
        ({"offset": 1e12}, "offset of schedule 'x' cannot be longer"),
        ({"every": 0.0, "crons": ("@daily",), "offset": 60.0}, "no interval that it could be of"),
    ],
)
def test_times_out_of_all_calendars_are_refused(options: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=part):
        decide(ScheduleState(), s.SetSchedule("x", spec(**options)), T0, lambda run: run)


@pytest.mark.parametrize(
    "options", [{"crons": ("0 0 29 2 MON",), "every": 0.0}, {"every": 100 * 366 * 86400.0}, {"jitter": 1e9}]
)
def test_times_end_before_the_calendar_does(options: dict[str, object]) -> None:
    late = spec(start=calendar.LAST, **options)
    state = evolve(ScheduleState(), s.ScheduleRecorded(Seq(1), T0, s.ScheduleSet("x", late)))
    assert len(upcoming(state, T0, 5)) <= 1 and state.status in ("active", "finished")
    due(state)


def test_a_full_buffer_skips() -> None:
    life = Life(every=1.0, overlap="buffer_all")
    life.now = T0 + MOST_BUFFERED + 5
    life.tell(s.ScheduleDue())
    life.tell(s.ScheduleDue())
    assert len(life.state.buffer) == MOST_BUFFERED and life.state.skipped == 4


def test_the_same_spec_again_changes_nothing() -> None:
    life = Life()
    assert life.tell(s.SetSchedule("nightly", spec())) == []


def test_new_code_is_what_later_runs_use_and_no_time_is_lost() -> None:
    life = Life(overlap="allow_all")
    life.now = T0 + 2 * HOUR
    fresh = msgspec.structs.replace(START, module=Digest("new"))
    assert short(life.tell(s.SetSchedule("nightly", spec(overlap="allow_all", run=fresh)))) == [
        "started@1",
        "started@2",
        "ScheduleSet",
    ]
    life.at(3)
    modules = [message.module for _, message in life.said if isinstance(message, m.StartRun)]
    assert modules == ["m", "m", "new"]


def test_new_times_count_from_now() -> None:
    life = Life(overlap="allow_all")
    life.now = T0 + 1.5 * HOUR
    life.tell(s.SetSchedule("nightly", spec(overlap="allow_all", every=HOUR / 4)))
    assert short(life.at(1.75)) == ["started@1.75"]


def test_a_deleted_schedule_is_unknown_and_its_runs_still_count_when_it_is_made_again() -> None:
    life = Life()
    life.at(1)
    life.tell(s.DeleteSchedule())
    assert life.at(5) == [] and due(life.state) is None and upcoming(life.state, life.now, 3) == []
    for message in (s.PauseSchedule(), s.ResumeSchedule(), s.DeleteSchedule(), s.TriggerSchedule()):
        with pytest.raises(UnknownSchedule):
            life.tell(message)
    life.tell(s.SetSchedule("nightly", spec()))
    assert short(life.at(6)) == ["overlap@6-6x1"]
    life.ends(1)
    assert short(life.at(7)) == ["started@7"]


def test_jitter_is_the_same_for_the_same_time_and_stays_before_the_next() -> None:
    jittered = spec(jitter=10 * HOUR)
    first = list(takewhile(lambda pair: pair[0] < T0 + 48 * HOUR, fire_times("nightly", jittered, T0)))
    assert first[5:] == list(
        takewhile(lambda pair: pair[0] < T0 + 48 * HOUR, fire_times("nightly", jittered, first[4][0]))
    )
    assert all(at <= fire < at + HOUR for at, fire in first)
    assert len({round(fire - at) for at, fire in first}) > 30
    assert [fire for _, fire in fire_times("other", spec(jitter=60.0, end=T0 + HOUR), T0)] != [T0 + HOUR]


def test_a_jittered_time_waits_for_its_moment() -> None:
    life = Life(jitter=HOUR)
    moment = due(life.state)
    assert moment is not None and T0 + HOUR < moment < T0 + 2 * HOUR
    life.now = moment - 0.001
    assert life.tell(s.ScheduleDue()) == []
    life.now = moment
    assert short(life.tell(s.ScheduleDue())) == ["started@1"]


def test_the_nominal_time_is_an_argument_where_that_is_asked_for() -> None:
    life = Life(run=msgspec.structs.replace(START, time_parameter="day"), timezone="Asia/Tokyo")
    life.at(1)
    message = life.said[0][1]
    assert isinstance(message, m.StartRun)
    value = message.arguments["day"]
    assert bytes(value.data) == b'{"$datetime":"2026-01-01T10:00:00+09:00"}' and value.size == len(bytes(value.data))


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        ("", {}, "cannot be a schedule's name"),
        ("a/b", {}, "cannot be a schedule's name"),
        ("a~2", {}, "cannot be a schedule's name"),
        ("n", {"every": 0.0}, "has no times"),
        ("n", {"every": 0.5}, "a second is the shortest"),
        ("n", {"crons": ("nope",)}, "is not a cron expression"),
        ("n", {"timezone": "Mars/Base"}, "is no time zone"),
        ("n", {"overlap": "maybe"}, "it is one of skip, buffer_one"),
        ("n", {"jitter": -1.0}, "jitter of schedule 'n' cannot be negative"),
        ("n", {"limit": -1}, "limit of schedule 'n' cannot be negative"),
        ("n", {"start": 5.0, "end": 4.0}, "ends before it starts"),
    ],
)
def test_a_spec_that_makes_no_sense(name: str, options: dict[str, object], part: str) -> None:
    with pytest.raises(UserError, match=part):
        checked(name, spec(**options))


def test_events_travel_as_they_are() -> None:
    life = Life(overlap="buffer_all", pause_on_failure=True)
    life.at(3)
    life.ends(1, "failed", reason="x")
    life.tell(s.ResumeSchedule())
    life.tell(s.DeleteSchedule())
    decoder = msgspec.json.Decoder(s.ScheduleRecorded)
    state = ScheduleState()
    for number, event in enumerate(life.log, 1):
        recorded = s.ScheduleRecorded(Seq(number), T0, event)
        again = decoder.decode(msgspec.json.encode(recorded))
        assert msgspec.json.encode(again) == msgspec.json.encode(recorded)
        state = evolve(state, again)
    assert replace(state, cursor=0.0, since=0.0) == replace(life.state, cursor=0.0, since=0.0)


def test_a_sum_stands_for_all_events_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowbook.core.scheduling.SUM_EVERY", 4)
    life = Life(overlap="buffer_all", pause_on_failure=True)
    life.tell(s.TriggerSchedule(id="t"))
    for hour in range(2, 9):
        life.at(hour)
        life.tell(s.ScheduledRunEnded(next(iter(life.state.running)), "succeeded"))
    life.tell(s.PauseSchedule("holiday"))
    sums = [index for index, event in enumerate(life.log) if isinstance(event, s.ScheduleSummed)]
    assert len(sums) > 2
    whole = fold(life.log)
    for index in sums:
        assert fold(life.log[index:], index) == whole
    assert whole.buffer and whole.requests and whole.recent and whole.is_paused and whole.running


def fold(events: Sequence[s.AnyScheduleEvent], after: int = 0) -> ScheduleState:
    state = ScheduleState()
    for number, event in enumerate(events, after + 1):
        state = evolve(state, s.ScheduleRecorded(Seq(number), T0, event))
    return state


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.0, 30 * HOUR)),
        st.tuples(st.just("back"), st.floats(0.0, 5 * HOUR)),
        st.tuples(st.just("end"), st.sampled_from(["succeeded", "failed", "cancelled"])),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("set"), st.sampled_from(["m1", "m2"])),
        st.tuples(st.just("trigger"), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=40,
)


@given(
    moves=MOVES,
    overlap=st.sampled_from(s.OVERLAPS),
    timing=st.sampled_from(
        [
            {"every": HOUR},
            {"every": 0.0, "crons": ("*/40 * * * *", "0 */3 * * *")},
            {"every": 0.0, "crons": ("30 2 * * *",), "timezone": "Europe/Oslo", "jitter": 600.0},
            {"every": 7 * HOUR, "offset": 5.0, "jitter": HOUR},
        ]
    ),
    catch_up=st.sampled_from([0.0, 2 * HOUR, s.CATCH_UP]),
)
def test_law_every_time_is_decided_exactly_once(
    moves: list[tuple[str, object]], overlap: str, timing: dict[str, object], catch_up: float
) -> None:
    """Whatever happens in between: a crash keeps what was recorded and what followed from it, or neither."""
    options = {**timing, "overlap": overlap, "catch_up": catch_up}
    life = Life(**options)
    for move, detail in moves:
        match move, detail:
            case "wait", float(length):
                life.now += length
                life.tell(s.ScheduleDue())
            case "back", float(length):
                life.now = max(T0, life.now - length)
                life.tell(s.ScheduleDue())
            case "end", str(status) if life.state.running:
                life.tell(s.ScheduledRunEnded(next(iter(life.state.running)), status))
            case "crash", _:
                # Decided, and lost before the commit: the next engine decides again, from the events.
                decide(life.state, s.ScheduleDue(), life.now, life.free)
                state = ScheduleState()
                for number, event in enumerate(life.log, 1):
                    state = evolve(state, s.ScheduleRecorded(Seq(number), T0, event))
                assert (state.cursor, state.running, state.buffer) == (
                    max(life.state.cursor, T0),
                    life.state.running,
                    life.state.buffer,
                )
            case "set", str(module):
                life.tell(
                    s.SetSchedule(
                        "nightly", spec(**{**options, "run": msgspec.structs.replace(START, module=Digest(module))})
                    )
                )
            case "trigger", str(id):
                life.tell(s.TriggerSchedule(id=id))
    decided: list[float] = []
    for event in life.log:
        if isinstance(event, s.ScheduleFired) and event.why == "due":
            decided.append(event.at)
        elif isinstance(event, s.ScheduleSkipped) and event.why == "due":
            span = list(takewhile(lambda at: at <= event.last, times(spec(**timing), event.first - 0.001)))  # noqa: B023
            assert len(span) == event.count and (span[0], span[-1]) == (event.first, event.last)
            decided += span
    expected = list(takewhile(lambda at: at <= life.state.cursor, times(spec(**timing), T0)))
    assert decided == expected
    later = due(life.state)
    assert later is not None and (not decided or later > decided[-1])
    starts = life.starts()
    assert len(starts) == len(set(starts)) == life.state.started
    if overlap != "allow_all":
        assert len(life.state.running) <= 1
    for event in life.log:
        if isinstance(event, s.ScheduleSkipped) and event.reason == "missed":
            assert max(catch_up, GRACE) < s.CATCH_UP
