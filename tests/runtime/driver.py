"""A run without an engine: executes workflow code on a virtual clock and keeps the history it makes.

Steps run inline; timers fire in order of their time when nothing else is left to do; ``evict`` re-executes the
run from its history before every event, which is the strictest test of re-execution there is. A step that is told to
stop runs on, unless it is ``late``: then it has not begun.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from flowbook.core import events as e
from flowbook.core.ids import Digest, Key, RunId, Seq
from flowbook.core.messages import AttemptFailed
from flowbook.errors import FlowbookError, NotStarted
from flowbook.runtime.commands import Argument, StepCall
from flowbook.runtime.definitions import Workflow
from flowbook.runtime.execution import Execution
from flowbook.runtime.outcomes import failure_of
from flowbook.wire import codec

FILES: dict[Digest, bytes] = {}


def save(data: bytes) -> Digest:
    digest = Digest(hashlib.blake2b(data, digest_size=16).hexdigest())
    FILES[digest] = data
    return digest


def load(digest: Digest) -> bytes:
    return FILES[digest]


class Driver:
    def __init__(
        self,
        workflow: Callable[..., Any],
        *args: Any,
        evict: bool = False,
        reuse: list[e.Recorded] | None = None,
        origin: e.Origin | None = None,
        queue: str = "",
        module: Any = None,
        order: Callable[[list[StepCall]], StepCall] = lambda calls: calls[0],
        **kwargs: Any,
    ) -> None:
        self.workflow = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
        bound = inspect.signature(self.workflow.function).bind(*args, **kwargs)
        arguments = {name: codec.encode(value, save) for name, value in bound.arguments.items()}
        self.clock = 1000.0
        self.evict = evict
        self.module = module
        self.order = order
        self.reuse = reuse or []
        self.history: list[e.Recorded] = []
        self.timers: dict[Key, float] = {}
        self.calls: list[StepCall] = []
        self.executed: list[str] = []
        self.mailbox: list[e.AnyEvent] = []
        self.late = False
        started = e.RunStarted(
            run=RunId("run"),
            workflow=self.workflow.name,
            module=Digest("m"),
            place=e.Place("/", "python"),
            arguments=arguments,
            origin=origin,
            seed="run",
            queue=queue,
        )
        self._record(started)
        self.execution = self._activate()

    def _activate(self) -> Execution:
        of_module = {} if self.module is None else {"classes": self.module, "named": self.module.workflow}
        execution = Execution(self.workflow, save=save, load=load, **of_module)
        execution.begin(self.history, self.reuse)
        return execution

    def _record(self, event: e.AnyEvent) -> e.Recorded:
        recorded = e.Recorded(Seq(len(self.history) + 1), self.clock, event)
        self.history.append(recorded)
        match event:
            case e.TimerStarted():
                self.timers[event.key] = event.due
            case e.TimerCancelled() | e.TimerFired():
                self.timers.pop(event.key, None)
        return recorded

    def _tell(self, event: e.AnyEvent) -> None:
        recorded = self._record(event)
        if self.evict and isinstance(event, e.WAKE_UPS):
            running = {call.key for call in self.calls}
            self.execution.close()
            self.execution = self._activate()
            self.execution.calls = [call for call in self.execution.calls if call.key not in running]
        else:
            self.execution.apply(recorded)

    def turn(self) -> bool:
        """Do one thing; False when there is nothing left to do."""
        execution = self.execution
        for key in execution.stops:
            self.calls = [call for call in self.calls if call.key != key]
        execution.stops.clear()
        self.calls += execution.calls
        execution.calls.clear()
        if execution.items:
            items, execution.items = execution.items, []
            for item in items:
                assert not isinstance(item, AttemptFailed)
                self._tell(item)
            return True
        told, execution.told = execution.told, []
        late = next((call for call in self.calls if call.key in told), None) if self.late else None
        if late is not None:
            self.calls.remove(late)
            failure = failure_of(NotStarted("nobody needs it any more"))
            self._tell(e.StepFailed(key=late.key, step=late.command.step.name, failure=failure))
            return True
        if execution.closed:
            return False
        if self.mailbox:
            self._tell(self.mailbox.pop(0))
            return True
        ready = [call for call in self.calls if call.not_before <= self.clock]
        if ready:
            call = self.order(ready)
            self.calls.remove(call)
            self._tell(self._execute(call))
            return True
        waits = [*((due, key) for key, due in self.timers.items()), *((c.not_before, c.key) for c in self.calls)]
        if not waits:
            return False
        due, key = min(waits)
        self.clock = max(self.clock, due)
        if key in self.timers:
            self._tell(e.TimerFired(key=key, due=due))
        return True

    def _execute(self, call: StepCall) -> e.AnyEvent:
        command = call.command
        own = self.execution.values
        values = [own.decoded(a.value) if isinstance(a, Argument) else a for a in command.arguments]
        named = {name: own.decoded(a.value) if isinstance(a, Argument) else a for name, a in command.keywords.items()}
        common = {
            "key": call.key,
            "step": command.step.name,
            "digest": command.digest,
            "attempt": call.attempt,
            "item": command.item,
        }
        self.executed.append(command.step.name)
        try:
            result = command.step.function(*values, **named)
            if inspect.isawaitable(result):
                result = asyncio.run(result)
            return e.StepCompleted(value=own.encoded(result), **common)
        except Exception as error:
            failure = failure_of(error, retryable=not isinstance(error, FlowbookError))
            if command.step.retry.allows(call.attempt, failure):
                retry_at = self.clock + command.step.retry.interval(call.attempt)
                return e.StepAttemptFailed(
                    key=call.key, step=command.step.name, attempt=call.attempt, failure=failure, retry_at=retry_at
                )
            return e.StepFailed(failure=failure, **common)

    def run(self) -> Any:
        """Go on until the run ends; its result, or the closing event where it did not succeed."""
        while self.turn():
            pass
        last = self.history[-1].event
        return codec.decode(last.value, load) if isinstance(last, e.RunCompleted) else last

    def send(self, name: str, value: Any) -> None:
        self.mailbox.append(e.SignalReceived(name=name, value=codec.encode(value, save)))

    def kinds(self) -> list[str]:
        return [type(recorded.event).__name__ for recorded in self.history]
