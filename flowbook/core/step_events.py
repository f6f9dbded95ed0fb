"""Facts about steps: work whose result is recorded, done by this worker, another one, a child run or the world."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.event import Chunk, Event
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq, WorkerId
from flowbook.core.keys import idempotency_key
from flowbook.core.retry import ONCE, RetryPolicy
from flowbook.core.value import Value


class StepStarted(Event, frozen=True, tag=True):
    """A worker began an attempt. Left out when the attempt ended before it could be reported.

    ``once``: it is never followed by another (``at_most_once``); ``external``: its result comes from outside, and may
    come while it still runs, so ``digest`` and ``retry`` are here. Attempts of both kinds wait until this is durable.
    """

    key: Key
    step: str
    attempt: int = 1
    worker: WorkerId = WorkerId("")
    item: int | None = None
    site: int = 0
    once: bool = False
    external: bool = False
    digest: Digest = Digest("")
    retry: RetryPolicy = ONCE


class StepOutput(Event, frozen=True, tag=True):
    """What a running attempt printed or displayed since the last such event."""

    key: Key
    step: str
    attempt: int
    output: tuple[Chunk, ...]
    item: int | None = None


class StepCompleted(Event, frozen=True, tag=True):
    """An attempt returned ``value`` (wake-up).

    ``digest`` is of the step's name and its arguments; ``started`` is unix seconds; ``output`` is what was not yet
    reported.
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
    """An attempt failed and another follows at ``retry_at``. ``lost``: it could not go on where it was, so it is none
    of those that the retry policy allows; ``planned``: nor is it a loss that speaks against the step, because its
    worker died of something else, or somebody stopped it.
    """

    key: Key
    step: str
    attempt: int
    failure: Failure
    retry_at: float
    lost: bool = False
    planned: bool = False
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


class StepStopRequested(Event, frozen=True, tag=True):
    """Nobody needs the step's result any more, but it has to be known how it ends: it was told so.

    It is not begun again, except where an attempt was lost.
    """

    key: Key
    step: str
    item: int | None = None


class StepReused(Event, frozen=True, tag=True):
    """A saved result of the run this one was forked from was taken (wake-up).

    ``idempotency_key`` is that of the call which gave it, where it does not follow from ``run`` and ``key``.
    """

    key: Key
    step: str
    value: Value
    digest: Digest = Digest("")
    run: RunId = RunId("")
    seq: Seq = Seq(0)
    item: int | None = None
    site: int = 0
    idempotency_key: str = ""

    def called_as(self) -> str:
        """The idempotency key of the call that gave the result."""
        return self.idempotency_key or idempotency_key(self.run, self.key)


class StepSkipped(Event, frozen=True, tag=True):
    """A step's ``when`` was false, or something it needs was skipped; ``reason`` says which."""

    key: Key
    step: str
    reason: str = ""


class ChildLeft(Event, frozen=True, tag=True):
    """A child has ended that a run before this one in its chain had started: nothing is to become of it any more."""

    run: RunId


class MapStarted(Event, frozen=True, tag=True):
    """A mapped step learnt how many items it has."""

    key: Key
    step: str
    total: int


class StepScheduled(Event, frozen=True, tag=True):
    """A step for another task queue: everything a worker of that queue needs to run it.

    ``timeout`` limits one attempt, ``heartbeat`` the silence within one, in seconds, 0 for none;
    ``options`` are what else the step asks of its worker (for example ``isolate``).
    """

    key: Key
    step: str
    queue: str
    digest: Digest = Digest("")
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}
    retry: RetryPolicy = ONCE
    timeout: float = 0.0
    heartbeat: float = 0.0
    once: bool = False
    priority: int = 0
    concurrency_key: str = ""
    options: dict[str, Any] = {}
    item: int | None = None
    site: int = 0


class StepWaiting(Event, frozen=True, tag=True):
    """The step's result will come from outside, with a token that names this run, key and attempt.

    ``expires`` is in unix seconds, 0 for never: the attempt fails then.
    """

    key: Key
    step: str
    attempt: int = 1
    digest: Digest = Digest("")
    expires: float = 0.0
    retry: RetryPolicy = ONCE
    item: int | None = None
    site: int = 0


class StepProgress(Event, frozen=True, tag=True):
    """How far a running attempt is: ``done`` of ``total`` (0: unknown), with a word about it."""

    key: Key
    step: str
    attempt: int
    done: float
    total: float = 0.0
    text: str = ""
    item: int | None = None


class StepHeartbeat(Event, frozen=True, tag=True):
    """A running attempt left ``details`` for the next one, should it be lost."""

    key: Key
    step: str
    attempt: int
    details: Value
    item: int | None = None


class FirstSignal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal that is delivered with a start."""

    name: str
    value: Value


class ChildStarted(Event, frozen=True, tag=True):
    """The workflow started another as its child. Settled like a step, by ``StepCompleted`` or ``StepFailed``.

    ``step`` is the child's workflow; ``module`` "" means the parent's. ``close`` says what becomes of the child when
    the parent ends: cancel, terminate or abandon; ``detached``: it goes on where the call is given up. ``queue``,
    ``priority``, ``concurrency_key``, ``signals`` and ``on_conflict`` are those of its start.
    """

    key: Key
    step: str
    run: RunId
    arguments: dict[str, Value] = {}
    digest: Digest = Digest("")
    close: str = "cancel"
    timeout: float = 0.0
    name: str = ""
    attributes: dict[str, Any] = {}
    memo: dict[str, Value] = {}
    site: int = 0
    detached: bool = False
    queue: str = ""
    priority: int = 0
    concurrency_key: str = ""
    signals: tuple[FirstSignal, ...] = ()
    on_conflict: str = "fail"
