"""Facts: the closed list of what can be recorded about a run. Past tense, frozen, never edited.

Two kinds matter to a reader. *Wake-ups* are applied to workflow code, one at a time, in order; they alone
decide what re-execution does. All others are *notes*: what the code asked for, and what happened on the way.
A new field needs a default; a changed meaning needs a new event and an upcast in ``wire.upcast``.
"""

from __future__ import annotations

import msgspec

from flowbook.core.event import Chunk, Event, Origin, Parent, Place
from flowbook.core.ids import Seq
from flowbook.core.run_events import (
    AttributesSet,
    CancelRequested,
    ObligationFailed,
    ObligationOpened,
    ObligationRetried,
    ObligationSettled,
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
    RunStarted,
    RunTerminated,
    StepRef,
    TerminateRequested,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
)
from flowbook.core.step_events import (
    ChildLeft,
    ChildStarted,
    FirstSignal,
    MapStarted,
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
    StepStopRequested,
    StepWaiting,
)
from flowbook.core.wait_events import (
    CancelSent,
    SignalAwaited,
    SignalDropped,
    SignalReceived,
    SignalSent,
    TimerCancelled,
    TimerFired,
    TimerStarted,
)

AnyEvent = (
    RunStarted
    | RunBegan
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTerminated
    | RunContinued
    | RunPaused
    | RunResumed
    | RunMoved
    | RunAwaited
    | CancelRequested
    | TerminateRequested
    | AttributesSet
    | PatchMarked
    | RunOutput
    | UpdateReceived
    | UpdateCompleted
    | UpdateFailed
    | ObligationOpened
    | ObligationSettled
    | ObligationFailed
    | ObligationRetried
    | StepStarted
    | StepScheduled
    | StepWaiting
    | StepOutput
    | StepProgress
    | StepHeartbeat
    | StepCompleted
    | StepAttemptFailed
    | StepFailed
    | StepCancelled
    | StepStopRequested
    | StepReused
    | StepSkipped
    | MapStarted
    | ChildStarted
    | ChildLeft
    | TimerStarted
    | TimerFired
    | TimerCancelled
    | SignalAwaited
    | SignalDropped
    | SignalReceived
    | SignalSent
    | CancelSent
)


class Recorded(msgspec.Struct, frozen=True):
    """An event in its place: ``seq`` in its run, and ``time`` in unix seconds by the engine's clock."""

    seq: Seq
    time: float
    event: AnyEvent


WAKE_UPS = (
    RunStarted,
    RunBegan,
    StepCompleted,
    StepFailed,
    StepReused,
    TimerFired,
    SignalReceived,
    UpdateReceived,
    ObligationOpened,
    CancelRequested,
    TerminateRequested,
)
"""What re-execution applies, in order. An obligation is one: what is owed begins only once it is durable."""

CLOSING = (RunCompleted, RunFailed, RunCancelled, RunTerminated, RunContinued)
"""After one of these a history has no further event, but of what the run still owes (``AFTERWARDS``)."""

AFTERWARDS = (ObligationRetried, ObligationSettled, ObligationFailed)
"""What may happen to a run that has ended."""

STATUS = {
    "RunCompleted": "succeeded",
    "RunFailed": "failed",
    "RunCancelled": "cancelled",
    "RunTerminated": "terminated",
    "RunContinued": "continued",
}
"""What a closing event makes of a run."""

__all__ = [
    "AFTERWARDS",
    "CLOSING",
    "STATUS",
    "WAKE_UPS",
    "AnyEvent",
    "AttributesSet",
    "CancelRequested",
    "CancelSent",
    "ChildLeft",
    "ChildStarted",
    "Chunk",
    "Event",
    "FirstSignal",
    "MapStarted",
    "ObligationFailed",
    "ObligationOpened",
    "ObligationRetried",
    "ObligationSettled",
    "Origin",
    "Parent",
    "PatchMarked",
    "Place",
    "Recorded",
    "RunAwaited",
    "RunBegan",
    "RunCancelled",
    "RunCompleted",
    "RunContinued",
    "RunFailed",
    "RunMoved",
    "RunOutput",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "RunTerminated",
    "SignalAwaited",
    "SignalDropped",
    "SignalReceived",
    "SignalSent",
    "StepAttemptFailed",
    "StepCancelled",
    "StepCompleted",
    "StepFailed",
    "StepHeartbeat",
    "StepOutput",
    "StepProgress",
    "StepRef",
    "StepReused",
    "StepScheduled",
    "StepSkipped",
    "StepStarted",
    "StepStopRequested",
    "StepWaiting",
    "TerminateRequested",
    "TimerCancelled",
    "TimerFired",
    "TimerStarted",
    "UpdateCompleted",
    "UpdateFailed",
    "UpdateReceived",
]
