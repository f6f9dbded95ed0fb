"""Steps with conditions: what ``step.when(...).until(...).start(...)`` builds, and how it runs.

Generated modules are written with these; hand-written workflows may use them next to plain ``await``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flowbook.core import events as e
from flowbook.core import options
from flowbook.core.duration import seconds
from flowbook.core.ids import Key
from flowbook.errors import OutcomeUnknown, UserError
from flowbook.runtime import current, sites
from flowbook.runtime.begun import Begun
from flowbook.runtime.duties import NO_KEY, NOT_STARTED, Duty, Owed
from flowbook.runtime.handles import SKIPPED, Handle, Skipped, launch, resolved
from flowbook.runtime.known import Known, spread

if TYPE_CHECKING:
    from flowbook.runtime.definitions import Step
    from flowbook.runtime.execution import Execution


R = TypeVar("R", covariant=True)


class Call(Generic[R]):
    """A step with the conditions under which it runs; made by the step's own methods."""

    def __init__(self, step: Step[..., R]) -> None:
        self.step = step
        self.condition: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self.needed: tuple[Any, ...] = ()
        self.repeat: _Repeat | None = None
        self.pause = 0.0
        self.signal: tuple[str, float | None, bool] | None = None
        self.compensation: tuple[Call[Any], dict[str, Any]] | None = None

    def _with(self, **changes: Any) -> Call[Any]:
        changed = copy(self)
        changed.__dict__.update(changes)
        return changed

    def when(self, condition: Callable[..., Any], *values: Any) -> Call[R | None]:
        """See ``Step.when``."""
        return self._with(condition=(condition, values))

    def after(self, *handles: Any) -> Call[R]:
        """See ``Step.after``."""
        return self._with(needed=self.needed + handles)

    def until(
        self,
        condition: Callable[..., Any],
        *,
        every: float | str = 1.0,
        timeout: float | str | None = None,
        max: int | None = None,
    ) -> Call[R]:
        """See ``Step.until``."""
        limit = None if timeout is None else seconds(timeout)
        repeat = _Repeat(condition, seconds(every), limit, max)
        repeat.check(self.step)
        return self._with(repeat=repeat)

    def delay(self, duration: float | str) -> Call[R]:
        """See ``Step.delay``."""
        return self._with(pause=seconds(duration))

    def on_signal(self, name: str, timeout: float | str | None = None) -> Call[R]:
        """See ``Step.on_signal``."""
        return self._hearing(name, timeout, True)

    def unless_signal(self, name: str, timeout: float | str | None = None) -> Call[Any]:
        """See ``Step.unless_signal``."""
        return self._hearing(name, timeout, False)

    def _hearing(self, name: str, timeout: float | str | None, runs: bool) -> Call[Any]:
        limit = None if timeout is None else seconds(timeout)
        return self._with(signal=(options.name("the name of a signal", name), limit, runs))

    def undo(self, compensation: Any, **inputs: Any) -> Call[R]:
        """See ``Step.undo``."""
        undo: Call[Any] = compensation if isinstance(compensation, Call) else Call(compensation)
        return self._with(compensation=(undo, inputs))

    def start(self, *args: Any, **kwargs: Any) -> Handle[R]:
        """See ``Step.start``."""
        return self._launch(lambda work: work.once(args, kwargs))

    def map(self, items: Any, *args: Any, concurrency: int | None = None, **kwargs: Any) -> Handle[list[R]]:
        """See ``Step.map``."""
        if concurrency is not None and concurrency < 1:
            raise UserError(f"concurrency of {self.step.name} must be at least 1, not {concurrency}")
        if not isinstance(items, Iterable | Handle):
            raise UserError(f"{self.step.name}.map() takes items, a list for example, not {type(items).__name__}")
        return self._launch(lambda work: work.each(items, args, kwargs, concurrency))

    def _launch(self, body: Callable[[_Work], Coroutine[Any, Any, Any]]) -> Handle[Any]:
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

    def __init__(self, execution: Execution, call: Call[Any], site: int) -> None:
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
        if self.call.repeat is not None:
            return await self._repeated(self.call.repeat, args, kwargs, await self._register_undo(args, kwargs, NO_KEY))
        key = self.execution.key(self.step.name)
        return await self._run(args, kwargs, key, await self._register_undo(args, kwargs, key))

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
            item_key = Key(f"{key}#{index}")
            async with room:
                inputs = (element, *rest_args)
                undo = await self._register_undo(inputs, kwargs, item_key)
                return await self._run(inputs, kwargs, item_key, undo, item=index)

        tasks = [execution.loop.create_task(one(index, element)) for index, element in enumerate(elements)]
        return self._collected(await _all_done(tasks))

    def _collected(self, results: list[Any]) -> Any:
        if len(self.step.outputs) < 2:
            return results
        return tuple([result[index] for result in results] for index in range(len(self.step.outputs)))

    async def _run(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key, undo: _Undo | None, item: int | None = None
    ) -> Any:
        """The step's result. What has an undo is not given up half-way: only what has ended can be taken back."""
        if undo is None:
            return await self.execution.step(self.step, args, kwargs, key, item=item, site=self.site)
        return await undo.begin(Begun(self.execution, self.step, args, kwargs, key, item=item, site=self.site))

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

    async def _repeated(
        self, repeat: _Repeat, args: tuple[Any, ...], kwargs: dict[str, Any], undo: _Undo | None
    ) -> Any:
        inputs = {**dict(zip(self.step.parameters, args, strict=False)), **kwargs}
        deadline = None if repeat.timeout is None else self.execution.time() + repeat.timeout
        rounds = 0
        while True:
            result = await self._run((), inputs, self.execution.key(self.step.name), undo)
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

    async def _register_undo(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key) -> _Undo | None:
        """Owe what takes this step back, before it is done."""
        if self.call.compensation is None:
            return None
        call, given = self.call.compensation
        undo = _Undo(self.execution, call, given, Known.of(self.step, args, kwargs), self.site)
        await undo.owe(key)
        return undo


class _Undo:
    """What takes a step back: the undo, and what it is given besides.

    ``begun`` is the step's last call, ``done`` its last with a result.
    """

    duty: Duty

    def __init__(self, execution: Execution, call: Call[Any], given: dict[str, Any], known: Known, site: int) -> None:
        self.execution = execution
        self.call = call
        self.given = given
        self.known = known
        self.site = site
        self.begun: Begun | None = None
        self.done: Begun | None = None

    async def begin(self, begun: Begun) -> Any:
        """The step is called, maybe not for the first time; gives its result."""
        self.begun = begun
        result = await begun.result()
        self.done = begun
        return result

    async def owe(self, key: Key) -> None:
        """Have it durable that this may have to be taken back."""
        arguments = self.known.encoded(self.execution.values)
        step, undo = self.known.step, self.call.step
        owed = Owed(undo.name, "undo", self.site, step.ref, key, arguments, undo.ref)
        self.duty = self.execution.duties.open(owed, self._take_back, keep=self._keep)
        await self.duty.recorded()

    async def _keep(self) -> None:
        """The run ends well: what the step did stands, and it is given the time to say what that is."""
        begun = self.begun
        if begun is None:
            self.duty.settle(NOT_STARTED)
            return
        await begun.ended()
        if self.duty.is_taken_back:
            # The run was terminated meanwhile.
            return
        if begun.has_result or (self.done is not None and not begun.is_open):
            self.duty.settle("kept")
        else:
            begun.give_up(self.duty)

    async def _take_back(self) -> None:
        """Undo it, where its step has begun something."""
        begun = self.begun
        if begun is None:
            self.duty.settle(NOT_STARTED)
            return
        await begun.ended()
        done = begun if begun.has_result else self.done
        if done is None and (begun.began_nothing() or self._lost):
            begun.give_up(self.duty)
            return
        if self._lost:
            raise OutcomeUnknown(f"undo '{self.call.step.name}' needs what '{self._lost}' gives, which has no result")
        known = Known(self.known.step, {**self.known.arguments}, (done or begun).idempotency_key)
        known.arguments |= {name: await resolved(value) for name, value in self.given.items()}
        if done is not None:
            known.result = done.task.result()
        wanted = known.for_undo(self.call.step)
        if wanted is None and done is None:
            begun.give_up(self.duty)
            return
        wanted = wanted if wanted is not None else dict.fromkeys(self.call.step.parameters)
        try:
            undo = self.call._with(step=self.call.step.afresh())
            await _Work(self.execution, undo, self.site).once(*spread(self.call.step, wanted))
        except Exception as error:
            encode = self.execution.values.encoded
            self.duty.fail(error, {name: encode(value, name) for name, value in wanted.items()})

    @property
    def _lost(self) -> str:
        """Which of the handles that the undo needs has no result; the code has ended, and it gets none any more."""
        _, tested = self.call.condition or (None, ())
        needed = (value for value in (*self.given.values(), *tested) if isinstance(value, Handle))
        return next((handle.label for handle in needed if not handle.peek()[0]), "")


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
