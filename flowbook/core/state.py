"""What a run's facts add up to. ``evolve`` is total: it never refuses, because facts have happened.

Only what decisions need is kept: no values, no output, no finished steps beyond their keys. Policy is in
``decide``; what time asks for is in ``due``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from flowbook.core.events import (
    WAKE_UPS,
    CancelRequested,
    MapStarted,
    Origin,
    Place,
    Recorded,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    SignalAwaited,
    SignalDropped,
    SignalReceived,
    StepAttemptFailed,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepReused,
    StepSkipped,
    StepStarted,
    TimerCancelled,
    TimerFired,
    TimerStarted,
)
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.messages import StartRun

NOWHERE = Place("", "")
NOBODY = WorkerId("")
NO_RUN, NO_DIGEST, NO_SEQ = RunId(""), Digest(""), Seq(0)


@dataclass(slots=True)
class LiveStep:
    """A step that has begun and not ended. Not ``running``: its last attempt failed, ``retry_at`` says when next."""

    step: str
    attempt: int = 0
    running: bool = False
    worker: WorkerId = NOBODY
    started: float = 0.0
    retry_at: float = 0.0
    lost: int = 0
    item: int | None = None
    site: int = 0


@dataclass(slots=True)
class LiveTimer:
    """A timer that has neither fired nor been cancelled."""

    due: float
    since: float
    label: str = ""


@dataclass(slots=True)
class LiveWaiter:
    """A wait for a signal that has not come."""

    name: str
    since: float


@dataclass(slots=True)
class RunState:
    """One run. ``woken`` is the last event that workflow code reacts to; ``closed`` is "" while the run is open.

    ``request`` identifies what the run was started with, so that the same start again can be told from another.
    """

    run: RunId = NO_RUN
    workflow: str = ""
    module: Digest = NO_DIGEST
    place: Place = NOWHERE
    name: str = ""
    source: str = ""
    origin: Origin | None = None
    request: str = ""
    started: float = 0.0
    ended: float = 0.0
    seq: Seq = NO_SEQ
    time: float = 0.0
    woken: Seq = NO_SEQ
    closed: str = ""
    paused: str = ""
    cancelling: bool = False
    steps: dict[Key, LiveStep] = field(default_factory=dict)
    settled: set[Key] = field(default_factory=set)
    maps: set[Key] = field(default_factory=set)
    timers: dict[Key, LiveTimer] = field(default_factory=dict)
    timers_ended: set[Key] = field(default_factory=set)
    waiters: dict[Key, LiveWaiter] = field(default_factory=dict)
    waiters_ended: set[Key] = field(default_factory=set)
    unread: dict[str, int] = field(default_factory=dict)
    signals: set[str] = field(default_factory=set)

    @property
    def status(self) -> str:
        """running, waiting, paused, succeeded, failed or cancelled."""
        if self.closed:
            return self.closed
        if self.paused:
            return "paused"
        if not self.steps and (self.timers or self.waiters):
            return "waiting"
        return "running"


def request_mark(start: StartRun | RunStarted) -> str:
    """Digest of what a run is asked to do: its code and its arguments."""
    asked = msgspec.json.encode([start.workflow, start.module, sorted(start.arguments.items())])
    return hashlib.blake2b(asked, digest_size=16).hexdigest()


def evolve(state: RunState, recorded: Recorded) -> RunState:
    """The state after one more fact. Owns ``state``: it is changed in place and returned."""
    event = recorded.event
    state.seq = recorded.seq
    state.time = recorded.time
    kind = type(event)
    if kind in _WAKE_UPS:
        state.woken = recorded.seq
    change = _CHANGES.get(kind)
    if change is not None:
        change(state, event, recorded.time)
    return state


def fold(history: Iterable[Recorded], state: RunState | None = None) -> RunState:
    """The state after a history, or after more of it."""
    state = RunState() if state is None else state
    for recorded in history:
        evolve(state, recorded)
    return state


def _started(state: RunState, event: RunStarted, time: float) -> None:
    state.run, state.workflow, state.module, state.place = event.run, event.workflow, event.module, event.place
    state.name, state.source, state.origin = event.name, event.source, event.origin
    state.request = request_mark(event)
    state.started = time


def _close(status: str) -> Callable[[RunState, object, float], None]:
    def close(state: RunState, event: object, time: float) -> None:
        state.closed = status
        state.ended = time
        state.paused = ""
        for live in (state.steps, state.timers, state.waiters, state.unread):
            live.clear()
        for ended in (state.settled, state.maps, state.timers_ended, state.waiters_ended):
            ended.clear()

    return close


def _paused(state: RunState, event: RunPaused, time: float) -> None:
    state.paused = event.reason or "paused"


def _resumed(state: RunState, event: RunResumed, time: float) -> None:
    state.paused = ""


def _cancelling(state: RunState, event: CancelRequested, time: float) -> None:
    state.cancelling = True


def _live(state: RunState, event: StepStarted | StepAttemptFailed) -> LiveStep:
    live = state.steps.get(event.key)
    if live is None:
        live = state.steps[event.key] = LiveStep(event.step)
    live.attempt, live.item, live.site = event.attempt, event.item, event.site
    return live


def _step_started(state: RunState, event: StepStarted, time: float) -> None:
    live = _live(state, event)
    live.running, live.worker, live.started = True, event.worker, time


def _attempt_failed(state: RunState, event: StepAttemptFailed, time: float) -> None:
    live = _live(state, event)
    live.running, live.retry_at = False, event.retry_at
    if event.lost:
        live.lost += 1


def _step_settled(
    state: RunState, event: StepCompleted | StepFailed | StepCancelled | StepReused | StepSkipped, time: float
) -> None:
    state.steps.pop(event.key, None)
    state.settled.add(event.key)


def _map_started(state: RunState, event: MapStarted, time: float) -> None:
    state.maps.add(event.key)


def _timer_started(state: RunState, event: TimerStarted, time: float) -> None:
    state.timers[event.key] = LiveTimer(event.due, time, event.label)


def _timer_ended(state: RunState, event: TimerFired | TimerCancelled, time: float) -> None:
    state.timers.pop(event.key, None)
    state.timers_ended.add(event.key)


def _signal_awaited(state: RunState, event: SignalAwaited, time: float) -> None:
    if state.unread.get(event.name, 0):
        state.unread[event.name] -= 1
        state.waiters_ended.add(event.key)
    else:
        state.waiters[event.key] = LiveWaiter(event.name, time)


def _signal_dropped(state: RunState, event: SignalDropped, time: float) -> None:
    waiter = state.waiters.pop(event.key, None)
    state.waiters_ended.add(event.key)
    if waiter is None:
        # The signal was given to this waiter while its workflow was giving up: it goes to the next one.
        _hand_over(state, event.name)


def _signal_received(state: RunState, event: SignalReceived, time: float) -> None:
    if event.id:
        state.signals.add(event.id)
    _hand_over(state, event.name)


def _hand_over(state: RunState, name: str) -> None:
    key = next((key for key, waiter in state.waiters.items() if waiter.name == name), None)
    if key is None:
        state.unread[name] = state.unread.get(name, 0) + 1
    else:
        del state.waiters[key]
        state.waiters_ended.add(key)


_WAKE_UPS = frozenset(WAKE_UPS)
_CHANGES: dict[type, Callable[..., None]] = {
    RunStarted: _started,
    RunCompleted: _close("succeeded"),
    RunFailed: _close("failed"),
    RunCancelled: _close("cancelled"),
    RunPaused: _paused,
    RunResumed: _resumed,
    CancelRequested: _cancelling,
    StepStarted: _step_started,
    StepAttemptFailed: _attempt_failed,
    StepCompleted: _step_settled,
    StepFailed: _step_settled,
    StepCancelled: _step_settled,
    StepReused: _step_settled,
    StepSkipped: _step_settled,
    MapStarted: _map_started,
    TimerStarted: _timer_started,
    TimerFired: _timer_ended,
    TimerCancelled: _timer_ended,
    SignalAwaited: _signal_awaited,
    SignalDropped: _signal_dropped,
    SignalReceived: _signal_received,
}
"""What each kind of fact changes; a kind that is not here is for eyes only."""
