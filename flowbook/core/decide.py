"""What follows from a message: all policy, and the only place that refuses. No events means "not any more".

``decide`` looks at the state and changes nothing. A worker's report is decided item by item, each after the
events of the one before, because the items of one report may build on each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from flowbook.core.events import (
    AnyEvent,
    CancelRequested,
    MapStarted,
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
    StepOutput,
    StepReused,
    StepSkipped,
    StepStarted,
    TimerCancelled,
    TimerFired,
    TimerStarted,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Key
from flowbook.core.messages import (
    AnyMessage,
    AttemptFailed,
    CancelRun,
    PauseRun,
    ResumeRun,
    SendSignal,
    StartRun,
    TimerDue,
    WorkerLost,
)
from flowbook.core.state import LiveStep, RunState, request_mark
from flowbook.errors import RunClosed, RunConflict, UnknownRun

LOST_ATTEMPTS = 5
"""After so many lost attempts a step has failed: what kills its workers is probably the step."""

Decision = Sequence[AnyEvent]
NO_EVENTS: Decision = ()


def decide(state: RunState, message: AnyMessage, now: float) -> Decision:
    """The events that follow from ``message`` at ``now``. Raises where the sender has to be told."""
    return _POLICIES[type(message)](state, message, now)


def _start(state: RunState, message: StartRun, now: float) -> Decision:
    if state.seq:
        if request_mark(message) == state.request:
            return NO_EVENTS
        raise RunConflict(
            f'run "{message.run}" exists already and was started with other code or other arguments. '
            "Give the new run another id, or leave the id out."
        )
    return (
        RunStarted(
            run=message.run,
            workflow=message.workflow,
            module=message.module,
            place=message.place,
            arguments=message.arguments,
            name=message.name,
            source=message.source,
            origin=message.origin,
            seed=message.seed,
        ),
    )


def _signal(state: RunState, message: SendSignal, now: float) -> Decision:
    _require_known(state)
    if message.id and message.id in state.signals:
        return NO_EVENTS
    if state.closed:
        raise RunClosed(f'run "{state.run}" has {state.closed}, so it can take no signal "{message.name}" any more.')
    return (SignalReceived(name=message.name, value=message.value, id=message.id),)


def _cancel(state: RunState, message: CancelRun, now: float) -> Decision:
    _require_known(state)
    if state.closed:
        return NO_EVENTS
    if state.paused:
        # The first request lets the code run its clean-up; where it cannot run at all, the second one closes.
        if state.cancelling:
            return (RunCancelled(reason=message.reason or "cancelled while paused; no clean-up ran"),)
        return (RunResumed(), CancelRequested(reason=message.reason))
    if state.cancelling:
        return NO_EVENTS
    return (CancelRequested(reason=message.reason),)


def _resume(state: RunState, message: ResumeRun, now: float) -> Decision:
    _require_known(state)
    if state.closed:
        raise RunClosed(f'run "{state.run}" has {state.closed}; only a paused run can be resumed.')
    return (RunResumed(),) if state.paused else NO_EVENTS


def _pause(state: RunState, message: PauseRun | RunPaused, now: float) -> Decision:
    if state.closed or state.paused:
        return NO_EVENTS
    return (RunPaused(reason=message.reason, difference=message.difference),)


def _timer_due(state: RunState, message: TimerDue, now: float) -> Decision:
    timer = state.timers.get(message.key)
    if timer is None or timer.due > now or state.closed or state.paused:
        return NO_EVENTS
    return (TimerFired(key=message.key, due=timer.due),)


def _worker_lost(state: RunState, message: WorkerLost, now: float) -> Decision:
    if state.closed:
        return NO_EVENTS
    failure = Failure(type="WorkerLost", message=f"the worker was lost while the step ran: {message.reason}")
    return [
        _lost(key, live, failure, now)
        for key, live in state.steps.items()
        if live.running and live.worker == message.worker
    ]


def _lost(key: Key, live: LiveStep, failure: Failure, now: float) -> AnyEvent:
    if live.lost + 1 >= LOST_ATTEMPTS:
        return StepFailed(
            key=key,
            step=live.step,
            failure=failure,
            attempt=live.attempt,
            lost=True,
            started=live.started,
            item=live.item,
            site=live.site,
        )
    return StepAttemptFailed(
        key=key,
        step=live.step,
        attempt=live.attempt,
        failure=failure,
        retry_at=now,
        lost=True,
        started=live.started,
        item=live.item,
        site=live.site,
    )


def _attempt_failed(state: RunState, message: AttemptFailed, now: float) -> Decision:
    if not _is_current(state, message):
        return NO_EVENTS
    live = state.steps.get(message.key)
    counted = message.attempt - (live.lost if live else 0)
    if not message.retry.allows(counted, message.failure):
        return (
            StepFailed(
                key=message.key,
                step=message.step,
                failure=message.failure,
                digest=message.digest,
                attempt=message.attempt,
                started=message.started,
                output=message.output,
                item=message.item,
                site=message.site,
            ),
        )
    spread = _spread(state, message) if message.retry.jitter else 0.0
    return (
        StepAttemptFailed(
            key=message.key,
            step=message.step,
            attempt=message.attempt,
            failure=message.failure,
            retry_at=now + message.retry.interval(counted, spread),
            started=message.started,
            output=message.output,
            item=message.item,
            site=message.site,
        ),
    )


def _spread(state: RunState, message: AttemptFailed) -> float:
    """Where in the jitter this attempt falls, -1 to 1: the same for the same attempt, for ever."""
    mark = f"{state.run}\0{message.key}\0{message.attempt}".encode()
    drawn = int.from_bytes(hashlib.blake2b(mark, digest_size=8).digest(), "big")
    return drawn / (2**63) - 1.0


def _is_current(state: RunState, report: StepStarted | StepOutput | StepCompleted | AttemptFailed) -> bool:
    """False for a step that has ended and for an attempt that was given up: both decide nothing."""
    if state.closed or report.key in state.settled:
        return False
    live = state.steps.get(report.key)
    if live is None or report.attempt > live.attempt:
        return True
    return live.running and report.attempt == live.attempt


def _step_started(state: RunState, message: StepStarted, now: float) -> Decision:
    live = state.steps.get(message.key)
    known = live is not None and live.attempt >= message.attempt
    return NO_EVENTS if known or not _is_current(state, message) else (message,)


def _step_report(state: RunState, message: StepCompleted | StepOutput, now: float) -> Decision:
    return (message,) if _is_current(state, message) else NO_EVENTS


def _step_ended(state: RunState, message: StepCancelled | StepReused | StepSkipped, now: float) -> Decision:
    return NO_EVENTS if state.closed or message.key in state.settled else (message,)


def _map_started(state: RunState, message: MapStarted, now: float) -> Decision:
    return NO_EVENTS if state.closed or message.key in state.maps else (message,)


def _timer_started(state: RunState, message: TimerStarted, now: float) -> Decision:
    known = message.key in state.timers or message.key in state.timers_ended
    return NO_EVENTS if state.closed or known else (message,)


def _timer_taken_over(state: RunState, message: TimerFired, now: float) -> Decision:
    return (message,) if message.key in state.timers else NO_EVENTS


def _signal_taken_over(state: RunState, message: SignalReceived, now: float) -> Decision:
    known = message.id and message.id in state.signals
    return NO_EVENTS if state.closed or known else (message,)


def _timer_cancelled(state: RunState, message: TimerCancelled, now: float) -> Decision:
    return (message,) if message.key in state.timers else NO_EVENTS


def _signal_awaited(state: RunState, message: SignalAwaited, now: float) -> Decision:
    known = message.key in state.waiters or message.key in state.waiters_ended
    return NO_EVENTS if state.closed or known else (message,)


def _signal_dropped(state: RunState, message: SignalDropped, now: float) -> Decision:
    known = message.key in state.waiters or message.key in state.waiters_ended
    return (message,) if known and not state.closed else NO_EVENTS


def _closing(state: RunState, message: RunCompleted | RunFailed | RunCancelled, now: float) -> Decision:
    return NO_EVENTS if state.closed else (message,)


def _require_known(state: RunState) -> None:
    if not state.seq:
        raise UnknownRun("no run has this id in this project's history.")


_POLICIES: dict[type, Callable[..., Decision]] = {
    StartRun: _start,
    SendSignal: _signal,
    CancelRun: _cancel,
    ResumeRun: _resume,
    PauseRun: _pause,
    TimerDue: _timer_due,
    WorkerLost: _worker_lost,
    AttemptFailed: _attempt_failed,
    StepStarted: _step_started,
    StepOutput: _step_report,
    StepCompleted: _step_report,
    StepCancelled: _step_ended,
    StepReused: _step_ended,
    StepSkipped: _step_ended,
    MapStarted: _map_started,
    TimerStarted: _timer_started,
    TimerFired: _timer_taken_over,
    SignalReceived: _signal_taken_over,
    TimerCancelled: _timer_cancelled,
    SignalAwaited: _signal_awaited,
    SignalDropped: _signal_dropped,
    RunCompleted: _closing,
    RunFailed: _closing,
    RunCancelled: _closing,
    RunPaused: _pause,
}
