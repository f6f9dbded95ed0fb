"""What the engine's heart can be told about a run: by users, by workers, by time, by losses.

Most of what a worker reports is already a fact (an event without its place) and travels as such;
only what needs a decision has a message of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.events import (
    AnyEvent,
    Chunk,
    MapStarted,
    Origin,
    Place,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    SignalAwaited,
    SignalDropped,
    SignalReceived,
    StepCancelled,
    StepCompleted,
    StepOutput,
    StepReused,
    StepSkipped,
    StepStarted,
    TimerCancelled,
    TimerFired,
    TimerStarted,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, WorkerId
from flowbook.core.retry import RetryPolicy
from flowbook.core.value import Value


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of all messages."""


class StartRun(Message, frozen=True, tag=True):
    """A client starts a run. The same message again for the same id is answered, not repeated."""

    run: RunId
    workflow: str
    module: Digest
    place: Place
    arguments: dict[str, Value] = {}
    name: str = ""
    source: str = ""
    origin: Origin | None = None
    seed: str = ""


class SendSignal(Message, frozen=True, tag=True):
    """A client sends a signal; ``id`` makes it idempotent."""

    name: str
    value: Value
    id: str = ""


class CancelRun(Message, frozen=True, tag=True):
    """A client asks the run to stop."""

    reason: str = ""


class ResumeRun(Message, frozen=True, tag=True):
    """A client ends a pause."""


class PauseRun(Message, frozen=True, tag=True):
    """The engine cannot go on with the run (for example no worker starts) until somebody decides."""

    reason: str = ""
    difference: dict[str, Any] = {}


class TimerDue(Message, frozen=True, tag=True):
    """The engine's clock reached a timer's time."""

    key: Key


class WorkerLost(Message, frozen=True, tag=True):
    """The worker holding the run is gone; ``reason`` says what is known (for example "killed, signal 9")."""

    worker: WorkerId
    reason: str = ""


class AttemptFailed(Message, frozen=True, tag=True):
    """A worker's attempt raised or ran out of time; the policy decides what follows."""

    key: Key
    step: str
    attempt: int
    failure: Failure
    retry: RetryPolicy
    digest: Digest = Digest("")
    started: float = 0.0
    output: tuple[Chunk, ...] = ()
    item: int | None = None
    site: int = 0


ReportItem = (
    AttemptFailed
    | StepStarted
    | StepOutput
    | StepCompleted
    | StepCancelled
    | StepReused
    | StepSkipped
    | MapStarted
    | TimerStarted
    | TimerCancelled
    | TimerFired
    | SignalReceived
    | SignalAwaited
    | SignalDropped
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunPaused
)
"""One thing a worker has to say about a run.

``TimerFired`` and ``SignalReceived`` come from a worker only where a fork takes them over from its origin.
"""


AnyMessage = StartRun | SendSignal | CancelRun | ResumeRun | PauseRun | TimerDue | WorkerLost | ReportItem
"""Everything ``decide`` understands."""

__all__ = [
    "AnyEvent",
    "AnyMessage",
    "AttemptFailed",
    "CancelRun",
    "Message",
    "PauseRun",
    "ReportItem",
    "ResumeRun",
    "SendSignal",
    "StartRun",
    "TimerDue",
    "WorkerLost",
]
