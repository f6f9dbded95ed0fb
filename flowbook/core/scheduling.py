"""What follows from what a schedule is told, for itself and for runs. Pure, as ``decide`` is for runs.

The rule behind all of it: every nominal time later than the cursor is decided exactly once, in order, by the spec in
force when it comes - started, buffered or skipped. A time that comes in a pause is not decided at all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count, islice, takewhile
from typing import NamedTuple

import msgspec

from flowbook.core.calendar import iso, local, shown
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import AnyMessage, CancelRun, StartRun, TerminateRun
from flowbook.core.schedule import (
    AnyScheduleEvent,
    AnyScheduleMessage,
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    ResumeSchedule,
    ScheduleDeleted,
    ScheduledRunEnded,
    ScheduleDue,
    ScheduleFinished,
    ScheduleFired,
    SchedulePaused,
    ScheduleRecorded,
    ScheduleReleased,
    ScheduleResumed,
    ScheduleRunEnded,
    ScheduleSet,
    ScheduleSkipped,
    ScheduleSpec,
    ScheduleSummed,
    SetSchedule,
    TriggerSchedule,
)
from flowbook.core.schedule_state import ScheduleState, evolve, replaces
from flowbook.core.schedule_times import checked, checked_overlap, fire_times, times
from flowbook.core.value import Value
from flowbook.errors import UnknownSchedule, UserError

MOST_AT_ONCE = 1000
"""Times decided by one message; the rest follow at once."""

MOST_BUFFERED = 1000
"""Times that may wait for their turn."""

GRACE = 10.0
"""Seconds by which a time may always be late, whatever the catch-up window: clocks and disks are not exact."""

SUM_EVERY = 500
"""Events after which one sums them up, so that a schedule of every minute is read as fast after a year."""

_REST_OF_TODAY = 86400.0
"""Seconds: a backfill up to a date that is today, wherever that is, ends with what has come."""

Free = Callable[[RunId], bool]
"""True where no run has this id."""


class Instruction(NamedTuple):
    """What a run is to be told."""

    run: RunId
    message: AnyMessage


def consequences(state: ScheduleState, event: AnyScheduleEvent) -> list[Instruction]:
    """What follows for runs from ``event``, which happens to a schedule in ``state`` (before the event)."""
    match event:
        case ScheduleFired(outcome="started") | ScheduleReleased():
            return [Instruction(event.run, _start(state, event.run, event.at))]
        case ScheduleFired(overlap="cancel_other"):
            reason = f"the next time of schedule {state.name} has come"
            return [Instruction(run, CancelRun(reason)) for run in state.running]
        case ScheduleFired(overlap="terminate_other"):
            reason = f"the next time of schedule {state.name} has come"
            return [Instruction(run, TerminateRun(reason)) for run in state.running]
        case _:
            return []


def _start(state: ScheduleState, run: RunId, at: float) -> StartRun:
    assert state.spec is not None
    what = state.spec.run
    arguments = dict(what.arguments)
    if what.time_parameter:
        arguments[what.time_parameter] = _moment(at, state.spec.timezone)
    return StartRun(
        run=run,
        workflow=what.workflow,
        module=what.module,
        place=what.place,
        arguments=arguments,
        name=state.name,
        source=what.source,
        seed=run,
        timeout=what.timeout,
        schedule=state.name,
        queue=what.queue,
        priority=what.priority,
        concurrency_key=what.concurrency_key,
        attributes={**what.attributes, "scheduled_time": iso(at)},
        memo=what.memo,
        on_conflict="fail",
        on_closed="reject",
    )


def _moment(at: float, timezone: str) -> Value:
    """An encoded datetime, as ``wire.codec`` writes it."""
    body = msgspec.json.encode({"$datetime": local(at, timezone).isoformat()})
    return Value(codec="json", data=msgspec.Raw(body), size=len(body), type="datetime.datetime")


class _Decision:
    """Events one after the other, each decided in the state that those before it have made. Skips in a row are one."""

    def __init__(self, state: ScheduleState, now: float, free: Free) -> None:
        self.state = state
        self.now = now
        self.events: list[AnyScheduleEvent] = []
        self._free = free

    def happen(self, event: AnyScheduleEvent) -> None:
        self.events.append(event)
        self.state = evolve(self.state, ScheduleRecorded(Seq(self.state.seq + 1), self.now, event))

    def skip(self, at: float, reason: str, why: str, id: str) -> None:
        last = self.events[-1] if self.events else None
        if isinstance(last, ScheduleSkipped) and (last.reason, last.why) == (reason, why):
            longer = msgspec.structs.replace(last, last=at, count=last.count + 1)
            self.events[-1] = longer
            one = msgspec.structs.replace(longer, first=at, count=1)
            self.state = evolve(self.state, ScheduleRecorded(self.state.seq, self.now, one))
        else:
            self.happen(ScheduleSkipped(at, at, 1, reason, why, id))

    def fire(self, at: float, why: str, overlap: str, id: str = "") -> None:
        state = self.state
        is_busy = bool(state.running or state.buffer)
        if not is_busy or overlap == "allow_all":
            self.happen(ScheduleFired(at, "started", self.run_id(at), why, overlap, id))
        elif overlap == "skip" or (overlap == "buffer_one" and state.buffer):
            self.skip(at, "overlap", why, id)
        elif len(state.buffer) >= MOST_BUFFERED and not replaces(overlap):
            self.skip(at, "full", why, id)
        else:
            self.happen(ScheduleFired(at, "buffered", RunId(""), why, overlap, id))

    def release(self) -> None:
        """Start what was buffered, where nothing runs any more."""
        while not self.state.running:
            ready = [w for w in self.state.buffer if w.why != "due" or not self.state.is_paused]
            if not ready:
                return
            self.happen(ScheduleReleased(ready[0].at, self.run_id(ready[0].at)))

    def run_id(self, at: float) -> RunId:
        """An id no run has. Not the next of a chain: that is what a run of the same time may go on as."""
        first = f"{self.state.name}-{iso(at)}"
        ids = chain([first], (f"{first}-{number}" for number in count(2)))
        return next(run for run in map(RunId, ids) if run not in self.state.running and self._free(run))


def decide(state: ScheduleState, message: AnyScheduleMessage, now: float, free: Free) -> list[AnyScheduleEvent]:
    """The events that follow from ``message`` at ``now``. Raises where the sender has to be told."""
    decision = _Decision(state, now, free)
    match message:
        case SetSchedule():
            _set(decision, message)
        case ScheduleDue():
            _due(decision)
        case ScheduledRunEnded():
            _run_ended(decision, message)
        case PauseSchedule():
            _require(state)
            if not state.is_paused or message.reason != state.reason:
                decision.happen(SchedulePaused(message.reason))
        case ResumeSchedule():
            _require(state)
            if state.is_paused:
                decision.happen(ScheduleResumed())
        case DeleteSchedule():
            _require(state)
            decision.happen(ScheduleDeleted())
        case TriggerSchedule():
            spec = _require(state)
            if not message.id or message.id not in state.requests:
                overlap = checked_overlap(message.overlap or spec.overlap)
                decision.fire(float(int(now)), "trigger", overlap, message.id)
        case BackfillSchedule():
            _backfill(decision, message)
    decision.release()
    _note_end(decision)
    if decision.state.seq - decision.state.summed >= SUM_EVERY:
        decision.happen(ScheduleSummed(msgspec.Raw(msgspec.json.encode(decision.state))))
    return decision.events


def _note_end(decision: _Decision) -> None:
    """In a pause nothing is over: what comes after it is decided when it ends."""
    state = decision.state
    if state.spec is not None and not state.is_paused and state.finished != state.is_over:
        decision.happen(ScheduleFinished(state.is_over))


def _require(state: ScheduleState) -> ScheduleSpec:
    if state.spec is None:
        raise unknown(state.name)
    return state.spec


def unknown(name: str) -> UnknownSchedule:
    """What to say of a schedule that is not there."""
    return UnknownSchedule(f'there is no schedule "{name}" in this project. `flowbook schedule list` lists them.')


def _set(decision: _Decision, message: SetSchedule) -> None:
    spec = checked(message.name, message.spec)
    if decision.state.spec is not None:
        if msgspec.json.encode(spec) == msgspec.json.encode(decision.state.spec):
            return
        _due(decision)
    decision.happen(ScheduleSet(message.name, spec))


def _due(decision: _Decision) -> None:
    """Decide every time that has come, oldest first."""
    state = decision.state
    spec = state.spec
    if spec is None or state.is_paused:
        return
    for at, fire_at in islice(fire_times(state.name, spec, state.cursor), MOST_AT_ONCE):
        if fire_at > decision.now or decision.state.is_used_up:
            return
        if decision.now - at > max(spec.catch_up, GRACE):
            decision.skip(at, "missed", "due", "")
        else:
            decision.fire(at, "due", spec.overlap)


def _run_ended(decision: _Decision, message: ScheduledRunEnded) -> None:
    state = decision.state
    if message.run not in state.running:
        return
    decision.happen(ScheduleRunEnded(message.run, message.status, message.next))
    if message.status == "failed" and state.spec is not None and state.spec.pause_on_failure and not state.is_paused:
        told = f": {message.reason}" if message.reason else ""
        decision.happen(SchedulePaused(f"run {message.run} failed{told}"))


def _backfill(decision: _Decision, message: BackfillSchedule) -> None:
    state = decision.state
    spec = _require(state)
    if message.id and message.id in state.requests:
        return
    # A policy that lets one of them run and skips the rest is not what anybody asks a backfill for.
    overlap = checked_overlap(message.overlap or ("allow_all" if spec.overlap == "allow_all" else "buffer_all"))
    span = f"{shown(message.start, spec.timezone)} to {shown(message.end, spec.timezone)}"
    if message.end < message.start:
        raise UserError(f"a backfill's end lies before its start: {span}")
    if message.start > decision.now or message.end > decision.now + _REST_OF_TODAY:
        raise UserError(f"a backfill is of the past, and {span} is not; what is to come comes by itself")
    whole = msgspec.structs.replace(spec, start=message.start, end=message.end)
    found = list(islice(times(whole, message.start - 1.0), MOST_BUFFERED + 1))
    if len(found) > MOST_BUFFERED:
        raise UserError(f"there are more than {MOST_BUFFERED} times from {span}; ask for less at once")
    for at in takewhile(lambda at: at <= decision.now, found):
        decision.fire(at, "backfill", overlap, message.id)
