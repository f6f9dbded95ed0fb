"""One run's code in memory: it is told events, one at a time, and says what the code asked for since.

The single door between a worker and workflow code: synchronous, no IO, no clock. ``begin`` re-executes a history;
``apply`` takes one more event; ``items``, ``calls`` and ``stops`` are what there is to do about it.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowbook.core import events as e
from flowbook.core import keys
from flowbook.core.ids import Key, RunId
from flowbook.core.messages import ReportItem
from flowbook.core.value import Value
from flowbook.errors import NotDeterministic
from flowbook.runtime import outcomes, remote, sites
from flowbook.runtime.commands import DurableFuture, SignalCommand, StepCall, StepCommand, TimerCommand
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.duties import Duties
from flowbook.runtime.going_on import ContinueAsNew, Patches, continued
from flowbook.runtime.handlers import Handlers
from flowbook.runtime.handles import Handle
from flowbook.runtime.loop import DeterministicLoop, Task, Timer
from flowbook.runtime.replay import Expectations, Reuse, mismatch
from flowbook.runtime.values import Values
from flowbook.wire import codec


class Execution:
    """A workflow function being run from its events.

    ``places`` maps a module line to a cell; ``view`` means that nothing is to be done about what the code asks.
    """

    def __init__(
        self,
        workflow: Workflow[..., Any],
        *,
        save: codec.Save,
        load: codec.Load,
        places: outcomes.Places = outcomes.NOWHERE,
        view: bool = False,
    ) -> None:
        self.workflow = workflow
        self.loop = DeterministicLoop(self)  # type: ignore[abstract]
        self.items: list[ReportItem] = []
        self.calls: list[StepCall] = []
        self.stops: list[Key] = []
        self.places = places
        self.main: Task | None = None
        self.steps: dict[Key, StepCommand] = {}
        self.timers: dict[Key, TimerCommand] = {}
        self.signals: dict[Key, SignalCommand] = {}
        self.inbox: dict[str, deque[e.SignalReceived]] = {}
        self.handlers = Handlers(self)
        self.patches = Patches()
        self.children: set[asyncio.Task[Any]] = set()
        self.named: dict[str, Any] = {}
        self.latest: dict[str, tuple[tuple[str, ...], Value]] = {}
        self.failures: dict[Key, e.StepAttemptFailed | e.StepFailed] = {}
        self.handles: list[asyncio.Task[Any]] = []
        self.duties = Duties(self)
        self.closed = False
        self.cancelling: e.CancelRequested | None = None
        self.continuing: ContinueAsNew | None = None
        self.terminated = False
        self._dropping = False
        self._label = ""
        self._looking = ""
        self.seq = 0
        self._now = 0.0
        self.values = Values(save, load)
        self._view = view
        self._visits: dict[tuple[str, str], int] = {}
        self._abandoned: set[Key] = set()
        self._remote: set[Key] = set()
        self.expected = Expectations(())
        self._reuse: Reuse | None = None
        self._live = False
        self._taking = False
        self._reported = 0
        self.run = ""
        self.id = RunId("")

    # The door

    def begin(self, history: Sequence[e.Recorded], reuse: Sequence[e.Recorded] = (), *, until: int = 0) -> None:
        """Re-execute ``history`` (up to event ``until``, where given) and go live.

        Raises HistoryMismatch where the code does not fit the history.
        """
        shown = [recorded for recorded in history if not until or recorded.seq <= until]
        self.expected = Expectations(shown)
        first = shown[0].event
        assert isinstance(first, e.RunStarted)
        if reuse and first.origin is not None:
            self._reuse = Reuse(reuse, first.origin, shown)
        for recorded in shown:
            self._advance(recorded)
        if not self.closed and not self.expected.closed:
            error = self.expected.unmet()
            if error is not None and not until:
                raise error
        self._live = True
        if self._view or self.closed:
            return
        for command in list(self.steps.values()):
            self._dispatch(command)
        for timer in list(self.timers.values()):
            self._match_timer(timer)
        self.take_reusable()

    def apply(self, recorded: e.Recorded) -> None:
        """One more durable event, in order. Events it has already seen are passed over."""
        if recorded.seq <= self.seq:
            return
        if isinstance(recorded.event, e.StepReused | e.TimerFired | e.SignalReceived):
            self._taking = False
        self._advance(recorded)
        self.take_reusable()

    def take_reusable(self) -> None:
        """Ask for the next saved result of the origin; one at a time, so that they wake the code in their old order."""
        if self._reuse is None or self.closed or self._view or self._taking:
            return
        fact = self._reuse.next()
        if fact is not None:
            self._taking = True
            self.items.append(fact)

    def close(self) -> None:
        """Drop the code: every coroutine is closed, nothing is reported."""
        self.closed = True
        self._view = True
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
        if isinstance(event, e.WAKE_UPS):
            self._now = max(self._now, recorded.time)
            self._wake(event)
            self._drain()
            return
        match event:
            case e.StepAttemptFailed():
                self.failures[event.key] = event
                command = self.steps.get(event.key)
                if self._live and command is not None and not self._is_remote(command):
                    self.calls.append(StepCall(command, event.attempt + 1, event.retry_at))
            case e.RunCompleted() | e.RunFailed() | e.RunCancelled() | e.RunTerminated() | e.RunContinued():
                self.closed = True
            case _:
                pass

    def _wake(self, event: e.AnyEvent) -> None:
        match event:
            case e.StepCompleted() | e.StepReused():
                command = self._answered(event)
                if command is not None:
                    self.latest[event.step] = (command.step.outputs, event.value)
                    command.future.set_result(self.values.decoded(event.value))
            case e.StepFailed():
                self.failures[event.key] = event
                command = self._answered(event)
                if command is not None:
                    command.future.set_exception(self._failure(event, command))
            case e.TimerFired():
                timer = self.timers.pop(event.key, None)
                if timer is not None:
                    self.loop.fire(timer.timer)
                elif event.key in self.expected.asked:
                    raise mismatch("a timer fired that the code did not set", event.key, recorded="timer", asked="")
            case e.SignalReceived():
                self._deliver(event)
                self._continue_again()
            case e.UpdateReceived():
                self.handlers.receive(event)
                self._continue_again()
            case e.ObligationOpened():
                self.duties.recorded(event)
            case e.CancelRequested():
                self.cancelling = event
                if self.main is not None:
                    self.main.cancel()
            case e.TerminateRequested():
                self._terminate()
            case e.RunStarted():
                self._start(event)
            case _:
                raise AssertionError(event)

    def _start(self, event: e.RunStarted) -> None:
        self.run = event.seed or event.run
        self.id = event.run
        arguments = {name: self.values.decoded(value) for name, value in event.arguments.items()}

        async def main() -> Any:
            return await self.workflow.function(**arguments)

        self.main = self.loop.create_task(main())
        self.main.add_done_callback(self._finished)

    def _failure(self, event: e.StepFailed, command: StepCommand) -> BaseException:
        return outcomes.step_failed(event, self.workflow.function.__globals__, command.what)

    def _answered(self, event: e.StepCompleted | e.StepFailed | e.StepReused) -> StepCommand | None:
        command = self.steps.pop(event.key, None)
        if command is None:
            if event.key in self.expected.asked and event.key not in self._abandoned:
                raise mismatch(
                    f"the history has a result of step '{event.step}' that the code did not ask for",
                    event.key,
                    recorded=f"step '{event.step}'",
                    asked="",
                )
            return None
        if command.step.name != event.step or (event.digest and event.digest != command.digest):
            same = command.step.name == event.step
            raise mismatch(
                f"the code called step '{command.step.name}'"
                + (" with other arguments than recorded" if same else f" where the history has step '{event.step}'"),
                event.key,
                recorded=f"step '{event.step}' {event.digest}",
                asked=f"step '{command.step.name}' {command.digest}",
            )
        return None if command.future.done() else command

    def _deliver(self, event: e.SignalReceived) -> None:
        for key, command in self.signals.items():
            if command.name == event.name:
                del self.signals[key]
                command.future.set_result(self.values.decoded(event.value))
                return
        self.inbox.setdefault(event.name, deque()).append(event)

    def _drain(self) -> None:
        self._reported = len(self.items)
        self.loop.drain()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        going_on = isinstance(error, ContinueAsNew)
        handling = self.handlers.running if going_on else []
        # What becomes of children is their parent_close's to say.
        spared = {task, *handling, *self.children}
        for other in self.loop.unfinished():
            if other not in spared and not self.duties.owns(other.path):
                other.cancel()
        if handling or self.duties.outstanding:
            is_well = going_on or (error is None and not task.cancelled())
            winding = self.duties.run(self._wind_up(handling, is_well))
            winding.add_done_callback(lambda _: self._conclude(task))
        else:
            self.loop.call_soon(self._conclude, task)

    async def _wind_up(self, handling: list[Task], is_well: bool) -> None:
        if handling:
            await asyncio.wait(handling)
        await self.duties.wind_up(keep=is_well)

    def _terminate(self) -> None:
        """Drop the workflow's code where it stands; what it owes is still taken back."""
        self.terminated = self._dropping = True
        if self.main is not None:
            self.main.remove_done_callback(self._finished)
        for task in reversed(self.loop.unfinished()):
            if not self.duties.owns(task.path):
                self.loop.drop(task)
        self._dropping = False
        for key, command in list(self.steps.items()):
            if not self.duties.owns(key):
                command.future.cancel()
        for timer in [timer for key, timer in self.timers.items() if not self.duties.owns(key)]:
            timer.timer.cancel()
        self.signals.clear()
        taking_back = self.duties.run(self.duties.take_back_all())
        taking_back.add_done_callback(lambda _: None if self.expected.closed else self.report(e.RunTerminated()))

    def _conclude(self, task: asyncio.Task[Any]) -> None:
        if self.expected.closed or self._view or self.terminated:
            return
        for command in list(self.steps.values()):
            self.stops.append(command.key)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ContinueAsNew):
            self.continuing = error
            self._continue_again()
        else:
            self.items.append(outcomes.closing(task, self.cancelling, self._encode_result, self.places))

    def _continue_again(self) -> None:
        """Ask to go on as a new run, with all that nobody has read; again where something came meanwhile."""
        if self.continuing is None or self.expected.closed or self._view:
            return
        self.items = [item for item in self.items if not isinstance(item, e.RunContinued)]
        self.items.append(continued(self, self.continuing))

    def _encode_result(self, value: Any) -> Value:
        return codec.encode(value, self.values.save, f"result of {self.workflow.name}")

    # What the code asks for

    def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """A step is called in the code: its identity is settled now, it begins when it is awaited."""
        self._require_open()
        site = sites.here(3)
        label = f"{step.name}@{site.label}" if site is not None else step.name
        return self.step(step, args, kwargs, self.key(label), site=site.line if site else 0)

    async def step(
        self,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Key,
        *,
        item: int | None = None,
        site: int = 0,
    ) -> Any:
        """Run a step durably under ``key`` and give its result. A Handle among the arguments is waited for first."""
        if any(isinstance(value, Handle) for value in (*args, *kwargs.values())):
            args = tuple([await value if isinstance(value, Handle) else value for value in args])
            kwargs = {name: await value if isinstance(value, Handle) else value for name, value in kwargs.items()}
        parts: list[bytes] = []
        arguments = tuple(self.values.argument(value, parts, "", step.name) for value in args)
        keywords = {name: self.values.argument(value, parts, name, step.name) for name, value in kwargs.items()}
        digest = keys.digest(step.name, parts)
        future = DurableFuture(loop=self.loop)
        self.ask(StepCommand(key, step, future, digest, arguments, keywords, item, site))
        return await future

    def ask(self, command: StepCommand) -> None:
        """The code waits for the command's future from here on."""
        self._require_open()
        command.future.abandoned = functools.partial(self._abandon_step, command)
        self.steps[command.key] = command
        self.expected.met(command.key)
        if self._live and not self._view:
            self._dispatch(command)

    def key(self, label: str) -> Key:
        """The key of the next command with this label in the current task."""
        if self._looking:
            self._require_open()
        task = asyncio.current_task(self.loop)
        path = getattr(task, "path", "")
        visit = self._visits.get((path, label), 0) + 1
        self._visits[(path, label)] = visit
        return keys.key(path, label, visit)

    def signal(self, name: str) -> asyncio.Future[Any]:
        """A future for the next signal of this name."""
        self._require_open()
        future = DurableFuture(loop=self.loop)
        waiting = self.inbox.get(name)
        site = sites.here()
        key = self.key(f"signal.{name}@{site.label}" if site else f"signal.{name}")
        self.expected.met(key)
        if waiting:
            future.set_result(self.values.decoded(waiting.popleft().value))
            return future
        command = SignalCommand(key, name, future, site.line if site else 0)
        future.abandoned = functools.partial(self._abandon_signal, command)
        self.signals[key] = command
        self.note("signal", key, e.SignalAwaited(key=key, name=name, site=command.site))
        return future

    @contextmanager
    def looking(self, what: str) -> Iterator[None]:
        """Code that runs here may look at everything and ask for nothing."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        self._looking = what
        try:
            yield
        finally:
            self._looking = ""
            asyncio._set_running_loop(outer)

    def _require_open(self) -> None:
        if self._looking:
            raise NotDeterministic(f"{self._looking} may only look: no steps, timers, signals or random numbers in it")
        if self.closed or self._dropping:
            raise GeneratorExit  # clean-up code of a run that leaves memory has nothing to ask for

    def expect(self, key: Key) -> None:
        """The code asks for ``key``, whether the history has it or not."""
        self.expected.met(key)

    def report(self, item: ReportItem) -> None:
        """Report ``item``, whatever the history has."""
        if not self._view:
            self.items.append(item)

    def note(self, what: str, key: Key, item: ReportItem) -> None:
        """Report ``item`` once: not when re-executing, where the history has it already."""
        if not self._view and not self.expected.is_noted(what, key):
            self.items.append(item)

    def _dispatch(self, command: StepCommand) -> None:
        if command.future.done():
            return
        key = command.key
        if self._reuse is not None and self._reuse.match_step(key, command.step.name, command.digest):
            return
        if self._is_remote(command):
            self._remote.add(key)
            note = command.elsewhere or remote.scheduled(command, self.values)
            self.note("scheduled", key, note)
            return
        attempt = self.expected.attempts.get(key, 0) + 1
        self.calls.append(StepCall(command, attempt, self.expected.retry_at.get(key, 0.0)))

    def _is_remote(self, command: StepCommand) -> bool:
        """True where a worker of the step's queue runs it. What has begun one way goes on that way."""
        if command.elsewhere is not None or self.expected.is_noted("scheduled", command.key):
            return True
        return command.step.queue is not None and command.key not in self.expected.attempts

    def _abandon_step(self, command: StepCommand) -> None:
        self._abandoned.add(command.key)
        if self.steps.pop(command.key, None) is None or self._view:
            return
        if command.key not in self._remote and not self.expected.is_noted("scheduled", command.key):
            self.calls = [call for call in self.calls if call.command is not command]
            self.stops.append(command.key)
        elif not self._unask(command.key):
            cancelled = e.StepCancelled(key=command.key, step=command.step.name, item=command.item)
            self.note("step cancelled", command.key, cancelled)

    def _abandon_signal(self, command: SignalCommand) -> None:
        if self.signals.pop(command.key, None) is not None and not self._unask(command.key):
            self.note("signal dropped", command.key, e.SignalDropped(key=command.key, name=command.name))

    def _unask(self, key: Key) -> bool:
        """Take back a request made since the last event, which nobody has seen yet."""
        for index in range(len(self.items) - 1, self._reported - 1, -1):
            if getattr(self.items[index], "key", None) == key:
                del self.items[index]
                return True
        return False

    # What the loop asks (Host)

    def time(self) -> float:
        """Workflow time: when the last applied event happened."""
        return self._now

    def timer_set(self, timer: Timer) -> None:
        """A durable timer: asked for now, fired by an event."""
        self._require_open()
        site = sites.here(3)
        key = self.key(f"timer@{site.label}" if site else "timer")
        timer.key = key
        timer.site = site.line if site else 0
        command = TimerCommand(key, timer)
        self.timers[key] = command
        self.expected.met(key)
        self.note("timer", key, e.TimerStarted(key=key, due=timer.when(), site=timer.site))
        if self._live:
            self._match_timer(command)

    def timer_dropped(self, timer: Timer) -> None:
        """The code no longer waits for it."""
        key = Key(timer.key)
        self._abandoned.add(key)
        if self.timers.pop(key, None) is not None and not self._unask(key):
            self.note("timer dropped", key, e.TimerCancelled(key=key))

    def spawn(self, work: Coroutine[Any, Any, Any], label: str) -> Task:
        """A task of the run that no line of its code began."""
        self._label = label
        task: Task = self.loop.create_task(work)
        return task

    def task_created(self, task: Task) -> str:
        """The task's path: its parent's, the call that made it, and how many that call made before."""
        self._require_open()
        if self.main is None:
            return ""
        if self._label:
            label, self._label = self._label, ""
            return self.key(label)
        site = sites.here(3)
        return self.key(site.label if site else "task")

    def thread_call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """``to_thread``: the function runs as a step without a decorator."""
        inner = function.args[0] if isinstance(function, functools.partial) and function.args else function
        step = Step(functools.partial(function, *arguments), name=getattr(inner, "__name__", "thread"))
        site = sites.here(3)
        key = self.key(f"{step.name}@{site.label}" if site else step.name)
        task: asyncio.Task[Any] = self.loop.create_task(self.step(step, (), {}, key, site=site.line if site else 0))
        return task

    def failed_silently(self, context: dict[str, Any]) -> None:
        """Exceptions of tasks nobody awaited are part of the code's behaviour; asyncio only logs them."""

    def _match_timer(self, command: TimerCommand) -> None:
        if self._reuse is not None:
            self._reuse.match_timer(command.key)
