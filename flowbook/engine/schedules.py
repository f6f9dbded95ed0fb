"""Schedules in the engine: they are decided in the same turn as runs and committed in the same group.

So a time and the run it starts are both on disk, or neither is. Only what schedules add up to is kept in memory;
what they are asked by clients is in ``schedule_calls``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from flowbook.core.events import STATUS, AnyEvent, RunContinued, RunFailed
from flowbook.core.ids import RunId, Seq
from flowbook.core.schedule import (
    PREFIX,
    AnyScheduleEvent,
    AnyScheduleMessage,
    PauseSchedule,
    ScheduledRunEnded,
    ScheduleDue,
    ScheduleRecorded,
    ScheduleSummed,
    stream,
)
from flowbook.core.schedule_state import ScheduleState, due, evolve
from flowbook.core.scheduling import Free, Instruction, consequences, decide
from flowbook.core.state import RunState
from flowbook.engine.clock import Clock
from flowbook.engine.runs import Runs
from flowbook.engine.timers import Timers
from flowbook.engine.told import last_line
from flowbook.errors import FlowbookError, InternalError, StoreError
from flowbook.store.base import Group, Store

log = logging.getLogger("flowbook.engine")

TRY_AGAIN = 1.0
"""Seconds after which a time is tried again that a full disk refused."""

Answer = Callable[[Sequence[AnyScheduleEvent], FlowbookError | None], None]

_decode = msgspec.json.Decoder(ScheduleRecorded).decode


def _is_beginning(recorded: ScheduleRecorded) -> bool:
    return recorded.seq == 1 or isinstance(recorded.event, ScheduleSummed)


class _Told:
    """A message for a schedule, and who is to be answered."""

    __slots__ = ("answer", "error", "events", "message", "name")

    def __init__(self, name: str, message: AnyScheduleMessage, answer: Answer | None = None) -> None:
        self.name = name
        self.message = message
        self.answer = answer
        self.events: list[AnyScheduleEvent] = []
        self.error: FlowbookError | None = None


class Schedules:
    """All schedules of one project, deleted ones too, by name. ``wake`` has the engine take a turn."""

    def __init__(self, clock: Clock, runs: Runs, timers: Timers, wake: Callable[[], None]) -> None:
        self.states: dict[str, ScheduleState] = {}
        self._clock = clock
        self._runs = runs
        self._timers = timers
        self._wake = wake
        self._inbox: deque[_Told] = deque()
        self._taken: list[_Told] = []
        self._before: dict[str, ScheduleState | None] = {}
        self._armed: dict[str, float] = {}
        self._broken: set[str] = set()

    def recall(self, store: Store) -> None:
        """Learn at start what schedules there are. Open runs are known by now: one that is not open has ended."""
        for found, records in store.streams(PREFIX, ScheduleSummed.__name__):
            events = [_decode(record) for record in records]
            state = ScheduleState()
            for recorded in events:
                state = evolve(state, recorded)
            if state.seq - events[0].seq + 1 != len(records) or not _is_beginning(events[0]):
                store.notices.append(f'schedule "{state.name}" has lost a part of its history and goes on without it')
            name = found.removeprefix(PREFIX)
            self.states[name] = state
            for run in state.running:
                if run not in self._runs.open:
                    self.tell(name, ScheduledRunEnded(run, "lost"))
            self._arm(name)

    @property
    def are_awaited(self) -> bool:
        """True while a time is to come, for which the engine has to be there."""
        return any(self._due(name) is not None for name in self.states)

    @property
    def are_told(self) -> bool:
        """True while there is something to decide."""
        return bool(self._inbox)

    def tell(self, name: str, message: AnyScheduleMessage, answer: Answer | None = None) -> None:
        """Have a message decided in the next turn."""
        self._inbox.append(_Told(name, message, answer))
        self._wake()

    def run_happened(self, state: RunState, event: AnyEvent) -> None:
        """Where this event ends a schedule's run, the schedule decides about it in the same turn."""
        status = STATUS.get(type(event).__name__)
        if status is None:
            return
        goes_on = event.run if isinstance(event, RunContinued) else RunId("")
        reason = f"{event.failure.type}: {event.failure.message}" if isinstance(event, RunFailed) else ""
        self._inbox.append(_Told(state.schedule, ScheduledRunEnded(state.run, status, goes_on, reason)))

    # The turn

    def take(self, group: Group, now: float) -> list[Instruction]:
        """Decide what has arrived; what runs are to be told for it."""
        instructions: list[Instruction] = []
        while self._inbox:
            told = self._inbox.popleft()
            self._taken.append(told)
            before = self.states.get(told.name) or ScheduleState(name=told.name)
            try:
                decision = _decided(before, told.message, now, self._is_free)
            except FlowbookError as error:
                told.error = error
                continue
            except Exception as error:
                told.error = self._contain(told.name, error, isinstance(told.message, PauseSchedule))
                continue
            self._before.setdefault(told.name, self.states.get(told.name))
            for number, event in enumerate(decision.events, 1):
                group.note(stream(told.name), Seq(before.seq + number), now, event)
            told.events = decision.events
            instructions += decision.instructions
            if told.events:
                self.states[told.name] = decision.state
        return instructions

    def _contain(self, name: str, fault: Exception, is_hopeless: bool = False) -> InternalError:
        """A fault in one schedule ends neither the turn nor the engine: that schedule is paused.

        Where even that cannot be decided, it is not looked at again by this engine.
        """
        log.error("schedule %s could not be decided about", name, exc_info=fault)
        text = f"the engine met a fault of its own: {last_line(fault)}; its log has more"
        if is_hopeless:
            self._broken.add(name)
        else:
            self.tell(name, PauseSchedule(text))
        return InternalError(f'schedule "{name}": {text}.')

    def settle(self) -> None:
        """What was taken is durable."""
        taken, self._taken = self._taken, []
        touched, self._before = self._before, {}
        for name in touched:
            self._arm(name)
        for told in taken:
            if told.answer is not None:
                told.answer(told.events, told.error)

    def take_back(self, error: StoreError) -> None:
        """What was taken was refused: answer those who wait.

        A time that has come is tried again later; the end of a run comes again with that run's own events.
        """
        taken, self._taken = self._taken, []
        touched, self._before = self._before, {}
        for name, state in touched.items():
            if state is None:
                self.states.pop(name, None)
            else:
                self.states[name] = state
                self._arm(name, self._clock.now() + TRY_AGAIN)
        for told in taken:
            if told.answer is not None:
                told.answer([], StoreError(str(error)))

    def _is_free(self, id: RunId) -> bool:
        return not self._runs.is_known(id)

    # Time

    def ring(self, id: RunId, at: float) -> None:
        """A time that was asked for has come."""
        name = id.removeprefix(PREFIX)
        if self._armed.get(name) != at:
            return
        del self._armed[name]
        first = self._due(name)
        if first is None:
            return
        if first <= self._clock.now():
            self.tell(name, ScheduleDue())
        else:
            self._arm(name)

    def _arm(self, name: str, earliest: float = 0.0) -> None:
        first = self._due(name)
        if first is None:
            self._armed.pop(name, None)
            return
        at = max(first, earliest)
        if self._armed.get(name) != at:
            self._armed[name] = at
            self._timers.set(at, stream(name))

    def _due(self, name: str) -> float | None:
        """When to look at the schedule next; None for never."""
        state = self.states.get(name)
        if state is None or name in self._broken:
            return None
        try:
            return due(state)
        except Exception as fault:
            self._contain(name, fault)
            return None


class _Decision(NamedTuple):
    events: list[AnyScheduleEvent]
    instructions: list[Instruction]
    state: ScheduleState


def _decided(state: ScheduleState, message: AnyScheduleMessage, now: float, free: Free) -> _Decision:
    """All that follows from a message, or nothing."""
    events = decide(state, message, now, free)
    instructions: list[Instruction] = []
    for event in events:
        instructions += consequences(state, event)
        state = evolve(state, ScheduleRecorded(Seq(state.seq + 1), now, event))
    return _Decision(events, instructions, state)
