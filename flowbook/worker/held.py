"""A run this worker holds: its code in memory, its running attempts, and what the engine has not yet answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from flowbook.core import events as e
from flowbook.core.ids import Key, RunId, Seq, WorkerId
from flowbook.core.messages import ReportItem
from flowbook.errors import FlowbookError, HistoryMismatch, WorkflowBlocked
from flowbook.runtime.commands import StepCall
from flowbook.runtime.execution import Execution
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import failure_of
from flowbook.wire.protocol import Activate, Commit, Glimpse, Released, RunReport, pieces
from flowbook.worker import facts
from flowbook.worker.attempts import Attempt
from flowbook.worker.notes import Glance
from flowbook.worker.packing import weight
from flowbook.worker.watchdog import Watchdog
from flowbook.worker.workplace import Workplace

LONG_WAIT = 30.0
"""A retry further away than this does not keep a run in memory, in seconds."""

AHEAD = 1.0
"""Seconds by which the engine's clock has to be ahead before it makes a difference."""

MOST_ITEMS = 2000
"""Of one report, so that many small ones do not hold up the engine. Few may be large: ``cut`` is for those."""

_LAST = frozenset((*e.CLOSING, e.RunPaused))
"""After one of these the run is no longer held."""

Start = Callable[["HeldRun", Attempt], None]


class HeldRun:
    """The worker's side of one lease. Synchronous; the session moves its packets and runs its attempts."""

    def __init__(
        self, run: RunId, lease: str, worker: WorkerId, workplace: Workplace, start: Start, watchdog: Watchdog
    ) -> None:
        self.run = run
        self.lease = lease
        self.attempts: dict[Key, Attempt] = {}
        self.idle_since = time.monotonic()
        self.over = False
        self.draining = False
        self._left_over = False
        self._ahead = 0.0
        self._worker = worker
        self._workplace = workplace
        self._start = start
        self._watchdog = watchdog
        self._execution: Execution | None = None
        self._module: LoadedModule | None = None
        self._outbox: list[ReportItem] = []
        self._glances: list[Glance] = []
        self._unanswered: list[tuple[int, list[ReportItem]]] = []
        self._number = 0
        self._paused = False

    @property
    def seq(self) -> Seq:
        """The last event the code has seen."""
        return Seq(self._execution.seq) if self._execution is not None else Seq(0)

    # From the engine

    def activate(self, packet: Activate, module: LoadedModule) -> None:
        """Re-execute the history and take up what it leaves to do."""
        self._module = module
        self._compare_clocks(packet.now)
        started = packet.history[0].event
        assert isinstance(started, e.RunStarted)
        try:
            self._execution = Execution(
                module.workflow(started.workflow),
                save=self._workplace.files.save,
                load=self._workplace.files.load,
                places=module.places,
                classes=module,
                named=module.workflow,
            )
            execution = self._execution
            self._watchdog.watched(self.run, execution, execution.begin, packet.history, packet.reuse)
        except Exception as error:
            self._pause(error)
        self._take_up()

    def commit(self, packet: Commit) -> None:
        """Apply durable events, one at a time."""
        self.lease = packet.lease or self.lease
        if packet.lease:
            # A new lease counts its reports anew; what the old one left unanswered is said again.
            unanswered = [item for _, items in self._unanswered for item in items]
            self._outbox = unanswered + self._outbox
            self._unanswered.clear()
            self._number = 0
        while self._unanswered and self._unanswered[0][0] <= packet.reports:
            self._unanswered.pop(0)
        if packet.events:
            self._compare_clocks(packet.events[-1].time)
        execution = self._execution
        if execution is not None and packet.events and not self._paused:
            try:
                self._watchdog.watched(self.run, execution, self._apply, execution, packet.events)
            except Exception as error:
                self._pause(error)
        if packet.events and type(packet.events[-1].event) in _LAST:
            self.drop()
        else:
            self._take_up()

    def _compare_clocks(self, now: float) -> None:
        """After the machine's clock was set back, the engine's is ahead of it for good, and so are its times."""
        ahead = now - time.time()
        self._ahead = ahead if ahead > AHEAD else 0.0

    def _apply(self, execution: Execution, events: Iterable[e.Recorded]) -> None:
        for recorded in events:
            event = recorded.event
            if type(event) in _LAST:
                return
            if type(event) is e.StepStarted and (event.once or event.external):
                self._open_gate(event)
            execution.apply(recorded)

    def _open_gate(self, event: e.StepStarted) -> None:
        """It is recorded that the attempt begins, for which it has waited."""
        attempt = self.attempts.get(event.key)
        if attempt is not None and attempt.gate is not None and attempt.call.attempt == event.attempt:
            attempt.gate.set()

    def pause(self, error: Exception) -> None:
        """The run cannot go on here until somebody decides: say why."""
        self._pause(error)
        self._take_up()

    def _pause(self, error: Exception) -> None:
        self._paused = True
        difference = error.difference if isinstance(error, HistoryMismatch) else {}
        reason = str(error)
        if not isinstance(error, FlowbookError):
            failure = failure_of(error)
            reason = f"the module could not be run: {failure.type}: {failure.message}"
        self._outbox.append(e.RunPaused(reason=reason, difference=difference if isinstance(difference, dict) else {}))
        self._stop_attempts()
        self._close()
        if self._execution is not None:
            self._execution.items.clear()

    def _take_up(self) -> None:
        execution = self._execution
        if execution is None:
            return
        for key in execution.stops:
            attempt = self.attempts.get(key)
            if attempt is not None:
                attempt.stop()
        execution.stops.clear()
        calls, execution.calls = execution.calls, []
        assert self._module is not None
        if self.draining:
            self._left_over = self._left_over or bool(calls)
        else:
            for call in calls:
                self._begin(call, self._module)
        for key in execution.told:
            told = self.attempts.get(key)
            if told is not None:
                told.ask_to_stop()
        execution.told.clear()
        self._outbox += execution.items
        execution.items.clear()
        self.idle_since = time.monotonic()

    def _begin(self, call: StepCall, module: LoadedModule) -> None:
        key = call.command.key
        current = self.attempts.get(key)
        if current is not None and current.call.attempt >= call.attempt:
            return
        assert self._execution is not None
        if call.not_before and self._ahead:
            call = msgspec.structs.replace(call, not_before=call.not_before - self._ahead)
        if current is not None:
            # It was finished from outside, as failed, before it had ended itself.
            current.stop()
        execution = self._execution
        attempt = Attempt(call, module, self._workplace, self.run, execution.workflow.name, execution.original)
        self.attempts[key] = attempt
        self._start(self, attempt)

    # From its attempts

    def ended(self, attempt: Attempt, outcome: ReportItem | None) -> None:
        """An attempt has ended; ``outcome`` is None where it was stopped."""
        key = attempt.call.command.key
        is_current = self.attempts.get(key) is attempt
        if is_current:
            del self.attempts[key]
        if self.over or self._paused or not (is_current or outcome):
            return
        self._outbox += attempt.last_said()
        self._outbox.append(outcome or facts.cancelled(attempt.call))

    def check_heartbeats(self) -> None:
        """Fail what has been silent for too long."""
        now = time.monotonic()
        for attempt in list(self.attempts.values()):
            attempt.check_heartbeat(now)

    def begins(self, attempt: Attempt) -> None:
        """An attempt has all that it needs, and begins when this is recorded."""
        if not self.over and not self._paused:
            self._outbox.append(attempt.started(self._worker))

    def announce(self, attempt: Attempt) -> None:
        """An attempt has been running for a while: note it, and what it has shown."""
        if self.over or self._paused or attempt.began is None:
            return
        if not attempt.announced:
            self._outbox.append(attempt.started(self._worker))
        notes, glances = attempt.said()
        self._outbox += notes
        self._glances += glances

    # To the engine

    def report(self) -> RunReport | None:
        """What is to be said next, or None. What does not fit is left for another."""
        if not self._outbox or self.over:
            return None
        self._number += 1
        items, self._outbox = self._outbox[:MOST_ITEMS], self._outbox[MOST_ITEMS:]
        self._unanswered.append((self._number, items))
        return RunReport(self.run, self.lease, self._number, tuple(items))

    def cut(self, report: RunReport) -> list[RunReport]:
        """The last report in several, which fit into frames; but for an item that alone is too large for one."""
        self._unanswered.pop()
        parts = list(enumerate(pieces(report.items, weight), report.number))
        self._unanswered += parts
        self._number = parts[-1][0]
        return [RunReport(report.run, report.lease, number, tuple(items)) for number, items in parts]

    def glimpse(self) -> Glimpse | None:
        """What is to be shown now and not recorded, or None."""
        if not self._glances or self.over:
            return None
        glances, self._glances = self._glances, []
        return Glimpse(self.run, tuple(glances))

    def unsayable(self, report: RunReport, error: Exception) -> RunReport:
        """What is said instead of a report that cannot be written down: the run waits for people."""
        pause = e.RunPaused(reason=f"what its code asked for cannot be recorded: {type(error).__name__}: {error}")
        # What comes after it would be said of a run that has not gone so far.
        self._unanswered = [(number, items) for number, items in self._unanswered if number < report.number]
        self._unanswered.append((report.number, [pause]))
        self._number = report.number
        self._outbox.clear()
        return RunReport(report.run, report.lease, report.number, (pause,))

    def releasable(self, now: float) -> bool:
        """True when nothing here would be lost or delayed by dropping the run."""
        if self.over or self._paused or self._execution is None or self._outbox or self._unanswered:
            return False
        if self._left_over:
            return False
        if self._execution.calls or self._execution.items or self._execution.closed:
            return False
        # Of one that runs the time says nothing, and after the clock was set back it says something wrong.
        return all(each.began is None and each.call.not_before > now + LONG_WAIT for each in self.attempts.values())

    def hand_over(self) -> Released | None:
        """Drop the run for another worker to take up; None while a step runs or something is unanswered."""
        # One whose start is recorded has begun, even if its body is only about to.
        begun = any(each.began is not None or each.announced for each in self.attempts.values())
        if self.over or begun or self._outbox or self._unanswered:
            return None
        unfinished = self._left_over or not self.releasable(time.time())
        packet = Released(self.run, self.lease, self.seq, unfinished)
        self.drop()
        return packet

    def release(self) -> Released:
        """Drop the run from memory; the engine brings it back when there is something to do."""
        packet = Released(self.run, self.lease, self.seq)
        self.drop()
        return packet

    def drop(self) -> None:
        """Stop everything; nothing more is said."""
        self.over = True
        self._stop_attempts()
        self._close()

    def _close(self) -> None:
        """Let go of the code. What it does on its way out is watched as well; nobody hears of it."""
        execution = self._execution
        if execution is not None:
            with suppress(WorkflowBlocked):
                self._watchdog.watched(self.run, execution, execution.close)

    def _stop_attempts(self) -> None:
        for attempt in list(self.attempts.values()):
            attempt.stop()


async def run_attempt(held: HeldRun, attempt: Attempt, speak: Callable[[HeldRun], None]) -> None:
    """Run one attempt and put its outcome where the next report takes it."""

    def announce() -> None:
        held.begins(attempt)
        speak(held)

    held.ended(attempt, await attempt.run(announce))
    speak(held)
