"""A long-running operation of the outside world as one awaited line.

The run owes its end from before it is started until it is done: on a time-out, a cancellation or the end of the run
it is cancelled outside, and that is followed up until it is confirmed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar, overload

from flowbook.core.duration import seconds, spoken
from flowbook.core.retry import ONCE, RetryPolicy
from flowbook.errors import UserError
from flowbook.runtime import current, sites
from flowbook.runtime.definitions import Step
from flowbook.runtime.shielding import unbroken

if TYPE_CHECKING:
    from flowbook.runtime.duties import Duty
    from flowbook.runtime.execution import Execution

T = TypeVar("T")
V = TypeVar("V")

CLEAN_UP = RetryPolicy(initial_interval=1.0, maximum_interval=60.0, maximum_attempts=10)
"""How often what takes something back is tried where its step does not say: over about six minutes."""


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
    **kwargs: Any,
) -> Any:
    """Start something outside, wait until it is done, and never leave it behind.

    ``start`` is a step and gets the arguments; ``poll``, ``cancel`` and ``confirm`` are steps that get what it
    returned. ``poll`` is called ``every`` so often until it gives something true: True means the operation's result is
    what ``start`` returned, anything else is the result. When ``timeout`` has passed, when the run is cancelled or
    terminated, or when polling fails, ``cancel`` is called, and then ``confirm`` until it is true.

    Raises TimeoutError once the cancel after a time-out is confirmed. An operation whose cancel fails for good
    stays an open obligation: `flowbook obligations`.
    """
    steps = [_step(function) for function in (start, poll, cancel, confirm)]
    assert steps[0] is not None
    if confirm is not None and cancel is None:
        raise UserError(f"operation({steps[0].name}, ...) has a confirm but no cancel to be confirmed")
    limit = None if timeout is None else seconds(timeout)
    execution = current.execution()
    if execution is None:
        return await _Operation(steps, args, kwargs, seconds(every), limit).run_plainly()
    site = sites.here()
    made = _Owed(execution, steps, args, kwargs, seconds(every), limit)
    made.duty = execution.duties.open(
        steps[0].name, "operation", made.take_back, site=site.line if site is not None else 0
    )
    return await made.run()


def _step(function: Callable[..., Any] | None) -> Step[..., Any] | None:
    if function is None or isinstance(function, Step):
        return function
    if not callable(function):
        raise UserError(f"operation() takes steps, not {type(function).__name__}: pass the function, and its arguments")
    return Step(function)


def patient(step: Step[..., Any]) -> Step[..., Any]:
    """The step, tried again for a while where it does not say how often."""
    if step.retry is not ONCE:
        return step
    made = copy(step)
    made.retry = CLEAN_UP
    return made


class _Operation:
    """What the five steps do, with plain calls: a notebook's cells run top to bottom without any engine."""

    def __init__(
        self,
        steps: list[Step[..., Any] | None],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        every: float,
        timeout: float | None,
    ) -> None:
        start, self.poll, cancel, confirm = steps
        assert start is not None
        self.start = start
        self.cancel = patient(cancel) if cancel is not None else None
        self.confirm = patient(confirm) if confirm is not None else None
        self.args = args
        self.kwargs = kwargs
        self.every = every
        self.timeout = timeout

    async def call(self, step: Step[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def run_plainly(self) -> Any:
        started = await self.call(self.start, *self.args, **self.kwargs)
        try:
            async with asyncio.timeout(self.timeout):
                return await self.ready(started)
        except BaseException as error:
            await self.end(started)
            raise self.told(error) from None

    async def ready(self, started: Any) -> Any:
        """What the operation gives, once it has it."""
        if self.poll is None:
            return started
        while True:
            answer = await self.call(self.poll, started)
            if answer is True:
                return started
            if _is_something(answer):
                return answer
            await asyncio.sleep(self.every)

    async def end(self, started: Any) -> None:
        """Cancel it outside, and see that this has happened."""
        if self.cancel is None:
            return
        await self.call(self.cancel, started)
        if self.confirm is None:
            return
        while not await self.call(self.confirm, started):
            await asyncio.sleep(self.every)

    def told(self, error: BaseException) -> BaseException:
        """A time-out of asyncio says nothing; this one says what took too long."""
        if type(error) is not TimeoutError or error.args or self.timeout is None:
            return error
        what = f"operation '{self.start.name}' was not done within {spoken(self.timeout)}"
        return TimeoutError(what + (" and was cancelled" if self.cancel is not None else ""))


def _is_something(answer: Any) -> bool:
    """Whether polling gave a result. An empty table is one; only None, False and plain emptiness are not."""
    try:
        return bool(answer)
    except ValueError:
        return True


class _Owed(_Operation):
    """The same in a run, which owes its end."""

    duty: Duty

    def __init__(self, execution: Execution, *what: Any) -> None:
        super().__init__(*what)
        self.execution = execution
        self.starting: asyncio.Task[Any] | None = None
        self.ending: asyncio.Task[None] | None = None

    async def run(self) -> Any:
        await self.duty.recorded()
        self.starting = self.execution.duties.run(self.call(self.start, *self.args, **self.kwargs))
        try:
            async with asyncio.timeout(self.timeout):
                result = await self.ready(await asyncio.shield(self.starting))
        except GeneratorExit:
            raise
        except BaseException as error:
            await unbroken(self._end_it())
            raise self.told(error) from None
        self.duty.settle("kept")
        return result

    async def take_back(self) -> None:
        """What the run does about it when its own code has no say any more."""
        await unbroken(self._end_it())

    def _end_it(self) -> asyncio.Task[None]:
        if self.ending is None:
            self.ending = self.execution.duties.run(self._ended())
        return self.ending

    async def _ended(self) -> None:
        """Nothing is given up half-way: what is being started is first waited for."""
        if self.starting is not None:
            await asyncio.wait([self.starting])
            if self.starting.cancelled() or self.starting.exception() is not None:
                self.duty.settle("cancelled")
                return
            try:
                await self.end(self.starting.result())
            except Exception as error:
                self.duty.fail(error)
                return
        self.duty.settle("cancelled")
