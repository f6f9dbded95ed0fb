"""What is known of a schedule between two events, how events change it, and when to look at it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

import msgspec

from flowbook.core.ids import RunId, Seq
from flowbook.core.schedule import (
    ScheduleDeleted,
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
)
from flowbook.core.schedule_times import fire_times, is_same_timing, times

NO_SEQ = Seq(0)

_KEPT = 64
"""Requests and runs remembered."""


class Waiting(NamedTuple):
    """A buffered time."""

    at: float
    why: str
    overlap: str


class Begun(NamedTuple):
    """A run that was started for a time; ``id`` is the request's."""

    at: float
    run: RunId
    id: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """One schedule. ``spec`` is None where there is none (any more); ``cursor``: times up to it are decided.

    ``summed`` is the last event that sums up all before it; ``counted`` is how many runs its times have started since
    the spec was set; ``finished`` is whether it is recorded that no time will come; ``started``, ``skipped`` and
    ``recent`` are for eyes.
    """

    name: str = ""
    spec: ScheduleSpec | None = None
    seq: Seq = NO_SEQ
    summed: Seq = NO_SEQ
    since: float = 0.0
    cursor: float = 0.0
    is_paused: bool = False
    reason: str = ""
    running: Mapping[RunId, float] = field(default_factory=dict)
    buffer: tuple[Waiting, ...] = ()
    counted: int = 0
    finished: bool = False
    started: int = 0
    skipped: int = 0
    recent: tuple[Begun, ...] = ()
    requests: tuple[str, ...] = ()

    @property
    def is_used_up(self) -> bool:
        """True when its times have started as many runs as they may."""
        return self.spec is not None and 0 < self.spec.limit <= self.counted

    @property
    def status(self) -> str:
        """active, paused, finished (no time will come) or deleted."""
        if self.spec is None:
            return "deleted"
        if self.is_paused:
            return "paused"
        return "finished" if self.is_over else "active"

    @property
    def is_over(self) -> bool:
        """True when no time will come."""
        return self.spec is not None and (self.is_used_up or next(times(self.spec, self.cursor), None) is None)


def evolve(state: ScheduleState, recorded: ScheduleRecorded) -> ScheduleState:
    """The state after one more event."""
    event = recorded.event
    state = replace(state, seq=recorded.seq)
    match event:
        case ScheduleSet():
            is_new = state.spec is None
            keeps = state.spec is not None and is_same_timing(state.spec, event.spec)
            return replace(
                state,
                name=event.name,
                spec=event.spec,
                counted=0,
                since=recorded.time if is_new else state.since,
                cursor=state.cursor if keeps else recorded.time,
                is_paused=state.is_paused and not is_new,
                reason="" if is_new else state.reason,
            )
        case ScheduleFired():
            state = _asked(state, event.id)
            if event.why == "due":
                state = replace(state, cursor=max(state.cursor, event.at), counted=state.counted + 1)
            if event.outcome == "started":
                return _begun(state, Begun(event.at, event.run, event.id))
            return _buffered(state, Waiting(event.at, event.why, event.overlap))
        case ScheduleSkipped():
            state = _asked(state, event.id)
            cursor = max(state.cursor, event.last) if event.why == "due" else state.cursor
            return replace(state, cursor=cursor, skipped=state.skipped + event.count)
        case ScheduleReleased():
            index = next((i for i, w in enumerate(state.buffer) if w.at == event.at), len(state.buffer))
            rest = state.buffer[:index] + state.buffer[index + 1 :]
            return _begun(replace(state, buffer=rest), Begun(event.at, event.run))
        case ScheduleRunEnded():
            running = {run: at for run, at in state.running.items() if run != event.run}
            if event.next:
                running[event.next] = state.running.get(event.run, recorded.time)
            return replace(state, running=running)
        case SchedulePaused():
            return replace(state, is_paused=True, reason=event.reason)
        case ScheduleResumed():
            return replace(state, is_paused=False, reason="", cursor=recorded.time)
        case ScheduleDeleted():
            return replace(state, spec=None, buffer=(), is_paused=False, reason="", finished=False)
        case ScheduleFinished():
            return replace(state, finished=event.over)
        case ScheduleSummed():
            return replace(_decode(event.state), seq=recorded.seq, summed=recorded.seq)


_decode = msgspec.json.Decoder(ScheduleState).decode


def _asked(state: ScheduleState, id: str) -> ScheduleState:
    if not id or id in state.requests:
        return state
    return replace(state, requests=(*state.requests, id)[-_KEPT:])


def _begun(state: ScheduleState, begun: Begun) -> ScheduleState:
    return replace(
        state,
        started=state.started + 1,
        running={**state.running, begun.run: begun.at},
        recent=(*state.recent, begun)[-_KEPT:],
    )


def _buffered(state: ScheduleState, waiting: Waiting) -> ScheduleState:
    dropped = [w for w in state.buffer if replaces(waiting.overlap) and w.overlap == waiting.overlap]
    kept = tuple(w for w in state.buffer if w not in dropped)
    return replace(
        state,
        buffer=(*kept, waiting),
        counted=state.counted - sum(w.why == "due" for w in dropped),
        skipped=state.skipped + len(dropped),
    )


def replaces(overlap: str) -> bool:
    """True for the policies under which only the newest of the times that wait is carried out."""
    return overlap in ("cancel_other", "terminate_other")


def due(state: ScheduleState) -> float | None:
    """When to look at the schedule next, or None for never."""
    if state.spec is None or state.is_paused or state.is_used_up:
        return None
    first = next(fire_times(state.name, state.spec, state.cursor), None)
    return None if first is None else first[1]


def upcoming(state: ScheduleState, now: float, count: int) -> list[float]:
    """The next nominal times, were there no pause. None are told beyond the limit of runs."""
    if state.spec is None:
        return []
    left = min(count, state.spec.limit - state.counted) if state.spec.limit else count
    return list(islice(times(state.spec, state.cursor if not state.is_paused else now), max(left, 0)))
