"""Each fact in one short sentence, for people who read a history as text."""

from __future__ import annotations

from flowbook.core import events as e
from flowbook.core.failure import Failure

ROOM = 100


def describe(event: e.AnyEvent) -> str:
    """The fact as one sentence, without its time."""
    match event:
        case e.StepStarted() | e.StepOutput() | e.StepProgress() | e.StepHeartbeat() | e.StepWaiting():
            return f"{_step(event)} {_going(event)}"
        case e.StepStopRequested():
            return f"{_step(event)} was told that nobody needs its result any more"
        case e.StepCompleted() | e.StepReused() | e.StepSkipped() | e.StepCancelled() | e.StepScheduled():
            return f"{_step(event)} {_ended(event)}"
        case e.StepAttemptFailed():
            how = "was stopped" if event.planned else "was lost" if event.lost else "failed"
            return f"{_step(event)} {how} and will be tried again: {_failure(event.failure)}"
        case e.StepFailed():
            return f"{_step(event)} {'was lost' if event.lost else 'failed'}: {_failure(event.failure)}"
        case e.MapStarted():
            return f"{event.step} has {event.total} items"
        case e.ChildStarted():
            return f"{event.step} was started as child run {event.run}"
        case _:
            return _of_the_run(event) or _of_others(event)


def _going(event: e.StepStarted | e.StepOutput | e.StepProgress | e.StepHeartbeat | e.StepWaiting) -> str:
    match event:
        case e.StepStarted():
            return f"began on worker {event.worker}" if event.worker else "began"
        case e.StepOutput():
            return f"printed {sum(len(chunk.text) for chunk in event.output)} characters"
        case e.StepProgress():
            share = f"{event.done:g} of {event.total:g}" if event.total else f"{event.done:g}"
            return f"has done {share}" + (f": {event.text}" if event.text else "")
        case e.StepHeartbeat():
            return "gave a sign of life"
        case e.StepWaiting():
            return "waits for an answer from outside"


def _ended(event: e.StepCompleted | e.StepReused | e.StepSkipped | e.StepCancelled | e.StepScheduled) -> str:
    match event:
        case e.StepCompleted():
            return "is done"
        case e.StepReused():
            return f"was taken from {event.run or 'another run'}"
        case e.StepSkipped():
            return "was skipped" + _because(event.reason)
        case e.StepCancelled():
            return "was cancelled"
        case e.StepScheduled():
            return f"was put on queue {event.queue}"


def _of_the_run(event: e.AnyEvent) -> str:
    match event:
        case e.RunStarted():
            after = f", going on from {event.continued}" if event.continued else ""
            return f"run {event.run} of {event.workflow} started{after}"
        case e.RunBegan():
            return "the run left its queue and began"
        case e.RunCompleted():
            return "the run succeeded"
        case e.RunFailed():
            return f"the run failed{f' in {event.step}' if event.step else ''}: {_failure(event.failure)}"
        case e.RunCancelled():
            return "the run was cancelled" + _because(event.reason)
        case e.RunTerminated():
            return "the run was terminated" + _because(event.reason)
        case e.RunContinued():
            return f"the run went on as {event.run or 'another one, where it was imported from'}"
        case e.RunPaused():
            return "the run was paused" + _because(event.reason)
        case e.RunResumed():
            return "the run was resumed"
        case e.RunAwaited():
            return f"run {event.by.run} waits for its end as well"
        case e.RunMoved():
            return "the run moved to other code" + _because(event.source)
        case e.CancelRequested():
            asked = "the run's time is up" if event.cause == "timeout" else "the run was asked to stop"
            return asked + _because(event.reason)
        case e.TerminateRequested():
            return "the run is to be terminated" + _because(event.reason)
        case e.AttributesSet():
            return "attributes were set: " + ", ".join(f"{name}={value!r}" for name, value in event.attributes.items())
        case e.RunOutput():
            return f"the workflow's code printed {sum(len(chunk.text) for chunk in event.output)} characters"
        case e.PatchMarked():
            return f"the run takes the new branch of '{event.id}'"
        case _:
            return ""


def _of_others(event: e.AnyEvent) -> str:
    match event:
        case e.TimerStarted():
            return f"timer{f' {event.label}' if event.label else ''} was set"
        case e.TimerFired():
            return "a timer's time came"
        case e.TimerCancelled():
            return "a timer is no longer needed"
        case e.SignalAwaited():
            return f"the run waits for signal '{event.name}'"
        case e.SignalDropped():
            return f"the run stopped waiting for signal '{event.name}'"
        case e.SignalReceived():
            return f"signal '{event.name}' came"
        case e.ChildLeft():
            return f"child run {event.run}, started by an earlier run, has ended"
        case e.SignalSent():
            return f"signal '{event.name}' is sent to {event.run}"
        case e.CancelSent():
            return f"run {event.run} is asked to stop{_because(event.reason)}"
        case e.UpdateReceived():
            return f"update '{event.name}' came"
        case e.UpdateCompleted():
            return f"update '{event.name}' was answered"
        case e.UpdateFailed():
            return f"update '{event.name}' {'was rejected' if event.rejected else 'failed'}: {_failure(event.failure)}"
        case e.ObligationOpened():
            return f"the run owes '{event.name}' outside ({event.what})"
        case e.ObligationSettled():
            how = "by hand" if event.outcome == "settled" else event.outcome
            return f"an obligation is settled: {how}" + _because(event.note)
        case e.ObligationFailed():
            return f"an obligation could not be settled: {_failure(event.failure)}"
        case e.ObligationRetried():
            return f"run {event.run} tries again to settle an obligation"
        case _:
            return type(event).__name__


def _step(event: object) -> str:
    step, item, attempt = (getattr(event, name, None) for name in ("step", "item", "attempt"))
    text = str(step) if item is None else f"{step} [{item}]"
    return f"{text} (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else text


def _failure(failure: Failure) -> str:
    text = " ".join(failure.message.split())
    text = text if len(text) <= ROOM else f"{text[: ROOM - 1]}…"
    return f"{failure.type}: {text}" if text else failure.type


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
