"""Runs in the engine's memory: all open ones with their encoded history, and some closed ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import anyio

from flowbook.core.chains import Address, following, number, root
from flowbook.core.events import CLOSING, Recorded
from flowbook.core.evolve import fold
from flowbook.core.ids import RunId, Seq
from flowbook.core.state import RunState
from flowbook.engine.links import WorkerLink
from flowbook.engine.summaries import summary, summary_of
from flowbook.store.base import CLOSED_STATUS, ClosedRun, decode_recorded
from flowbook.wire.calls import Summary

if TYPE_CHECKING:
    from flowbook.engine.told import Told

KEPT_BYTES = 48 * 1024 * 1024
"""Closed runs kept in memory, about."""

_BESIDE = 4 * 1024
"""Bytes that a run takes besides its encoded history, about."""

RECENT = 256
"""Summaries of closed runs kept in memory."""


class LiveRun:
    """One run: what it adds up to, its history, and who holds it.

    ``committed`` counts the records that are durable, ``reported`` the last worker's report in them; ``idle`` is the
    event after which its code had nothing to do; ``reserved`` while its worker may still come back; ``next`` is told
    again when it has ended; ``losses`` are the workers in a row that were lost while they ran its code, ``unexplained``
    all that were while they held it, with nothing recorded in between; ``kept`` is what it counts for among the closed
    ones in memory.
    """

    __slots__ = (
        "answering",
        "armed",
        "committed",
        "ended",
        "holder",
        "id",
        "idle",
        "kept",
        "lease",
        "losses",
        "next",
        "records",
        "reported",
        "reserved",
        "state",
        "unexplained",
        "wanted",
    )

    def __init__(self, id: RunId, records: list[bytes] | None = None) -> None:
        self.id = id
        self.records: list[bytes] = records or []
        self.state: RunState = fold(map(decode_recorded, self.records))
        self.committed = len(self.records)
        self.kept = 0
        self.holder: WorkerLink | None = None
        self.lease = ""
        self.reported = 0
        self.answering = 0
        self.idle = Seq(0)
        self.reserved = False
        self.wanted = False
        self.armed: float | None = None
        self.losses = self.unexplained = 0
        self.ended: anyio.Event | None = None
        self.next: list[Told] = []

    def forget_uncommitted(self) -> None:
        """Back to what is durable, after a refused commit."""
        self.go_back_to(self.committed)
        self.answering = 0

    def go_back_to(self, count: int) -> None:
        """Only the first ``count`` events have happened."""
        del self.records[count:]
        self.state = fold(map(decode_recorded, self.records))

    def release(self) -> None:
        """Nobody holds the run any more."""
        if self.holder is not None:
            self.holder.runs.discard(self.id)
        self.holder, self.lease, self.reported, self.answering = None, "", 0, 0

    def _closing(self) -> Recorded:
        """The event that closed it; after that there may be some about what it owes."""
        return next(last for last in map(decode_recorded, reversed(self.records)) if isinstance(last.event, CLOSING))

    @property
    def is_awaited(self) -> bool:
        """True while another run tries to take back what this one owes: that one's end is told to it."""
        return any(owed.trying for owed in self.state.obligations.values())

    def summary(self) -> Summary:
        """The run in a few words."""
        return summary(self.state, self._closing() if self.state.closed else None)


class Runs:
    """All runs by id. Open ones are always here; a closed one may have to be read from the store again.

    ``owing`` are the closed ones that owe something outside.
    """

    def __init__(self) -> None:
        self.open: dict[RunId, LiveRun] = {}
        self.owing: set[RunId] = set()
        self._closed: OrderedDict[RunId, LiveRun] = OrderedDict()
        self._closed_bytes = 0
        self._known: set[RunId] = set()
        self._continued: set[RunId] = set()
        self._latest: dict[RunId, RunId] = {}
        self._recent: OrderedDict[RunId, Summary] = OrderedDict()

    def recall(self, closed: Sequence[RunId], continued: Sequence[RunId], recent: Sequence[ClosedRun]) -> None:
        """Learn at start which runs are closed, and which of them went on; ``recent`` is newest first."""
        self._known.update(closed)
        self._continued.update(continued)
        for run in closed:
            self._note_chain(run)
        for ended in reversed(recent):
            self._recent[ended.run] = summary_of(ended)

    def recall_owing(self, runs: Iterable[LiveRun]) -> None:
        """Learn at start what closed runs owe. Those that another run is at stay in memory."""
        for run in runs:
            self.owing.add(run.id)
            if run.id in self._recent:
                self._recent[run.id] = run.summary()
            if run.is_awaited:
                self.keep(run)

    def add(self, run: LiveRun) -> LiveRun:
        """An open run."""
        self.open[run.id] = run
        self._note_chain(run.id)
        return run

    def forget(self, id: RunId) -> None:
        """The run has never been."""
        self.open.pop(id, None)
        if self._latest.get(root(id)) == id:
            before = RunId(f"{root(id)}~{number(id) - 1}") if number(id) > 2 else root(id)
            self._latest[root(id)] = before

    def current(self, id: RunId) -> RunId:
        """The last run of the chain, where ``id`` is what the chain is called; else the run itself."""
        return self._latest.get(id, id)

    def meant(self, id: RunId, to: Address) -> RunId:
        """Who is meant by what is said to ``id``."""
        if to == "run":
            return id
        meant = self.current(id) if to == "id" else id
        # A run that came from elsewhere may have gone on there.
        while self._has_continued(meant) and self.is_known(following(meant)):
            meant = following(meant)
        return meant

    def _has_continued(self, id: RunId) -> bool:
        run = self.open.get(id)
        return id in self._continued if run is None else run.state.closed == "continued"

    def _note_chain(self, id: RunId) -> None:
        first = root(id)
        if first != id and number(self._latest.get(first, first)) < number(id):
            self._latest[first] = id

    def get(self, id: RunId) -> LiveRun | None:
        """The run, where it is in memory."""
        run = self.open.get(id)
        if run is None:
            run = self._closed.get(id)
            if run is not None:
                self._closed.move_to_end(id)
        return run

    def is_stored(self, id: RunId) -> bool:
        """True when the run is known and must be read from the store."""
        return id in self._known and id not in self._closed and id not in self.open

    def is_known(self, id: RunId) -> bool:
        """True when there is such a run, in memory or stored."""
        return id in self.open or id in self._known

    def keep(self, run: LiveRun) -> None:
        """Put a closed run where the next question about it finds it."""
        before = self._closed.pop(run.id, None)
        if before is not None:
            self._closed_bytes -= before.kept
        self._known.add(run.id)
        if run.state.closed == "continued":
            self._continued.add(run.id)
        self._closed[run.id] = run
        run.kept = sum(map(len, run.records)) + _BESIDE
        self._closed_bytes += run.kept
        while self._closed_bytes > KEPT_BYTES:
            oldest = next((each for each in self._closed.values() if each is not run and not each.is_awaited), None)
            if oldest is None:
                break
            del self._closed[oldest.id]
            self._closed_bytes -= oldest.kept

    def take_in(self, run: LiveRun) -> None:
        """A closed run that came from elsewhere."""
        self.keep(run)
        self._note_chain(run.id)
        self._note_owing(run)
        self._recent[run.id] = run.summary()

    def chain(self, id: RunId) -> set[RunId]:
        """The closed runs of the chain that the run is a member of."""
        first = root(id)
        last = number(self.current(first))
        members = {first, *(RunId(f"{first}~{each}") for each in range(2, last + 1))}
        return members & self._known

    def delete(self, id: RunId) -> None:
        """A closed run is no more."""
        kept = self._closed.pop(id, None)
        if kept is not None:
            self._closed_bytes -= kept.kept
        self._known.discard(id)
        self.owing.discard(id)
        self._continued.discard(id)
        self._recent.pop(id, None)
        if self._latest.get(root(id)) == id:
            del self._latest[root(id)]

    def close(self, run: LiveRun) -> None:
        """The run has ended."""
        del self.open[run.id]
        self.keep(run)
        self._note_owing(run)
        self._recent[run.id] = run.summary()
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def changed(self, run: LiveRun) -> None:
        """Something has happened to a closed run: what it owes may be another thing."""
        self._note_owing(run)
        if run.id in self._recent:
            self._recent[run.id] = run.summary()

    def _note_owing(self, run: LiveRun) -> None:
        if run.state.obligations:
            self.owing.add(run.id)
        else:
            self.owing.discard(run.id)

    def summaries(self, limit: int, status: str = "") -> list[Summary] | None:
        """The newest runs, or None when that many can only be had from the store."""
        if status not in CLOSED_STATUS.values():
            found = [run.summary() for run in self._newest(limit, status)]
        else:
            found = []
        if not status or status in CLOSED_STATUS.values():
            recent = [ended for ended in self._recent.values() if not status or ended["status"] == status]
            if len(recent) < limit and len(self._known) > len(self._recent):
                return None
            found += recent
        return newest_first(found, limit)

    def _newest(self, limit: int, status: str) -> Iterator[LiveRun]:
        matching = (run for run in self.open.values() if not status or run.state.status == status)
        yield from sorted(matching, key=lambda run: run.state.started, reverse=True)[:limit]


def newest_first(summaries: list[Summary], limit: int) -> list[Summary]:
    """Sorted by start, cut to ``limit``."""
    return sorted(summaries, key=lambda summary: summary["started"], reverse=True)[:limit]
