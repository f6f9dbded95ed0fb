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

from flowbook.core.chains import following, start_plan
from flowbook.core.consequences import Consequence, consequences
from flowbook.core.decide import decide
from flowbook.core.due import NOTHING_DUE, due
from flowbook.core.events import (
    AnyEvent,
    Recorded,
    RunContinued,
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
)
from flowbook.core.schedule import PREFIX
from flowbook.engine.clock import Clock
from flowbook.engine.holding import Holding
from flowbook.engine.links import WorkerLink
from flowbook.engine.neighbours import Publication, Queueing
from flowbook.engine.runs import LiveRun
from flowbook.engine.schedules import Schedules
from flowbook.engine.timers import Timers
from flowbook.engine.told import Told, last_line
from flowbook.engine.updates import Updates
from flowbook.errors import FlowbookError, InternalError, RunClosed, RunConflict, StoreError, UnknownRun
from flowbook.store.base import Group, Store, entry
from flowbook.wire.protocol import Evict, Released, RunReport, Unreadable

log = logging.getLogger("flowbook.engine")

MOST_BEHIND = 256 * 1024 * 1024
"""Bytes that the database may be behind the journal before nothing more is decided until it has caught up."""

RETRY_COMMIT = 1.0
"""Seconds between attempts to write what a full disk refused."""

_ANSWERS = {UpdateCompleted, UpdateFailed}
_TIMELY = {RunStarted, TimerStarted, StepAttemptFailed, StepScheduled, StepWaiting, RunResumed}


class _Turn:
    """What a turn has decided so far: events, and the runs they are of."""

    __slots__ = ("group", "now", "touched")

    def __init__(self, now: float) -> None:
        self.now = now
        self.group = Group()
        self.touched: dict[RunId, LiveRun] = {}


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
        turn = _Turn(self.clock.now())
        self._following.extend(inbox)
        while self._following or self.schedules.are_told:
            if self._following:
                self._take(self._following.popleft(), turn)
            else:
                told = self.schedules.take(turn.group, turn.now)
                self._following.extend(Told(run, [message], to="heir") for run, message in told)
        if turn.group:
            turn.group.idle, self._idle = self._idle, {}
            try:
                self.store.commit(turn.group)
            except StoreError as error:
                self._refused(error, turn.group, inbox, turn.touched)
                return
            self.committed.set()
            self.publication.note(turn.group.entries)
        self._tell_all(inbox, turn)

    def _tell_all(self, inbox: list[Told], turn: _Turn) -> None:
        """What was decided is durable: act on it, and answer."""
        answered, self._answered = self._answered, []
        for run_id, event in answered:
            self.updates.settle(run_id, event)
        for run in turn.touched.values():
            self._act(run)
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

    def _take(self, told: Told, turn: _Turn) -> None:
        if told.check is not None and not told.check():
            return
        told.run, told.until = self.runs.meant(told.asked, told.to), None
        run = self.runs.get(told.run)
        if told.link is not None:
            if run is None or not self._is_current(run, told):
                return
            run.answering = told.number
            run.losses = run.unexplained = 0
        elif run is None and told.answer is not None and self.runs.is_stored(told.run):
            told.until = told.run
            return
        try:
            messages = told.messages
            if told.to == "id" and isinstance(messages[0], StartRun):
                messages = self._planned(told, messages[0], run, turn)
                run = self.runs.get(told.run)
            if run is None:
                run = self._new_run(told)
            for message in messages:
                told.effect = self._decide(run, message, turn) or told.effect
        except FlowbookError as error:
            self._refuse(told, error)
        except Exception as fault:
            self._contain(told, run, fault, turn)
        if told.error is not None:
            if run is not None and not run.records:
                # It was never started.
                self.runs.forget(run.id)
                turn.touched.pop(run.id, None)
            return
        if told.sender is not None:
            self._answer_sender(told, told.sender, None)

    def _decide(self, run: LiveRun, message: AnyMessage, turn: _Turn) -> bool:
        """Let happen what follows from a message; True where anything does."""
        turn.touched[run.id] = run
        events = decide(run.state, message, turn.now)
        for event in events:
            self._happen(run, event, turn)
        return bool(events)

    def _planned(self, told: Told, start: StartRun, current: LiveRun | None, turn: _Turn) -> Sequence[AnyMessage]:
        """What a start means, now that ``current`` is the last run of its id: nothing, while that has to end first."""
        if current is None:
            ((told.run, message),) = start_plan(None, start)
            return [message]
        *before, (told.run, message) = start_plan(current.state, start)
        if not before:
            return [message]
        for _, ending in before:
            self._decide(current, ending, turn)
        assert isinstance(message, StartRun)
        if current.state.closed:
            return self._planned(told, message, current, turn)
        told.run, told.messages, told.until = current.id, [message], current.id
        return []

    def _new_run(self, told: Told) -> LiveRun:
        is_start, is_stored = isinstance(told.messages[0], StartRun), self.runs.is_stored(told.run)
        if is_start and not is_stored:
            return self.runs.add(LiveRun(told.run))
        if is_start:
            raise RunConflict(f'run "{told.run}" exists already: it has ended. Give the new run another id.')
        if is_stored:
            raise RunClosed(f'run "{told.run}" has ended.')
        raise UnknownRun(f'no run "{told.run}" in this project. `flowbook runs` lists them.')

    def _contain(self, told: Told, run: LiveRun | None, fault: Exception, turn: _Turn) -> None:
        """A fault in deciding about one run ends neither the turn nor the engine: the run waits for people."""
        log.error("run %s could not be decided about", told.run, exc_info=fault)
        text = f"the engine met a fault of its own: {last_line(fault)}; its log has more"
        self._refuse(told, InternalError(f'run "{told.run}": {text}.'))
        if run is None:
            return
        # What was half done is taken back, what became a fact before it stays.
        run.go_back_to(run.committed + sum(happened.run == run.id for happened in turn.group.entries))
        if run.records:
            for event in decide(run.state, PauseRun(text), turn.now):
                self._happen(run, event, turn)

    def _happen(self, run: LiveRun, event: AnyEvent, turn: _Turn) -> None:
        """One more fact; what it means for other runs is decided later in this turn, and committed with it."""
        state = run.state
        following = [_told_by(run.id, consequence) for consequence in consequences(state, event)]
        # An engine that was started after the clock was set back is behind what the one before it has recorded; and
        # what follows from this, for other runs too, is not earlier.
        turn.now = max(turn.now, state.time)
        happened = entry(run.id, Recorded(Seq(state.seq + 1), turn.now, event))
        evolve(state, happened.recorded)
        # Up to here nobody has seen anything: half a fact is none.
        turn.group.entries.append(happened)
        run.records.append(happened.record)
        if type(event) is RunContinued:
            # Whoever speaks to this run means the one it goes on as: that has to be there first.
            self._following.extendleft(reversed(following))
        else:
            self._following.extend(following)
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
            failure = Failure(type=type(error).__name__, message=str(error), retryable=False)
            self._answer_sender(told, told.sender, failure)

    def _answer_sender(self, told: Told, sender: tuple[RunId, Key], failure: Failure | None) -> None:
        """A run that sent something is told that it arrived, or why not. What waits longer is told otherwise."""
        run, key = sender
        if not isinstance(told.messages[0], StartRun):
            self._following.append(Told(run, [SignalDelivered(key, failure)]))
        elif failure is not None:
            self._following.append(Told(run, [ChildEnded(key, told.run, failure=failure)]))

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
            self._timely.add(id)
            self.tell(Told(id, messages))
        elif asked.next is not None:
            run.armed = asked.next
            self.timers.set(asked.next, id)
        if asked.retry:
            self.consider(run)
        if asked.queued:
            self.queues.offer(run, asked.queued)


def _told_by(sender: RunId, consequence: Consequence) -> Told:
    """What one run's fact says to another."""
    told = Told(consequence.run, consequence.messages, to=consequence.to)
    if consequence.answers is not None:
        told.sender = (sender, consequence.answers)
    return told
