"""Handles: results that are on their way. Passing one as an argument means "wait for it first".

Generated modules are written with these; hand-written workflows may use them next to plain ``await``.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from copy import copy
from typing import TYPE_CHECKING, Any

from flowbook.core import events as e
from flowbook.core.duration import seconds
from flowbook.core.ids import Key
from flowbook.errors import UserError
from flowbook.runtime import current, sites

if TYPE_CHECKING:
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.execution import Execution


class Skipped:
    """What a skipped step gives; shows as None."""

    def __repr__(self) -> str:
        return "skipped"


SKIPPED = Skipped()


class Handle:
    """A result on its way. ``await`` it, pass it to a step, or unpack it where the step has several outputs."""

    def __init__(self, label: str, outputs: tuple[str, ...] = ()) -> None:
        self.label = label
        self.outputs = outputs

    async def value(self) -> Any:
        """The result, or SKIPPED."""
        raise NotImplementedError

    def peek(self) -> tuple[bool, Any]:
        """Whether the result is there, and what it is."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, Any]:
        result = yield from self.value().__await__()
        return None if result is SKIPPED else result

    def __iter__(self) -> Generator[Handle, None, None]:
        if len(self.outputs) < 2:
            raise TypeError(f"{self.label} gives one value; to unpack it, name its outputs: @step(outputs=(...))")
        for index, name in enumerate(self.outputs):
            yield _Item(self, index, name)

    def otherwise(self, previous: Any) -> Handle:
        """``previous`` where this step is skipped."""
        return _Otherwise(self, previous)

    def __repr__(self) -> str:
        done, value = self.peek()
        return f"<{self.label}: {value!r}>" if done else f"<{self.label}: pending>"


class _TaskHandle(Handle):
    def __init__(self, task: asyncio.Task[Any], label: str, outputs: tuple[str, ...]) -> None:
        super().__init__(label, outputs)
        self.task = task

    async def value(self) -> Any:
        return await asyncio.shield(self.task)

    def peek(self) -> tuple[bool, Any]:
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            return False, None
        return True, self.task.result()


class _Item(Handle):
    def __init__(self, whole: Handle, index: int, name: str) -> None:
        super().__init__(f"{whole.label}.{name}")
        self.whole = whole
        self.index = index

    async def value(self) -> Any:
        return self._pick(await self.whole.value())

    def peek(self) -> tuple[bool, Any]:
        done, value = self.whole.peek()
        return done, self._pick(value) if done else None

    def _pick(self, value: Any) -> Any:
        return value if value is SKIPPED else value[self.index]


class _Otherwise(Handle):
    def __init__(self, first: Handle, previous: Any) -> None:
        super().__init__(first.label, first.outputs)
        self.first = first
        self.previous = previous

    async def value(self) -> Any:
        value = await self.first.value()
        return await resolved(self.previous) if value is SKIPPED else value

    def peek(self) -> tuple[bool, Any]:
        done, value = self.first.peek()
        if done and value is SKIPPED:
            return self.previous.peek() if isinstance(self.previous, Handle) else (True, self.previous)
        return done, value


async def resolved(value: Any) -> Any:
    """The value itself, or what the Handle gives (SKIPPED included)."""
    return await value.value() if isinstance(value, Handle) else value


def launch(
    body: Callable[[], Coroutine[Any, Any, Any]],
    *,
    after: tuple[Any, ...] = (),
    label: str,
    outputs: tuple[str, ...] = (),
) -> Handle:
    """Begin ``body`` as a task of the workflow, once everything in ``after`` is done."""
    execution = current.required(f"{label}.start()")

    async def run() -> Any:
        for handle in after:
            await resolved(handle)
        return await body()

    handle = _TaskHandle(execution.loop.create_task(run()), label, outputs)
    execution.handles.append(handle.task)
    return handle


class Call:
    """A step with the conditions under which it runs; made by the step's own methods."""

    def __init__(self, step: Step[..., Any]) -> None:
        self.step = step
        self.condition: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self.needed: tuple[Any, ...] = ()
        self.repeat: _Repeat | None = None
        self.pause = 0.0
        self.signal: tuple[str, float | None, bool] | None = None
        self.compensation: tuple[Call, dict[str, Any]] | None = None

    def _with(self, **changes: Any) -> Call:
        changed = copy(self)
        changed.__dict__.update(changes)
        return changed

    def when(self, condition: Callable[..., Any], *values: Any) -> Call:
        """See ``Step.when``."""
        return self._with(condition=(condition, values))

    def after(self, *handles: Any) -> Call:
        """See ``Step.after``."""
        return self._with(needed=self.needed + handles)

    def until(
        self,
        condition: Callable[..., Any],
        *,
        every: float | str = 1.0,
        timeout: float | str | None = None,
        max: int | None = None,
    ) -> Call:
        """See ``Step.until``."""
        limit = None if timeout is None else seconds(timeout)
        repeat = _Repeat(condition, seconds(every), limit, max)
        repeat.check(self.step)
        return self._with(repeat=repeat)

    def delay(self, duration: float | str) -> Call:
        """See ``Step.delay``."""
        return self._with(pause=seconds(duration))

    def on_signal(self, name: str, timeout: float | str | None = None) -> Call:
        """See ``Step.on_signal``."""
        return self._with(signal=(name, None if timeout is None else seconds(timeout), True))

    def unless_signal(self, name: str, timeout: float | str | None = None) -> Call:
        """See ``Step.unless_signal``."""
        return self._with(signal=(name, None if timeout is None else seconds(timeout), False))

    def undo(self, compensation: Any, **inputs: Any) -> Call:
        """See ``Step.undo``."""
        undo = compensation if isinstance(compensation, Call) else Call(compensation)
        return self._with(compensation=(undo, inputs))

    def start(self, *args: Any, **kwargs: Any) -> Handle:
        """See ``Step.start``."""
        return self._launch(lambda work: work.once(args, kwargs))

    def map(self, items: Any, *args: Any, concurrency: int | None = None, **kwargs: Any) -> Handle:
        """See ``Step.map``."""
        if concurrency is not None and concurrency < 1:
            raise UserError(f"concurrency of {self.step.name} must be at least 1, not {concurrency}")
        return self._launch(lambda work: work.each(items, args, kwargs, concurrency))

    def _launch(self, body: Callable[[_Work], Coroutine[Any, Any, Any]]) -> Handle:
        site = sites.here(3)
        execution = current.required(f"{self.step.name}.start()")
        work = _Work(execution, self, site.line if site else 0)
        return launch(lambda: body(work), after=self.needed, label=self.step.name, outputs=self.step.outputs)


class _Repeat:
    def __init__(self, condition: Callable[..., Any], every: float, timeout: float | None, maximum: int | None) -> None:
        self.condition = condition
        self.every = every
        self.timeout = timeout
        self.maximum = maximum
        self.names = tuple(inspect.signature(condition).parameters)

    def check(self, step: Step[..., Any]) -> None:
        """Raise UserError where the condition names what the step neither gives nor takes."""
        known = {*(step.outputs or self.names[:1]), *step.parameters}
        unknown = [name for name in self.names if name not in known]
        if unknown:
            raise UserError(
                f"the until condition of step '{step.name}' reads '{unknown[0]}', which is neither an output "
                f"nor an input of it; it has {', '.join(sorted(known)) or 'none'}"
            )


class _Work:
    """One started Call: resolves its inputs, honours its conditions, runs its step."""

    def __init__(self, execution: Execution, call: Call, site: int) -> None:
        self.execution = execution
        self.call = call
        self.step = call.step
        self.site = site

    async def once(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs, reason = await self._inputs(args, kwargs)
        if reason:
            return self._skip(reason)
        signalled, args = await self._wait(args)
        if signalled is not None:
            return signalled[0]
        done = self._register_undo(args, kwargs)
        if self.call.repeat is not None:
            result = await self._repeated(self.call.repeat, args, kwargs)
        else:
            result = await self._run(args, kwargs)
        done["outputs"] = self._outputs(result)
        return result

    async def each(self, items: Any, args: tuple[Any, ...], kwargs: dict[str, Any], concurrency: int | None) -> Any:
        (items, *rest), kwargs, reason = await self._inputs((items, *args), kwargs)
        if reason:
            return self._skip(reason)
        signalled, rest_args = await self._wait(tuple(rest))
        if signalled is not None:
            return signalled[0]
        elements = list(items)
        execution, key = self.execution, self.execution.key(self.step.name)
        execution.note("map", key, e.MapStarted(key=key, step=self.step.name, total=len(elements)))
        room = asyncio.Semaphore(concurrency or max(1, len(elements)))

        async def one(index: int, element: Any) -> Any:
            done = self._register_undo((element, *rest_args), kwargs)
            item_key = Key(f"{key}#{index}")
            async with room:
                result = await execution.step(
                    self.step, (element, *rest_args), kwargs, item_key, item=index, site=self.site
                )
            done["outputs"] = self._outputs(result)
            return result

        tasks = [execution.loop.create_task(one(index, element)) for index, element in enumerate(elements)]
        return self._collected(await _all_done(tasks))

    def _collected(self, results: list[Any]) -> Any:
        if len(self.step.outputs) < 2:
            return results
        return tuple([result[index] for result in results] for index in range(len(self.step.outputs)))

    async def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        execution = self.execution
        key = execution.key(self.step.name)
        return await execution.step(self.step, args, kwargs, key, site=self.site)

    async def _inputs(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], str]:
        """Inputs with Handles resolved, and why the step is skipped, if it is."""
        if self.call.condition is not None:
            condition, handles = self.call.condition
            values = [await resolved(handle) for handle in handles]
            if any(value is SKIPPED for value in values):
                return args, kwargs, "what its condition needs was skipped"
            if not condition(*values):
                return args, kwargs, "its condition is false"
        reason = ""
        given = []
        for value in args:
            given.append(await resolved(value))
        named = {name: await resolved(value) for name, value in kwargs.items()}
        if any(value is SKIPPED for value in (*given, *named.values())):
            reason = "what it needs was skipped"
        return tuple(given), named, reason

    def _skip(self, reason: str) -> Skipped:
        key = self.execution.key(self.step.name)
        self.execution.note("skipped", key, e.StepSkipped(key=key, step=self.step.name, reason=reason))
        return SKIPPED

    async def _wait(self, args: tuple[Any, ...]) -> tuple[tuple[Any] | None, tuple[Any, ...]]:
        """Delay and signal: a result that replaces the step's, in a tuple, or None; and the step's arguments."""
        if self.call.pause:
            await asyncio.sleep(self.call.pause)
        if self.call.signal is None:
            return None, args
        name, limit, runs = self.call.signal
        try:
            async with asyncio.timeout(limit):
                value = await self.execution.signal(name)
        except TimeoutError:
            if runs:
                raise TimeoutError(f"step '{self.step.name}' waited {limit:g} s for signal '{name}'") from None
            return None, args
        return (None, (value, *args)) if runs else ((value,), args)

    async def _repeated(self, repeat: _Repeat, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = {**dict(zip(self.step.parameters, args, strict=False)), **kwargs}
        deadline = None if repeat.timeout is None else self.execution.time() + repeat.timeout
        rounds = 0
        while True:
            result = await self._run((), inputs) if inputs or not args else await self._run(args, kwargs)
            rounds += 1
            outputs = self._outputs(result) or dict.fromkeys(repeat.names[:1], result)
            known = {**inputs, **outputs}
            if repeat.condition(*[known[name] for name in repeat.names]):
                return result
            if repeat.maximum is not None and rounds >= repeat.maximum:
                raise TimeoutError(f"step '{self.step.name}' was not done after {rounds} rounds")
            if deadline is not None and self.execution.time() + repeat.every > deadline:
                raise TimeoutError(f"step '{self.step.name}' was not done after {repeat.timeout:g} s, {rounds} rounds")
            inputs.update({name: value for name, value in outputs.items() if name in inputs})
            await asyncio.sleep(repeat.every)

    def _outputs(self, result: Any) -> dict[str, Any]:
        names = self.step.outputs
        if not names:
            return {}
        return {names[0]: result} if len(names) == 1 else dict(zip(names, result, strict=True))

    def _register_undo(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Remember what takes this step back, before it is done; gives where its outputs are put."""
        done: dict[str, Any] = {"outputs": {}}
        if self.call.compensation is None:
            return done
        undo, given = self.call.compensation
        inputs = {**dict(zip(self.step.parameters, args, strict=False)), **kwargs}

        async def take_back() -> None:
            known = {**{name: await resolved(value) for name, value in given.items()}, **inputs, **done["outputs"]}
            wanted = {name: known.get(name) for name in undo.step.parameters}
            await _Work(self.execution, undo, self.site).once((), wanted)

        self.execution.undos.append(take_back)
        return done


async def _all_done(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Every result; where some failed, the first of the errors once all have ended."""
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    return [task.result() for task in tasks]


def results(**named: Any) -> Coroutine[Any, Any, dict[str, Any]]:
    """Wait for everything this workflow has started and give the named values.

    Fails with the first step that fails, after stopping the others and undoing what has an ``undo``, last first.
    """
    execution = current.required("results()")
    execution.named = dict(sys._getframe(1).f_locals)
    return _results(execution, named)


async def _results(execution: Execution, named: dict[str, Any]) -> dict[str, Any]:
    try:
        await _first_failure(execution)
        found = {name: await resolved(value) for name, value in named.items()}
    except GeneratorExit:  # the run leaves memory; it has not failed
        raise
    except BaseException:
        await _unwind(execution)
        raise
    return {name: None if value is SKIPPED else value for name, value in found.items()}


async def _first_failure(execution: Execution) -> None:
    while pending := [task for task in execution.handles if not task.done()]:
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        if any(_failed(task) for task in execution.handles):
            break
    for task in execution.handles:
        if _failed(task):
            task.result()


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _unwind(execution: Execution) -> None:
    """Stop what still runs and take back what was done; a second cancellation waits until that is finished."""
    for task in execution.handles:
        task.cancel()
    unwinding = execution.loop.create_task(_undo_all(execution))
    while not unwinding.done():
        try:
            await asyncio.shield(unwinding)
        except asyncio.CancelledError:
            continue
    unwinding.result()


async def _undo_all(execution: Execution) -> None:
    while execution.undos:
        try:
            await execution.undos.pop()()
        except Exception as error:
            # The history holds the failed undo; the run still ends with what made it fail.
            execution.undo_failures.append(error)
