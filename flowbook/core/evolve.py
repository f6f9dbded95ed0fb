"""What a run's facts add up to. ``evolve`` is total: it never refuses, because facts have happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from sys import intern

from flowbook.core.events import (
    STATUS,
    WAKE_UPS,
    AttributesSet,
    CancelRequested,
    CancelSent,
    ChildLeft,
    ChildStarted,
    MapStarted,
    ObligationFailed,
    ObligationOpened,
    ObligationRetried,
    ObligationSettled,
    PatchMarked,
    Place,
    Recorded,
    RunAwaited,
    RunBegan,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunMoved,
    RunOutput,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTerminated,
    SignalAwaited,
    SignalDropped,
    SignalReceived,
    SignalSent,
    StepAttemptFailed,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStarted,
    StepStopRequested,
    StepWaiting,
    TerminateRequested,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
)
from flowbook.core.ids import Digest
from flowbook.core.state import (
    NO_RUN,
    NOBODY,
    LiveChild,
    LiveObligation,
    LiveStep,
    LiveTimer,
    LiveWaiter,
    RunState,
    Sending,
    output_mark,
    request_mark,
)


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


@lru_cache(maxsize=64)
def _shared(place: Place) -> Place:
    """The first that is equal to it."""
    return place


def _started(state: RunState, event: RunStarted, time: float) -> None:
    state.run, state.original, state.origin = event.run, event.original, event.origin
    state.place = _shared(event.place)
    # A hundred thousand open runs of one workflow keep these once.
    state.workflow, state.module = intern(event.workflow), Digest(intern(event.module))
    state.name, state.source = event.name, intern(event.source)
    state.parent, state.awaited = event.parent, event.awaited
    state.continued, state.schedule = event.continued, event.schedule
    state.queue, state.priority, state.concurrency_key = event.queue, event.priority, event.concurrency_key
    state.queued = bool(event.queue)
    state.attributes, state.memo, state.timeout = dict(event.attributes), event.memo, event.timeout
    state.request = request_mark(event)
    state.inherited = dict(event.children)
    state.signals_before, state.updates_before = dict.fromkeys(event.signals_before), event.updates_before
    state.started, state.since = time, event.since or time


def _awaited(state: RunState, event: RunAwaited, time: float) -> None:
    state.awaited = (*state.awaited, event.by)


def _began(state: RunState, event: RunBegan, time: float) -> None:
    state.queued = False


def _close(state: RunState, event: object, time: float) -> None:
    """Obligations stay: what a closed run still owes is for people to see. So do ids, for whoever asks again."""
    state.closed = STATUS[type(event).__name__]
    state.ended = time
    state.paused = ""
    for live in (state.steps, state.timers, state.waiters, state.unread, state.sending, state.updates):
        live.clear()
    for of_steps in (state.children, state.inherited, state.owed_for, state.unwanted):
        of_steps.clear()
    for ended in (state.settled, state.maps, state.timers_ended, state.waiters_ended, state.noted):
        ended.clear()


def _moved(state: RunState, event: RunMoved, time: float) -> None:
    state.module = event.module
    state.place = event.place or state.place
    state.source = event.source or state.source


def _paused(state: RunState, event: RunPaused, time: float) -> None:
    state.paused = event.reason or "paused"


def _resumed(state: RunState, event: RunResumed, time: float) -> None:
    state.paused = ""
    state.resumed = state.seq


def _cancelling(state: RunState, event: CancelRequested, time: float) -> None:
    state.cancelled = state.told = state.seq
    state.timed_out = state.timed_out or event.cause == "timeout"


def _terminating(state: RunState, event: TerminateRequested, time: float) -> None:
    state.terminating = True
    state.told = state.seq
    # It has ended, however often a worker that was lost and replaced asks for it.
    dropped = [key for key, timer in state.timers.items() if not timer.owed]
    for key in dropped:
        del state.timers[key]
    state.timers_ended.update(dict.fromkeys(dropped))
    state.waiters_ended.update((key, waiter.name) for key, waiter in state.waiters.items())
    state.settled.update(dict.fromkeys(state.sending))
    for gone in (state.waiters, state.sending):
        gone.clear()


def _attributes_set(state: RunState, event: AttributesSet, time: float) -> None:
    state.noted[event.key] = None
    for name, value in event.attributes.items():
        if value is None:
            state.attributes.pop(name, None)
        else:
            state.attributes[name] = value


def _printed(state: RunState, event: RunOutput, time: float) -> None:
    state.noted[output_mark(event.after)] = None


def _patched(state: RunState, event: PatchMarked, time: float) -> None:
    state.patches[event.id] = None


def _update_received(state: RunState, event: UpdateReceived, time: float) -> None:
    state.updates[event.id] = event.name
    state.told = state.seq


def _update_ended(state: RunState, event: UpdateCompleted | UpdateFailed, time: float) -> None:
    state.updates.pop(event.id, None)
    state.updates_ended[event.id] = None


def _owes(state: RunState, event: ObligationOpened, time: float) -> None:
    state.noted[event.key] = None
    state.obligations[event.key] = LiveObligation(event, time)
    if event.begins:
        state.owed_for[event.begins] = event.key


def _owes_no_more(state: RunState, event: ObligationSettled, time: float) -> None:
    owed = state.obligations.pop(event.key, None)
    if owed is not None:
        state.owed_for.pop(owed.opened.begins, None)


def _cannot_settle(state: RunState, event: ObligationFailed, time: float) -> None:
    owed = state.obligations.get(event.key)
    if owed is not None:
        owed.failure, owed.trying = event.failure, NO_RUN
        owed.arguments.update(event.arguments)


def _tries_again(state: RunState, event: ObligationRetried, time: float) -> None:
    owed = state.obligations.get(event.key)
    if owed is not None:
        owed.trying = event.run
        owed.tries += 1


def _unwanted(state: RunState, event: StepStopRequested, time: float) -> None:
    state.unwanted[event.key] = None


def _live(state: RunState, event: StepStarted | StepWaiting | StepAttemptFailed) -> LiveStep:
    live = state.steps.get(event.key)
    if live is None:
        live = state.steps[event.key] = LiveStep(event.step)
    live.attempt, live.item, live.site = event.attempt, event.item, event.site
    return live


def _step_started(state: RunState, event: StepStarted, time: float) -> None:
    live = _live(state, event)
    live.running, live.worker, live.started = True, event.worker, time
    live.once = live.once or event.once
    if event.external:
        live.external, live.digest, live.retry = True, event.digest, event.retry


def _step_scheduled(state: RunState, event: StepScheduled, time: float) -> None:
    live = state.steps[event.key] = LiveStep(event.step, item=event.item, site=event.site, once=event.once)
    live.queue, live.priority, live.concurrency_key = event.queue, event.priority, event.concurrency_key
    live.digest, live.retry = event.digest, event.retry


def _step_waiting(state: RunState, event: StepWaiting, time: float) -> None:
    live = _live(state, event)
    live.running, live.waiting, live.expires = True, True, event.expires
    live.worker, live.digest, live.retry = NOBODY, event.digest, event.retry
    live.started, live.losses = live.started or time, 0


def _step_beat(state: RunState, event: StepHeartbeat, time: float) -> None:
    live = state.steps.get(event.key)
    if live is not None:
        live.heartbeat = state.seq


def _attempt_failed(state: RunState, event: StepAttemptFailed, time: float) -> None:
    live = _live(state, event)
    live.running, live.waiting, live.retry_at = False, False, event.retry_at
    live.was_lost = event.lost
    live.lost += event.lost
    if not event.lost:
        live.losses = 0
    elif not event.planned:
        live.losses += 1


def _step_settled(
    state: RunState, event: StepCompleted | StepFailed | StepCancelled | StepReused | StepSkipped, time: float
) -> None:
    state.steps.pop(event.key, None)
    state.children.pop(event.key, None)
    state.sending.pop(event.key, None)
    state.settled[event.key] = None
    owed = state.obligations.get(state.owed_for[event.key]) if event.key in state.owed_for else None
    if owed is not None and isinstance(event, StepCompleted | StepReused):
        owed.result = event.value
        owed.reused = event.called_as() if isinstance(event, StepReused) else ""


def _child_started(state: RunState, event: ChildStarted, time: float) -> None:
    state.children[event.key] = LiveChild(event.run, event.step, event.close, time, event.digest, event.detached)


def _child_left(state: RunState, event: ChildLeft, time: float) -> None:
    state.inherited.pop(event.run, None)


def _sent(state: RunState, event: SignalSent | CancelSent, time: float) -> None:
    state.sending[event.key] = Sending(event.step, event.digest)


def _map_started(state: RunState, event: MapStarted, time: float) -> None:
    state.maps[event.key] = None


def _timer_started(state: RunState, event: TimerStarted, time: float) -> None:
    state.timers[event.key] = LiveTimer(event.due, time, event.label, event.owed)


def _timer_ended(state: RunState, event: TimerFired | TimerCancelled, time: float) -> None:
    state.timers.pop(event.key, None)
    state.timers_ended[event.key] = None


def _signal_awaited(state: RunState, event: SignalAwaited, time: float) -> None:
    if state.unread.get(event.name, 0):
        state.unread[event.name] -= 1
        state.waiters_ended[event.key] = event.name
    else:
        state.waiters[event.key] = LiveWaiter(event.name, time)


def _signal_dropped(state: RunState, event: SignalDropped, time: float) -> None:
    waiter = state.waiters.pop(event.key, None)
    state.waiters_ended[event.key] = event.name
    state.noted[event.key] = None
    if waiter is None:
        # The signal was given to this waiter while its workflow was giving up: it goes to the next one.
        _hand_over(state, event.name)


def _signal_received(state: RunState, event: SignalReceived, time: float) -> None:
    if event.id:
        state.signals[event.id] = None
    state.told = state.seq
    _hand_over(state, event.name)


def _hand_over(state: RunState, name: str) -> None:
    key = next((key for key, waiter in state.waiters.items() if waiter.name == name), None)
    if key is None:
        state.unread[name] = state.unread.get(name, 0) + 1
    else:
        del state.waiters[key]
        state.waiters_ended[key] = name


_WAKE_UPS = frozenset(WAKE_UPS)
_CHANGES: dict[type, Callable[..., None]] = {
    RunStarted: _started,
    RunAwaited: _awaited,
    RunBegan: _began,
    RunCompleted: _close,
    RunFailed: _close,
    RunCancelled: _close,
    RunTerminated: _close,
    RunContinued: _close,
    RunPaused: _paused,
    RunResumed: _resumed,
    RunMoved: _moved,
    CancelRequested: _cancelling,
    TerminateRequested: _terminating,
    AttributesSet: _attributes_set,
    PatchMarked: _patched,
    RunOutput: _printed,
    UpdateReceived: _update_received,
    UpdateCompleted: _update_ended,
    UpdateFailed: _update_ended,
    ObligationOpened: _owes,
    ObligationSettled: _owes_no_more,
    ObligationFailed: _cannot_settle,
    ObligationRetried: _tries_again,
    StepStopRequested: _unwanted,
    StepStarted: _step_started,
    StepScheduled: _step_scheduled,
    StepWaiting: _step_waiting,
    StepHeartbeat: _step_beat,
    StepAttemptFailed: _attempt_failed,
    StepCompleted: _step_settled,
    StepFailed: _step_settled,
    StepCancelled: _step_settled,
    StepReused: _step_settled,
    StepSkipped: _step_settled,
    MapStarted: _map_started,
    ChildStarted: _child_started,
    ChildLeft: _child_left,
    SignalSent: _sent,
    CancelSent: _sent,
    TimerStarted: _timer_started,
    TimerFired: _timer_ended,
    TimerCancelled: _timer_ended,
    SignalAwaited: _signal_awaited,
    SignalDropped: _signal_dropped,
    SignalReceived: _signal_received,
}
"""What each kind of fact changes; a kind that is not here is for eyes only."""
