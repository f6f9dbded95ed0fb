"""What is reported of an attempt: that it began, and how it ended."""

from __future__ import annotations

from flowbook.core import events as e
from flowbook.core.events import Chunk
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, RunId, WorkerId
from flowbook.core.messages import AttemptFailed, Ran
from flowbook.core.retry import ONCE
from flowbook.core.value import Value
from flowbook.runtime.commands import StepCall

_NO_DIGEST = Digest("")


def ran(call: StepCall, run: RunId) -> Ran:
    """What is to be known of it should its worker die."""
    command = call.command
    return Ran(run, command.key, command.step.name, call.attempt, command.item, command.site)


def started(call: StepCall, worker: WorkerId) -> e.StepStarted:
    """It runs. Of an external step this says all that is needed to finish it from outside."""
    command, external = call.command, call.command.step.external
    return e.StepStarted(
        key=command.key,
        step=command.step.name,
        attempt=call.attempt,
        worker=worker,
        item=command.item,
        site=command.site,
        once=command.step.at_most_once,
        external=external,
        digest=command.digest if external else _NO_DIGEST,
        retry=command.step.retry if external else ONCE,
    )


def waiting(call: StepCall, began: float) -> e.StepWaiting:
    """Its part is done; the result will come from outside, in what is left of its time."""
    command, limit = call.command, call.command.step.timeout
    return e.StepWaiting(
        key=command.key,
        step=command.step.name,
        attempt=call.attempt,
        digest=command.digest,
        expires=0.0 if limit is None else began + limit,
        retry=command.step.retry,
        item=command.item,
        site=command.site,
    )


def completed(call: StepCall, value: Value, began: float, output: tuple[Chunk, ...]) -> e.StepCompleted:
    """It gave ``value``; ``output`` is what was not yet reported."""
    command = call.command
    return e.StepCompleted(
        key=command.key,
        step=command.step.name,
        value=value,
        digest=command.digest,
        attempt=call.attempt,
        started=began,
        output=output,
        item=command.item,
        site=command.site,
    )


def failed(call: StepCall, failure: Failure, began: float = 0.0, output: tuple[Chunk, ...] = ()) -> AttemptFailed:
    """It failed; what follows is the engine's decision."""
    command = call.command
    return AttemptFailed(
        key=command.key,
        step=command.step.name,
        attempt=call.attempt,
        failure=failure,
        retry=command.step.retry,
        digest=command.digest,
        started=began,
        output=output,
        item=command.item,
        site=command.site,
    )


def cancelled(call: StepCall) -> e.StepCancelled:
    """It was stopped because nobody wanted it any more."""
    command = call.command
    return e.StepCancelled(key=command.key, step=command.step.name, attempt=call.attempt, item=command.item)
