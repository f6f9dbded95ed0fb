"""Facts: the closed list of what can be recorded about a run. Past tense, frozen, never edited.

Two kinds matter to a reader. *Wake-ups* are applied to workflow code, one at a time, in order; they alone
decide what re-execution does. All others are *notes*: what the code asked for, and what happened on the way.
A new field needs a default; a changed meaning needs a new event and an upcast in ``wire.upcast``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.value import Value


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of all facts; the class name is the ``kind`` in storage."""


class Place(msgspec.Struct, frozen=True):
    """Where a run's code runs: working directory and interpreter. A worker serves one place."""

    folder: str
    python: str


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a step showed: ``stream`` is stdout, stderr or display.

    ``text`` for the streams; ``data`` maps a MIME type to its content for displays.
    """

    stream: str
    text: str = ""
    data: dict[str, Any] = {}


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run and event a fork came from, and the steps that were to run again."""

    run: RunId
    seq: Seq
    rerun: tuple[str, ...] = ()


# The run itself


class RunStarted(Event, frozen=True, tag=True):
    """First event of every history (wake-up). ``arguments`` are by parameter name.

    ``seed`` feeds ``random()`` and ``uuid4()``; a fork has its origin's, so that what it reuses still fits.
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


class RunCompleted(Event, frozen=True, tag=True):
    """The workflow returned ``value``. Closes the run."""

    value: Value


class RunFailed(Event, frozen=True, tag=True):
    """The workflow raised. ``step`` names the step whose failure it was, if one. Closes the run."""

    failure: Failure
    step: str = ""


class RunCancelled(Event, frozen=True, tag=True):
    """The workflow ended by the cancellation that was asked for. Closes the run."""

    reason: str = ""


class RunPaused(Event, frozen=True, tag=True):
    """Nothing runs until somebody decides: the code no longer fits the history, or will not load."""

    reason: str
    difference: dict[str, Any] = {}


class RunResumed(Event, frozen=True, tag=True):
    """Ends a pause."""


class CancelRequested(Event, frozen=True, tag=True):
    """Somebody asked the run to stop (wake-up: cancels the main task)."""

    reason: str = ""


# Steps


class StepStarted(Event, frozen=True, tag=True):
    """A worker began an attempt. Left out when the attempt ended before it could be reported."""

    key: Key
    step: str
    attempt: int = 1
    worker: WorkerId = WorkerId("")
    item: int | None = None
    site: int = 0


class StepOutput(Event, frozen=True, tag=True):
    """What a running attempt printed or displayed since the last such event."""

    key: Key
    step: str
    attempt: int
    output: tuple[Chunk, ...]
    item: int | None = None


class StepCompleted(Event, frozen=True, tag=True):
    """An attempt returned ``value`` (wake-up). ``digest`` is of the step's name and its arguments;

    ``started`` is unix seconds; ``output`` is what was not yet reported.
    """

    key: Key
    step: str
    value: Value
    digest: Digest = Digest("")
    attempt: int = 1
    started: float = 0.0
    output: tuple[Chunk, ...] = ()
    item: int | None = None
    site: int = 0


class StepAttemptFailed(Event, frozen=True, tag=True):
    """An attempt failed and another follows at ``retry_at``. ``lost``: its worker died or vanished."""

    key: Key
    step: str
    attempt: int
    failure: Failure
    retry_at: float
    lost: bool = False
    started: float = 0.0
    output: tuple[Chunk, ...] = ()
    item: int | None = None
    site: int = 0


class StepFailed(Event, frozen=True, tag=True):
    """The last attempt failed (wake-up: raises ``StepFailed`` in the workflow)."""

    key: Key
    step: str
    failure: Failure
    digest: Digest = Digest("")
    attempt: int = 1
    lost: bool = False
    started: float = 0.0
    output: tuple[Chunk, ...] = ()
    item: int | None = None
    site: int = 0


class StepCancelled(Event, frozen=True, tag=True):
    """The workflow no longer wanted a running step and its attempt has ended."""

    key: Key
    step: str
    attempt: int = 1
    item: int | None = None


class StepReused(Event, frozen=True, tag=True):
    """A saved result of the run this one was forked from was taken (wake-up)."""

    key: Key
    step: str
    value: Value
    digest: Digest = Digest("")
    run: RunId = RunId("")
    seq: Seq = Seq(0)
    item: int | None = None
    site: int = 0


class StepSkipped(Event, frozen=True, tag=True):
    """A step's ``when`` was false, or something it needs was skipped; ``reason`` says which."""

    key: Key
    step: str
    reason: str = ""


class MapStarted(Event, frozen=True, tag=True):
    """A mapped step learnt how many items it has."""

    key: Key
    step: str
    total: int


# Waiting


class TimerStarted(Event, frozen=True, tag=True):
    """The workflow sleeps or set a deadline at ``due`` (unix seconds); ``label`` is for eyes."""

    key: Key
    due: float
    label: str = ""
    site: int = 0


class TimerFired(Event, frozen=True, tag=True):
    """The timer's time came (wake-up). ``due`` is the time it was set for."""

    key: Key
    due: float = 0.0


class TimerCancelled(Event, frozen=True, tag=True):
    """The workflow no longer needs the timer."""

    key: Key


class SignalAwaited(Event, frozen=True, tag=True):
    """The workflow waits for a signal of this name."""

    key: Key
    name: str
    site: int = 0


class SignalDropped(Event, frozen=True, tag=True):
    """The workflow stopped waiting for the signal (time-out or cancellation)."""

    key: Key
    name: str


class SignalReceived(Event, frozen=True, tag=True):
    """Somebody sent a signal (wake-up). Kept for the first waiter of that name, now or later.

    ``id`` is the sender's idempotency key: a second signal with it changes nothing.
    """

    name: str
    value: Value
    id: str = ""


class Recorded(msgspec.Struct, frozen=True):
    """An event in its place: ``seq`` in its run, and ``time`` in unix seconds by the engine's clock."""

    seq: Seq
    time: float
    event: AnyEvent


AnyEvent = (
    RunStarted
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunPaused
    | RunResumed
    | CancelRequested
    | StepStarted
    | StepOutput
    | StepCompleted
    | StepAttemptFailed
    | StepFailed
    | StepCancelled
    | StepReused
    | StepSkipped
    | MapStarted
    | TimerStarted
    | TimerFired
    | TimerCancelled
    | SignalAwaited
    | SignalDropped
    | SignalReceived
)

WAKE_UPS = (RunStarted, StepCompleted, StepFailed, StepReused, TimerFired, SignalReceived, CancelRequested)
"""What re-execution applies, in order."""

CLOSING = (RunCompleted, RunFailed, RunCancelled)
"""After one of these a history has no further event."""
