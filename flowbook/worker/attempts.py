"""One attempt of a step: decode its inputs, run it where it belongs, encode what it gives.

Whether another attempt follows is the engine's decision.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import anyio

from flowbook.core import events as e
from flowbook.core.duration import spoken
from flowbook.core.failure import Frame
from flowbook.core.ids import RunId, WorkerId
from flowbook.core.messages import AttemptFailed
from flowbook.core.value import Value
from flowbook.errors import NotStarted
from flowbook.runtime import context, output
from flowbook.runtime.commands import Argument, StepCall
from flowbook.runtime.context import StepContext
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import raised_at, recorded, users
from flowbook.wire import codec
from flowbook.worker import facts, notes, results
from flowbook.worker.capture import Collected, take_figures
from flowbook.worker.finding import home_of
from flowbook.worker.isolation import Isolated, StepFailedInProcess
from flowbook.worker.notes import Glance, Kept, Note, Notes
from flowbook.worker.orders import Order, Said
from flowbook.worker.threads import Interruptible, Shield, StepRaised
from flowbook.worker.workplace import Workplace

Outcome = e.StepCompleted | e.StepWaiting | AttemptFailed

NO_RUN = RunId("")

STARTING = 60.0
"""Seconds that a process of a step's own may take to begin with the step, before its silence counts."""


def _nothing() -> None:
    pass


class HeartbeatTimeout(TimeoutError):
    """A step was silent for longer than it said it would be."""


class Attempt:
    """A running attempt. ``began`` is None while it waits for its time, or for a thread.

    ``gate`` is there for a step that begins when its start is recorded: because there is no second attempt, or because
    its result may come before its body has ended. ``announced``: its start was said.
    """

    def __init__(
        self,
        call: StepCall,
        module: LoadedModule,
        workplace: Workplace,
        run: RunId = NO_RUN,
        workflow: str = "",
        original: RunId = NO_RUN,
    ) -> None:
        self.call = call
        self.module = module
        self.collected = Collected()
        self.began: float | None = None
        self.announced = False
        self.stopped = False
        self._unwanted = call.unwanted
        self._is_late = False
        self._step = call.command.step
        self.gate = anyio.Event() if self._step.at_most_once or self._step.external else None
        self._workplace = workplace
        self._files = workplace.files
        self._run = run
        self._original = original
        self._workflow = workflow
        self._task: asyncio.Task[Any] | None = None
        self._context: StepContext | None = None
        self._notes: Notes | None = None
        # An asynchronous step is stopped at an await only, and one in a process of its own has its shield there.
        self._shield = None if self._step.is_async or self._step.isolate else Shield()
        self._thread: Interruptible[Value] | None = None
        self._process: Isolated | None = None
        self._slot: int | None = None
        self._is_over = False
        self._stood: tuple[Frame, ...] = ()
        self._silent = 0.0
        self._unsayable: Exception | None = None
        self._beats, self._heard, self._begun = 0, 0.0, 0.0

    async def run(self, announce: Callable[[], None] = _nothing) -> Outcome | None:
        """Run to the end; None when it was stopped. Has a task to itself.

        ``announce`` says its start, where that has to be recorded first and was not said yet.
        """
        self._task = asyncio.current_task()
        try:
            if self.stopped:
                return self._never_began()
            if self.call.not_before:
                await asyncio.sleep(max(0.0, self.call.not_before - time.time()))
            threads = self._workplace.threads
            if threads is None or self._shield is None:
                if self.gate is not None:
                    await self._pass(self.gate, announce)
                return await self._begin()
            # Its time does not run while it waits for a thread, and nothing is recorded of it.
            await threads.acquire()
            try:
                if self.gate is not None:
                    await self._pass(self.gate, announce)
                return await self._begin()
            finally:
                self.when_left(threads.release)
        except asyncio.CancelledError as error:
            return self._cancelled(error)

    def when_left(self, then: Callable[[], None]) -> None:
        """Call this once nothing of it runs any more, which is now, unless its thread could not be stopped at once."""
        left = self._thread.left if self._thread is not None else None
        if left is None or left.done():
            then()
        else:
            left.add_done_callback(lambda _: then())

    async def _pass(self, gate: anyio.Event, announce: Callable[[], None]) -> None:
        """Wait until its start is recorded: after this it has begun, whatever becomes of its worker."""
        if not self.announced:
            announce()
        await gate.wait()

    async def _begin(self) -> Outcome | None:
        self.began = time.time()
        place = self._workplace
        is_inside = not self._step.isolate
        if is_inside and place.start is not None and (warning := place.go_to_start(place.start)):
            self.collected.add(e.Chunk("log", warning))
        place.running += is_inside
        try:
            self._begin_context()
            if is_inside:
                self._mark()
            value = await self._value()
            return facts.waiting(self.call, self.began) if self._step.external else self._completed(value)
        except asyncio.CancelledError as error:
            await self._end_of_part()
            return self._cancelled(error)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and self._is_being_closed():
                raise
            is_unwanted = await self._end_of_part()
            return None if is_unwanted else self._failed(error)
        finally:
            place.running -= is_inside
            if self._slot is not None and place.mark is not None:
                place.mark.end(self._slot)

    def _is_being_closed(self) -> bool:
        """True where this is thrown away with its loop, and not what its step has raised."""
        return self._task is None or asyncio.current_task(self._task.get_loop()) is not self._task

    async def _end_of_part(self) -> bool:
        """Wait for a part of it that is not to be broken off: no attempt begins beside that.

        True where it was stopped meanwhile.
        """
        was_stopped = self.stopped
        if self._thread is not None:
            await self._thread.end_of_part()
        return self.stopped and not was_stopped

    def _cancelled(self, error: asyncio.CancelledError) -> AttemptFailed | None:
        """It was stopped, by whoever no longer wants it or because it was silent; or the step raised this itself."""
        if not self.stopped:
            return self._failed(error)
        if self._task is not None:
            self._task.uncancel()
        if not self._silent and self._unsayable is None:
            return self._never_began()
        self._stood = self._where(error)
        if self._unsayable is not None:
            return self._failed(self._unsayable)
        return self._failed(HeartbeatTimeout(self._said_nothing()))

    def stop(self) -> None:
        """Nobody wants its result any more. Its clean-up may take its time, and is not broken off by a second call."""
        if self.stopped:
            return
        self.stopped = True
        if self._context is not None:
            self._context.cancelled = True
        if self._task is not None and not self._task.done() and not self._is_over:
            self._task.cancel()

    def ask_to_stop(self) -> None:
        """Nobody needs its result, but how it ends has to be known. It does not begin where it surely has not yet."""
        self._unwanted = True
        if self._context is not None:
            self._context.cancelled = True
        # An attempt before this one, of which nothing is recorded, may have begun.
        is_first = not self.call.again or self.gate is not None or self.call.not_before > time.time()
        if self.began is None and is_first and not self.stopped:
            self._is_late = True
            self.stop()

    def _never_began(self) -> AttemptFailed | None:
        """What is said of an attempt that was stopped: something only where it has to be known that it never began."""
        if not self._is_late or self.began is not None:
            return None
        text = f"step '{self.call.command.step.name}' was not begun: nobody needs it any more"
        return self._failed(NotStarted(text))

    def check_heartbeat(self, now: float) -> None:
        """Fail it where it has been silent for too long; ``now`` is monotonic."""
        limit, known = self._step.heartbeat_timeout, self._context
        if not limit or known is None or self.stopped or self._is_over:
            return
        if self._process is not None and not known.beats:
            limit = max(limit, STARTING)
        is_automatic = self._step.auto_heartbeat and self._process is None
        if known.beats != self._beats or is_automatic:
            self._beats, self._heard = known.beats, now
        elif now - self._heard > limit:
            self._silent = now - self._heard
            self.stop()

    def _said_nothing(self) -> str:
        step = self._step
        return (
            f"step '{step.name}' was silent for {spoken(self._silent)}, longer than its heartbeat_timeout of "
            f"{spoken(step.heartbeat_timeout or 0.0)}; call heartbeat() or progress() in it more often, or give it more"
        )

    async def _value(self) -> Value:
        shown = output.sink.set(self.collected.add)
        known = context.running.set(self._context)
        try:
            return await (self._called() if self._step.timeout is None else self._limited(self._step.timeout))
        finally:
            context.running.reset(known)
            output.sink.reset(shown)
            # What it has given counts, however long its process takes to end.
            self._is_over = True
            if self._process is not None:
                await self._process.end()

    async def _limited(self, timeout: float) -> Value:
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._called()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if self._process is not None:
                await self._process.end()
            self._stood = self._where(error.__cause__)
        raise TimeoutError(f"step '{self._step.name}' took longer than its timeout of {spoken(timeout)}")

    def _where(self, stopped: BaseException | None) -> tuple[Frame, ...]:
        """Where the step was when it was stopped, which this exception came from."""
        if self._process is not None:
            return self._process.stood
        lines = self._thread.stood if self._thread is not None else raised_at(stopped) if stopped is not None else ()
        return recorded(users(lines), self.module.places)

    def _begin_context(self) -> None:
        command, details = self.call.command, self.call.details
        self._heard = self._begun = time.monotonic()
        self._context = StepContext(
            self._run,
            self._workflow,
            command.step.name,
            command.key,
            self.call.attempt,
            original=self._original,
            item=command.item,
            heartbeat_details=None if details is None else codec.decode(details, self._files.load, classes=self.module),
            started=self.began or 0.0,
            keep=lambda details: notes.kept(details, command.step.name, self.module),
            shield=self._shield.part if self._shield is not None else nullcontext,
        )
        self._context.cancelled = self._unwanted

    def _mark(self, group: int = 0) -> None:
        """Whoever finds the worker dead is to know that this ran."""
        if self._workplace.mark is not None:
            self._slot = self._workplace.mark.begin(facts.ran(self.call, self._run), group)

    def _is_here(self) -> None:
        if self._workplace.mark is not None and self._slot is not None:
            self._workplace.mark.is_here(self._slot)

    async def _called(self) -> Value:
        step = self._step
        if step.isolate == "process":
            self._process = Isolated(self._order(), self._hear, self.collected.add, self._mark, self._workplace.folder)
            return await self._process.result()
        if step.is_async:
            arguments, keywords = self._inputs()
            value = results.saved(await step.function(*arguments, **keywords), step, self.module, self._files.save)
            take_figures(self.collected.add)
            return value

        def call() -> Value:
            arguments, keywords = self._inputs()
            value = results.saved(step.function(*arguments, **keywords), step, self.module, self._files.save)
            take_figures(self.collected.add)
            return value

        assert self._shield is not None
        self._thread = Interruptible(call, self._shield, self._is_here)
        return await self._thread.run()

    def _order(self) -> Order:
        command = self.call.command
        return Order(
            module=self.module.module,
            step=command.step.name,
            home=home_of(command.step),
            folder=str(self._files.home),
            run=self._run,
            original=self._original,
            workflow=self._workflow,
            key=command.key,
            attempt=self.call.attempt,
            item=command.item,
            arguments=[self._sent(value) for value in command.arguments],
            keywords={name: self._sent(value) for name, value in command.keywords.items()},
            details=self.call.details,
            started=self.began or 0.0,
            memory=command.step.memory,
            place=f"\x1b[flowbook {uuid.uuid4().hex}]",
            beats=command.step.auto_heartbeat,
        )

    def _sent(self, value: Any) -> Value:
        if isinstance(value, Argument):
            return value.value
        return codec.encode(value, self._files.save, f"an argument of {self._step.name}", self.module)

    def _hear(self, said: Said) -> None:
        """What the step's own process says."""
        assert self._context is not None
        self._context.progress = said.progress or self._context.progress
        if said.details is not None:
            self._context.details = Kept(said.details)
        self._context.beats += 1

    def _inputs(self) -> tuple[Sequence[Any], dict[str, Any]]:
        command = self.call.command
        if Argument not in map(type, command.arguments) and not command.keywords:
            return command.arguments, {}
        return (
            [self._decoded(value) for value in command.arguments],
            {name: self._decoded(value) for name, value in command.keywords.items()},
        )

    def _decoded(self, value: Any) -> Any:
        return (
            codec.decode(value.value, self._files.load, classes=self.module) if isinstance(value, Argument) else value
        )

    def _completed(self, value: Value) -> e.StepCompleted:
        return facts.completed(self.call, value, self.began or 0.0, self.collected.take(is_last=True))

    def _failed(self, error: BaseException) -> AttemptFailed:
        if isinstance(error, StepFailedInProcess):
            failure = error.failure
        else:
            raised = error.error if isinstance(error, StepRaised) else error
            failure = results.failed(raised, self._step, self.module, self._stood)
        return facts.failed(self.call, failure, self.began or 0.0, self.collected.take(is_last=True))

    def started(self, worker: WorkerId) -> e.StepStarted:
        """The note that this attempt runs."""
        self.announced = True
        return facts.started(self.call, worker)

    def said(self) -> tuple[list[Note], list[Glance]]:
        """What it has shown, how far it is and what it left for the next: to be recorded, and to be shown only."""
        if self._context is None:
            return [], []
        try:
            notes = self._heard_notes(self._context)
            return notes.due(time.monotonic()), notes.glances()
        except Exception as error:
            # Its worker has others to care for: what cannot be noted is the failure of this one alone.
            if not self.stopped:
                self._unsayable = error
                self.stop()
            return [], []

    def last_said(self) -> list[Note]:
        """All of it that is not recorded, when it has ended."""
        known = self._context
        if known is None or not (known.beats or self.collected.is_filled):
            return []
        try:
            return self._heard_notes(known).last()
        except Exception:
            # How it has ended is known, and counts for more than what it said on the way.
            return []

    def _heard_notes(self, known: StepContext) -> Notes:
        # Most steps are over before anybody asks what they have said.
        if self._notes is None:
            self._notes = Notes(self.call, self.collected, self._files, self._begun)
        self._notes.hear(known)
        return self._notes
