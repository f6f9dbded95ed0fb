"""The calls about queues and workers, as data. No IO."""

from __future__ import annotations

from flowbook.client.asks import Ask
from flowbook.core.messages import StartRun
from flowbook.core.queues import DeleteQueue, Limits, PauseQueue, ResumeQueue, SetLimits
from flowbook.wire.calls import Nothing, Summary
from flowbook.wire.queues import ChangeQueue, DrainWorker, QueueStatus


def started(message: StartRun) -> Ask[Summary]:
    """Start a run with all that can be said about it.

    Where its id may stand for another run by now, it is not sent again after a lost connection: that could start, or
    terminate, one run too many.
    """
    repeatable = message.on_conflict in ("same", "use_existing") and message.on_closed == "same"
    return Ask("start", message, Summary, repeatable)


def queues() -> Ask[list[QueueStatus]]:
    """Every queue, by name."""
    return Ask("queues", Nothing(), list[QueueStatus])


def set_limits(name: str, limits: Limits, *, by: str = "user", reset: bool = False) -> Ask[QueueStatus]:
    """Set limits of a queue."""
    return Ask("change_queue", ChangeQueue(name, SetLimits(limits, by, reset)), QueueStatus)


def pause(name: str, reason: str) -> Ask[QueueStatus]:
    """Hand out nothing more."""
    return Ask("change_queue", ChangeQueue(name, PauseQueue(reason)), QueueStatus)


def resume(name: str) -> Ask[QueueStatus]:
    """End a pause."""
    return Ask("change_queue", ChangeQueue(name, ResumeQueue()), QueueStatus)


def delete(name: str) -> Ask[QueueStatus]:
    """Forget what was set for a queue. Not sent again: a second time there is none."""
    return Ask("change_queue", ChangeQueue(name, DeleteQueue()), QueueStatus, repeatable=False)


def drain(worker: str) -> Ask[int]:
    """Have a worker leave."""
    return Ask("drain", DrainWorker(worker), int)
