"""Task queues: their names and limits, and what can be recorded about one. Who is next is decided in ``dispatch``.

A queue's events are a stream of their own in the store, under the id ``$queue/<name>``. They say what people have
set; what waits and what runs in a queue follows from the runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from flowbook.core.duration import seconds, spoken
from flowbook.core.event import Event
from flowbook.core.ids import RunId, Seq
from flowbook.errors import UserError

PREFIX = "$queue/"
DEFAULT = "default"
"""Where a run's own code and steps go that name no queue."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\S+)\s*")
_SHORTEST_PERIOD = 0.001
_UNITS = {1.0: "s", 60.0: "m", 3600.0: "h", 86400.0: "d"}


def stream(name: str) -> RunId:
    """The id of a queue's events in the store."""
    return RunId(PREFIX + name)


def checked_name(name: Any) -> str:
    """The name of a queue. Raises UserError for what can be none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of a queue: letters, digits, '_', '-' and '.', at most 64, "
            "the first a letter, a digit or '_'."
        )
    return name


class Rate(msgspec.Struct, frozen=True):
    """At most ``count`` hand-outs in any ``period`` of seconds; a count of 0 means no limit."""

    count: int
    period: float = 1.0

    def __str__(self) -> str:
        return f"{self.count}/{_UNITS.get(self.period) or spoken(self.period)}" if self.count else "none"


def rate(text: str) -> Rate:
    """A rate as people write it: "10/s", "100/m", "5/30s", or "none". Raises UserError for anything else."""
    if text == "none":
        return Rate(0)
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is not None and int(found[1]) > 0:
        unit = found[2]
        try:
            period = seconds(unit if unit[0].isdigit() else f"1{unit}")
        except UserError:
            period = 0.0
        if period >= _SHORTEST_PERIOD:
            return Rate(int(found[1]), period)
    raise UserError(f"{text!r} is not a rate; write for example '10/s', '100/m' or '5/30s'.")


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a queue allows at once: in all, on each worker, for each concurrency key, and per time.

    None means nothing was said about it, 0 that there is no limit.
    """

    concurrency: int | None = None
    worker_concurrency: int | None = None
    key_concurrency: int | None = None
    rate: Rate | None = None

    def over(self, other: Limits) -> Limits:
        """These limits, and ``other``'s where these say nothing."""
        return Limits(
            *(
                theirs if mine is None else mine
                for mine, theirs in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
            )
        )

    def plain(self) -> dict[str, Any]:
        """As JSON-ready values, for ``StepScheduled.options``."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def limits_from(plain: Any) -> Limits:
    """The opposite of ``Limits.plain``; what cannot be read limits nothing."""
    try:
        return msgspec.convert(plain or {}, Limits)
    except msgspec.ValidationError:
        return Limits()


NO_LIMITS = Limits()


def checked_limits(
    concurrency: int | str | None = None,
    worker_concurrency: int | str | None = None,
    key_concurrency: int | str | None = None,
    rate: str | None = None,
    *,
    flags: bool = False,
) -> Limits:
    """Limits as people write them: whole numbers from 1, a rate, or "none". Raises UserError for anything else.

    ``flags``: they are named as on the command line.
    """

    def named(name: str) -> str:
        return "--" + name.replace("_", "-") if flags else name

    return Limits(
        concurrency=checked_count(named("concurrency"), concurrency),
        worker_concurrency=checked_count(named("worker_concurrency"), worker_concurrency),
        key_concurrency=checked_count(named("key_concurrency"), key_concurrency),
        rate=None if rate is None else _rate(rate),
    )


_rate = rate


def checked_count(name: str, count: Any) -> int | None:
    """A limit; 0 for "none", None for nothing said. Raises UserError for anything else."""
    if count is None:
        return None
    if count == "none":
        return 0
    if isinstance(count, str) and count.strip().isdigit():
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"{name} is {count!r}; it has to be a whole number from 1, or 'none' for no limit.")
    return count


class Queue:
    """A task queue, named in code together with its limits: ``@step(queue=Queue("gpu", concurrency=4))``.

    ``concurrency`` is how much of it may run at once, ``worker_concurrency`` how much on one worker,
    ``key_concurrency`` how much with the same concurrency key; ``rate`` ("10/s", "100/m") how often something may
    begin. What is set with ``flowbook queue set`` counts more than what the code says. Raises UserError for a name or
    a limit that can be none.
    """

    def __init__(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        worker_concurrency: int | None = None,
        key_concurrency: int | None = None,
        rate: str | None = None,
    ) -> None:
        self.name = checked_name(name)
        self.limits = checked_limits(concurrency, worker_concurrency, key_concurrency, rate)

    def __repr__(self) -> str:
        return f"<queue {self.name}>"


def as_queue(queue: Queue | str) -> Queue:
    """The queue meant by an object or a name."""
    return queue if isinstance(queue, Queue) else Queue(queue)


# What is recorded


class QueueLimited(Event, frozen=True, tag=True):
    """From here on these limits hold, as a whole. ``by`` is user, or code (a program that started runs in it)."""

    limits: Limits
    by: str = "user"


class QueuePaused(Event, frozen=True, tag=True):
    """From here on nothing of the queue is handed out; what runs goes on."""

    reason: str = ""


class QueueResumed(Event, frozen=True, tag=True):
    """Ends a pause."""


class QueueDeleted(Event, frozen=True, tag=True):
    """What was set is forgotten, and so is the queue, until something is said about it again."""


AnyQueueEvent = QueueLimited | QueuePaused | QueueResumed | QueueDeleted


class QueueRecorded(msgspec.Struct, frozen=True):
    """An event in its place, as ``Recorded`` is for runs."""

    seq: Seq
    time: float
    event: AnyQueueEvent


NO_SEQ = Seq(0)


@dataclass(slots=True)
class QueueState:
    """What has been set for a queue. ``user`` counts more than ``code``; ``since`` is when it was paused, ``deleted``

    when it was deleted, where nothing was set since; 0 for never.
    """

    seq: Seq = NO_SEQ
    user: Limits = NO_LIMITS
    code: Limits = NO_LIMITS
    paused: bool = False
    reason: str = ""
    since: float = 0.0
    deleted: float = 0.0

    @property
    def limits(self) -> Limits:
        """What holds."""
        return self.user.over(self.code)


def evolve(state: QueueState, recorded: QueueRecorded) -> QueueState:
    """The state after one more fact; it is changed in place."""
    state.seq, state.deleted = recorded.seq, 0.0
    match recorded.event:
        case QueueLimited() as event:
            if event.by == "code":
                state.code = event.limits
            else:
                state.user = event.limits
        case QueuePaused() as event:
            state.paused, state.reason, state.since = True, event.reason, recorded.time
        case QueueResumed():
            state.paused, state.reason, state.since = False, "", 0.0
        case QueueDeleted():
            state.user = state.code = NO_LIMITS
            state.paused, state.reason, state.since = False, "", 0.0
            state.deleted = recorded.time
    return state


# What is told


class SetLimits(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Somebody sets limits: those given change, unless ``reset``, which forgets the others."""

    limits: Limits = NO_LIMITS
    by: str = "user"
    reset: bool = False


class PauseQueue(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """Nothing more is to be handed out."""

    reason: str = ""


class ResumeQueue(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """It goes on."""


class DeleteQueue(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag=True):
    """What was set for it is to be forgotten."""


AnyQueueMessage = SetLimits | PauseQueue | ResumeQueue | DeleteQueue


def check_change(name: str, message: AnyQueueMessage) -> None:
    """Raises UserError where a queue cannot be told so, whatever its state."""
    checked_name(name)
    if name == DEFAULT and not (isinstance(message, SetLimits) and message.by == "code"):
        raise UserError(
            f"'{DEFAULT}' is where runs and steps are done that name no queue: it cannot be paused, limited or "
            'deleted. Give what you want to hold back a queue of its own: @step(queue="…"), start(queue="…").'
        )


def decide(state: QueueState, message: AnyQueueMessage) -> Sequence[AnyQueueEvent]:
    """The events that follow; none where the queue is as it is asked to be."""
    match message:
        case SetLimits(by="code"):
            return () if message.limits == state.code else (QueueLimited(message.limits, "code"),)
        case SetLimits():
            limits = message.limits if message.reset else message.limits.over(state.user)
            return () if limits == state.user else (QueueLimited(limits),)
        case PauseQueue():
            return () if state.paused else (QueuePaused(message.reason),)
        case ResumeQueue():
            return (QueueResumed(),) if state.paused else ()
        case DeleteQueue():
            return (QueueDeleted(),) if state.seq and not state.deleted else ()
