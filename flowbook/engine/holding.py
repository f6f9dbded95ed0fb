"""Who has which run: a run is claimed for one worker under a lease, kept for one that may come back, and taken away.

What happens to runs is decided by the engine, of which this is a part.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.abc
import anyio.to_thread
from msgspec.structs import replace

from flowbook.core.due import due
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import PauseRun, WorkerLost
from flowbook.engine.clock import Clock, Leases
from flowbook.engine.links import WorkerLink
from flowbook.engine.neighbours import Placement
from flowbook.engine.runs import LiveRun, Runs
from flowbook.engine.told import Told
from flowbook.errors import FlowbookError, UnknownRun
from flowbook.store.base import Store
from flowbook.store.mark import NOTHING_LEFT, Left
from flowbook.wire.protocol import Evict, WorkerHello

LOSSES = 5
"""A run that takes down so many workers in a row without saying a word is paused."""

UNEXPLAINED = 20
"""The same where nothing says that its code did it: more, because others may bring down the worker that they share."""


class Holding:
    """All runs of one project, in memory or in the store, and their workers."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.runs = Runs()
        self.leases = Leases()
        self.placement: Placement
        self.tasks: anyio.abc.TaskGroup

    def tell(self, told: Told) -> None:
        """Have messages decided in the next turn."""
        raise NotImplementedError

    def consider(self, run: LiveRun) -> None:
        """Have the run activated if nobody holds it and there is something for its code to do."""
        state = run.state
        if run.holder is not None or run.reserved or run.wanted or state.queued or state.closed or state.paused:
            return
        if run.idle < state.woken or due(state, self.clock.now()).retry:
            self.placement.want(run)

    def activate(self, run: LiveRun, link: WorkerLink) -> None:
        """Give the run to a worker."""
        origin = run.state.origin
        if origin is not None:
            source = self.runs.get(origin.run)
            if source is None and self.runs.is_stored(origin.run):
                run.wanted = True
                self.tasks.start_soon(self._activate_fork, run)
                return
            reuse = _reusable(source.records, origin.seq) if source is not None else []
        else:
            reuse = []
        self._claim(run, link)
        history = run.records[: run.committed]
        link.activate(run.id, run.lease, run.state.module, history, reuse, self.clock.now())

    async def _activate_fork(self, run: LiveRun) -> None:
        assert run.state.origin is not None
        try:
            await self.load(run.state.origin.run)
        except FlowbookError as error:
            self.tell(Told(run.id, [PauseRun(f"the run it was forked from cannot be read: {error}")]))
        finally:
            run.wanted = False
        self.consider(run)

    def _claim(self, run: LiveRun, link: WorkerLink) -> None:
        run.release()
        run.holder, run.lease = link, self.leases.draw()
        run.reserved = run.wanted = False
        link.runs.add(run.id)

    def joined(self, link: WorkerLink, hello: WorkerHello) -> None:
        """A worker is there; what it holds from before is its own again unless somebody else has it."""
        for held, seq in hello.holding.items():
            run = self.runs.open.get(held)
            taken = run is None or (run.holder is not None and run.holder.worker != link.worker)
            if run is None or taken or run.state.paused:
                link.link.say(Evict(held))
                continue
            self._claim(run, link)
            link.commit(held, run.records[seq : run.committed], 0, run.lease)

    def reserve(self, link: WorkerLink) -> list[LiveRun]:
        """A worker's connection broke: nobody gets its runs until its fate is known."""
        held = [self.runs.open.get(run) for run in sorted(link.runs)]
        runs = [run for run in held if run is not None and run.holder is link]
        for run in runs:
            run.release()
            run.reserved = True
        return runs

    def lost(self, runs: Sequence[LiveRun], loss: WorkerLost, left: Left = NOTHING_LEFT) -> None:
        """A worker is gone for good; what it held is due again. ``left`` is what it ran."""
        for run in runs:
            if not run.reserved or run.holder is not None:
                continue
            run.reserved = False
            run.losses += left.code in (run.id, run.state.module)
            run.unexplained += not loss.planned
            self.tell(Told(run.id, [replace(loss, ran=left.of(run.id))]))
            if run.losses >= LOSSES:
                self._give_up(run, f"{LOSSES} times in a row while it ran this workflow's code: {loss.reason}")
            elif run.unexplained >= UNEXPLAINED:
                where = "what brings it down is in the workers' log, and the run can be resumed when that is mended"
                self._give_up(
                    run, f"{UNEXPLAINED} times in a row with nothing recorded in between: {loss.reason}; {where}"
                )

    def _give_up(self, run: LiveRun, how: str) -> None:
        run.losses = run.unexplained = 0
        self.tell(Told(run.id, [PauseRun(f"its worker was lost {how}")]))

    async def load(self, id: RunId) -> LiveRun:
        """The run, read from the store where it is not in memory. Raises ``UnknownRun``."""
        run = self.runs.get(id)
        if run is None and self.runs.is_stored(id):
            records = await anyio.to_thread.run_sync(self.store.history, id)
            run = self.runs.get(id)
            if run is None and records:
                run = LiveRun(id, records)
                self.runs.keep(run)
        if run is None:
            raise UnknownRun(f'no run "{id}" in this project. `flowbook runs` lists them.')
        return run


def _reusable(records: list[bytes], last: Seq) -> list[bytes]:
    """What a fork may take up to the ``last`` of these, and what tells that some of it was undone after that."""
    return records[:last] + [record for record in records[last:] if b'"ObligationSettled"' in record]
