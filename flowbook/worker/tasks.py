"""Steps of queues that this worker has in hand: their attempts, and what the engine has not yet answered.

Their run's code may be anywhere. A task is in hand until the engine has answered its last report, so that after the
engine's death neither side takes it for lost while the other has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from msgspec.structs import replace

from flowbook.core.failure import Failure
from flowbook.core.ids import Key, RunId
from flowbook.core.messages import AttemptFailed, ReportItem
from flowbook.errors import UserError
from flowbook.runtime.commands import Argument, DurableFuture, StepCall, StepCommand
from flowbook.runtime.definitions import Step
from flowbook.runtime.modules import LoadedModule
from flowbook.wire.protocol import Glimpse, Task, TaskRef, TaskReport
from flowbook.worker.attempts import Attempt
from flowbook.worker.finding import find_step
from flowbook.worker.notes import Glance
from flowbook.worker.workplace import Workplace


class RemoteTask:
    """One attempt of a step of a queue. ``attempt`` is None until its module is there, or where it cannot begin.

    ``over``: how it ends is settled, though its thread may not have left yet.
    """

    def __init__(self, packet: Task) -> None:
        self.ref = packet.task
        self.packet = packet
        self.attempt: Attempt | None = None
        self.over = False
        self._outbox: list[ReportItem] = []
        self._glances: list[Glance] = []
        self._unanswered: list[TaskReport] = []
        self._number = 0
        self._has_left = False

    def hear(self) -> bool:
        """Take up what the attempt has said; True when there was something."""
        if self.attempt is None or self.over:
            return False
        notes, glances = self.attempt.said()
        self._outbox += notes
        self._glances += glances
        return bool(notes or glances)

    def glimpse(self) -> Glimpse | None:
        """What is to be shown now and not recorded, or None."""
        glances, self._glances = self._glances, []
        return Glimpse(self.ref.run, tuple(glances)) if glances and not self.over else None

    def end(self, outcome: ReportItem | None) -> None:
        """It has ended; None where it was stopped."""
        if not self.over:
            self.over = True
            if outcome is not None:
                self._outbox += self.attempt.last_said() if self.attempt is not None else ()
                self._outbox.append(outcome)

    def leave(self) -> None:
        """Nothing of it runs here any more."""
        if not self._has_left:
            self._has_left = True
            self._say(ended=True)

    def unsayable(self, report: TaskReport, error: Exception) -> TaskReport:
        """What is said instead of a report that cannot be written down: the attempt has failed with that."""
        self.over = True
        if self.attempt is not None:
            self.attempt.stop()
        text = f"what the step has to say cannot be recorded: {type(error).__name__}: {error}"
        failed = _failed(self.packet, Failure(type(error).__name__, text, retryable=False, bases=("UnsavableValue",)))
        said = TaskReport(self.ref, report.number, (failed,), ended=self._has_left)
        self._outbox.clear()
        self._unanswered = [*(each for each in self._unanswered if each.number < report.number), said]
        return said

    def outgoing(self) -> Iterator[TaskReport]:
        """What is to be said now."""
        if self._outbox:
            self._say(ended=False)
        for report in self._unanswered:
            if report.number > self._number:
                self._number = report.number
                yield report

    def again(self) -> None:
        """On a new connection, all that is unanswered is said again."""
        self._number = self._unanswered[0].number - 1 if self._unanswered else self._number

    def answered(self, number: int) -> bool:
        """The engine has these reports; True when it is done with."""
        self._unanswered = [report for report in self._unanswered if report.number > number]
        return self._has_left and not self._unanswered and not self._outbox

    def _say(self, *, ended: bool) -> None:
        last = self._unanswered[-1].number if self._unanswered else self._number
        items, self._outbox = tuple(self._outbox), []
        self._unanswered.append(TaskReport(self.ref, last + 1, items, ended))


Begin = Callable[[RemoteTask, Attempt], None]


class Tasks:
    """All tasks in hand. Synchronous; the session moves its packets and runs its attempts."""

    def __init__(self, workplace: Workplace, begin: Begin) -> None:
        self._workplace = workplace
        self._begin = begin
        self._in_hand: dict[tuple[RunId, Key, int], RemoteTask] = {}

    def __len__(self) -> int:
        return len(self._in_hand)

    @property
    def refs(self) -> tuple[TaskRef, ...]:
        """What is in hand, for the engine to know."""
        return tuple(task.ref for task in self._in_hand.values())

    @property
    def running(self) -> int:
        """How many attempts run."""
        return sum(not task.over for task in self._in_hand.values())

    def take(self, packet: Task) -> bool:
        """A task to do; False where it is in hand already."""
        ref = packet.task
        if (ref.run, ref.key, ref.attempt) in self._in_hand:
            return False
        self._in_hand[ref.run, ref.key, ref.attempt] = RemoteTask(packet)
        return True

    def begin(self, packet: Task, module: LoadedModule) -> None:
        """Its module is there: run it, unless it was cancelled meanwhile."""
        task = self._task(packet.task)
        if task is None or task.over or task.attempt is not None:
            return
        try:
            call = _call(task.packet, step_of(module, packet))
        except Exception as error:
            self.cannot(packet, error)
            return
        run = packet.task.run
        attempt = task.attempt = Attempt(call, module, self._workplace, run, packet.workflow, packet.original)
        # Its start was recorded before it was handed out.
        attempt.announced = True
        if attempt.gate is not None:
            attempt.gate.set()
        self._begin(task, attempt)

    def cannot(self, packet: Task, error: BaseException) -> None:
        """It cannot even begin here."""
        task = self._task(packet.task)
        if task is None:
            return
        name = type(error).__name__
        message = f"the step could not be loaded: {name}: {error}" if not isinstance(error, UserError) else str(error)
        failure = Failure(type=name, message=message, retryable=False, bases=("NotStarted",))
        task.end(_failed(packet, failure))
        task.leave()

    def ask_to_stop(self, ref: TaskRef) -> None:
        """Nobody needs its result, but it has to be known how it ends."""
        task = self._task(ref)
        if task is not None and task.attempt is not None:
            task.attempt.ask_to_stop()
        elif task is not None:
            task.packet = replace(task.packet, unwanted=True)

    def cancel(self, ref: TaskRef) -> None:
        """Nothing more is wanted of it: stop, and say so when it has stopped."""
        task = self._task(ref)
        if task is None:
            # It was done with; the engine may have died before it could know.
            task = RemoteTask(Task(ref, cast(Any, ""), "", cast(Any, None)))
            self._in_hand[ref.run, ref.key, ref.attempt] = task
        if task.attempt is None:
            task.end(None)
            task.leave()
        elif not task.over:
            task.attempt.stop()

    def answered(self, ref: TaskRef, number: int) -> None:
        """The engine has recorded what was reported."""
        task = self._task(ref)
        if task is not None and task.answered(number):
            del self._in_hand[ref.run, ref.key, ref.attempt]

    def again(self) -> None:
        """A new connection: what is unanswered is said again; what has not begun will be sent again."""
        self._in_hand = {key: task for key, task in self._in_hand.items() if task.over or task.attempt is not None}
        for task in self._in_hand.values():
            task.again()

    def outgoing(self) -> Iterator[TaskReport]:
        """What is to be said now."""
        for task in list(self._in_hand.values()):
            yield from task.outgoing()

    def hear(self) -> bool:
        """Take up what attempts have said; True when there was something."""
        heard = [task.hear() for task in self._in_hand.values()]
        return any(heard)

    def glimpses(self) -> Iterator[Glimpse]:
        """What is to be shown now and not recorded."""
        for task in self._in_hand.values():
            glimpse = task.glimpse()
            if glimpse is not None:
                yield glimpse

    @property
    def attempts(self) -> list[Attempt]:
        """Those that run."""
        return [task.attempt for task in self._in_hand.values() if task.attempt is not None and not task.over]

    def unsayable(self, report: TaskReport, error: Exception) -> TaskReport:
        """What is said instead of a report that cannot be written down."""
        task = self._task(report.task)
        assert task is not None
        return task.unsayable(report, error)

    def drop(self) -> None:
        """Stop all; nothing more is said."""
        for task in self._in_hand.values():
            if task.attempt is not None:
                task.over = True
                task.attempt.stop()

    def _task(self, ref: TaskRef) -> RemoteTask | None:
        return self._in_hand.get((ref.run, ref.key, ref.attempt))


async def run_task(task: RemoteTask, attempt: Attempt, speak: Callable[[], None]) -> None:
    """Run one attempt and put its outcome where the next report takes it, and that it has left."""

    def leave() -> None:
        task.leave()
        speak()

    task.end(await attempt.run())
    speak()
    attempt.when_left(leave)


def _call(packet: Task, step: Step[..., Any]) -> StepCall:
    asked = packet.step
    command = StepCommand(
        key=asked.key,
        step=step,
        # Nobody here waits for the result.
        future=cast(DurableFuture, None),
        digest=asked.digest,
        arguments=tuple(Argument(value) for value in asked.arguments),
        keywords={name: Argument(value) for name, value in asked.keywords.items()},
        item=asked.item,
        site=asked.site,
    )
    return StepCall(command, packet.task.attempt, details=packet.details, again=True, unwanted=packet.unwanted)


def _failed(packet: Task, failure: Failure) -> AttemptFailed:
    step = packet.step
    return AttemptFailed(
        key=step.key,
        step=step.step,
        attempt=packet.task.attempt,
        failure=failure,
        retry=step.retry,
        digest=step.digest,
        item=step.item,
        site=step.site,
    )


def step_of(module: LoadedModule, packet: Task) -> Step[..., Any]:
    """The step that a task names. Raises UserError where this worker does not find it."""
    what = f"step '{packet.step.step}' of queue '{packet.step.queue}'"
    return find_step(module, packet.step.step, packet.step.options.get("home", ""), what)
