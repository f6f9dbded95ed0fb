"""What is known of a run between two facts.

Only what decisions need: no results, no output, no finished steps beyond their keys. How facts change it is in
``evolve``; policy is in ``decide``; what time asks for is in ``due``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flowbook.core.events import ObligationOpened, Origin, Parent, Place, RunStarted
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.messages import StartRun
from flowbook.core.retry import ONCE, RetryPolicy
from flowbook.core.value import Value

NOWHERE = Place("", "")
NOBODY = WorkerId("")
NO_RUN, NO_DIGEST, NO_SEQ = RunId(""), Digest(""), Seq(0)


@dataclass(slots=True)
class LiveStep:
    """A step that has begun and not ended. Not ``running``: its next attempt may begin at ``retry_at``.

    ``queue`` is "" where the run's own worker does it; ``external``: the result comes from outside; ``waiting``: there
    is nothing else to wait for, until ``expires``; ``once``: there is no second attempt. Of its attempts, ``lost`` were
    no failures, and ``losses`` in a row have cost it its worker; ``was_lost``: the last one was. ``heartbeat`` is the
    last event that left details for the next one.
    """

    step: str
    attempt: int = 0
    running: bool = False
    worker: WorkerId = NOBODY
    started: float = 0.0
    retry_at: float = 0.0
    lost: int = 0
    losses: int = 0
    item: int | None = None
    site: int = 0
    once: bool = False
    external: bool = False
    waiting: bool = False
    expires: float = 0.0
    digest: Digest = NO_DIGEST
    retry: RetryPolicy = ONCE
    queue: str = ""
    priority: int = 0
    concurrency_key: str = ""
    was_lost: bool = False
    heartbeat: Seq = NO_SEQ


@dataclass(slots=True)
class LiveTimer:
    """A timer that has neither fired nor been cancelled. ``owed`` as in ``TimerStarted``."""

    due: float
    since: float
    label: str = ""
    owed: bool = False


@dataclass(slots=True)
class LiveWaiter:
    """A wait for a signal that has not come."""

    name: str
    since: float


@dataclass(slots=True)
class LiveChild:
    """A child run whose end the run has not been told."""

    run: RunId
    step: str
    close: str
    since: float
    digest: Digest = NO_DIGEST
    detached: bool = False


@dataclass(slots=True)
class Sending:
    """A signal or a cancellation for another run that is not known to have arrived."""

    step: str
    digest: Digest


@dataclass(slots=True)
class LiveObligation:
    """Something owed outside.

    ``result`` is what the step returned that it is owed for, ``failure`` why taking it back was given up; ``arguments``
    are what it was tried with. ``reused`` is the idempotency key of the step's call where that was another run's.
    ``trying`` is the run that tries again, ``tries`` counts those.
    """

    opened: ObligationOpened
    since: float
    result: Value | None = None
    failure: Failure | None = None
    arguments: dict[str, Value] = field(default_factory=dict)
    reused: str = ""
    trying: RunId = NO_RUN
    tries: int = 0

    @property
    def name(self) -> str:
        """What people call it."""
        return self.opened.name

    @property
    def what(self) -> str:
        """An operation or an undo."""
        return self.opened.what

    @property
    def failed(self) -> bool:
        """True where taking it back was given up."""
        return self.failure is not None


@dataclass(slots=True)
class RunState:
    """One run. ``queued`` until it has its turn in its queue; ``woken`` is the last event that workflow code reacts
    to, ``told`` the last thing said to it; ``closed`` is "" while the run is open.

    ``resumed`` is when it last went on after a pause, ``cancelled`` the last request to stop.
    ``awaited`` are those who are told its end besides its parent.
    ``owed_for`` maps steps to what is owed for them; ``unwanted`` are steps that were told to stop.
    ``inherited`` are the open children of the runs before it in its chain, with what its end means for them.
    ``signals`` and ``updates_ended`` are ids, oldest first, and are kept when it has ended: a sender may ask again.
    What has no values is a ``dict`` all the same: an empty one takes a third of an empty set, in each open run.
    ``original`` is the id it was imported from, if another.
    ``request`` identifies what the run was started with, so that the same start again can be told from another.
    """

    run: RunId = NO_RUN
    workflow: str = ""
    module: Digest = NO_DIGEST
    place: Place = NOWHERE
    name: str = ""
    source: str = ""
    original: RunId = NO_RUN
    origin: Origin | None = None
    request: str = ""
    parent: Parent | None = None
    awaited: tuple[Parent, ...] = ()
    continued: RunId = NO_RUN
    schedule: str = ""
    queue: str = ""
    queued: bool = False
    priority: int = 0
    concurrency_key: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    memo: dict[str, Value] = field(default_factory=dict)
    timeout: float = 0.0
    since: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    seq: Seq = NO_SEQ
    time: float = 0.0
    woken: Seq = NO_SEQ
    told: Seq = NO_SEQ
    closed: str = ""
    paused: str = ""
    resumed: Seq = NO_SEQ
    cancelled: Seq = NO_SEQ
    timed_out: bool = False
    terminating: bool = False
    steps: dict[Key, LiveStep] = field(default_factory=dict)
    settled: dict[Key, None] = field(default_factory=dict)
    maps: dict[Key, None] = field(default_factory=dict)
    timers: dict[Key, LiveTimer] = field(default_factory=dict)
    timers_ended: dict[Key, None] = field(default_factory=dict)
    waiters: dict[Key, LiveWaiter] = field(default_factory=dict)
    waiters_ended: dict[Key, str] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    signals: dict[str, None] = field(default_factory=dict)
    signals_before: dict[str, None] = field(default_factory=dict)
    children: dict[Key, LiveChild] = field(default_factory=dict)
    inherited: dict[RunId, str] = field(default_factory=dict)
    sending: dict[Key, Sending] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    updates_ended: dict[str, None] = field(default_factory=dict)
    updates_before: dict[str, RunId] = field(default_factory=dict)
    obligations: dict[Key, LiveObligation] = field(default_factory=dict)
    owed_for: dict[Key, Key] = field(default_factory=dict)
    unwanted: dict[Key, None] = field(default_factory=dict)
    patches: dict[str, None] = field(default_factory=dict)
    noted: dict[Key, None] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """queued, running, waiting, paused, succeeded, failed, cancelled, terminated or continued."""
        if self.closed:
            return self.closed
        if self.paused:
            return "paused"
        if self.queued:
            return "queued"
        if all(live.waiting for live in self.steps.values()) and (
            self.timers or self.waiters or self.children or self.steps
        ):
            return "waiting"
        return "running"

    def has_heard(self, signal: str) -> bool:
        """True for a signal's id that this run, or one before it in its chain, has been sent."""
        return bool(signal) and (signal in self.signals or signal in self.signals_before)

    def has_ended(self, update: str) -> bool:
        """True for an update's id that this run, or one before it in its chain, has answered."""
        return update in self.updates_ended or update in self.updates_before

    @property
    def ending(self) -> str:
        """How a closed run ended, to be said after its name."""
        return f"was {self.closed}" if self.closed in ("cancelled", "terminated") else f"has {self.closed}"

    @property
    def deadline(self) -> float:
        """When the time of the run, and of those it goes on from, is up, in unix seconds; 0 for never."""
        return self.since + self.timeout if self.timeout and not self.timed_out else 0.0


def output_mark(after: Seq) -> Key:
    """Under which it is noted that what the code printed on an event is known. No key of a command looks so."""
    return Key(f"output {after}")


def request_mark(start: StartRun | RunStarted) -> str:
    """Digest of what a run is asked to do: its code and its arguments. One that goes on has its chain's."""
    if start.request:
        return start.request
    asked = msgspec.json.encode([start.workflow, start.module, sorted(start.arguments.items())])
    return hashlib.blake2b(asked, digest_size=16).hexdigest()
