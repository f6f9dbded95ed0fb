"""Facts about a run as a whole: how it began, what it was told, what it owes, how it ended."""

from __future__ import annotations

from typing import Any

import msgspec

from flowbook.core.event import Chunk, Event, Origin, Parent, Place
from flowbook.core.failure import Failure
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.value import Value
from flowbook.core.wait_events import SignalReceived


class RunStarted(Event, frozen=True, tag=True):
    """First event of every history (wake-up). ``arguments`` are by parameter name.

    ``seed`` feeds ``random()`` and ``uuid4()``; a fork has its origin's, so that what it reuses still fits. ``timeout``
    is in seconds for the whole run, 0 for none, and counts from the first run of the chain, which began at ``since``
    (0: this one). ``continued`` is the run this one goes on from, ``schedule`` the schedule that started it.
    ``attributes`` are plain JSON to search by, ``memo`` is for eyes. ``request`` marks what the first run of the chain
    was asked, so that the same start again is known for one. ``children`` are the open ones of the runs before it in
    its chain, and what becomes of them when it ends; ``signals_before`` and ``updates_before`` the ids of what those
    were sent, the updates with the run that answered (``chains.KNOWN_IDS`` says how many). ``awaited`` are
    those who, beside the parent, are to be told how the chain ends. ``original`` is the id that an imported run had
    where it began, if another: by that its calls are known to services that do a thing once.
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
    original: RunId = RunId("")


class RunBegan(Event, frozen=True, tag=True):
    """The run had its turn in its queue (wake-up): its code begins. Of runs without a queue, it begins at once."""


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


class RunTerminated(Event, frozen=True, tag=True):
    """The run was ended from outside; its code had no say. Closes the run."""

    reason: str = ""


class RunPaused(Event, frozen=True, tag=True):
    """Nothing runs until somebody decides: the code no longer fits the history, or will not load."""

    reason: str
    difference: dict[str, Any] = {}


class RunResumed(Event, frozen=True, tag=True):
    """Ends a pause."""


class RunAwaited(Event, frozen=True, tag=True):
    """Another run would have started this one as its child and found it open: it is told how this one ends."""

    by: Parent


class RunMoved(Event, frozen=True, tag=True):
    """From here on the run uses other code, which was checked to fit its history.

    ``names`` are the keys that the new code has for commands that the history knows by other keys.
    """

    module: Digest
    place: Place | None = None
    source: str = ""
    names: dict[Key, Key] = {}


class CancelRequested(Event, frozen=True, tag=True):
    """The run is to stop (wake-up: cancels the main task). ``cause`` is "" (somebody asked), timeout or parent.

    ``carried``: it came too late for the code of the run that this one goes on from.
    """

    reason: str = ""
    cause: str = ""
    carried: bool = False


class TerminateRequested(Event, frozen=True, tag=True):
    """The run is to end at once (wake-up): its code is dropped, what it owes outside is still taken back."""

    reason: str = ""


class AttributesSet(Event, frozen=True, tag=True):
    """The workflow set attributes to search by; None removes one."""

    key: Key
    attributes: dict[str, Any]


class PatchMarked(Event, frozen=True, tag=True):
    """``patched(id)`` was true: this run takes the new branch, whenever it is re-executed."""

    id: str


class RunOutput(Event, frozen=True, tag=True):
    """What the workflow's own code printed or displayed on event ``after``, and what of it went wrong unnoticed.

    It is noted once, however often that is re-executed.
    """

    output: tuple[Chunk, ...]
    after: Seq


class UpdateReceived(Event, frozen=True, tag=True):
    """Somebody sent an update (wake-up): its handler is called with ``arguments`` by position.

    ``id`` is the sender's; a second update with it is the same update.
    """

    id: str
    name: str
    arguments: tuple[Value, ...] = ()
    keywords: dict[str, Value] = {}


class RunContinued(Event, frozen=True, tag=True):
    """The workflow asked to go on as a new run, ``run``, with ``arguments``. Closes the run.

    ``signals`` and ``updates`` are those nobody has read, and ``cancel`` is one that the code could not hear any more:
    the new run has them. ``seen`` is the last event the code knew of; where something was said to it since, the request
    is made again with it.
    """

    run: RunId
    arguments: dict[str, Value] = {}
    signals: tuple[SignalReceived, ...] = ()
    updates: tuple[UpdateReceived, ...] = ()
    seen: Seq = Seq(0)
    cancel: CancelRequested | None = None


class UpdateCompleted(Event, frozen=True, tag=True):
    """The handler of an update returned ``value``."""

    id: str
    name: str
    value: Value


class UpdateFailed(Event, frozen=True, tag=True):
    """The handler of an update raised, or its validator ``rejected`` it."""

    id: str
    name: str
    failure: Failure
    rejected: bool = False


class StepRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step by name, and where it is defined: ``module:name``."""

    name: str
    home: str = ""


class ObligationOpened(Event, frozen=True, tag=True):
    """From here on the run owes something outside: ``what`` is operation or undo, ``name`` is for eyes.

    It is owed for ``work``, called under the key ``begins`` with ``arguments``. ``undo`` takes it back; ``confirm``,
    asked every ``every`` seconds, sees that this has happened.
    """

    key: Key
    name: str
    what: str = "undo"
    site: int = 0
    work: StepRef | None = None
    begins: Key = Key("")
    arguments: dict[str, Value] = {}
    undo: StepRef | None = None
    confirm: StepRef | None = None
    every: float = 0.0


class ObligationSettled(Event, frozen=True, tag=True):
    """Nothing is owed any more. ``outcome``:

    ``kept`` (the work stands), ``undone`` or ``cancelled`` (it was taken back), ``not started`` (it never began),
    ``nothing to undo`` (its step failed), ``left`` (there is nothing that would cancel it), or ``settled``: by a
    person, who says why in ``note``.
    """

    key: Key
    outcome: str = "kept"
    note: str = ""


class ObligationFailed(Event, frozen=True, tag=True):
    """Taking it back failed for good: it stays open, for people to see.

    ``arguments`` are those it was tried with, as far as they were not known before.
    """

    key: Key
    failure: Failure
    arguments: dict[str, Value] = {}


class ObligationRetried(Event, frozen=True, tag=True):
    """Somebody had it tried again: the child run ``run`` does that."""

    key: Key
    run: RunId
