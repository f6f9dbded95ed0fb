"""One engine's life: recover, listen, serve, and leave in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from math import inf

import anyio
import anyio.to_thread
import msgspec

import flowbook
from flowbook.core.duration import seconds_with_unit, setting, whole
from flowbook.core.ids import RunId, WorkerId
from flowbook.core.messages import WorkerLost
from flowbook.engine import remains
from flowbook.engine.answers import Answers
from flowbook.engine.clock import Clock
from flowbook.engine.engine import Engine
from flowbook.engine.fleet import Fleet
from flowbook.engine.modules import LayOut, Modules
from flowbook.engine.processes import Spawn
from flowbook.engine.queues import Queues
from flowbook.engine.runs import RECENT, LiveRun
from flowbook.engine.server import Server
from flowbook.engine.told import Told
from flowbook.engine.views import Difference, MakeFold, ViewMaker
from flowbook.errors import StoreError
from flowbook.store.base import Store, decode_recorded
from flowbook.store.home import Home, write_private

log = logging.getLogger("flowbook.engine")

DRAIN_EVERY = 1.0
"""Seconds; a query drains first, so this is not how old an answer may be. Seldom and much is cheaper than often."""

DRAIN_ON = 4 * 1024 * 1024
"""Bytes that are drained at once and not a second later."""

STOP_GRACE = 30.0
"""Seconds that running steps have to end when the engine leaves, unless whoever stops it says otherwise."""

TIDY_AFTER = 5.0
"""Seconds without a commit after which logs are folded into their files."""


class Settings(msgspec.Struct, frozen=True):
    """What may differ between engines. Seconds."""

    reconnect_grace: float = 10.0
    """How long a worker whose process lives may take to come back; one that is gone is not waited for."""
    worker_silence: float = 30.0
    idle_exit: float = 900.0
    retention: float = 0.0
    """How long ended runs are kept; 0 keeps them for ever."""


class Host:
    """Owns the parts and their order of birth and death."""

    def __init__(
        self,
        home: Home,
        store: Store,
        clock: Clock,
        spawn: Spawn,
        token: str,
        make_view: MakeFold,
        difference: Difference,
        lay_out: LayOut,
        settings: Settings,
    ) -> None:
        self.home = home
        self.store = store
        self.settings = settings
        self.engine = Engine(store, clock)
        self.fleet = Fleet(self.engine, home, spawn, settings.reconnect_grace, settings.worker_silence)
        self.queues = Queues(self.engine, self.fleet)
        self.engine.queues = self.fleet.queues = self.queues
        modules = Modules(store, lay_out)
        views = ViewMaker(modules, make_view, difference)
        self.answers = Answers(
            self.engine, self.fleet, self.queues, modules, views, home, self.stop, settings.retention
        )
        self.server = Server(self.engine, self.fleet, self.queues, self.answers, modules, token)
        self.engine.placement = self.fleet
        self.engine.publication = self.answers.publisher
        self.reason = ""
        self.left = anyio.Event()
        self._stopping = anyio.Event()
        self._leave_by = inf
        self._patience: anyio.CancelScope | None = None

    def stop(self, reason: str, grace: float = STOP_GRACE) -> None:
        """Leave in order. Running steps have ``grace`` seconds to end; a second call can shorten them."""
        self.reason = self.reason or reason
        self._leave_by = min(self._leave_by, anyio.current_time() + grace)
        if self._patience is not None:
            self._patience.deadline = self._leave_by
        self._stopping.set()

    async def run(self) -> None:
        """Serve until told to stop."""
        self._recover()
        async with anyio.create_task_group() as tasks, self.server.listening(self.home.socket):
            self.engine.tasks = tasks
            tasks.start_soon(self.engine.run)
            tasks.start_soon(self.engine.timers.run, self.engine.ring)
            tasks.start_soon(self.engine.keep_up)
            tasks.start_soon(self.queues.timers.run, self.queues.ring)
            tasks.start_soon(self.fleet.keep_watch)
            tasks.start_soon(self.answers.publisher.run)
            tasks.start_soon(self.answers.retention.run)
            tasks.start_soon(self._drain)
            tasks.start_soon(self._keep_watch)
            self._advertise()
            tasks.start_soon(self._resume_runs)
            await self._stopping.wait()
            log.info("stopping: %s", self.reason)
            with anyio.CancelScope(shield=True):
                await self._leave()
            self.left.set()
            tasks.cancel_scope.cancel()

    async def _leave(self) -> None:
        """Let what runs end, then say goodbye to everybody."""
        self.answers.queries.leave()
        if not self.home.folder.exists():
            return
        with anyio.CancelScope(deadline=self._leave_by) as self._patience:
            await self.fleet.drain_all(max(self._leave_by - anyio.current_time(), 0.0))
        await self.server.farewell(self.reason)
        await self.fleet.leave(self.reason)
        self.engine.flush()
        for path in (self.home.address, self.home.socket):
            path.unlink(missing_ok=True)

    def _advertise(self) -> None:
        content = {
            "pid": os.getpid(),
            "socket": str(self.home.socket),
            "home": str(self.home.folder),
            "version": flowbook.__version__,
        }
        write_private(self.home.address, msgspec.json.encode(content))

    # Recovery

    def _recover(self) -> None:
        """Fold every open run; what is due follows from that."""
        runs = self.engine.runs
        runs.recall(self.store.closed_ids(), self.store.continued_ids(), self.store.closed_runs(RECENT))
        idle = self.store.idle_runs()
        broken = []
        for found, records in self.store.open_runs():
            run = _read(found, records)
            if run is None:
                broken.append(found)
                continue
            runs.add(run)
            run.idle = idle.get(found, run.idle)
            run.reserved = run.idle < run.state.woken or bool(run.state.steps)
            self.engine.arm(run)
        ended = (_read(owing, self.store.history(owing)) for owing in sorted(self.store.owing() - runs.open.keys()))
        runs.recall_owing(run for run in ended if run is not None)
        self.engine.schedules.recall(self.store)
        self.queues.recover()
        remains.forget_the_dead(self.home)
        if broken:
            self.store.notices.append(
                f"{len(broken)} runs have lost a part of their history, or it cannot be read, and are not continued: "
                f"{', '.join(sorted(broken)[:10])}"
            )
        for notice in self.store.notices:
            log.warning("%s", notice)
        log.info("%d open runs", len(runs.open))

    async def _resume_runs(self) -> None:
        """Wait for workers that may come back, then take up every run."""
        engine = self.engine
        running = {
            live.worker
            for run in engine.runs.open.values()
            for live in run.state.steps.values()
            if live.running and not live.waiting
        }
        await self.fleet.await_return(self.fleet.may_return(running))
        for run in list(engine.runs.open.values()):
            if run.reserved and run.holder is None:
                run.reserved = False
                if self._lose_steps(run):
                    continue
            engine.consider(run)
        self.queues.open()

    def _lose_steps(self, run: LiveRun) -> bool:
        """Have the steps decided that ran on workers that are gone; False when there are none."""
        steps = [live for live in run.state.steps.values() if live.running and not live.queue and not live.waiting]
        workers: set[WorkerId] = {live.worker for live in steps}
        for worker in sorted(workers):
            reason = "it was gone when the engine started again"
            self.engine.tell(Told(run.id, [WorkerLost(worker, reason, own=True, planned=True)]))
        return bool(workers)

    # Housekeeping

    async def _drain(self) -> None:
        """Move what was committed into the database a few times a second; fold logs when all is quiet."""
        tidy = True
        while True:
            if not tidy:
                with anyio.move_on_after(TIDY_AFTER):
                    await self.engine.committed.wait()
                if not self.engine.committed.is_set():
                    await anyio.to_thread.run_sync(self.store.tidy)
                    tidy = True
            await self.engine.committed.wait()
            self.engine.committed = anyio.Event()
            tidy = False
            await anyio.sleep(DRAIN_EVERY)
            try:
                # What little came meanwhile waits for the next time: small batches cost as much as large ones.
                while await anyio.to_thread.run_sync(self.store.drain) and self.store.backlog() > DRAIN_ON:
                    self.engine.has_drained()
                self.engine.has_drained()
            except StoreError as error:
                log.error("%s What is acknowledged is in the journal; trying again.", error)
                self.engine.committed.set()
                await anyio.sleep(1.0)

    async def _keep_watch(self) -> None:
        """Leave when there is nothing to do for long, or when the project is gone; keep up with the machine's clock."""
        quiet, told = 0.0, False
        while True:
            await anyio.sleep(1.0)
            notice = self.engine.clock.notice
            if notice and not told:
                log.warning("%s", notice)
            told = bool(notice)
            self.engine.timers.look()
            self.queues.timers.look()
            if not self.home.folder.exists():
                self.stop("its folder is gone", 0.0)
            busy = bool(self.engine.runs.open or self.server.clients or self.engine.schedules.are_awaited)
            quiet = 0.0 if busy else quiet + 1.0
            if quiet >= self.settings.idle_exit:
                self.stop("there was nothing to do")


def _read(run: RunId, records: list[bytes]) -> LiveRun | None:
    """The run, if its events are numbered from 1 without a gap and mean something to this version."""
    try:
        is_whole = decode_recorded(records[-1]).seq == len(records) and decode_recorded(records[0]).seq == 1
        return LiveRun(run, records) if is_whole else None
    except Exception:
        log.exception("the history of run %s cannot be read", run)
        return None


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Settings as the environment gives them. Raises UserError naming the variable that makes no sense."""
    usual = Settings()
    # The workers' to use, and they are this engine's children: here it can still be said.
    setting(environment, "FLOWBOOK_BLOCK_BUDGET", 0.0)
    setting(environment, "FLOWBOOK_WORKER_THREADS", 1, whole)
    return Settings(
        reconnect_grace=setting(environment, "FLOWBOOK_RECONNECT_GRACE", usual.reconnect_grace),
        worker_silence=setting(environment, "FLOWBOOK_WORKER_SILENCE", usual.worker_silence),
        idle_exit=setting(environment, "FLOWBOOK_IDLE_EXIT", usual.idle_exit),
        # What is deleted by a wrong unit does not come back.
        retention=setting(environment, "FLOWBOOK_RETENTION", usual.retention, seconds_with_unit),
    )
