"""One attempt of a step: decode its inputs, run it where it belongs, encode what it gives.

Whether another attempt follows is the engine's decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from flowbook.core import events as e
from flowbook.core.duration import spoken
from flowbook.core.failure import Frame
from flowbook.core.ids import RunId, WorkerId
from flowbook.core.messages import AttemptFailed
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, NotStarted, UnsavableValue
from flowbook.runtime import context, output
from flowbook.runtime.commands import Argument, StepCall
from flowbook.runtime.context import StepContext
from flowbook.runtime.modules import LoadedModule
from flowbook.runtime.outcomes import failure_of
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.worker.capture import Collected, take_figures
from flowbook.worker.finding import home_of
from flowbook.worker.isolation import Order, ProcessDied, Said, StepFailedInProcess, run_in_process
from flowbook.worker.threads import Interruptible

Outcome = e.StepCompleted | e.StepWaiting | AttemptFailed

NO_RUN = RunId("")


class HeartbeatTimeout(TimeoutError):
    """A step was silent for longer than it said it would be."""


class Attempt:
    """A running attempt. ``began`` is None while it waits for its time.

    ``gate`` is there for a step that runs at most once: it begins when its start is recorded.
    """

    def __init__(
        self, call: StepCall, module: LoadedModule, files: ValueFiles, run: RunId = NO_RUN, workflow: str = ""
    ) -> None:
        self.call = call
        self.module = module
        self.places = module.places
        self.files = files
        self.collected = Collected()
        self.began: float | None = None
        self.announced = False
        self.gate = anyio.Event() if call.command.step.at_most_once else None
        self.stopped = False
        self._unwanted = call.unwanted
        self._is_late = False
        self._task: asyncio.Task[Any] | None = None
        self._run = run
        self._workflow = workflow
        self._context: StepContext | None = None
        self._silent = 0.0
        self._beats, self._heard = 0, 0.0

    async def run(self) -> Outcome | None:
        """Run to the end; None when it was stopped. Has a task to itself."""
        self._task = asyncio.current_task()
        try:
            if self.stopped:
                return self._never_began()
            if self.gate is not None:
                await self.gate.wait()
            if self.call.not_before:
                await asyncio.sleep(max(0.0, self.call.not_before - time.time()))
            self.began = time.time()
            try:
                value = await self._value()
            except (Exception, SystemExit) as error:
                return self._failed(error)
            return self._waiting() if self.call.command.step.external else self._completed(value)
        except asyncio.CancelledError as error:
            if not self.stopped:
                return self._failed(error)
            if self._task is not None:
                self._task.uncancel()
        return self._failed(HeartbeatTimeout(self._said_nothing())) if self._silent else self._never_began()

    def stop(self) -> None:
        """Nobody wants its result any more."""
        self.stopped = True
        if self._context is not None:
            self._context.cancelled = True
        if self._task is not None and not self._task.done():
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
        limit = self.call.command.step.heartbeat_timeout
        if not limit or self._context is None or self._silent:
            return
        if self._context.beats != self._beats:
            self._beats, self._heard = self._context.beats, now
        elif now - self._heard > limit:
            self._silent = now - self._heard
            self.stop()

    def _said_nothing(self) -> str:
        step = self.call.command.step
        return (
            f"step '{step.name}' was silent for {spoken(self._silent)}, longer than its heartbeat_timeout of "
            f"{spoken(step.heartbeat_timeout or 0.0)}; call heartbeat() or progress() in it more often, or give it more"
        )

    async def _value(self) -> Value:
        step = self.call.command.step
        shown = output.sink.set(self.collected.add)
        known = context.running.set(self._begin_context())
        try:
            if step.timeout is None or step.external:
                return await self._called()
            limit = asyncio.timeout(step.timeout)
            try:
                async with limit:
                    return await self._called()
            except TimeoutError:
                if not limit.expired():
                    raise
                text = f"step '{step.name}' took longer than its timeout of {spoken(step.timeout)}"
                raise TimeoutError(text) from None
        finally:
            context.running.reset(known)
            output.sink.reset(shown)

    def _begin_context(self) -> StepContext:
        command, details = self.call.command, self.call.details
        self._heard = time.monotonic()
        self._context = StepContext(
            self._run,
            self._workflow,
            command.step.name,
            command.key,
            self.call.attempt,
            item=command.item,
            heartbeat_details=None if details is None else codec.decode(details, self.files.load, classes=self.module),
            started=self.began or 0.0,
        )
        self._context.cancelled = self._unwanted
        return self._context

    async def _called(self) -> Value:
        step = self.call.command.step
        if step.isolate == "process":
            return await run_in_process(self._order(), self._hear)
        if step.is_async:
            arguments, keywords = self._inputs()
            value = self._encoded(await step.function(*arguments, **keywords))
            take_figures(self.collected.add)
            return value

        def call() -> Value:
            arguments, keywords = self._inputs()
            value = self._encoded(step.function(*arguments, **keywords))
            take_figures(self.collected.add)
            return value

        return await Interruptible(call).run()

    def _order(self) -> Order:
        command = self.call.command
        return Order(
            module=self.module.module,
            step=command.step.name,
            home=home_of(command.step),
            folder=str(self.files.home),
            run=self._run,
            workflow=self._workflow,
            key=command.key,
            attempt=self.call.attempt,
            item=command.item,
            arguments=[self._saved(value) for value in command.arguments],
            keywords={name: self._saved(value) for name, value in command.keywords.items()},
            details=self.call.details,
            started=self.began or 0.0,
            memory=command.step.memory,
        )

    def _saved(self, value: Any) -> Value:
        return (
            value.value
            if isinstance(value, Argument)
            else codec.encode(value, self.files.save, "argument", self.module)
        )

    def _hear(self, said: Said) -> None:
        """What the step's own process says."""
        assert self._context is not None
        if said.chunk is not None:
            self.collected.add(said.chunk)
        self._context.progress = said.progress or self._context.progress
        if said.details is not None:
            self._context.details = (said.details,)
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
        return codec.decode(value.value, self.files.load, classes=self.module) if isinstance(value, Argument) else value

    def _encoded(self, value: Any) -> Value:
        step = self.call.command.step
        name = ", ".join(step.outputs) or step.name
        try:
            return codec.encode(value, self.files.save, name, self.module)
        except UnsavableValue as error:
            place = self.places.cell(step.line)
            where = f"cell {place[1]}, line {place[2]}" if place else f"line {step.line}"
            raise UnsavableValue(f"{error} (step '{step.name}', {where})") from None

    def _waiting(self) -> e.StepWaiting:
        """Its part is done; the result will come from outside."""
        command = self.call.command
        limit = command.step.timeout
        return e.StepWaiting(
            key=command.key,
            step=command.step.name,
            attempt=self.call.attempt,
            digest=command.digest,
            expires=0.0 if limit is None else time.time() + limit,
            retry=command.step.retry,
            item=command.item,
            site=command.site,
        )

    def _completed(self, value: Value) -> e.StepCompleted:
        command = self.call.command
        return e.StepCompleted(
            key=command.key,
            step=command.step.name,
            value=value,
            digest=command.digest,
            attempt=self.call.attempt,
            started=self.began or 0.0,
            output=self.collected.take(),
            item=command.item,
            site=command.site,
        )

    def _failed(self, error: BaseException) -> AttemptFailed:
        command = self.call.command
        if isinstance(error, StepFailedInProcess):
            failure = error.failure
        else:
            failure = failure_of(error, self.places, retryable=not isinstance(error, FlowbookError))
        if isinstance(error, FlowbookError | HeartbeatTimeout | ProcessDied):
            failure = msgspec.structs.replace(failure, frames=self._own_frame())
        return AttemptFailed(
            key=command.key,
            step=command.step.name,
            attempt=self.call.attempt,
            failure=failure,
            retry=command.step.retry,
            digest=command.digest,
            started=self.began or 0.0,
            output=self.collected.take(),
            item=command.item,
            site=command.site,
        )

    def _own_frame(self) -> tuple[Frame, ...]:
        """Where the step stands, for failures that are not raised by a line of it."""
        step = self.call.command.step
        code = getattr(step.function, "__code__", None)
        return (self.places.frame(step.name, code.co_filename, step.line, {}),) if code is not None else ()

    def started(self, worker: WorkerId) -> e.StepStarted:
        """The note that this attempt runs."""
        command = self.call.command
        self.announced = True
        return e.StepStarted(
            key=command.key,
            step=command.step.name,
            attempt=self.call.attempt,
            worker=worker,
            item=command.item,
            site=command.site,
            once=command.step.at_most_once,
        )

    def notes(self) -> list[e.StepOutput | e.StepProgress | e.StepHeartbeat]:
        """What it has shown, how far it is and what it left for the next, since the last time."""
        found: list[e.StepOutput | e.StepProgress | e.StepHeartbeat] = []
        known, command = self._context, self.call.command
        if known is None:
            return found
        shown = self.shown()
        if shown is not None:
            found.append(shown)
        progress, known.progress = known.progress, None
        if progress is not None:
            done, total, text = progress
            found.append(
                e.StepProgress(command.key, command.step.name, self.call.attempt, done, total, text, command.item)
            )
        details, known.details = known.details, None
        if details is not None:
            left = details[0] if isinstance(details[0], Value) else self._details(details[0])
            found.append(e.StepHeartbeat(command.key, command.step.name, self.call.attempt, left, command.item))
        return found

    def _details(self, details: Any) -> Value:
        return codec.encode(
            details, self.files.save, f"heartbeat details of {self.call.command.step.name}", self.module
        )

    def shown(self) -> e.StepOutput | None:
        """The note of what it has shown since the last one."""
        chunks = self.collected.take()
        command = self.call.command
        if not chunks:
            return None
        return e.StepOutput(
            key=command.key, step=command.step.name, attempt=self.call.attempt, output=chunks, item=command.item
        )
