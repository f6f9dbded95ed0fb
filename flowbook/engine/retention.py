"""Which closed runs are deleted, when, and what goes with them. Deleting itself is the store's.

First the runs go, in one commit; then modules and value files that nothing refers to any more. Whoever dies in
between leaves only files that the next pruning finds.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from flowbook.core.chains import root
from flowbook.core.ids import Digest, RunId
from flowbook.engine.engine import Engine
from flowbook.engine.links import ClientLink
from flowbook.engine.modules import Modules
from flowbook.engine.queries import Queries
from flowbook.errors import FlowbookError, UserError
from flowbook.store.base import CLOSED_STATUS, Group, RunSize
from flowbook.store.values import ValueFiles
from flowbook.wire.history import KeptRun, Prune, Pruned, PrunedRun

log = logging.getLogger("flowbook.engine.retention")

YOUNG = 3600.0
"""Seconds in which a value file stays: it is saved before the event that refers to it is recorded."""

FIRST_AFTER, LOOK_EVERY, LOOKS = 10.0, 5.0, 12
"""Seconds from the engine's start to the first pruning by itself, and between looks whether the engine is idle; how
often it looks before it prunes beside other work."""

SHORTEST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds from one pruning by itself to the next: a quarter of the time that runs are kept, within these."""

MOST = 1_000_000
"""Runs that one predicate can match."""


class Retention:
    """Prunes when asked to and, where ``keep`` seconds are given, by itself."""

    def __init__(
        self, engine: Engine, modules: Modules, values: ValueFiles, queries: Queries, keep: float = 0.0
    ) -> None:
        self._engine = engine
        self._modules = modules
        self._values = values
        self._queries = queries
        self._keep = keep
        self._one_at_a_time = anyio.Lock()

    async def prune(self, client: ClientLink, request: int, params: Prune) -> None:
        """Answer ``Pruned``."""
        if params.status and params.status not in CLOSED_STATUS.values():
            raise UserError(
                f'"{params.status}" is no status of an ended run; it is one of {", ".join(CLOSED_STATUS.values())}. '
                "Open runs are never deleted."
            )
        for name, count in (("older_than", params.older_than or 0.0), ("keep_last", params.keep_last)):
            if count < 0:
                raise UserError(f"{name} cannot be negative ({count:g}); nothing was deleted.")
        client.answer(request, await self.pruned(params))

    async def run(self) -> None:
        """Prune by itself now and then, in a moment without work if there is one soon."""
        await anyio.sleep(FIRST_AFTER)
        while self._keep:
            for _ in range(LOOKS):
                if not self._engine.store.backlog():
                    break
                await anyio.sleep(LOOK_EVERY)
            try:
                done = await self.pruned(Prune(older_than=self._keep))
            except FlowbookError as error:
                log.error("pruning failed and is tried again later: %s", error)
            except Exception:
                log.exception("pruning failed and is tried again later")
            else:
                if done["runs"]:
                    log.info("%d runs were deleted, %d bytes freed", len(done["runs"]), done["freed"])
            await anyio.sleep(pause(self._keep))

    async def pruned(self, asked: Prune) -> Pruned:
        """Delete what matches and say what that was."""
        async with self._one_at_a_time:
            store = self._engine.store
            named = await self._named(asked)
            matching = await anyio.to_thread.run_sync(self._matching, asked, named)
            owing = set() if asked.owing else await anyio.to_thread.run_sync(store.owing)
            # From here to the commit nothing else happens in between.
            going, kept = self._spared(matching, owing)
            group = Group()
            group.forgotten = [run.run for run in going]
            if not asked.dry_run and going:
                store.commit(group)
                for run in going:
                    self._engine.runs.delete(run.run)
                self._engine.committed.set()
            modules, files, freed = 0, 0, sum(run.size for run in going)
            if not asked.dry_run:
                modules, size = await self._sweep_modules()
                used = await anyio.to_thread.run_sync(store.used_files)
                files, more = await anyio.to_thread.run_sync(_sweep_files, self._values, used)
                freed += size + more
        return Pruned(
            runs=[
                PrunedRun(id=run.run, workflow=run.workflow, status=run.status, events=run.events, bytes=run.size)
                for run in going
            ],
            kept=kept,
            modules=modules,
            values=files,
            freed=freed,
            dry_run=asked.dry_run,
        )

    async def _named(self, asked: Prune) -> set[RunId] | None:
        """The runs that the predicate names; None where there is none."""
        if asked.where is None:
            return None
        where = (asked.where,)
        found = await self._queries.run(lambda stop: self._engine.store.matching(where, MOST, stop), asked.timeout)
        return {RunId(row[0]) for row in found.rows}

    def _matching(self, asked: Prune, named: set[RunId] | None) -> list[RunSize]:
        """The closed runs that are meant, the one closed last first."""
        store, now = self._engine.store, self._engine.clock.now()
        seen: dict[str, int] = {}
        matching = []
        for run in store.closed_sizes():
            seen[run.workflow] = seen.get(run.workflow, 0) + 1
            if seen[run.workflow] <= asked.keep_last:
                continue
            if asked.older_than is not None and run.ended > now - asked.older_than:
                continue
            if (asked.status and run.status != asked.status) or (named is not None and run.run not in named):
                continue
            matching.append(run)
        return matching

    def _spared(self, matching: Sequence[RunSize], owing: set[RunId]) -> tuple[list[RunSize], list[KeptRun]]:
        """Those that go, and those that an open run or a person needs."""
        runs = self._engine.runs
        sources = {run.state.origin.run: run.id for run in runs.open.values() if run.state.origin is not None}
        chains = {root(run): run for run in runs.open}
        meant = {run.run for run in matching}
        going, kept = [], []
        for run in matching:
            reason = ""
            if run.run in sources:
                reason = f"the open run {sources[run.run]} is a fork of it"
            elif run.run in chains:
                reason = f"it goes on as the open run {chains[run.run]}, which is called by its id"
            elif runs.current(root(run.run)) == run.run != root(run.run) and not runs.chain(run.run) <= meant:
                reason = "it is the last of a chain of runs of which others stay"
            elif run.run in owing:
                reason = "it still owes something outside; `flowbook obligations` says what, --owing deletes it as well"
            if reason:
                kept.append(KeptRun(id=run.run, reason=reason))
            elif run.run not in runs.open:
                going.append(run)
        return going, kept

    async def _sweep_modules(self) -> tuple[int, int]:
        """Delete modules nobody refers to; one that was stored or used lately may be about to be referred to."""
        unused = await anyio.to_thread.run_sync(self._engine.store.unused_modules)
        used = {run.state.module for run in self._engine.runs.open.values()}
        group = Group()
        group.unused = [digest for digest in unused if digest not in used and not self._modules.is_known(digest)]
        if group:
            self._engine.store.commit(group)
            self._engine.committed.set()
        return len(group.unused), sum(unused[digest] for digest in group.unused)


def pause(keep: float) -> float:
    """Seconds to the next pruning, where runs are kept for so many."""
    return min(max(keep / 4, SHORTEST_PAUSE), LONGEST_PAUSE)


def _sweep_files(values: ValueFiles, used: set[Digest]) -> tuple[int, int]:
    """Delete value files that are neither used nor young; gives their number and size."""
    count = size = 0
    for digest, path in values.all():
        if digest not in used:
            freed = _delete(path)
            count += freed is not None
            size += freed or 0
    return count, size


def _delete(path: Path) -> int | None:
    """Delete a file unless it is young; gives its size."""
    try:
        found = os.stat(path)
        if found.st_mtime > time.time() - YOUNG:
            return None
        path.unlink()
    except OSError as error:
        log.warning("the value file %s could not be deleted: %s", path, error)
        return None
    return found.st_size
