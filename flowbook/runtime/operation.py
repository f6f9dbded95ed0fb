"""A long-running operation of the outside world as one awaited line.

The run owes its end from before it is started until it is done: on a time-out, a cancellation or the end of the run
it is cancelled outside, and that is followed up until it is confirmed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from msgspec.structs import replace

from flowbook.core.duration import seconds, spoken
from flowbook.core.ids import Key
from flowbook.core.retry import ONCE, RetryPolicy
from flowbook.errors import OutcomeUnknown, UserError
from flowbook.runtime import current, sites
from flowbook.runtime.begun import Begun, Names, names
from flowbook.runtime.context import standing_in, step_context
from flowbook.runtime.definitions import Step, Workflow
from flowbook.runtime.duties import NOT_STARTED, Duty, Owed
from flowbook.runtime.handles import given
from flowbook.runtime.known import Known, spread

if TYPE_CHECKING:
    from flowbook.runtime.execution import Execution

T = TypeVar("T")
V = TypeVar("V")

CLEAN_UP = RetryPolicy(initial_interval=1.0, maximum_interval=60.0, maximum_attempts=10)
"""How often what looks after something outside is tried where its step does not say: over about six minutes."""


@overload
async def operation(
    start: Step[..., T],
    *args: Any,
    poll: Step[..., bool] | None = None,
    every: float | str = "10s",
    timeout: float | str | None = None,
    cancel: Callable[..., Any] | None = None,
    confirm: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> T: ...
@overload
async def operation(
    start: Step[..., Any],
    *args: Any,
    poll: Step[..., V | None],
    every: float | str = "10s",
    timeout: float | str | None = None,
    cancel: Callable[..., Any] | None = None,
    confirm: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> V: ...
@overload
async def operation(
    start: Callable[..., Any],
    *args: Any,
    poll: Callable[..., Any] | None = None,
    every: float | str = "10s",
    timeout: float | str | None = None,
    cancel: Callable[..., Any] | None = None,
    confirm: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Any: ...
async def operation(
    start: Callable[..., Any],
    *args: Any,
    poll: Callable[..., Any] | None = None,
    every: float | str = "10s",
    timeout: float | str | None = None,
    cancel: Callable[..., Any] | None = None,
    confirm: Callable[..., Any] | None = None,
    not_started: Any = (),
    failed: Any = (),
    **kwargs: Any,
) -> Any:
    """Start something outside, wait until it is done, and never leave it behind.

    ``start`` is a step and gets the arguments; ``poll``, ``cancel`` and ``confirm`` are steps that get what it
    returned. ``poll`` is called ``every`` so often until it gives something true: True means the operation's result is
    what ``start`` returned, anything else is the result. When ``timeout`` has passed, when the run is cancelled or
    terminated, or when polling fails for good, ``cancel`` is called, and then ``confirm`` until it is true.

    Exceptions of ``start`` that are in ``not_started`` say that nothing was started; after any other nobody knows.
    ``cancel`` is called then if it needs no result: ``def cancel(vm=None, *, idempotency_key)``, with arguments of
    ``start`` by name. Exceptions of ``poll`` in ``failed`` end the operation at once; others are tried again.

    Raises TimeoutError once the cancel after a time-out is confirmed. An operation whose cancel fails for good, or
    of which it is not known whether it was started, stays an open obligation: `flowbook obligations`.
    """
    limit = None if timeout is None else seconds(timeout)
    declared = names("not_started", not_started)
    steps = _Steps(
        start=as_step("operation()", start),
        poll=None if poll is None else patient(as_step("operation()", poll), names("failed", failed)),
        cancel=None if cancel is None else patient(as_step("operation()", cancel)),
        confirm=None if confirm is None else patient(as_step("operation()", confirm)),
        every=seconds(every),
        timeout=limit,
        not_started=declared,
    )
    if confirm is not None and cancel is None:
        raise UserError(f"operation({steps.start.name}, ...) has a confirm but no cancel to be confirmed")
    execution = current.execution()
    if execution is None:
        return await _Plain(steps, args, kwargs).run()
    site = sites.here()
    label, line = (f"{steps.start.name}@{site.label}", site.line) if site is not None else (steps.start.name, 0)
    args, kwargs = await given(args, kwargs)
    key = execution.key(label)
    known = Known.of(steps.start, args, kwargs)
    steps.check(known)
    return await _Operation(execution, steps, known).run(args, kwargs, key, line)


def as_step(who: str, function: Any) -> Step[..., Any]:
    """The function as a step of an operation or a saga. Raises UserError for what can be none."""
    if isinstance(function, Step):
        return function
    if isinstance(function, Workflow):
        raise UserError(
            f"{who} takes steps, and '{function.name}' is a workflow. Start it as a child, 'await {function.name}"
            ".start(...)', and give what takes it back to 'register' of a saga"
        )
    if not callable(function):
        raise UserError(f"{who} takes steps, not {type(function).__name__}: pass the function, and its arguments")
    return Step(function)


def patient(step: Step[..., Any], final: Names = ()) -> Step[..., Any]:
    """The step, tried again for a while where it does not say how often; not after exceptions that are ``final``."""
    policy = CLEAN_UP if step.retry is ONCE else step.retry
    made = step.afresh()
    made.retry = replace(policy, non_retryable=(*policy.non_retryable, *final)) if final else policy
    return made


class _Steps(NamedTuple):
    """An operation's steps, and its times in seconds."""

    start: Step[..., Any]
    poll: Step[..., Any] | None
    cancel: Step[..., Any] | None
    confirm: Step[..., Any] | None
    every: float
    timeout: float | None
    not_started: Names

    def check(self, known: Known) -> None:
        """Raise UserError where one of them wants what it cannot be given."""
        for what, step in (("poll", self.poll), ("cancel", self.cancel), ("confirm", self.confirm)):
            if step is not None:
                known.check_cancel(what, step)

    async def ready(self, known: Known) -> Any:
        """What the operation gives, once it has it."""
        if self.poll is None:
            return known.result
        while True:
            answer = await _called(self.poll, known)
            if answer is True:
                return known.result
            if _is_something(answer):
                return answer
            await asyncio.sleep(self.every)

    def told(self, error: BaseException, ending: str) -> BaseException:
        """A time-out of asyncio says nothing; this one says what took too long, and what became of it."""
        if type(error) is not TimeoutError or error.args or self.timeout is None:
            return error
        return TimeoutError(f"operation '{self.start.name}' was not done within {spoken(self.timeout)}{ending}")


async def ended(cancel: Step[..., Any], confirm: Step[..., Any] | None, every: float, known: Known) -> None:
    """Cancel it outside, and see that this has happened. Raises OutcomeUnknown where too little is known for that."""
    await _called(cancel, known)
    if confirm is None:
        return
    while not await _called(confirm, known):
        await asyncio.sleep(every)


async def undone(undo: Step[..., Any], known: Known) -> bool:
    """Call what takes a step back; False, and nothing is called, where too little is known for that."""
    wanted = known.for_undo(undo)
    if wanted is None:
        return False
    args, kwargs = spread(undo, wanted)
    await called(undo, *args, **kwargs)
    return True


async def called(step: Step[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a step gives, in a run and in a plain call, asynchronous or not."""
    result = step(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


async def _called(step: Step[..., Any], known: Known) -> Any:
    arguments = known.for_cancel(step)
    if arguments is None:
        raise OutcomeUnknown(f"'{step.name}' needs what '{known.step.name}' returned, which is not known")
    args, kwargs = arguments
    return await called(step, *args, **kwargs)


def _is_something(answer: Any) -> bool:
    """Whether polling gave a result. An empty table is one; only None, False and plain emptiness are not."""
    try:
        return bool(answer)
    except ValueError:
        return True


class _Plain:
    """An operation of plain calls: a notebook's cells run top to bottom without any engine."""

    def __init__(self, steps: _Steps, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.steps = steps
        self.args = args
        self.kwargs = kwargs

    async def run(self) -> Any:
        steps = self.steps
        known = Known.of(steps.start, self.args, self.kwargs)
        steps.check(known)
        with standing_in(steps.start.name):
            known.key = step_context().idempotency_key
            known.result = await called(steps.start, *self.args, **self.kwargs)
        try:
            async with asyncio.timeout(steps.timeout):
                return await steps.ready(known)
        except BaseException as error:
            if steps.cancel is not None:
                await ended(steps.cancel, steps.confirm, steps.every, known)
            raise steps.told(error, " and was cancelled" if steps.cancel is not None else _LEFT) from None


_LEFT = ", and goes on: it has no cancel"


class _Operation:
    """An operation in a run, which owes its end."""

    duty: Duty

    def __init__(self, execution: Execution, steps: _Steps, known: Known) -> None:
        self.execution = execution
        self.steps = steps
        self.known = known
        self.begun: Begun | None = None

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key, site: int) -> Any:
        steps, duties = self.steps, self.execution.duties
        owed = Owed(
            steps.start.name,
            "operation",
            site,
            work=steps.start.ref,
            begins=key,
            arguments=self.known.encoded(self.execution.values),
            undo=steps.cancel.ref if steps.cancel is not None else None,
            confirm=steps.confirm.ref if steps.confirm is not None else None,
            every=steps.every,
        )
        self.duty = duties.open(owed, self._take_back, owner=asyncio.current_task())
        await self.duty.recorded()
        self.begun = Begun(self.execution, steps.start, args, kwargs, key, site=site)
        try:
            async with asyncio.timeout(steps.timeout):
                self.known.result = await asyncio.shield(self.begun.task)
                self.known.key = self.begun.idempotency_key
                if steps.poll is not None:
                    # What was polled says something of what was started then, and nothing of what is started again.
                    steps.poll.is_reusable = self.begun.was_reused
                result = await steps.ready(self.known)
        except GeneratorExit:
            raise
        except BaseException as error:
            await self.duty.take_back()
            told = steps.told(error, self._ending)
            self.duty.tell(told)
            raise told from None
        self.duty.settle("kept")
        return result

    async def _take_back(self) -> None:
        """Nothing is given up half-way: what is being started is told to stop, and waited for."""
        steps = self.steps
        if self.begun is not None:
            await self.known.learn(self.begun)
        if self.begun is None or self.begun.began_nothing(steps.not_started):
            self.duty.settle(NOT_STARTED)
        elif steps.cancel is None:
            self.duty.settle("left")
        else:
            await self._cancelled(self.begun, steps.cancel)

    async def _cancelled(self, begun: Begun, cancel: Step[..., Any]) -> None:
        try:
            await ended(cancel, self.steps.confirm, self.steps.every, self.known)
        except OutcomeUnknown as error:
            raise OutcomeUnknown(f"{begun.unknown}; {error}") from None
        self.duty.settle("cancelled")

    @property
    def _ending(self) -> str:
        """What became of it, for those who are told that its time is up."""
        if self.duty.problem is not None:
            return f", and cancelling it failed: {self.duty.problem}"
        return {"cancelled": " and was cancelled", "left": _LEFT, NOT_STARTED: ": it was not even started"}.get(
            self.duty.outcome, ""
        )
