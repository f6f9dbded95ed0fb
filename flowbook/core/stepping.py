"""Decisions about steps: which report still counts, what a failed or lost attempt leads to, who may finish a step.

Part of ``decide``, which alone calls it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from flowbook.core.chains import root
from flowbook.core.events import (
    AnyEvent,
    CancelSent,
    ChildLeft,
    ChildStarted,
    SignalSent,
    StepAttemptFailed,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepOutput,
    StepProgress,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStarted,
    StepWaiting,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Key
from flowbook.core.messages import (
    AttemptFailed,
    ChildEnded,
    CompleteStep,
    Ran,
    SignalDelivered,
    StepExpired,
    WorkerLost,
)
from flowbook.core.state import LiveStep, RunState
from flowbook.core.value import NOTHING
from flowbook.errors import UserError

LOST_ATTEMPTS = 5
"""After so many workers lost in a row a step has failed: what kills them is probably the step."""

Decision = Sequence[AnyEvent]
NO_EVENTS: Decision = ()


def worker_lost(state: RunState, message: WorkerLost, now: float) -> Decision:
    """Every attempt that ran there is lost, and due again."""
    if state.closed:
        return NO_EVENTS
    failure = Failure(type="WorkerLost", message=f"the worker was lost while the step ran: {message.reason}")
    suspects = None if message.ran is None else {ran.key for ran in message.ran}
    events = [
        _lost(key, live, failure, now, planned=message.planned or (suspects is not None and key not in suspects))
        for key, live in state.steps.items()
        if live.running and live.worker == message.worker and not live.waiting and not (message.own and live.queue)
    ]
    return events + [
        _lost(ran.key, _unreported(state, ran), failure, now, planned=message.planned)
        for ran in message.ran or ()
        if _is_new(state, ran)
    ]


def _is_new(state: RunState, ran: Ran) -> bool:
    """True for an attempt that had begun and of which nothing was said yet."""
    live = state.steps.get(ran.key)
    return ran.key not in state.settled and (live is None or live.attempt < ran.attempt)


def _unreported(state: RunState, ran: Ran) -> LiveStep:
    live = state.steps.get(ran.key, LiveStep(ran.step))
    return replace(live, attempt=ran.attempt, item=ran.item, site=ran.site)


def interrupted(state: RunState, now: float) -> Decision:
    """The run is paused: what its worker was doing is given up, and begun again when the run goes on."""
    failure = Failure(type="RunPaused", message="the run was paused while the step ran")
    return [
        _lost(key, live, failure, now, planned=True)
        for key, live in state.steps.items()
        if live.running and not live.waiting and not live.queue
    ]


def _lost(key: Key, live: LiveStep, failure: Failure, now: float, *, planned: bool) -> AnyEvent:
    given_up = not planned and live.losses + 1 >= LOST_ATTEMPTS
    if live.once:
        failure = Failure(
            type="Interrupted",
            message=f"{failure.message}. It is an at_most_once step, so it is not tried again: "
            "whether it did its work is not known",
            retryable=False,
        )
    elif given_up:
        text = f"{failure.message}. That was the {LOST_ATTEMPTS}th time in a row, so it is not tried again"
        failure = Failure(type=failure.type, message=text)
    if live.once or given_up:
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
        planned=planned,
        started=live.started,
        item=live.item,
        site=live.site,
    )


def attempt_failed(state: RunState, message: AttemptFailed, now: float) -> Decision:
    """Another attempt, or the end of the step, as its retry policy says."""
    if not is_current(state, message):
        return NO_EVENTS
    live = state.steps.get(message.key)
    counted = message.attempt - (live.lost if live else 0)
    final = (live is not None and live.once) or message.key in state.unwanted
    if final or not message.retry.allows(counted, message.failure):
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
            retry_at=now + message.retry.interval(counted, spread, message.failure),
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


Report = StepStarted | StepOutput | StepProgress | StepHeartbeat | StepWaiting | StepCompleted | AttemptFailed


def is_current(state: RunState, report: Report) -> bool:
    """Whether the report counts: not that of an ended step, of an attempt given up, of a child or of a signal."""
    if state.closed or report.key in state.settled:
        return False
    live = state.steps.get(report.key)
    if live is None:
        return report.key not in state.children and report.key not in state.sending
    if report.attempt > live.attempt:
        return True
    return live.running and report.attempt == live.attempt


def started(state: RunState, message: StepStarted, now: float) -> Decision:
    """The first report of an attempt counts. A step that runs at most once, or waits outside, has no second one."""
    live = state.steps.get(message.key)
    known = live is not None and (live.waiting or live.attempt >= message.attempt)
    if known or not is_current(state, message):
        return NO_EVENTS
    if live is not None and live.once and live.attempt:
        failure = Failure(type="Interrupted", message="it had begun before")
        return (_lost(message.key, live, failure, now, planned=True),)
    return (message,)


def reported(
    state: RunState, message: StepCompleted | StepOutput | StepProgress | StepHeartbeat | StepWaiting, now: float
) -> Decision:
    """What the current attempt says is a fact."""
    return (message,) if is_current(state, message) else NO_EVENTS


def waits_outside(state: RunState, message: StepWaiting, now: float) -> Decision:
    """An attempt is handed to the world once, and what another run has to do is not."""
    live = state.steps.get(message.key)
    if message.key in state.children or message.key in state.sending:
        return NO_EVENTS
    known = live is not None and live.waiting and live.attempt == message.attempt
    return NO_EVENTS if known else reported(state, message, now)


def begun(state: RunState, message: StepScheduled | ChildStarted | SignalSent | CancelSent, now: float) -> Decision:
    """Work for somebody else is handed out once."""
    known = message.key in state.settled or message.key in state.steps
    known = known or message.key in state.children or message.key in state.sending
    return NO_EVENTS if state.closed or known else (message,)


def ended(state: RunState, message: StepCancelled | StepReused | StepSkipped, now: float) -> Decision:
    """A step ends once, and what waits outside is not taken from another run any more."""
    live = state.steps.get(message.key)
    is_outside = live is not None and live.waiting and not isinstance(message, StepCancelled)
    return NO_EVENTS if state.closed or is_outside or message.key in state.settled else (message,)


def child_ended(state: RunState, message: ChildEnded, now: float) -> Decision:
    """The child's end is the call's result, where it was this run that called."""
    if state.closed:
        return NO_EVENTS
    ended = root(message.run)
    child = state.children.get(message.key)
    if child is None or root(child.run) != ended:
        return [ChildLeft(run) for run in state.inherited if root(run) == ended]
    if message.failure is not None:
        failed = StepFailed(message.key, child.step, message.failure, child.digest, started=child.since)
        return (failed,)
    return (StepCompleted(message.key, child.step, message.value or NOTHING, child.digest, started=child.since),)


def signal_delivered(state: RunState, message: SignalDelivered, now: float) -> Decision:
    """A signal or a cancellation that was sent has arrived, or was refused."""
    sent = state.sending.get(message.key)
    if sent is None or state.closed:
        return NO_EVENTS
    if message.failure is not None:
        return (StepFailed(message.key, sent.step, message.failure, sent.digest),)
    return (StepCompleted(message.key, sent.step, NOTHING, sent.digest),)


def completed_outside(state: RunState, message: CompleteStep, now: float) -> Decision:
    """Somebody finishes a step by its token. Raises UserError where it no longer waits for that."""
    live = state.steps.get(message.key)
    if live is None or not _may_complete(live, message) or state.closed:
        if message.key in state.settled or state.closed:
            why = "it has ended" if message.key in state.settled else f"its run {state.ending}"
        else:
            why = "it is not waiting for it (any more)"
        raise UserError(f"the step cannot be completed with this token: {why}.")
    if message.failure is None:
        return (
            StepCompleted(
                key=message.key,
                step=live.step,
                value=message.value or NOTHING,
                digest=live.digest,
                attempt=live.attempt,
                started=live.started,
                item=live.item,
                site=live.site,
            ),
        )
    return attempt_failed(state, _from_outside(message.key, live, message.failure), now)


def _may_complete(live: LiveStep, message: CompleteStep) -> bool:
    """A result of any attempt is the step's; a failure is only that of the attempt whose token it came with."""
    if live.external and message.failure is None:
        return 1 <= message.attempt <= live.attempt
    return live.running and (live.waiting or live.external) and message.attempt == live.attempt


def expired(state: RunState, message: StepExpired, now: float) -> Decision:
    """The result that was to come from outside did not come in time."""
    live = state.steps.get(message.key)
    if live is None or not live.waiting or not live.expires or live.expires > now:
        return NO_EVENTS
    failure = Failure(type="TimeoutError", message=f"step '{live.step}' was not completed from outside in time")
    return attempt_failed(state, _from_outside(message.key, live, failure), now)


def _from_outside(key: Key, live: LiveStep, failure: Failure) -> AttemptFailed:
    return AttemptFailed(
        key=key,
        step=live.step,
        attempt=live.attempt,
        failure=failure,
        retry=live.retry,
        digest=live.digest,
        started=live.started,
        item=live.item,
        site=live.site,
    )
