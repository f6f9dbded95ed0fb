"""What the engine asks of a store, and the shape of what it commits. No IO."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from flowbook.core.events import STATUS, AnyEvent, Recorded
from flowbook.core.ids import Digest, RunId, Seq
from flowbook.core.module import Module
from flowbook.core.queues import AnyQueueEvent
from flowbook.core.schedule import AnyScheduleEvent

_encode = msgspec.json.Encoder().encode
decode_recorded = msgspec.json.Decoder(Recorded).decode
"""A stored event, from its JSON."""


INTERNAL = "$"
"""How the ids of streams begin that are no runs (see ``core.schedule``)."""


class Stored(msgspec.Struct, frozen=True):
    """An event of any stream in its place."""

    seq: Seq
    time: float
    event: AnyEvent | AnyScheduleEvent | AnyQueueEvent


class Entry(NamedTuple):
    """One event on its way to the disk. ``record`` is the encoded ``Recorded``; the event alone is ``body``."""

    run: RunId
    recorded: Recorded
    record: bytes
    start: int

    @property
    def body(self) -> bytes:
        """The encoded event without its place."""
        return self.record[self.start : -1]


def entry(run: RunId, recorded: Recorded | Stored) -> Entry:
    """Encode an event once, for the journal, the worker and the database alike."""
    head = b'{"seq":%d,"time":%s,"event":' % (recorded.seq, repr(recorded.time).encode())
    # Only of an internal stream it is no Recorded, and those who read entries of runs never meet one.
    return Entry(run, cast(Recorded, recorded), b"%s%s}" % (head, _encode(recorded.event)), len(head))


class StoredModule(NamedTuple):
    """A module and its encoded form."""

    digest: Digest
    name: str
    body: bytes


def stored_module(module: Module) -> StoredModule:
    """Encode a module for the store."""
    return StoredModule(module.digest, module.name, _encode(module))


class Group:
    """What is made durable together: events, modules, and the runs that have nothing to do after an event.

    ``forgotten`` are closed runs and ``unused`` modules that are deleted by it, before its events are added.
    ``idle`` is a hint that saves re-execution after a restart; a group of hints alone is not worth a commit.
    """

    __slots__ = ("entries", "forgotten", "idle", "modules", "unused")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.modules: list[StoredModule] = []
        self.idle: dict[RunId, Seq] = {}
        self.forgotten: list[RunId] = []
        self.unused: list[Digest] = []

    def __bool__(self) -> bool:
        return bool(self.entries or self.modules or self.forgotten or self.unused)

    @property
    def size(self) -> int:
        """Bytes of its events, encoded."""
        return sum([len(entry.record) for entry in self.entries])

    def add(self, run: RunId, seq: Seq, time: float, event: AnyEvent) -> Recorded:
        """Put an event into the group."""
        recorded = Recorded(seq, time, event)
        self.entries.append(entry(run, recorded))
        return recorded

    def note(self, stream: RunId, seq: Seq, time: float, event: AnyScheduleEvent | AnyQueueEvent) -> None:
        """Put an event of an internal stream into the group."""
        self.entries.append(entry(stream, Stored(seq, time, event)))


class ClosedRun(NamedTuple):
    """The first event of a closed run, and the one that closed it, encoded."""

    run: RunId
    first: bytes
    last: bytes


class RunSize(NamedTuple):
    """A closed run. ``ended`` is in unix seconds, ``size`` in bytes."""

    run: RunId
    workflow: str
    status: str
    ended: float
    events: int
    size: int


class Table(msgspec.Struct, frozen=True):
    """The answer to a query. ``columns`` is a list of ``{"name", "type"}``; ``more``: the limit cut it short."""

    columns: list[dict[str, str]]
    rows: list[list[Any]]
    more: bool = False


class Stop:
    """Ends a query from another thread. ``why`` is "" until somebody has asked for it."""

    def __init__(self) -> None:
        self.why = ""
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None

    @contextmanager
    def of(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """In here ``interrupt`` ends what runs."""
        with self._lock:
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None

    def ask(self, why: str) -> None:
        """Have it end. What has not begun yet is not met: ask again until it has ended."""
        with self._lock:
            self.why = self.why or why
            if self._interrupt is not None:
                self._interrupt()


class Store(Protocol):
    """Durable memory. ``commit`` is called by one thread; all else may run beside it in others."""

    notices: list[str]
    """What went wrong and was mended when the store was opened, for people."""

    def commit(self, group: Group) -> None:
        """Make the group durable, all or nothing. Raises ``StoreError`` when nothing was written."""

    def drain(self) -> bool:
        """Move what was committed to where it can be queried; False when there was nothing to move."""

    def backlog(self) -> int:
        """How many bytes of committed events are not drained yet."""

    def history(self, run: RunId, after: int = 0, limit: int = 0) -> list[bytes]:
        """The encoded events of a run with ``seq > after``, at most ``limit`` unless 0; empty for an unknown run."""

    def open_runs(self) -> Iterable[tuple[RunId, list[bytes]]]:
        """Every run without a closing event, with its whole encoded history."""

    def streams(self, prefix: str, since: str = "") -> Iterable[tuple[RunId, list[bytes]]]:
        """Every internal stream whose id begins so, with its encoded history.

        That is whole, or, where it has an event of the kind ``since``, from the last of these on.
        """

    def idle_runs(self) -> dict[RunId, Seq]:
        """The runs that had nothing to do after this event, as far as is known."""

    def closed_ids(self) -> list[RunId]:
        """Every closed run."""

    def continued_ids(self) -> list[RunId]:
        """Every closed run that went on as another."""

    def closed_runs(self, limit: int, status: str = "") -> list[ClosedRun]:
        """The runs closed last, newest first; ``status`` keeps those that ended so."""

    def begun(self, since: float) -> list[tuple[str, float]]:
        """Queue and time of every attempt of a queue's step that began since then, the oldest first."""

    def module(self, digest: Digest) -> bytes | None:
        """An encoded module, or None."""

    def closed_sizes(self) -> list[RunSize]:
        """Every closed run and what its events take, the one closed last first."""

    def unused_modules(self) -> dict[Digest, int]:
        """The modules that no event refers to, and their sizes in bytes."""

    def used_files(self) -> set[Digest]:
        """Every value file that an event may refer to."""

    def latest_scheduled(self) -> list[bytes]:
        """The last ``StepScheduled`` of each step, encoded, oldest first."""

    def owing(self) -> set[RunId]:
        """The runs, closed ones too, that owe something outside."""

    def ends(self, runs: Sequence[RunId]) -> list[ClosedRun]:
        """Those of these runs that are closed, in no order."""

    def query(self, sql: str, limit: int, stop: Stop) -> Table:
        """Run one read-only statement over the documented views. Raises ``UserError`` for anything else."""

    def matching(self, conditions: Sequence[str], limit: int, stop: Stop) -> Table:
        """The ids of the runs that meet all conditions, predicates over the view ``runs``; newest first."""

    def tidy(self) -> None:
        """Fold logs into their files; called when there is nothing better to do."""

    def close(self) -> None:
        """Drain, tidy and let go of the files."""


CLOSED_STATUS = STATUS
"""What a closing event makes of a run."""
