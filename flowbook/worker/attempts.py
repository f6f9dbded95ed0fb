"""One attempt of a step: decode its inputs, run it where it belongs, encode what it gives.

Whether another attempt follows is the engine's decision.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from flowbook.core import events as e
from flowbook.core.duration import spoken
from flowbook.core.failure import Frame
from flowbook.core.ids import WorkerId
from flowbook.core.messages import AttemptFailed
from flowbook.core.value import Value
from flowbook.errors import FlowbookError, UnsavableValue
from flowbook.runtime import output
from flowbook.runtime.commands import Argument, StepCall
from flowbook.runtime.outcomes import Places, failure_of
from flowbook.store.values import ValueFiles
from flowbook.wire import codec
from flowbook.worker.capture import Collected, take_figures

Outcome = e.StepCompleted | AttemptFailed


class Attempt:
    """A running attempt. ``began`` is None while it waits for its time."""

    def __init__(self, call: StepCall, places: Places, files: ValueFiles) -> None:
        self.call = call
        self.places = places
        self.files = files
        self.collected = Collected()
        self.began: float | None = None
        self.announced = False

    @functools.cached_property
    def scope(self) -> anyio.CancelScope:
        """Cancelling it stops the attempt."""
        return anyio.CancelScope()

    async def run(self) -> Outcome | None:
        """Run to the end; None when it was stopped."""
        with self.scope:
            wait = self.call.not_before - time.time()
            if wait > 0:
                await anyio.sleep(wait)
            self.began = time.time()
            try:
                value = await self._value()
            except (Exception, SystemExit) as error:
                return self._failed(error)
            return self._completed(value)
        return None

    async def _value(self) -> Value:
        step = self.call.command.step
        token = output.sink.set(self.collected.add)
        try:
            if step.timeout is None:
                return await self._called()
            with anyio.move_on_after(step.timeout) as limit:
                return await self._called()
            if limit.cancelled_caught:
                raise TimeoutError(f"step '{step.name}' took longer than its timeout of {spoken(step.timeout)}")
            raise AssertionError("a scope that was not cancelled has returned")
        finally:
            output.sink.reset(token)

    async def _called(self) -> Value:
        step = self.call.command.step
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

        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)

    def _inputs(self) -> tuple[list[Any], dict[str, Any]]:
        command = self.call.command
        return (
            [self._decoded(value) for value in command.arguments],
            {name: self._decoded(value) for name, value in command.keywords.items()},
        )

    def _decoded(self, value: Any) -> Any:
        return codec.decode(value.value, self.files.load) if isinstance(value, Argument) else value

    def _encoded(self, value: Any) -> Value:
        step = self.call.command.step
        name = ", ".join(step.outputs) or step.name
        try:
            return codec.encode(value, self.files.save, name)
        except UnsavableValue as error:
            place = self.places.cell(step.line)
            where = f"cell {place[1]}, line {place[2]}" if place else f"line {step.line}"
            raise UnsavableValue(f"{error} (step '{step.name}', {where})") from None

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
        failure = failure_of(error, self.places, retryable=not isinstance(error, FlowbookError))
        if isinstance(error, FlowbookError):
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
