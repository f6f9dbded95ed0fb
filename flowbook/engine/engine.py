"""The loop, the only place where the pure heart meets the world: decide, commit, then tell.

A *turn* takes everything that has arrived, decides it message by message (``turn``), makes all events durable in one
commit and only then acts on them. What cannot be committed has not happened.
"""

from __future__ import annotations

import logging

import anyio
import anyio.abc

from flowbook.core.chains import following
from flowbook.core.due import NOTHING_DUE, due
from flowbook.core.events import RunPaused
from flowbook.core.ids import RunId, Seq
from flowbook.core.messages import AnyMessage, PauseRun, RunTimedOut, StepExpired, TimerDue
from flowbook.core.schedule import PREFIX
from flowbook.engine.clock import Clock
from flowbook.engine.holding import Holding
from flowbook.engine.links import WorkerLink
from flowbook.engine.neighbours import Publication, Queueing
from flowbook.engine.runs import LiveRun
from flowbook.engine.schedules import Schedules
from flowbook.engine.timers import Timers
from flowbook.engine.told import Told
from flowbook.engine.turn import Turn
from flowbook.engine.updates import Updates
from flowbook.errors import FlowbookError, StoreError
from flowbook.store.base import Group, Store
from flowbook.wire.protocol import Evict, Released, RunReport, Unreadable

log = logging.getLogger("flowbook.engine")

MOST_BEHIND = 256 * 1024 * 1024
"""Bytes that the database may be behind the journal before nothing more is decided until it has caught up."""

RETRY_COMMIT = 1.0
"""Seconds between attempts to write what a full disk refused."""


class Engine(Holding):
    """All runs of one project, and what happens to them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self.timers = Timers(clock, self._is_awaited)
        self.refusal = ""
        self.delay = ""
        self.queues: Queueing
        self.publication: Publication
        self._inbox: list[Told] = []
        self._stalled: list[Told] = []
        self._idle: dict[RunId, Seq] = {}
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
        turn = Turn(self.clock.now(), self.runs, self.queues, self.schedules)
        turn.decide_all(inbox)
        if turn.group:
            turn.group.idle, self._idle = self._idle, {}
            try:
                self.store.commit(turn.group)
            except StoreError as error:
                self._refused(error, turn, inbox)
                return
            self.committed.set()
            self.publication.note(turn.group.entries)
        self._tell_all(inbox, turn)

    def _tell_all(self, inbox: list[Told], turn: Turn) -> None:
        """What was decided is durable: act on it, and answer."""
        for run_id, event in turn.answered:
            self.updates.settle(run_id, event)
        for run in turn.touched.values():
            self._act(run, turn)
        self.schedules.settle()
        self.queues.act()
        for told in inbox:
            if told.until is not None:
                self._put_off(told, told.until)
            elif told.answer is not None:
                told.answer(self.runs.get(told.run), told.error)
            if told.after is not None:
                told.after()

    def _put_off(self, told: Told, until: RunId) -> None:
        """Have it decided when the run ``until`` has ended, or is in memory."""
        run = self.runs.open.get(until)
        if run is None or run.state.paused:
            self.tasks.start_soon(self._tell_again, told, until)
        else:
            run.next.append(told)

    async def _tell_again(self, told: Told, until: RunId) -> None:
        try:
            await self.load(until)
        except FlowbookError as error:
            assert told.answer is not None
            told.answer(None, error)
        else:
            self.tell(told)

    def _act(self, run: LiveRun, turn: Turn) -> None:
        """What follows from a run's new events, now that they are durable."""
        state = run.state
        fresh = run.records[run.committed :]
        if run.holder is not None and (fresh or run.answering > run.reported):
            run.reported = max(run.reported, run.answering)
            run.holder.commit(run.id, fresh, run.reported)
        run.committed = len(run.records)
        if run.id in turn.moved:
            self._take_away(run)
        if state.closed:
            if run.id in self.runs.open:
                run.release()
                self.runs.close(run)
                self.updates.close(run.id, following(run.id) if state.closed == "continued" else None)
            else:
                self.runs.changed(run)
        elif state.paused:
            run.release()
            run.idle = Seq(0)
            self.updates.pause(run.id, RunPaused(reason=state.paused))
        else:
            self.consider(run)
        if run.next and (state.closed or state.paused):
            for told in run.next:
                self.tell(told)
            run.next.clear()
        if run.id in turn.timely:
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

    def _refused(self, error: StoreError, turn: Turn, inbox: list[Told]) -> None:
        """Nothing was written: take everything back, answer those who wait, and keep what must not be lost."""
        if not self.refusal:
            log.error("%s", error)
        self.refusal = str(error)
        self._idle = {**turn.group.idle, **self._idle}
        for run in turn.touched.values():
            run.forget_uncommitted()
            if not run.records:
                self.runs.forget(run.id)
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

    def _is_awaited(self, id: RunId, at: float) -> bool:
        """True for a time that still means something."""
        run = self.runs.open.get(id)
        return id.startswith(PREFIX) or (run is not None and run.armed == at)

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
            told = Told(id, messages)
            told.after = lambda: self.arm(run)
            self.tell(told)
        elif asked.next is not None:
            run.armed = asked.next
            self.timers.set(asked.next, id)
        if asked.retry:
            self.consider(run)
        if asked.queued:
            self.queues.offer(run, asked.queued)
