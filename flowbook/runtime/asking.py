"""What workflow code asks for while it runs: its commands, each with a key, noted once and given up when not wanted.

The other half of ``Execution``, which tells the code what has happened. It is what the loop asks as well.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any

from flowbook.core import events as e
from flowbook.core import keys
from flowbook.core.ids import Key
from flowbook.core.messages import ReportItem
from flowbook.errors import NotDeterministic, UnloadableValue
from flowbook.runtime import implicit, remote, sites
from flowbook.runtime.commands import DurableFuture, SignalCommand, StepCall, StepCommand, TimerCommand
from flowbook.runtime.definitions import Step
from flowbook.runtime.handles import given
from flowbook.runtime.loop import DeterministicLoop
from flowbook.runtime.matching import Matching
from flowbook.runtime.replay import Asked, Reuse
from flowbook.runtime.scheduled import Task, Timer
from flowbook.runtime.values import Values, are_plain

if TYPE_CHECKING:
    from flowbook.runtime.duties import Duties

# In 3.11 asyncio.current_task is written in Python.
_current_task: Callable[[Any], Any] = (
    asyncio.current_task if sys.version_info >= (3, 12) else asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]
)


FAREWELLS = 100
"""How often code that leaves memory is told so by GeneratorExit."""


class Asking:
    """The commands of one run.

    ``is_view``: nothing is to be done about them; ``is_live``: the history is behind us; ``concluded``: the run has
    said how it ends, and what is left of its code asks for is said to nobody.
    """

    duties: Duties

    def __init__(self, values: Values, *, view: bool) -> None:
        self.loop = DeterministicLoop(self)  # type: ignore[abstract]
        self.values = values
        self.items: list[ReportItem] = []
        self.calls: list[StepCall] = []
        self.stops: list[Key] = []
        self.told: list[Key] = []
        self.main: Task | None = None
        self.steps: dict[Key, StepCommand] = {}
        self.timers: dict[Key, TimerCommand] = {}
        self.signals: dict[Key, SignalCommand] = {}
        self.inbox: dict[str, deque[e.SignalReceived]] = {}
        self.matching = Matching()
        self.expected = self.matching.expected
        self.reuse: Reuse | None = None
        self.abandoned: set[Key] = set()
        self.closed = False
        self.dropping = False
        self.is_live = False
        self.is_view = view
        self.concluded = False
        self.now = 0.0
        self.reported = 0
        self.unrecorded: set[tuple[str, str]] = set()
        self.closing: set[asyncio.Task[Any]] = set()
        self._unwanted: set[Key] = set()
        self._held_back: list[tuple[StepCommand, bool]] = []
        self._remote: set[Key] = set()
        self._visits: dict[tuple[str, str], int] = {}
        self._label = ""
        self._looking = ""
        self._farewells = 0
        self.context = Context()
        self.printed: list[e.Chunk] = []

    def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """A step is called in the code: its identity is settled now, it begins when it is awaited."""
        if self._has_left():
            return self._nothing()
        site = sites.here(3)
        if site is None:
            return self.step(step, args, kwargs, self.key(step.name))
        return self.step(step, args, kwargs, self.key(f"{step.name}@{site.label}"), site=site.line)

    async def step(
        self,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Key,
        *,
        item: int | None = None,
        site: int = 0,
        asked: Callable[[StepCommand], None] | None = None,
    ) -> Any:
        """Run a step durably under ``key`` and give its result. A Handle among the arguments is waited for first.

        ``asked`` is told the command once there is one.
        """
        if kwargs:
            args, kwargs = step.placed(args, kwargs)
        if isinstance(step, implicit.Implicit):
            step, args, kwargs, digest = implicit.given(step, args, kwargs, self.values)
        elif are_plain(args, kwargs):
            digest = keys.plain_digest(step.name, args, kwargs)
        else:
            args, kwargs = await given(args, kwargs)
            parts: list[bytes] = []
            args = tuple(
                [self.values.argument(value, parts, "", step.argument(place)) for place, value in enumerate(args)]
            )
            kwargs = {
                name: self.values.argument(value, parts, name, step.argument(name)) for name, value in kwargs.items()
            }
            digest = keys.digest(step.name, parts)
        future = DurableFuture(loop=self.loop)
        command = StepCommand(key, step, future, digest, args, kwargs, item, site)
        self.ask(command)
        if asked is not None:
            asked(command)
        return await future

    def ask(self, command: StepCommand) -> None:
        """The code waits for the command's future from here on."""
        if self._has_left():
            return
        own = command.key
        command.key = self.matching.matched(own, Asked("step", command.step.name, command.digest))
        if command.key != own:
            self.duties.renamed(own, command.key)
        if self.concluded:
            return
        command.future.abandoned = functools.partial(self._abandon_step, command)
        self.steps[command.key] = command
        if self.is_live and not self.is_view:
            self.dispatch(command)

    def ask_to_stop(self, command: StepCommand) -> None:
        """Nobody needs the step's result any more, but it has to be known how it ends."""
        key = command.key
        if command.future.done() or key in self._unwanted:
            return
        self._unwanted.add(key)
        self.note("stop asked", key, e.StepStopRequested(key=key, step=command.step.name, item=command.item))
        if self.is_live and not self.is_view:
            self.told.append(key)

    def key(self, label: str) -> Key:
        """The key of the next command with this label in the current task."""
        if self._looking:
            self._has_left()
        place = (getattr(_current_task(self.loop), "path", ""), label)
        visit = self._visits.get(place, 0) + 1
        self._visits[place] = visit
        return keys.key(*place, visit)

    def signal(self, name: str) -> asyncio.Future[Any]:
        """A future for the next signal of this name."""
        future = DurableFuture(loop=self.loop)
        if self._has_left():
            return future
        waiting = self.inbox.get(name)
        site = sites.here()
        key = self.key(f"signal.{name}@{site.label}" if site else f"signal.{name}")
        key = self.matching.matched(key, Asked("signal", name))
        if self.concluded:
            return future
        self.note("signal", key, e.SignalAwaited(key=key, name=name, site=site.line if site else 0))
        if waiting:
            self.hand_over(waiting.popleft(), future)
            return future
        command = SignalCommand(key, name, future)
        future.abandoned = functools.partial(self._abandon_signal, command)
        self.signals[key] = command
        return future

    def hand_over(self, event: e.SignalReceived, future: DurableFuture) -> None:
        """The signal is for whoever waits for ``future``; also where its value is none that this code can have."""
        try:
            future.set_result(self.values.sent(event.value, f"signal '{event.name}'"))
        except UnloadableValue as error:
            future.set_exception(error)

    @contextmanager
    def looking(self, what: str) -> Iterator[None]:
        """Code that runs here may look at everything and ask for nothing."""
        self._looking = what
        try:
            with self.loop:
                yield
        finally:
            self._looking = ""

    def _has_left(self) -> bool:
        """True for clean-up code of a run that leaves memory: whatever it waits for never comes.

        Raises GeneratorExit instead, until it is plain that the code catches that and asks again and again.
        """
        if self._looking:
            raise NotDeterministic(f"{self._looking} may only look: no steps, timers, signals or random numbers in it")
        if not (self.closed or self.dropping):
            return False
        self._farewells += 1
        if self._farewells <= FAREWELLS:
            raise GeneratorExit
        return True

    async def _nothing(self) -> None:
        await self.loop.create_future()

    def report(self, item: ReportItem) -> None:
        """Report ``item``, whatever the history has."""
        if not self.is_view:
            self.items.append(item)

    def note(self, what: str, key: Key, item: ReportItem) -> None:
        """Report ``item`` once: not when re-executing, where the history has it already."""
        if not self.is_view and not self.concluded and not self.expected.is_noted(what, key):
            self.items.append(item)

    def dispatch(self, command: StepCommand, *, again: bool = False) -> None:
        """Have the step done. ``again``: a worker before this one may have been at it."""
        if command.future.done():
            return
        key = command.key
        reuse = self.reuse if command.step.is_reusable else None
        if reuse is not None and reuse.match_step(key, command.step.name, command.digest):
            self.recorded("promise", key)
            return
        if self._is_remote(command):
            self._remote.add(key)
            if not self.expected.is_noted("scheduled", key):
                self.report(command.elsewhere or remote.scheduled(command, self.values))
            return
        attempt = self.expected.attempts.get(key, 0) + 1
        if self.unrecorded:
            self._held_back.append((command, again))
            return
        retry_at, details = self.expected.retry_at.get(key, 0.0), self.expected.heartbeats.get(key)
        self.calls.append(StepCall(command, attempt, retry_at, details, again, key in self._unwanted))

    def record_first(self, what: str, name: str) -> None:
        """No step begins before this is recorded: of a lost worker it is known which steps it began, and no more.

        A step may hand on the token of a ``promise``, which nobody can keep that is not recorded. And where there is
        no mark of a ``patch``, a step that was begun after it has been asked for by older code.
        """
        self.unrecorded.add((what, name))

    def recorded(self, what: str, name: str) -> None:
        """It is, or nobody waits for that any more: what was held back begins."""
        self.unrecorded.discard((what, name))
        if self._held_back and not self.unrecorded:
            held_back, self._held_back = self._held_back, []
            for command, again in held_back:
                if command.key in self.steps:
                    self.dispatch(command, again=again)

    def _is_remote(self, command: StepCommand) -> bool:
        """True where a worker of the step's queue runs it. What has begun one way goes on that way."""
        if command.elsewhere is not None or self.expected.is_noted("scheduled", command.key):
            return True
        return command.step.queue is not None and command.key not in self.expected.attempts

    def _abandon_step(self, command: StepCommand) -> None:
        self.abandoned.add(command.key)
        if self.steps.pop(command.key, None) is None or self.is_view:
            return
        self.recorded("promise", command.key)
        if command.key not in self._remote and not self.expected.is_noted("scheduled", command.key):
            self.calls = [call for call in self.calls if call.command is not command]
            self.stops.append(command.key)
            attempt = 0 if self.is_live else self.expected.attempts.get(command.key, 0)
            if attempt:
                # It was given up while the run was in nobody's memory, and nobody else will say so.
                cancelled = e.StepCancelled(key=command.key, step=command.step.name, attempt=attempt, item=command.item)
                self.note("step cancelled", command.key, cancelled)
        elif not self._unask(command.key):
            cancelled = e.StepCancelled(key=command.key, step=command.step.name, item=command.item)
            self.note("step cancelled", command.key, cancelled)

    def _abandon_signal(self, command: SignalCommand) -> None:
        if self.signals.pop(command.key, None) is not None and not self._unask(command.key):
            self.note("signal dropped", command.key, e.SignalDropped(key=command.key, name=command.name))

    def _unask(self, key: Key) -> bool:
        """Take back a request made since the last event, which nobody has seen yet."""
        for index in range(len(self.items) - 1, self.reported - 1, -1):
            if getattr(self.items[index], "key", None) == key:
                del self.items[index]
                return True
        return False

    # What the loop asks (Host)

    def time(self) -> float:
        """Workflow time: when the last applied event happened."""
        return self.now

    def timer_set(self, timer: Timer) -> None:
        """A durable timer: asked for now, fired by an event."""
        if self._has_left():
            return
        if timer.when() == inf:
            # Nothing to wait for: whoever sleeps for ever is woken by being cancelled.
            return
        site = sites.here(3)
        own = self.key(f"timer@{site.label}" if site else "timer")
        key = self.matching.matched(own, Asked("timer", "", repr(timer.when())))
        if key != own:
            self.duties.renamed(own, key)
        timer.key = key
        timer.site = site.line if site else 0
        command = TimerCommand(key, timer)
        self.timers[key] = command
        owed = self.duties.owns(key)
        self.note("timer", key, e.TimerStarted(key=key, due=timer.when(), site=timer.site, owed=owed))
        if self.is_live:
            self.match_timer(command)

    def timer_dropped(self, timer: Timer) -> None:
        """The code no longer waits for it."""
        if not timer.key:
            return
        key = Key(timer.key)
        self.abandoned.add(key)
        is_set = self.timers.pop(key, None) is not None
        # What a terminated run still waited for has ended with it.
        if is_set and not self.dropping and not self._unask(key):
            self.note("timer dropped", key, e.TimerCancelled(key=key))

    def spawn(self, work: Coroutine[Any, Any, Any], label: str) -> Task:
        """A task of the run that no line of its code began."""
        self._label = label
        task: Task = self.loop.create_task(work, context=self.context.copy())
        return task

    def task_created(self, task: Task) -> str:
        """The task's path: its parent's, the call that made it, and how many that call made before."""
        if self._has_left() or self.main is None:
            return ""
        if self._label:
            label, self._label = self._label, ""
            return self.key(label)
        site = sites.here(3)
        return self.key(site.label if site else "task")

    def thread_call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """``to_thread``: the function runs as a step without a decorator."""
        function, args, kwargs = implicit.unwrapped(function, arguments)
        step = implicit.step(function)
        site = sites.here(3)
        key = self.key(f"{step.name}@{site.label}" if site else step.name)
        work = self.step(step, args, kwargs, key, site=site.line if site else 0)
        task: asyncio.Task[Any] = self.loop.create_task(work)
        return task

    def generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An asynchronous generator was left before its end: its clean-up code is a task of the run."""
        self.closing.add(self.spawn(_closed(generator), f"aclose.{getattr(generator, '__qualname__', '')}"))

    def failed_silently(self, context: dict[str, Any]) -> None:
        """A task failed and nobody awaited it: the run goes on, as with asyncio, and its output says so."""
        error = context.get("exception")
        if self.is_view or not self.loop.attended or isinstance(error, GeneratorExit | asyncio.CancelledError):
            return
        text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self.printed.append(e.Chunk(stream="stderr", text=f"{context.get('message', 'a task failed')}\n{text}"))

    def match_timer(self, command: TimerCommand) -> None:
        # What is taken back now takes its time: a fork has it begun by itself.
        if self.reuse is not None and not self.duties.owns(command.key):
            self.reuse.match_timer(command.key)


async def _closed(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()
