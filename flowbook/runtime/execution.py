"""One run's code in memory: it is told events, one at a time, and says what the code asked for since.

The single door between a worker and workflow code: synchronous, no IO, no clock. ``begin`` re-executes a history;
``apply`` takes one more event; ``items``, ``calls``, ``stops`` and ``told`` are what there is to do about it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from flowbook.core import events as e
from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId, Seq
from flowbook.core.state import output_mark
from flowbook.core.value import Value
from flowbook.errors import HistoryMismatch, UnloadableValue
from flowbook.runtime import outcomes, output, patching, sites, typed
from flowbook.runtime.asking import Asking
from flowbook.runtime.commands import StepCall, StepCommand
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.doing import doing
from flowbook.runtime.duties import Duties
from flowbook.runtime.ending import Ending
from flowbook.runtime.going_on import Patches
from flowbook.runtime.handlers import Handlers
from flowbook.runtime.replay import Asked, Expectations, Reuse, mismatch
from flowbook.runtime.stopping import Stopping
from flowbook.runtime.values import Values
from flowbook.wire import codec
from flowbook.wire.classes import IMPORTABLE, Classes

patching.install()


class Execution(Asking):
    """A workflow function being run from its events.

    ``places`` maps a module line to a cell, ``classes`` are those its values name, ``named`` gives the module's
    workflows; ``view`` means that nothing is to be done about what the code asks.
    """

    def __init__(
        self,
        workflow: Workflow[..., Any],
        *,
        save: codec.Save,
        load: codec.Load,
        places: outcomes.Places = outcomes.NOWHERE,
        classes: Classes = IMPORTABLE,
        named: Callable[[str], Workflow[..., Any]] | None = None,
        view: bool = False,
    ) -> None:
        super().__init__(Values(save, load, classes), view=view)
        self.workflow = workflow
        self.places = places
        self.workflow_named = named
        self._started: e.RunStarted
        self.handlers = Handlers(self)
        self.patches = Patches()
        self.children: set[asyncio.Task[Any]] = set()
        self.named: dict[str, Any] = {}
        self.latest: dict[str, tuple[tuple[str, ...], Value]] = {}
        self.failures: dict[Key, e.StepAttemptFailed | e.StepFailed] = {}
        self._attempts: dict[Key, tuple[Failure, ...]] = {}
        self.handles: list[asyncio.Task[Any]] = []
        self.duties = Duties(self)
        self.stopping = Stopping(self)
        self.end = Ending(self)
        self.ending: e.AnyEvent | None = None
        self.seq = 0
        self._taking = False
        self.run = ""
        self.id = RunId("")
        self.original = RunId("")

    # The door

    def begin(
        self,
        history: Sequence[e.Recorded],
        reuse: Sequence[e.Recorded] = (),
        *,
        until: int = 0,
        is_past: bool = False,
    ) -> None:
        """Re-execute ``history`` (up to event ``until``, where given) and go live.

        ``is_past``: the run has ended; its end is left out of ``history``, to see whether the code comes to it.

        Raises HistoryMismatch where the code does not fit the history.
        """
        shown = [recorded for recorded in history if not until or recorded.seq <= until]
        self.expected = self.matching.expected = Expectations(shown)
        self.expected.is_past = is_past
        first = shown[0].event
        assert isinstance(first, e.RunStarted)
        if reuse and first.origin is not None:
            self.reuse = Reuse(reuse, first.origin, shown)
        for recorded in shown:
            self._advance(recorded)
        if not self.closed and not self.expected.closed and not until and self.expected.asked:
            raise self.expected.unmet(doing(self, next(iter(self.expected.asked.values())).name), self.matching.advice)
        self.is_live = True
        if self.is_view or self.closed:
            return
        # Code that has ended already asked for things before that, children for one: nothing comes after its end.
        ends = [item for item in self.items if isinstance(item, e.CLOSING)]
        self.items = [item for item in self.items if not isinstance(item, e.CLOSING)]
        for command in list(self.steps.values()):
            self.dispatch(command, again=True)
        self.items += ends
        for timer in list(self.timers.values()):
            self.match_timer(timer)
        self.take_reusable()

    def apply(self, recorded: e.Recorded) -> None:
        """One more durable event, in order. Events it has already seen are passed over."""
        if recorded.seq <= self.seq:
            return
        if self._taking and isinstance(recorded.event, e.StepReused | e.TimerFired | e.SignalReceived):
            self._taking = False
        self._advance(recorded)
        if self.reuse is not None:
            self.take_reusable()

    def take_reusable(self) -> None:
        """Ask for the next saved result of the origin; one at a time, so that they wake the code in their old order."""
        if self.reuse is None or self.closed or self.is_view or self._taking:
            return
        fact = self.reuse.next()
        if fact is not None:
            self._taking = True
            self.items.append(fact)

    def close(self) -> None:
        """Drop the code: every coroutine is closed, nothing is reported."""
        self.closed = True
        self.is_view = True
        self.loop.close()
        self.steps.clear()
        self.timers.clear()
        self.signals.clear()

    # Applying events

    def _advance(self, recorded: e.Recorded) -> None:
        self.seq = recorded.seq
        event = recorded.event
        if self.closed:
            return
        wake = _WAKES.get(type(event))
        if wake is not None:
            self.now = max(self.now, recorded.time)
            self.loop.attended = True
            try:
                wake(self, event)
                self.reported = len(self.items)
                self.loop.drain()
                while self.stopping.settle() or self.end.settle():
                    self.loop.drain()
            finally:
                self.loop.attended = False
            if self.printed:
                self._note_output()
            if self.matching.difference is not None:
                raise self.matching.difference
            return
        note = _NOTES.get(type(event))
        if note is not None:
            note(self, event)

    def _note_output(self) -> None:
        mark = output_mark(Seq(self.seq))
        if not self.is_view and not self.expected.is_noted("output", mark):
            # After the run's end nothing is noted any more.
            self.items.insert(self.reported, e.RunOutput(output=output.joined(self.printed), after=Seq(self.seq)))
        self.printed.clear()

    def _attempt_failed(self, event: e.StepAttemptFailed) -> None:
        self.failures[event.key] = event
        self._attempts[event.key] = (*self._attempts.get(event.key, ()), event.failure)
        self.expected.taken_back(event.key)
        command = self.steps.get(event.key)
        if self.is_live and command is not None and not self._is_remote(command):
            details = self.expected.heartbeats.get(event.key)
            unwanted = event.key in self._unwanted
            self.calls.append(StepCall(command, event.attempt + 1, event.retry_at, details, unwanted=unwanted))

    def _heartbeat(self, event: e.StepHeartbeat) -> None:
        self.expected.heartbeats[event.key] = event.details

    def _handed_out(self, event: e.StepWaiting) -> None:
        self.expected.handed_out(event.key)
        self.recorded("promise", event.key)

    def _patch_marked(self, event: e.PatchMarked) -> None:
        self.recorded("patch", event.id)

    def _closed(self, event: e.AnyEvent) -> None:
        self.closed = True
        self.ending = event

    def _reused(self, event: e.StepReused) -> None:
        command = self.steps.get(event.key)
        if command is not None:
            command.reused = event
        self._completed(event)

    def _completed(self, event: e.StepCompleted | e.StepReused) -> None:
        command = self._answered(event)
        self._attempts.pop(event.key, None)
        if command is None:
            return
        if command.step.external or isinstance(command.elsewhere, e.StepWaiting):
            self._answer(command, event)
        else:
            self.latest[event.step] = (command.step.outputs, event.value)
            command.future.set_result(self.values.decoded(event.value))

    def _answer(self, command: StepCommand, event: e.StepCompleted | e.StepReused) -> None:
        """The result is what somebody outside has sent, who may have sent anything."""
        try:
            command.future.set_result(self.values.sent(event.value, f"the answer to {command.what} '{event.step}'"))
        except UnloadableValue as error:
            command.future.set_exception(error)
        else:
            self.latest[event.step] = (command.step.outputs, event.value)

    def _failed(self, event: e.StepFailed) -> None:
        self.failures[event.key] = event
        command = self._answered(event)
        before = self._attempts.pop(event.key, ())
        if command is not None:
            command.future.set_exception(self._failure(event, command, before))

    def _fired(self, event: e.TimerFired) -> None:
        timer = self.timers.pop(event.key, None)
        if timer is not None:
            self.loop.fire(timer.timer)
        elif event.key in self.expected.asked:
            raise self._unasked("a timer", event.key)

    def _signalled(self, event: e.SignalReceived) -> None:
        self._deliver(event)
        self.end.say_again()

    def _updated(self, event: e.UpdateReceived) -> None:
        self.handlers.receive(event)
        self.end.say_again()

    def _obliged(self, event: e.ObligationOpened) -> None:
        self.duties.recorded(event)

    def _cancelled(self, event: e.CancelRequested) -> None:
        if self.main is None or not self.main.done():
            self.stopping.ask(event)
        else:
            self.end.ask(event)

    def _terminate_requested(self, event: e.TerminateRequested) -> None:
        self.end.terminate()

    def _run_started(self, event: e.RunStarted) -> None:
        self._started = event
        if not event.queue:
            self._start(event)

    def _run_began(self, event: e.RunBegan) -> None:
        self._start(self._started)

    def _start(self, event: e.RunStarted) -> None:
        self.run = event.seed or event.run
        self.id = event.run
        self.original = event.original or event.run
        arguments = {name: self.values.sent(value, f"argument '{name}'") for name, value in event.arguments.items()}

        async def main() -> Any:
            function = self.workflow.function
            return await function(**typed.converted(self.workflow.name, function, arguments))

        # Tasks begin with a copy of this one's context, so that what they print goes where the run's output goes.
        self.context = copy_context()
        self.context.run(output.sink.set, self.printed.append)
        self.main = self.loop.create_task(main(), context=self.context)
        self.main.add_done_callback(self.end.come)

    def _failure(self, event: e.StepFailed, command: StepCommand, before: tuple[Failure, ...]) -> BaseException:
        error = outcomes.step_failed(event, self.workflow.function.__globals__, command.what)
        error.failures = (*before, event.failure)
        return error

    def _answered(self, event: e.StepCompleted | e.StepFailed | e.StepReused) -> StepCommand | None:
        command = self.steps.pop(event.key, None)
        if command is None:
            if event.key in self.expected.asked and event.key not in self.abandoned:
                raise self._unasked(f"a result of step '{event.step}'", event.key, event.step)
            return None
        if command.step.name != event.step or (event.digest and event.digest != command.digest):
            known, asked = Asked("step", event.step, event.digest), Asked("step", command.step.name, command.digest)
            self.matching.compare(event.key, known, asked)
        return None if command.future.done() else command

    def _unasked(self, what: str, key: Key, name: str = "") -> HistoryMismatch:
        does = doing(self, name)
        return mismatch(
            f"the history has {what} that the code did not ask for: {does}",
            key,
            recorded=what,
            asked=does,
            advice=self.matching.advice,
        )

    @property
    def other_timers(self) -> list[int]:
        """Lines of timers that wait for the time they were set for, although the code says another one now."""
        return [command.timer.site for key, command in self.timers.items() if key in self.matching.other_times]

    def _deliver(self, event: e.SignalReceived) -> None:
        for key, command in self.signals.items():
            if command.name == event.name:
                del self.signals[key]
                self.hand_over(event, command.future)
                return
        self.inbox.setdefault(event.name, deque()).append(event)


_WAKES: dict[type[e.AnyEvent], Callable[[Execution, Any], None]] = {
    e.RunStarted: Execution._run_started,
    e.RunBegan: Execution._run_began,
    e.StepCompleted: Execution._completed,
    e.StepReused: Execution._reused,
    e.StepFailed: Execution._failed,
    e.TimerFired: Execution._fired,
    e.SignalReceived: Execution._signalled,
    e.UpdateReceived: Execution._updated,
    e.ObligationOpened: Execution._obliged,
    e.CancelRequested: Execution._cancelled,
    e.TerminateRequested: Execution._terminate_requested,
}
"""What each wake-up does; after it the code runs until it waits again."""

_NOTES: dict[type[e.AnyEvent], Callable[[Execution, Any], None]] = {
    e.StepAttemptFailed: Execution._attempt_failed,
    e.StepHeartbeat: Execution._heartbeat,
    e.StepWaiting: Execution._handed_out,
    e.PatchMarked: Execution._patch_marked,
    **dict.fromkeys(e.CLOSING, Execution._closed),
}
"""What is done about notes. The code is told nothing of them."""

sites.ends_at(Execution._advance)  # type: ignore[arg-type]
