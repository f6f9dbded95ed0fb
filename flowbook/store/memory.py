"""The store's in-memory twin: the same promises, kept for as long as the process lives. No SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

from flowbook.core.events import CLOSING, ObligationOpened, ObligationSettled, RunStarted, StepScheduled, StepStarted
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.errors import StoreError
from flowbook.store.base import CLOSED_STATUS, INTERNAL, ClosedRun, Entry, Group, RunSize, Stop, Table

_FILE = re.compile(rb'"file":"([0-9a-f]+)"')


class MemoryStore:
    """Runs as lists of entries. ``refuse`` makes every commit fail with that text, as a full disk would."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.refuse = ""
        self.commits = 0
        self._runs: dict[RunId, list[Entry]] = {}
        self._closed: dict[RunId, str] = {}
        self._modules: dict[Digest, bytes] = {}
        self._idle: dict[RunId, Seq] = {}

    def commit(self, group: Group) -> None:
        """See ``Store``."""
        if self.refuse:
            raise StoreError(self.refuse)
        self.commits += 1
        for run in group.forgotten:
            for kept in (self._runs, self._closed, self._idle):
                kept.pop(run, None)
        for digest in group.unused:
            self._modules.pop(digest, None)
        for entry in group.entries:
            self._runs.setdefault(entry.run, []).append(entry)
            ended = CLOSED_STATUS.get(type(entry.recorded.event).__name__)
            if ended:
                self._closed[entry.run] = ended
        for module in group.modules:
            self._modules.setdefault(module.digest, module.body)
        self._idle.update(group.idle)

    def drain(self) -> bool:
        """See ``Store``."""
        return False

    def backlog(self) -> int:
        """See ``Store``."""
        return 0

    def history(self, run: RunId, after: int = 0, limit: int = 0) -> list[bytes]:
        """See ``Store``."""
        found = [entry.record for entry in self._runs.get(run, []) if entry.recorded.seq > after]
        return found[:limit] if limit else found

    def open_runs(self) -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        return [
            (run, [e.record for e in entries])
            for run, entries in self._runs.items()
            if run not in self._closed and not run.startswith(INTERNAL)
        ]

    def streams(self, prefix: str, since: str = "") -> Iterable[tuple[RunId, list[bytes]]]:
        """See ``Store``."""
        found = []
        for run, entries in self._runs.items():
            if run.startswith(prefix):
                marks = [at for at, e in enumerate(entries) if type(e.recorded.event).__name__ == since]
                found.append((run, [e.record for e in entries[marks[-1] if marks else 0 :]]))
        return found

    def idle_runs(self) -> dict[RunId, Seq]:
        """See ``Store``."""
        return {run: seq for run, seq in self._idle.items() if run not in self._closed}

    def closed_ids(self) -> list[RunId]:
        """See ``Store``."""
        return list(self._closed)

    def continued_ids(self) -> list[RunId]:
        """See ``Store``."""
        return [run for run, status in self._closed.items() if status == "continued"]

    def closed_runs(self, limit: int, status: str = "") -> list[ClosedRun]:
        """See ``Store``."""
        found = []
        for run, ended in reversed(self._closed.items()):
            if not status or ended == status:
                found.append(self._ends(run))
        return found[:limit]

    def begun(self, since: float) -> list[tuple[str, float]]:
        """See ``Store``."""
        found: list[tuple[str, float]] = []
        for entries in self._runs.values():
            queues: dict[Key, str] = {}
            for recorded in (entry.recorded for entry in entries):
                event = recorded.event
                if isinstance(event, StepScheduled):
                    queues[event.key] = event.queue
                elif isinstance(event, StepStarted) and event.key in queues and recorded.time >= since:
                    found.append((queues[event.key], recorded.time))
        return sorted(found, key=lambda each: each[1])

    def module(self, digest: Digest) -> bytes | None:
        """See ``Store``."""
        return self._modules.get(digest)

    def closed_sizes(self) -> list[RunSize]:
        """See ``Store``."""
        found = []
        for run, ended in reversed(self._closed.items()):
            entries = self._runs[run]
            first, last = entries[0].recorded, self._closing(run).recorded
            assert isinstance(first.event, RunStarted)
            size = sum(len(entry.body) for entry in entries)
            found.append(RunSize(run, first.event.workflow, ended, last.time, len(entries), size))
        return found

    def unused_modules(self) -> dict[Digest, int]:
        """See ``Store``."""
        return {
            digest: len(body)
            for digest, body in self._modules.items()
            if not any(f'"{digest}"'.encode() in entry.record for entries in self._runs.values() for entry in entries)
        }

    def used_files(self) -> set[Digest]:
        """See ``Store``."""
        records = (entry.record for entries in self._runs.values() for entry in entries)
        return {Digest(found.decode()) for record in records for found in _FILE.findall(record)}

    def latest_scheduled(self) -> list[bytes]:
        """See ``Store``."""
        entries = [entry for entries in self._runs.values() for entry in entries]
        asked = [entry for entry in entries if isinstance(entry.recorded.event, StepScheduled)]
        asked.sort(key=lambda entry: entry.recorded.time)
        latest = {cast(StepScheduled, entry.recorded.event).step: entry for entry in asked}
        return [entry.record for entry in sorted(latest.values(), key=lambda entry: entry.recorded.time)]

    def owing(self) -> set[RunId]:
        """See ``Store``."""
        found = set()
        for run, entries in self._runs.items():
            opened: set[Key] = set()
            for entry in entries:
                event = entry.recorded.event
                if isinstance(event, ObligationOpened):
                    opened.add(event.key)
                elif isinstance(event, ObligationSettled):
                    opened.discard(event.key)
            if opened:
                found.add(run)
        return found

    def ends(self, runs: Sequence[RunId]) -> list[ClosedRun]:
        """See ``Store``."""
        return [self._ends(run) for run in runs if run in self._closed]

    def _ends(self, run: RunId) -> ClosedRun:
        return ClosedRun(run, self._runs[run][0].record, self._closing(run).record)

    def _closing(self, run: RunId) -> Entry:
        """What closed it; after that there may be events about what it owes."""
        return next(entry for entry in reversed(self._runs[run]) if isinstance(entry.recorded.event, CLOSING))

    def query(self, sql: str, limit: int, stop: Stop) -> Table:
        """There is no SQL in memory."""
        raise StoreError("this engine keeps its history in memory, where there is no SQL.")

    def matching(self, conditions: Sequence[str], limit: int, stop: Stop) -> Table:
        """There is no SQL in memory."""
        return self.query("", limit, stop)

    def tidy(self) -> None:
        """See ``Store``."""

    def close(self) -> None:
        """See ``Store``."""
