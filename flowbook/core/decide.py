"""What follows from a message: all policy, and the only place that refuses. No events means "not any more".

``decide`` looks at the state and changes nothing. A worker's report is decided item by item, each after the
events of the one before, because the items of one report may build on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flowbook.core import owing, stepping, unwanted
from flowbook.core.chains import is_same_start, started
from flowbook.core.duration import spoken
from flowbook.core.events import (
    AnyEvent,
    AttributesSet,
    CancelRequested,
    CancelSent,
    ChildStarted,
    MapStarted,
    ObligationFailed,
    ObligationOpened,
    ObligationSettled,
    Parent,
    PatchMarked,
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
    RunTerminated,
    SignalAwaited,
    SignalDropped,
    SignalReceived,
    SignalSent,
    StepCancelled,
    StepCompleted,
    StepHeartbeat,
    StepOutput,
    StepProgress,
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
from flowbook.core.failure import Failure
from flowbook.core.messages import (
    AnyMessage,
    AttemptFailed,
    CancelRun,
    ChildEnded,
    CompleteStep,
    MoveRun,
    PauseRun,
    ResumeRun,
    RetryObligation,
    RunTimedOut,
    SendSignal,
    SendUpdate,
    SettleObligation,
    SignalDelivered,
    StartRun,
    StepExpired,
    TerminateRun,
    TimerDue,
    WorkerLost,
)
from flowbook.core.state import RunState, output_mark
from flowbook.errors import RunClosed, RunConflict, UnknownRun

Decision = Sequence[AnyEvent]
NO_EVENTS: Decision = ()


def decide(state: RunState, message: AnyMessage, now: float) -> Decision:
    """The events that follow from ``message`` at ``now``. Raises where the sender has to be told."""
    return _POLICIES[type(message)](state, message, now)


def _start(state: RunState, message: StartRun, now: float) -> Decision:
    signals = [event for signal in message.signals for event in _first_signal(state, signal)]
    if not state.seq:
        return (started(message), *signals)
    if message.on_conflict == "fail":
        how = state.ending if state.closed else f"is {state.status}"
        raise RunConflict(f'run "{message.run}" exists already: it {how}. Give the new run another id.')
    if message.on_conflict != "use_existing" and not is_same_start(message, state):
        raise RunConflict(
            f'run "{message.run}" exists already and was started with other code or other arguments. '
            "Give the new run another id, or leave the id out."
        )
    if message.parent is not None:
        return _called_again(state, message.parent, signals)
    if state.closed and signals:
        consequence = f'it can take no signal "{message.signals[0].name}" with its start'
        raise RunClosed(f'run "{state.run}" {state.ending}, so {consequence}. on_closed="allow" starts a new one.')
    return signals


def _called_again(state: RunState, parent: Parent, signals: list[AnyEvent]) -> Decision:
    """A run would have it as its child (``use_existing``): it is told its end, as far as there is one to come."""
    if state.closed:
        raise RunConflict(f'run "{state.run}" {state.ending} already, so it can be nobody\'s child any more.')
    known = parent in (state.parent, *state.awaited)
    return signals if known else (RunAwaited(by=parent), *signals)


def _first_signal(state: RunState, message: SendSignal) -> Decision:
    if state.has_heard(message.id):
        return NO_EVENTS
    return (SignalReceived(name=message.name, value=message.value, id=message.id),)


def _signal(state: RunState, message: SendSignal, now: float) -> Decision:
    _require_known(state)
    if state.has_heard(message.id):
        return NO_EVENTS
    _require_open(state, f'it can take no signal "{message.name}" any more')
    return (SignalReceived(name=message.name, value=message.value, id=message.id),)


def _update(state: RunState, message: SendUpdate, now: float) -> Decision:
    _require_known(state)
    if message.id in state.updates or state.has_ended(message.id):
        return NO_EVENTS
    _require_open(state, f'it can take no update "{message.name}" any more')
    return (UpdateReceived(id=message.id, name=message.name, arguments=message.arguments, keywords=message.keywords),)


def _update_ended(state: RunState, message: UpdateCompleted | UpdateFailed, now: float) -> Decision:
    return (message,) if message.id in state.updates and not state.closed else NO_EVENTS


def _began(state: RunState, message: RunBegan, now: float) -> Decision:
    return NO_EVENTS if state.closed or state.paused or not state.queued else (message,)


def _cancel(state: RunState, message: CancelRun, now: float) -> Decision:
    _require_known(state)
    if state.closed:
        return NO_EVENTS
    if state.queued:
        # Its code has not begun: there is nothing to clean up.
        return (_stopped(message),)
    if state.paused:
        # The first request lets the code run its clean-up; where it cannot run at all, the second one closes.
        if _cannot_run(state):
            return (RunCancelled(reason=message.reason or "cancelled while paused; no clean-up ran"),)
        return (RunResumed(), CancelRequested(reason=message.reason))
    if state.terminating or state.cancelled == state.seq:
        # Where nothing has happened since, it is the same request; else the code knows what it is doing.
        return NO_EVENTS
    return (CancelRequested(reason=message.reason, cause=message.cause, carried=message.carried),)


def _cannot_run(state: RunState) -> bool:
    """True where it was resumed to be cancelled, and paused again before its code had done anything."""
    return state.cancelled == state.resumed + 1 == state.seq - 1


def _stopped(message: CancelRun) -> AnyEvent:
    if message.cause == "timeout":
        return RunFailed(failure=Failure(type="TimeoutError", message=message.reason))
    return RunCancelled(reason=message.reason)


def _timed_out(state: RunState, message: RunTimedOut, now: float) -> Decision:
    if state.closed or not state.deadline or state.deadline > now:
        return NO_EVENTS
    text = _too_long(state)
    if state.paused or state.queued:
        why = f"was paused: {state.paused}" if state.paused else f"waited all of it in queue '{state.queue}'"
        return (RunFailed(failure=Failure(type="TimeoutError", message=f"{text}, and {why}")),)
    return (CancelRequested(reason=text, cause="timeout"),)


def _too_long(state: RunState) -> str:
    return f"the run took longer than its timeout of {spoken(state.timeout)}"


def _terminate(state: RunState, message: TerminateRun, now: float) -> Decision:
    _require_known(state)
    if state.closed:
        return NO_EVENTS
    owes = any(not owed.failed for owed in state.obligations.values())
    if message.now or state.paused or not owes:
        return (RunTerminated(reason=message.reason),)
    return NO_EVENTS if state.terminating else (TerminateRequested(reason=message.reason),)


def _move(state: RunState, message: MoveRun, now: float) -> Decision:
    _require_known(state)
    _require_open(state, "it cannot be moved to other code; fork it instead")
    moved = RunMoved(module=message.module, place=message.place, source=message.source, names=message.names)
    return (moved, RunResumed()) if state.paused else (moved,)


def _resume(state: RunState, message: ResumeRun, now: float) -> Decision:
    _require_known(state)
    _require_open(state, "only a paused run can be resumed")
    return (RunResumed(),) if state.paused else NO_EVENTS


def _pause(state: RunState, message: PauseRun | RunPaused, now: float) -> Decision:
    if state.closed or state.paused:
        return NO_EVENTS
    return (*stepping.interrupted(state, now), RunPaused(reason=message.reason, difference=message.difference))


def _timer_due(state: RunState, message: TimerDue, now: float) -> Decision:
    timer = state.timers.get(message.key)
    if timer is None or timer.due > now or state.closed or state.paused:
        return NO_EVENTS
    return (TimerFired(key=message.key, due=timer.due),)


def _map_started(state: RunState, message: MapStarted, now: float) -> Decision:
    return NO_EVENTS if state.closed or message.key in state.maps else (message,)


def _timer_started(state: RunState, message: TimerStarted, now: float) -> Decision:
    known = message.key in state.timers or message.key in state.timers_ended
    return NO_EVENTS if state.closed or known else (message,)


def _timer_taken_over(state: RunState, message: TimerFired, now: float) -> Decision:
    return (message,) if message.key in state.timers else NO_EVENTS


def _signal_taken_over(state: RunState, message: SignalReceived, now: float) -> Decision:
    return NO_EVENTS if state.closed or state.has_heard(message.id) else (message,)


def _timer_cancelled(state: RunState, message: TimerCancelled, now: float) -> Decision:
    return (message,) if message.key in state.timers else NO_EVENTS


def _signal_awaited(state: RunState, message: SignalAwaited, now: float) -> Decision:
    known = message.key in state.waiters or message.key in state.waiters_ended
    return NO_EVENTS if state.closed or known else (message,)


def _signal_dropped(state: RunState, message: SignalDropped, now: float) -> Decision:
    waiter = state.waiters.get(message.key)
    awaited = waiter.name if waiter is not None else state.waiters_ended.get(message.key)
    again = message.key in state.noted
    return (message,) if awaited == message.name and not again and not state.closed else NO_EVENTS


def _closing(state: RunState, message: RunCompleted | RunFailed | RunCancelled | RunTerminated, now: float) -> Decision:
    return NO_EVENTS if state.closed else (message,)


def _continued(state: RunState, message: RunContinued, now: float) -> Decision:
    """Not while something was said that the code has not seen: it asks again, with that carried over."""
    if state.closed or state.terminating or message.seen < state.told:
        return NO_EVENTS
    if state.deadline and state.deadline <= now:
        return _timed_out(state, RunTimedOut(), now)
    if state.timed_out and message.cancel is None:
        # Its code was told, and would go on for ever in ever new runs.
        return (RunFailed(failure=Failure(type="TimeoutError", message=_too_long(state))),)
    return (message,)


def _attributes(state: RunState, message: AttributesSet, now: float) -> Decision:
    return NO_EVENTS if state.closed or message.key in state.noted else (message,)


def _printed(state: RunState, message: RunOutput, now: float) -> Decision:
    return NO_EVENTS if state.closed or output_mark(message.after) in state.noted else (message,)


def _patched(state: RunState, message: PatchMarked, now: float) -> Decision:
    return NO_EVENTS if state.closed or message.id in state.patches else (message,)


def _child_ended(state: RunState, message: ChildEnded, now: float) -> Decision:
    return owing.trial_ended(state, message, now) or stepping.child_ended(state, message, now)


def _require_known(state: RunState) -> None:
    if not state.seq:
        raise UnknownRun("no run has this id in this project's history.")


def _require_open(state: RunState, consequence: str) -> None:
    if state.closed:
        raise RunClosed(f'run "{state.run}" {state.ending}, so {consequence}.')


_POLICIES: dict[type, Callable[..., Decision]] = {
    StartRun: _start,
    SendSignal: _signal,
    SendUpdate: _update,
    RunBegan: _began,
    CancelRun: _cancel,
    TerminateRun: _terminate,
    ResumeRun: _resume,
    PauseRun: _pause,
    MoveRun: _move,
    TimerDue: _timer_due,
    RunTimedOut: _timed_out,
    StepExpired: stepping.expired,
    CompleteStep: stepping.completed_outside,
    ChildEnded: _child_ended,
    SignalDelivered: stepping.signal_delivered,
    WorkerLost: stepping.worker_lost,
    AttemptFailed: stepping.attempt_failed,
    StepStarted: stepping.started,
    StepScheduled: stepping.begun,
    StepWaiting: stepping.waits_outside,
    StepOutput: stepping.reported,
    StepProgress: stepping.reported,
    StepHeartbeat: stepping.reported,
    StepCompleted: stepping.reported,
    StepCancelled: stepping.ended,
    StepStopRequested: unwanted.stop_requested,
    StepReused: stepping.ended,
    StepSkipped: stepping.ended,
    MapStarted: _map_started,
    ChildStarted: stepping.begun,
    SignalSent: stepping.begun,
    CancelSent: stepping.begun,
    TimerStarted: _timer_started,
    TimerFired: _timer_taken_over,
    SignalReceived: _signal_taken_over,
    TimerCancelled: _timer_cancelled,
    SignalAwaited: _signal_awaited,
    SignalDropped: _signal_dropped,
    UpdateCompleted: _update_ended,
    UpdateFailed: _update_ended,
    AttributesSet: _attributes,
    PatchMarked: _patched,
    RunOutput: _printed,
    ObligationOpened: owing.opened,
    ObligationSettled: owing.ended,
    ObligationFailed: owing.ended,
    SettleObligation: owing.settled,
    RetryObligation: owing.retried,
    RunCompleted: _closing,
    RunFailed: _closing,
    RunCancelled: _closing,
    RunTerminated: _closing,
    RunContinued: _continued,
    RunPaused: _pause,
}
