"""What the engine's heart can be told about a run: by users, by workers, by time, by losses.

Most of what a worker reports is already a fact (an event without its place) and travels as such;
only what needs a decision has a message of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.events import (
    AnyEvent,
    AttributesSet,
    CancelSent,
    ChildStarted,
    Chunk,
    MapStarted,
    ObligationFailed,
    ObligationOpened,
    ObligationSettled,
    Origin,
    Parent,
    PatchMarked,
    Place,
    RunBegan,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunOutput,
    RunPaused,
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
    TimerCancelled,
    TimerFired,
    TimerStarted,
    UpdateCompleted,
    UpdateFailed,
)
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, WorkerId
from flowbook.core.retry import RetryPolicy
from flowbook.core.value import Value


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of all messages."""


class SendSignal(Message, frozen=True, tag=True):
    """A client, or another run, sends a signal; ``id`` makes it idempotent."""

    name: str
    value: Value
    id: str = ""


class StartRun(Message, frozen=True, tag=True):
    """Somebody starts a run. ``signals`` are delivered with it, whether it was started now or before.

    ``on_conflict`` says what an open run of this id means: ``same`` (the same start is answered, another one is
    refused), ``use_existing``, ``fail`` or ``terminate_existing`` (it begins once that one has ended); ``on_closed``
    what a closed one means: ``same``, ``reject``, ``allow`` (a new run of the same id) or ``allow_failed``. See
    ``chains``.
    """

    run: RunId
    workflow: str
    module: Digest
    place: Place
    arguments: dict[str, Value] = {}
    name: str = ""
    source: str = ""
    origin: Origin | None = None
    seed: str = ""
    timeout: float = 0.0
    since: float = 0.0
    parent: Parent | None = None
    continued: RunId = RunId("")
    schedule: str = ""
    queue: str = ""
    priority: int = 0
    concurrency_key: str = ""
    attributes: dict[str, Any] = {}
    memo: dict[str, Value] = {}
    request: str = ""
    children: dict[RunId, str] = {}
    signals_before: tuple[str, ...] = ()
    updates_before: dict[str, RunId] = {}
    awaited: tuple[Parent, ...] = ()
    signals: tuple[SendSignal, ...] = ()
    on_conflict: str = "same"
    on_closed: str = "same"


class SendUpdate(Message, frozen=True, tag=True):
    """A client sends an update, to be handled once."""

    id: str
    name: str
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}


class CancelRun(Message, frozen=True, tag=True):
    """The run is asked to stop; ``cause`` and ``carried`` as in ``CancelRequested``."""

    reason: str = ""
    cause: str = ""
    carried: bool = False


class TerminateRun(Message, frozen=True, tag=True):
    """The run is to end without its code having a say; ``now``: even where it owes something outside."""

    reason: str = ""
    now: bool = False


class MoveRun(Message, frozen=True, tag=True):
    """The run goes on with other code, which has been checked to fit (see ``RunMoved``)."""

    module: Digest
    place: Place | None = None
    source: str = ""
    names: dict[Key, Key] = {}


class ResumeRun(Message, frozen=True, tag=True):
    """A client ends a pause."""


class SettleObligation(Message, frozen=True, tag=True):
    """A person has settled what is owed; ``obligation`` is its key, or its name, and ``note`` says how."""

    obligation: str
    note: str


class RetryObligation(Message, frozen=True, tag=True):
    """A person has it tried again to take back what is owed; ``obligation`` is its key, or its name."""

    obligation: str


class PauseRun(Message, frozen=True, tag=True):
    """The engine cannot go on with the run (for example no worker starts) until somebody decides."""

    reason: str = ""
    difference: dict[str, Any] = {}


class TimerDue(Message, frozen=True, tag=True):
    """The engine's clock reached a timer's time."""

    key: Key


class RunTimedOut(Message, frozen=True, tag=True):
    """The engine's clock reached the run's own time-out."""


class StepExpired(Message, frozen=True, tag=True):
    """The result that was to come from outside did not come in time."""

    key: Key


class CompleteStep(Message, frozen=True, tag=True):
    """Somebody outside finishes a step, by the token of an attempt: with ``value``, or with ``failure``."""

    key: Key
    attempt: int
    value: Value | None = None
    failure: Failure | None = None


class ChildEnded(Message, frozen=True, tag=True):
    """The child ``run``, or what it went on as, has ended: with ``value``, or with ``failure``."""

    key: Key
    run: RunId
    value: Value | None = None
    failure: Failure | None = None


class SignalDelivered(Message, frozen=True, tag=True):
    """A signal the run sent has arrived, or ``failure`` says why not."""

    key: Key
    failure: Failure | None = None


class Ran(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt that ran in its worker's own process when that ended."""

    run: RunId
    key: Key
    step: str
    attempt: int = 1
    item: int | None = None
    site: int = 0


class WorkerLost(Message, frozen=True, tag=True):
    """A worker is gone; ``reason`` says what is known (for example "killed, signal 9").

    ``own``: it only no longer has the run; what it does for the run's steps of queues goes on. ``planned``: no step is
    to blame. ``ran``: only these may be, among them some whose start it could not report any more; None where that is
    not known, and every step that ran there may.
    """

    worker: WorkerId
    reason: str = ""
    own: bool = False
    planned: bool = False
    ran: tuple[Ran, ...] | None = None


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
    | StepScheduled
    | StepWaiting
    | StepOutput
    | StepProgress
    | StepHeartbeat
    | StepCompleted
    | StepCancelled
    | StepStopRequested
    | StepReused
    | StepSkipped
    | MapStarted
    | ChildStarted
    | SignalSent
    | CancelSent
    | TimerStarted
    | TimerCancelled
    | TimerFired
    | SignalReceived
    | SignalAwaited
    | SignalDropped
    | UpdateCompleted
    | UpdateFailed
    | AttributesSet
    | PatchMarked
    | RunOutput
    | ObligationOpened
    | ObligationSettled
    | ObligationFailed
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTerminated
    | RunContinued
    | RunPaused
)
"""One thing a worker has to say about a run.

``TimerFired`` and ``SignalReceived`` come from a worker only where a fork takes them over from its origin.
"""


AnyMessage = (
    StartRun
    | RunBegan
    | SendSignal
    | SendUpdate
    | CancelRun
    | TerminateRun
    | ResumeRun
    | SettleObligation
    | RetryObligation
    | PauseRun
    | MoveRun
    | TimerDue
    | RunTimedOut
    | StepExpired
    | CompleteStep
    | ChildEnded
    | SignalDelivered
    | WorkerLost
    | ReportItem
)
"""Everything ``decide`` understands."""

__all__ = [
    "AnyEvent",
    "AnyMessage",
    "AttemptFailed",
    "CancelRun",
    "ChildEnded",
    "CompleteStep",
    "Message",
    "MoveRun",
    "PauseRun",
    "Ran",
    "ReportItem",
    "ResumeRun",
    "RetryObligation",
    "RunTimedOut",
    "SendSignal",
    "SendUpdate",
    "SettleObligation",
    "SignalDelivered",
    "StartRun",
    "StepExpired",
    "TerminateRun",
    "TimerDue",
    "WorkerLost",
]
