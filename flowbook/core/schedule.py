"""Schedules: what one is made of, what is told to it, and what can be recorded about it.

A schedule's events are a stream of their own in the store, under the id ``$schedule/<name>``. How they add up and
what follows from a message is in ``scheduling``; when a time comes is in ``calendar``. Times are unix seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.event import Event, Place
from flowbook.core.ids import Digest, RunId, Seq
from flowbook.core.value import Value

PREFIX = "$schedule/"

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all")
"""What a time means that comes while a run of the schedule is still open."""

CATCH_UP = 365 * 86400.0
"""Seconds for which a time that was missed is still carried out, unless the schedule says otherwise."""


def stream(name: str) -> RunId:
    """The id of a schedule's events in the store."""
    return RunId(PREFIX + name)


class ScheduledStart(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is started, as in ``StartRun``.

    ``time_parameter`` names a parameter that is given the nominal time, as a datetime in the schedule's time zone.
    """

    workflow: str
    module: Digest
    place: Place
    arguments: dict[str, Value] = {}
    source: str = ""
    time_parameter: str = ""
    timeout: float = 0.0
    queue: str = ""
    priority: int = 0
    concurrency_key: str = ""
    attributes: dict[str, Any] = {}
    memo: dict[str, Value] = {}


class ScheduleSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """When, what, and what if. The times are those of all ``crons`` and of every ``every`` seconds (0: none).

    A time is carried out up to ``jitter`` seconds late, always the same for the same time, and before the next one.
    ``start`` and ``end`` bound the times, both included, 0 for no bound; ``limit`` is how many runs the times may
    start, 0 for no limit; ``catch_up`` how late in seconds a missed time is still carried out.
    """

    run: ScheduledStart
    crons: tuple[str, ...] = ()
    every: float = 0.0
    offset: float = 0.0
    timezone: str = "UTC"
    jitter: float = 0.0
    start: float = 0.0
    end: float = 0.0
    overlap: str = "skip"
    catch_up: float = CATCH_UP
    pause_on_failure: bool = False
    limit: int = 0


class ScheduleSet(Event, frozen=True, tag=True):
    """The schedule was made or replaced. First event of the stream."""

    name: str
    spec: ScheduleSpec


class ScheduleFired(Event, frozen=True, tag=True):
    """A time was decided: ``outcome`` is started (then ``run`` is the new run) or buffered until a run has ended.

    ``why`` is due, trigger or backfill; ``overlap`` the policy it was decided by; ``id`` the request's, if one.
    """

    at: float
    outcome: str
    run: RunId = RunId("")
    why: str = "due"
    overlap: str = "skip"
    id: str = ""


class ScheduleSkipped(Event, frozen=True, tag=True):
    """``count`` times from ``first`` to ``last`` were decided and start nothing.

    ``reason`` is overlap (a run was open), missed (the catch-up window had passed) or full (too many wait).
    """

    first: float
    last: float
    count: int
    reason: str
    why: str = "due"
    id: str = ""


class ScheduleReleased(Event, frozen=True, tag=True):
    """A buffered time had its turn; ``run`` is the new run."""

    at: float
    run: RunId


class ScheduleRunEnded(Event, frozen=True, tag=True):
    """A run of the schedule ended. ``status`` is as a run's; where it went on as another run, that is ``next``."""

    run: RunId
    status: str
    next: RunId = RunId("")


class SchedulePaused(Event, frozen=True, tag=True):
    """From here on times pass without being decided."""

    reason: str = ""


class ScheduleResumed(Event, frozen=True, tag=True):
    """Ends a pause; the times that came in it are not made up for."""


class ScheduleDeleted(Event, frozen=True, tag=True):
    """There is no such schedule any more; its runs go on. A ``ScheduleSet`` may follow."""


class ScheduleFinished(Event, frozen=True, tag=True):
    """From here on no time will come; with ``over`` false, times come again after all.

    It follows from what was recorded before. It is recorded because whoever reads events alone knows no calendar.
    """

    over: bool = True


class ScheduleSummed(Event, frozen=True, tag=True):
    """All that the events before this one add up to, encoded: nobody has to read them to go on from here."""

    state: msgspec.Raw


AnyScheduleEvent = (
    ScheduleSet
    | ScheduleFired
    | ScheduleSkipped
    | ScheduleReleased
    | ScheduleRunEnded
    | SchedulePaused
    | ScheduleResumed
    | ScheduleDeleted
    | ScheduleFinished
    | ScheduleSummed
)


class ScheduleRecorded(msgspec.Struct, frozen=True):
    """An event in its place, as ``Recorded`` is for runs."""

    seq: Seq
    time: float
    event: AnyScheduleEvent


class ScheduleMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """Base of what a schedule can be told."""


class SetSchedule(ScheduleMessage, frozen=True, tag=True):
    """Make or replace the schedule; the same spec again changes nothing."""

    name: str
    spec: ScheduleSpec


class PauseSchedule(ScheduleMessage, frozen=True, tag=True):
    """Let times pass from now on."""

    reason: str = ""


class ResumeSchedule(ScheduleMessage, frozen=True, tag=True):
    """End a pause."""


class DeleteSchedule(ScheduleMessage, frozen=True, tag=True):
    """Do away with it."""


class TriggerSchedule(ScheduleMessage, frozen=True, tag=True):
    """Carry it out now, paused or not. ``overlap`` "" means the schedule's; ``id`` makes sending it twice harmless."""

    overlap: str = ""
    id: str = ""


class BackfillSchedule(ScheduleMessage, frozen=True, tag=True):
    """Carry out the times from ``start`` to ``end``, both included.

    ``overlap`` "" means one run after another, or all at once where that is the schedule's policy. ``id`` makes sending
    it twice harmless.
    """

    start: float
    end: float
    overlap: str = ""
    id: str = ""


class ScheduleDue(ScheduleMessage, frozen=True, tag=True):
    """The engine's clock reached a time."""


class ScheduledRunEnded(ScheduleMessage, frozen=True, tag=True):
    """A run of the schedule ended, or went on as ``next``; ``reason`` is for people, where it failed."""

    run: RunId
    status: str
    next: RunId = RunId("")
    reason: str = ""


AnyScheduleMessage = (
    SetSchedule
    | PauseSchedule
    | ResumeSchedule
    | DeleteSchedule
    | TriggerSchedule
    | BackfillSchedule
    | ScheduleDue
    | ScheduledRunEnded
)
