"""The loop, the only place where the pure heart meets the world: decide, commit, then tell.

A *turn* takes everything that has arrived, decides it message by message, makes all events durable in one commit
and only then acts on them. What cannot be committed has not happened.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import cast

import anyio
import anyio.abc

from flowbook.core.chains import following
from flowbook.core.consequences import consequences
from flowbook.core.decide import decide
from flowbook.core.due import NOTHING_DUE, due
from flowbook.core.events import (
    AnyEvent,
    Recorded,
    RunMoved,
    RunPaused,
    RunResumed,
    RunStarted,
    StepAttemptFailed,
    StepScheduled,
    StepWaiting,
    TimerStarted,
    UpdateCompleted,
    UpdateFailed,
)
from flowbook.core.evolve import evolve
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.messages import (
    AnyMessage,
    ChildEnded,
    PauseRun,
    RunTimedOut,
    SignalDelivered,
    StartRun,
    StepExpired,
    TimerDue,
    WorkerLost,
)
from flowbook.core.schedule import PREFIX
from flowbook.engine.clock import Clock, Leases
from flowbook.engine.links import WorkerLink
from flowbook.engine.neighbours import Placement, Publication, Queueing
from flowbook.engine.runs import LiveRun, Runs
from flowbook.engine.schedules import Schedules
from flowbook.engine.timers import Timers
from flowbook.engine.told import Told, last_line
from flowbook.engine.updates import Updates
from flowbook.errors import FlowbookError, InternalError, RunClosed, StoreError, UnknownRun
from flowbook.store.base import Group, Store, entry
from flowbook.wire.protocol import Evict, Released, RunReport, Unreadable, WorkerHello

log = logging.getLogger("flowbook.engine")

LOSSES = 5
"""A run that takes down so many workers in a row without saying a word is paused."""

MOST_BEHIND = 256 * 1024 * 1024
"""Bytes that the database may be behind the journal before nothing more is decided until it has caught up."""

RETRY_COMMIT = 1.0
"""Seconds between attempts to write what a full disk refused."""

_ANSWERS = {UpdateCompleted, UpdateFailed}
_TIMELY = {RunStarted, TimerStarted, StepAttemptFailed, StepScheduled, StepWaiting, RunResumed}


class Engine:
    """All runs of one project."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.runs = Runs()
        self.leases = Leases()
        self.timers = Timers(clock)
        self.refusal = ""
        self.delay = ""
        self.placement: Placement
        self.queues: Queueing
        self.publication: Publication
        self.tasks: anyio.abc.TaskGroup
        self._inbox: list[Told] = []
        self._following: deque[Told] = deque()
        self._stalled: list[Told] = []
        self._idle: dict[RunId, Seq] = {}
        self._timely: set[RunId] = set()
        self._moved: set[RunId] = set()
        self._answered: list[tuple[RunId, UpdateCompleted | UpdateFailed]] = []
        self.updates = Updates()
        self.schedules = Schedules(clock, self.runs, self.timers, lambda: self._wake.set())
        self._wake = anyio.Event()
        self._drained = anyio.Event()
        self.committed = anyio.Event()

    # What arrives

    def tell(self, told: Told) -> None:
        """Have messages decided in the next turn."""
        self._inbox.append(told)
        self._wake.set()

    def report(self, link: WorkerLink, report: RunReport) -> None:
        """A worker has something to say about a run."""
        told = Told(report.run, report.items)
        told.link, told.lease, told.number = link, report.lease, report.number
        self.tell(told)

    def distrust(self, link: WorkerLink, packet: Unreadable) -> None:
        """A worker said something that means nothing about a run: the run waits for people, and no other is harmed."""
        log.warning("worker %s said what cannot be read about run %s: %s", link.worker, packet.run, packet.reason)
        text = f"what its code asked for cannot be recorded: {packet.reason}"
        if self.runs.get(packet.run) is not None:
            self.tell(Told(packet.run, [PauseRun(text)]))

    def released(self, link: WorkerLink, packet: Released) -> None:
        """A worker dropped an idle run."""
        run = self.runs.open.get(packet.run)
        if run is None or run.holder is not link or run.lease != packet.lease:
            return
        run.release()
        if packet.unfinished:
            run.idle = Seq(0)
        elif packet.seq >= run.state.woken:
            run.idle = packet.seq
            self._idle[run.id] = packet.seq
        self.consider(run)

    # The turn

    async def run(self) -> None:
        """Take turns for ever."""
        while True:
            await self._wake.wait()
            while self.store.backlog() > MOST_BEHIND:
                self.delay = "the database cannot keep up with the journal; runs go on when it has caught up"
                self.committed.set()
                await self._drained.wait()
            self.delay = ""
            self._wake = anyio.Event()
            self.turn()

    def has_drained(self) -> None:
        """The store has moved some of what was committed."""
        self._drained.set()
        self._drained = anyio.Event()

    def turn(self) -> None:
        """Decide all that has arrived, commit once, act."""
        inbox, self._inbox = self._inbox, []
        if self._stalled:
            inbox = self._set_stalled_aside(inbox)
        group = Group()
        touched: dict[RunId, LiveRun] = {}
        now = self.clock.now()
        self._following.extend(inbox)
        while self._following or self.schedules.are_told:
            if self._following:
                self._take(self._following.popleft(), group, touched, now)
            else:
                self._following.extend(Told(run, [message]) for run, message in self.schedules.take(group, now))
        if group:
            group.idle, self._idle = self._idle, {}
            try:
                self.store.commit(group)
            except StoreError as error:
                self._refused(error, group, inbox, touched)
                return
            self.committed.set()
            self.publication.note(group.entries)
        answered, self._answered = self._answered, []
        for run_id, event in answered:
            self.updates.settle(run_id, event)
        for run in touched.values():
            self._act(run)
        self.schedules.settle()
        self.queues.act()
        for told in inbox:
            if told.answer is not None:
                told.answer(self.runs.get(told.run), told.error)
            if told.after is not None:
                told.after()

    def _take(self, told: Told, group: Group, touched: dict[RunId, LiveRun], now: float) -> None:
        if told.check is not None and not told.check():
            return
        run = self.runs.get(told.run)
        if told.link is not None:
            if run is None or not self._is_current(run, told):
                return
            run.answering = told.number
            run.losses = 0
        elif run is None:
            if not isinstance(told.messages[0], StartRun) or self.runs.is_stored(told.run):
                self._refuse(told, self._unknown(told.run))
                return
            run = self.runs.add(LiveRun(told.run))
        touched[run.id] = run
        try:
            for message in told.messages:
                for event in decide(run.state, message, now):
                    self._happen(run, event, group, now)
        except FlowbookError as error:
            self._refuse(told, error)
        except Exception as fault:
            self._contain(told, run, fault, group, now)
        if told.error is not None:
            if not run.records:
                # It was never started.
                self.runs.forget(run.id)
                del touched[run.id]
            return
        if told.sender is not None:
            self._answer_sender(told.sender, None)

    def _contain(self, told: Told, run: LiveRun, fault: Exception, group: Group, now: float) -> None:
        """A fault in deciding about one run ends neither the turn nor the engine: the run waits for people."""
        log.error("run %s could not be decided about", run.id, exc_info=fault)
        text = f"the engine met a fault of its own: {last_line(fault)}; its log has more"
        self._refuse(told, InternalError(f'run "{run.id}": {text}.'))
        # What was half done is taken back, what became a fact before it stays.
        run.go_back_to(run.committed + sum(happened.run == run.id for happened in group.entries))
        if run.records and not (run.state.closed or run.state.paused):
            self._happen(run, RunPaused(text), group, now)

    def _happen(self, run: LiveRun, event: AnyEvent, group: Group, now: float) -> None:
        """One more fact; what it means for other runs is decided later in this turn, and committed with it."""
        state = run.state
        told = consequences(state, event)
        # An engine that was started after the clock was set back is behind what the one before it has recorded.
        happened = entry(run.id, Recorded(Seq(state.seq + 1), max(now, state.time), event))
        evolve(state, happened.recorded)
        # Up to here nobody has seen anything: half a fact is none.
        group.entries.append(happened)
        run.records.append(happened.record)
        for run_id, messages, key in told:
            following = Told(run_id if isinstance(messages[0], StartRun) else self.runs.current(run_id), messages)
            following.sender = None if key is None else (run.id, key)
            self._following.append(following)
        self.queues.note(run, event)
        if type(event) in _TIMELY:
            self._timely.add(run.id)
        if type(event) is RunMoved:
            self._moved.add(run.id)
        if type(event) in _ANSWERS:
            self._answered.append((run.id, cast(UpdateCompleted | UpdateFailed, event)))
        if state.schedule:
            self.schedules.run_happened(state, event)

    def _refuse(self, told: Told, error: FlowbookError) -> None:
        told.error = error
        if told.sender is not None:
            self._answer_sender(told.sender, Failure(type=type(error).__name__, message=str(error), retryable=False))

    def _answer_sender(self, sender: tuple[RunId, Key], failure: Failure | None) -> None:
        """A run that sent something is told that it arrived, or why not. What waits longer is told otherwise."""
        run, key = sender
        messages: list[AnyMessage] = [SignalDelivered(key, failure)]
        if failure is not None:
            messages.append(ChildEnded(key, failure=failure))
        self._following.append(Told(run, messages))

    def _unknown(self, run: RunId) -> FlowbookError:
        if self.runs.is_stored(run):
            return RunClosed(f'run "{run}" has ended.')
        return UnknownRun(f'no run "{run}" in this project. `flowbook runs` lists them.')

    def _is_current(self, run: LiveRun, told: Told) -> bool:
        link = told.link
        assert link is not None
        if run.holder is not link:
            link.link.say(Evict(run.id))
            return False
        if run.lease != told.lease:
            return False
        if told.number <= max(run.reported, run.answering):
            link.commit(run.id, (), run.reported)
            return False
        return True

    def _act(self, run: LiveRun) -> None:
        """What follows from a run's new events, now that they are durable."""
        state = run.state
        fresh = run.records[run.committed :]
        if run.holder is not None and (fresh or run.answering > run.reported):
            run.reported = max(run.reported, run.answering)
            run.holder.commit(run.id, fresh, run.reported)
        run.committed = len(run.records)
        if run.id in self._moved:
            self._moved.discard(run.id)
            self._take_away(run)
        if state.closed:
            if run.id in self.runs.open:
                run.release()
                self.runs.close(run)
                self.updates.close(run.id, following(run.id) if state.closed == "continued" else None)
        elif state.paused:
            run.release()
            run.idle = Seq(0)
        else:
            self.consider(run)
        if run.id in self._timely:
            self._timely.discard(run.id)
            self.arm(run)
        if run.ended is not None and (state.closed or state.paused):
            run.ended.set()
            run.ended = None

    def _take_away(self, run: LiveRun) -> None:
        """Whoever holds the run has its old code."""
        if run.holder is not None:
            run.holder.link.say(Evict(run.id))
            run.release()
        run.idle = Seq(0)

    # A disk that refuses

    def _refused(self, error: StoreError, group: Group, inbox: list[Told], touched: dict[RunId, LiveRun]) -> None:
        """Nothing was written: take everything back, answer those who wait, and keep what must not be lost."""
        if not self.refusal:
            log.error("%s", error)
        self.refusal = str(error)
        self._idle = {**group.idle, **self._idle}
        self._answered.clear()
        self._moved.clear()
        for run in touched.values():
            run.forget_uncommitted()
            if not run.records:
                self.runs.forget(run.id)
                self._timely.discard(run.id)
        self.schedules.take_back(error)
        self.queues.act()
        for told in inbox:
            if told.answer is not None:
                told.answer(None, StoreError(str(error)))
            else:
                self._stalled.append(told)

    def _set_stalled_aside(self, inbox: list[Told]) -> list[Told]:
        """While the disk refuses, what workers and timers say waits in line; people are answered."""
        self._stalled += [told for told in inbox if told.answer is None]
        return [told for told in inbox if told.answer is not None]

    async def keep_up(self) -> None:
        """Once a second: try again what was refused, and write idle marks that no commit has taken along."""
        while True:
            await anyio.sleep(RETRY_COMMIT)
            if self.refusal or self._idle:
                self.flush()

    def flush(self) -> None:
        """Commit idle marks, and take up what was refused if that works."""
        group = Group()
        group.idle = self._idle
        try:
            self.store.commit(group)
        except StoreError as error:
            self.refusal = str(error)
            return
        self._idle = {}
        self.committed.set()
        if self.refusal:
            log.warning("the store takes commits again")
            self.refusal = ""
        self._inbox = self._stalled + self._inbox
        self._stalled = []
        self._wake.set()

    # What is due

    def arm(self, run: LiveRun) -> None:
        """Have the run looked at when its next timer, retry or time-out is due."""
        now = self.clock.now()
        asked = due(run.state, now)
        at = asked.next if asked._replace(next=None) == NOTHING_DUE else now
        if at is not None and (run.armed is None or at < run.armed):
            run.armed = at
            self.timers.set(at, run.id)

    def ring(self, id: RunId, at: float) -> None:
        """A time that was asked for has come."""
        if id.startswith(PREFIX):
            self.schedules.ring(id, at)
            return
        run = self.runs.open.get(id)
        if run is None or run.armed != at:
            return
        run.armed = None
        asked = due(run.state, self.clock.now())
        messages: list[AnyMessage] = [TimerDue(key) for key in asked.timers]
        messages += [StepExpired(key) for key in asked.expired]
        if asked.timed_out:
            messages.append(RunTimedOut())
        if messages:
            self._timely.add(id)
            self.tell(Told(id, messages))
        elif asked.next is not None:
            run.armed = asked.next
            self.timers.set(asked.next, id)
        if asked.retry:
            self.consider(run)
        if asked.queued:
            self.queues.offer(run, asked.queued)

    # Who runs what

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
            reuse = source.records[: origin.seq] if source is not None else []
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

    def lost(self, runs: Sequence[LiveRun], link: WorkerLink, reason: str, ran: str = "") -> None:
        """A worker is gone for good; what it held is due again. ``ran``: the run, or the module, whose code it ran."""
        for run in runs:
            if not run.reserved or run.holder is not None:
                continue
            run.reserved = False
            run.losses += ran in (run.id, run.state.module)
            self.tell(Told(run.id, [WorkerLost(link.worker, reason, own=True)]))
            if run.losses >= LOSSES:
                run.losses = 0
                text = f"its worker was lost {LOSSES} times in a row while it ran this workflow's code: {reason}"
                self.tell(Told(run.id, [PauseRun(text)]))

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
