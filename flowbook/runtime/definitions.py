"""What ``@step`` and ``@workflow`` make: plain values that know their function and how it is to be run.

Calling a step outside a workflow is a plain call. Inside, it becomes a command of the run's ``Execution``.
Starting runs needs an engine and lives in ``flowbook.api``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from copy import copy
from types import CodeType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from flowbook.core.duration import finite, size
from flowbook.core.events import StepRef
from flowbook.core.queues import Queue
from flowbook.core.retry import ONCE, RetryPolicy, policy
from flowbook.errors import UserError
from flowbook.runtime import current, decorated, remote
from flowbook.runtime.context import standing_in
from flowbook.runtime.dataflow import Call
from flowbook.runtime.handles import Handle

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Q = ParamSpec("Q")
Item = TypeVar("Item")
Each = TypeVar("Each")
Result = Coroutine[object, None, R]
"""What is awaited. With ``Any`` in it, mypy would not know what ``asyncio.gather`` gives."""


class Step(Generic[P, R]):
    """A function whose results are recorded.

    Calling it gives an awaitable of its result, also of one that is not ``async``; outside a workflow the call is the
    function's own, which type checkers know as ``step.function(...)``.

    ``outputs`` names the values it returns where there are several (a tuple in that order); ``timeout`` is in
    seconds, for one attempt. ``queue`` is None where the run's own worker does it. Not ``is_reusable``: what it says or
    does is about now, and a fork never takes a saved result for it.
    """

    is_reusable = True

    def __init__(
        self,
        function: Callable[P, Any],
        name: str = "",
        retry: RetryPolicy = ONCE,
        timeout: float | None = None,
        outputs: tuple[str, ...] = (),
        queue: Queue | None = None,
        priority: int = 0,
        concurrency_key: str | Callable[..., Any] = "",
    ) -> None:
        self.function = function
        self.name = name or function.__name__
        self.retry = retry
        self.timeout = timeout
        self.outputs = outputs
        self.queue = queue
        self.priority = priority
        self.concurrency_key = concurrency_key
        self.heartbeat_timeout: float | None = None
        self.auto_heartbeat = False
        self.at_most_once = False
        self.external = False
        self.isolate = ""
        self.memory = 0
        self.is_async = inspect.iscoroutinefunction(function)
        functools.update_wrapper(self, function)

    def check(self) -> None:
        """Raise UserError where its options make no sense together."""
        problem = ""
        if self.isolate not in ("", "process"):
            problem = f'isolate="{self.isolate}" is not known; there is isolate="process"'
        elif self.memory and not self.isolate:
            problem = 'a memory limit needs isolate="process"'
        elif self.at_most_once and self.retry.maximum_attempts != 1:
            problem = "at_most_once and retries exclude each other"
        elif self.external and self.isolate:
            problem = 'an external step cannot have isolate="process"'
        elif self.external and self.queue is not None:
            problem = "an external step cannot have a queue"
        elif self.auto_heartbeat and self.heartbeat_timeout is None:
            problem = "auto_heartbeat does nothing without a heartbeat_timeout"
        if problem:
            raise UserError(f"step '{self.name}': {problem}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        execution = current.execution()
        if execution is None:
            plain: Result[R] = self._call_plainly(*args, **kwargs)
            return plain
        return execution.call(self, args, kwargs)

    def _call_plainly(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        if self.is_async:

            async def call() -> Any:
                with standing_in(self.name):
                    return await self.function(*args, **kwargs)

            return call()
        with standing_in(self.name):
            return self.function(*args, **kwargs)

    def afresh(self) -> Step[P, R]:
        """The step, whose result is never another run's."""
        made = copy(self)
        made.is_reusable = False
        return made

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @property
    def ref(self) -> StepRef:
        """By which another process finds it: where it was defined, also while a test has put a fake in its place."""
        return StepRef(self.name, f"{self.__module__}:{vars(self).get('__qualname__', '')}")

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the function's parameters, in order."""
        return tuple(inspect.signature(self.function).parameters)

    def argument(self, which: int | str) -> str:
        """What an argument is called in an error, by its place or its name."""
        name = which
        if isinstance(which, int):
            with suppress(ValueError, TypeError, IndexError):
                name = self.parameters[which]
        return f"{name if isinstance(name, str) else f'argument {name + 1}'} of {self.name}"

    @functools.cached_property
    def _places(self) -> tuple[str, ...]:
        """Names of the parameters that may be given by place."""
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return tuple(name for name, p in inspect.signature(self.function).parameters.items() if p.kind in by_place)

    def placed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same arguments, by place as far as they can be: so that writing a name changes nothing."""
        left = dict(kwargs)
        for name in self._places[len(args) :]:
            if name not in left:
                break
            args = (*args, left.pop(name))
        return args, left

    @functools.cached_property
    def line(self) -> int:
        """Line of the function's first statement in its module."""
        code: CodeType = inspect.unwrap(self.function).__code__
        lines = [line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno]
        return min(lines, default=code.co_firstlineno)

    def when(self, condition: Callable[..., Any], *values: Any) -> Call[R | None]:
        """Skip the step unless ``condition(*values)`` is true."""
        return Call(self).when(condition, *values)

    def after(self, *handles: Any) -> Call[R]:
        """Begin only when these have finished."""
        return Call(self).after(*handles)

    def until(
        self,
        condition: Callable[..., Any],
        *,
        every: float | str = 1.0,
        timeout: float | str | None = None,
        max: int | None = None,
    ) -> Call[R]:
        """Repeat the step until ``condition`` holds; its parameters name outputs or inputs of the step."""
        return Call(self).until(condition, every=every, timeout=timeout, max=max)

    def delay(self, duration: float | str) -> Call[R]:
        """Sleep durably, then run."""
        return Call(self).delay(duration)

    def on_signal(self, name: str, timeout: float | str | None = None) -> Call[R]:
        """Wait for the signal; its value is the step's first argument."""
        return Call(self).on_signal(name, timeout)

    def unless_signal(self, name: str, timeout: float | str | None = None) -> Call[Any]:
        """The signal's value is the result; the step runs only when the time is up without one."""
        return Call(self).unless_signal(name, timeout)

    def undo(self, compensation: Any, **inputs: Any) -> Call[R]:
        """Register ``compensation`` to run if the workflow fails or is cancelled later."""
        return Call(self).undo(compensation, **inputs)

    def start(self, *args: Any, **kwargs: Any) -> Handle[R]:
        """Begin as soon as every Handle among the arguments is done; gives a Handle."""
        return Call(self).start(*args, **kwargs)

    def map(
        self: Callable[Concatenate[Item, Q], Result[Each]],
        items: Iterable[Item] | Handle[Any],
        *args: Any,
        concurrency: int | None = None,
        **kwargs: Any,
    ) -> Handle[list[Each]]:
        """Run once for every item, which is the first argument; gives a Handle of the list of results."""
        # A type checker finds the item among the parameters of what can be called, and of nothing else.
        step: Step[..., Each] = self  # type: ignore[assignment]
        return Call(step).map(items, *args, concurrency=concurrency, **kwargs)


class Workflow(Generic[P, R]):
    """A deterministic ``async`` function that the engine can re-execute from its events."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], name: str = "") -> None:
        decorated.require_workflow(function, name)
        self.function = function
        self.name = name or function.__name__
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """Plain call: inside a workflow it runs as part of it; outside, as ordinary asyncio code."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


class MakeStep(Protocol):
    """What ``@step(...)`` is, as type checkers see it."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str = "",
    retry: RetryPolicy | int | None = None,
    timeout: float | str | None = None,
    outputs: tuple[str, ...] = (),
    queue: Queue | str | None = None,
    priority: int = 0,
    concurrency_key: str | Callable[..., Any] = "",
    heartbeat_timeout: float | str | None = None,
    auto_heartbeat: bool = False,
    at_most_once: bool = False,
    external: bool = False,
    isolate: str = "",
    memory: int | str = 0,
) -> MakeStep: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    retry: RetryPolicy | int | None = None,
    timeout: float | str | None = None,
    outputs: tuple[str, ...] = (),
    queue: Queue | str | None = None,
    priority: int = 0,
    concurrency_key: str | Callable[..., Any] = "",
    heartbeat_timeout: float | str | None = None,
    auto_heartbeat: bool = False,
    at_most_once: bool = False,
    external: bool = False,
    isolate: str = "",
    memory: int | str = 0,
) -> Any:
    """Make a function a step: its result is durable, and it is tried again as ``retry`` says.

    ``retry`` may be a number of attempts; ``timeout`` limits one attempt ("30s"). With a ``queue`` it runs on a
    worker that serves it: those of higher ``priority`` first, those of one ``concurrency_key`` (a text, or a function
    of the step's arguments) in turn with those of others.

    An attempt that calls none of ``heartbeat()``, ``progress()`` and ``log()`` for ``heartbeat_timeout`` has failed;
    with ``auto_heartbeat`` its process gives these signs of life for it. An ``at_most_once`` step is never begun twice:
    where its worker is lost or its run is paused, it has failed. What an ``external`` step returns is ignored; whoever
    has its token finishes it, within ``timeout``. ``isolate="process"`` runs it in a process of its own, where it may
    use at most ``memory`` ("2GB").
    """
    made_of = policy(retry), _limit("timeout", timeout)
    silence = _limit("heartbeat_timeout", heartbeat_timeout)

    def make(target: Callable[..., Any]) -> Step[..., Any]:
        where = remote.required_queue(queue, target, priority, concurrency_key)
        decorated.require_step(target, name, outputs)
        if isinstance(target, Step | Workflow):
            raise UserError(f"@step stands above {target!r}, which is called as it is")
        made: Step[..., Any] = Step(target, name, *made_of, tuple(outputs), where, priority, concurrency_key)
        made.heartbeat_timeout, made.auto_heartbeat = silence, auto_heartbeat
        made.at_most_once, made.external = at_most_once, external
        made.isolate, made.memory = isolate, size(memory)
        made.check()
        return made

    return make if function is None else make(function)


def _limit(name: str, given: float | str | None) -> float | None:
    try:
        length = None if given is None else finite(given)
    except UserError as error:
        raise UserError(f"@step({name}={given!r}): {error}") from None
    if length == 0:
        raise UserError(f"@step({name}={given!r}) leaves it no time; for no limit, leave it out")
    return length
