"""What one turn decides: all that has arrived becomes events of one group.

Nothing is written here and nobody is answered; the engine commits the group, or takes it back, and then acts on it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import cast

from flowbook.core.chains import start_plan
from flowbook.core.consequences import Consequence, consequences
from flowbook.core.decide import decide
from flowbook.core.events import (
    AnyEvent,
    Recorded,
    RunContinued,
    RunMoved,
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
from flowbook.core.messages import AnyMessage, ChildEnded, PauseRun, SignalDelivered, StartRun
from flowbook.engine.neighbours import Queueing
from flowbook.engine.runs import LiveRun, Runs
from flowbook.engine.schedules import Schedules
from flowbook.engine.told import Told, last_line
from flowbook.errors import FlowbookError, InternalError, RunClosed, RunConflict, UnknownRun
from flowbook.store.base import Group, entry
from flowbook.wire.protocol import Evict

log = logging.getLogger("flowbook.engine")

_ANSWERS = {UpdateCompleted, UpdateFailed}
_TIMELY = {RunStarted, TimerStarted, StepAttemptFailed, StepScheduled, StepWaiting, RunResumed}


class Turn:
    """A group of events to commit, and the runs they are of.

    Of those runs ``timely`` are the ones that may have something due earlier than before, and ``moved`` those that go
    on with other code; ``answered`` are the updates that have ended.
    """

    __slots__ = (
        "_following",
        "_queues",
        "_runs",
        "_schedules",
        "answered",
        "group",
        "moved",
        "now",
        "timely",
        "touched",
    )

    def __init__(self, now: float, runs: Runs, queues: Queueing, schedules: Schedules) -> None:
        self.now = now
        self.group = Group()
        self.touched: dict[RunId, LiveRun] = {}
        self.timely: set[RunId] = set()
        self.moved: set[RunId] = set()
        self.answered: list[tuple[RunId, UpdateCompleted | UpdateFailed]] = []
        self._runs = runs
        self._queues = queues
        self._schedules = schedules
        self._following: deque[Told] = deque()

    def decide_all(self, inbox: Sequence[Told]) -> None:
        """Decide what has arrived, and all that follows from it for other runs and for schedules."""
        self._following.extend(inbox)
        while self._following or self._schedules.are_told:
            if self._following:
                self._take(self._following.popleft())
            else:
                told = self._schedules.take(self.group, self.now)
                self._following.extend(Told(run, [message], to="heir") for run, message in told)

    def _take(self, told: Told) -> None:
        if told.check is not None and not told.check():
            return
        told.run, told.until = self._runs.meant(told.asked, told.to), None
        run = self._runs.get(told.run)
        if told.link is not None:
            if run is None or not self._is_current(run, told):
                return
            run.answering = told.number
            run.losses = run.unexplained = 0
        elif run is None and told.answer is not None and self._runs.is_stored(told.run):
            told.until = told.run
            return
        try:
            messages = told.messages
            if told.to == "id" and isinstance(messages[0], StartRun):
                messages = self._planned(told, messages[0], run)
                run = self._runs.get(told.run)
            if run is None:
                run = self._new_run(told)
            for message in messages:
                told.effect = self._decide(run, message) or told.effect
        except FlowbookError as error:
            self._refuse(told, error)
        except Exception as fault:
            self._contain(told, run, fault)
        if told.error is not None:
            if run is not None and not run.records:
                # It was never started.
                self._runs.forget(run.id)
                self.touched.pop(run.id, None)
            return
        if told.sender is not None:
            self._answer_sender(told, told.sender, None)

    def _decide(self, run: LiveRun, message: AnyMessage) -> bool:
        """Let happen what follows from a message; True where anything does."""
        self.touched[run.id] = run
        events = decide(run.state, message, self.now)
        for event in events:
            self._happen(run, event)
        return bool(events)

    def _planned(self, told: Told, start: StartRun, current: LiveRun | None) -> Sequence[AnyMessage]:
        """What a start means, now that ``current`` is the last run of its id: nothing, while that has to end first."""
        if current is None:
            ((told.run, message),) = start_plan(None, start)
            return [message]
        *before, (told.run, message) = start_plan(current.state, start)
        if not before:
            return [message]
        for _, ending in before:
            self._decide(current, ending)
        assert isinstance(message, StartRun)
        if current.state.closed:
            return self._planned(told, message, current)
        told.run, told.messages, told.until = current.id, [message], current.id
        return []

    def _new_run(self, told: Told) -> LiveRun:
        is_start, is_stored = isinstance(told.messages[0], StartRun), self._runs.is_stored(told.run)
        if is_start and not is_stored:
            return self._runs.add(LiveRun(told.run))
        if is_start:
            raise RunConflict(f'run "{told.run}" exists already: it has ended. Give the new run another id.')
        if is_stored:
            raise RunClosed(f'run "{told.run}" has ended.')
        raise UnknownRun(f'no run "{told.run}" in this project. `flowbook runs` lists them.')

    def _contain(self, told: Told, run: LiveRun | None, fault: Exception) -> None:
        """A fault in deciding about one run ends neither the turn nor the engine: the run waits for people."""
        log.error("run %s could not be decided about", told.run, exc_info=fault)
        text = f"the engine met a fault of its own: {last_line(fault)}; its log has more"
        self._refuse(told, InternalError(f'run "{told.run}": {text}.'))
        if run is None:
            return
        # What was half done is taken back, what became a fact before it stays.
        run.go_back_to(run.committed + sum(happened.run == run.id for happened in self.group.entries))
        if run.records:
            for event in decide(run.state, PauseRun(text), self.now):
                self._happen(run, event)

    def _happen(self, run: LiveRun, event: AnyEvent) -> None:
        """One more fact; what it means for other runs is decided later in this turn, and committed with it."""
        state = run.state
        following = [_told_by(run.id, consequence) for consequence in consequences(state, event)]
        # An engine that was started after the clock was set back is behind what the one before it has recorded; and
        # what follows from this, for other runs too, is not earlier.
        self.now = max(self.now, state.time)
        happened = entry(run.id, Recorded(Seq(state.seq + 1), self.now, event))
        evolve(state, happened.recorded)
        # Up to here nobody has seen anything: half a fact is none.
        self.group.entries.append(happened)
        run.records.append(happened.record)
        if type(event) is RunContinued:
            # Whoever speaks to this run means the one it goes on as: that has to be there first.
            self._following.extendleft(reversed(following))
        else:
            self._following.extend(following)
        self._queues.note(run, event)
        if type(event) in _TIMELY:
            self.timely.add(run.id)
        if type(event) is RunMoved:
            self.moved.add(run.id)
        if type(event) in _ANSWERS:
            self.answered.append((run.id, cast(UpdateCompleted | UpdateFailed, event)))
        if state.schedule:
            self._schedules.run_happened(state, event)

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
        """False for a report that is late or came before; its worker is told so, whatever becomes of this turn."""
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


def _told_by(sender: RunId, consequence: Consequence) -> Told:
    """What one run's fact says to another."""
    told = Told(consequence.run, consequence.messages, to=consequence.to)
    if consequence.answers is not None:
        told.sender = (sender, consequence.answers)
    return told
