"""Work that is taken back, in reverse, where what follows it fails: ``async with saga() as s``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

from flowbook.errors import UserError
from flowbook.runtime import current, sites
from flowbook.runtime.definitions import Step
from flowbook.runtime.duties import Duty
from flowbook.runtime.operation import patient
from flowbook.runtime.shielding import unbroken

T = TypeVar("T")


def saga() -> Saga:
    """Steps with their undos, in a block that either ends well or leaves nothing behind.

    ::

        async with saga() as s:
            vm = await s.do(create_vm, order, undo=delete_vm)
            await s.do(register, vm, undo=unregister)

    Where the block raises or the run is cancelled or terminated, the undos run in reverse; then the exception goes
    on. An undo that fails for good stays an open obligation (`flowbook obligations`) and the others run all the same.
    """
    return Saga()


class Saga:
    """The open undos of one block. Each is owed before its step begins."""

    def __init__(self) -> None:
        self._owed: list[_Undo] = []

    @overload
    async def do(self, step: Step[..., T], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any) -> T: ...
    @overload
    async def do(
        self, step: Callable[..., Any], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any
    ) -> Any: ...
    async def do(
        self, step: Callable[..., Any], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any
    ) -> Any:
        """Run ``step``; ``undo`` takes it back if need be.

        ``undo`` finds its parameters by name among the step's arguments and outputs; ``result``, or a single
        parameter of another name, is what the step returned.
        """
        doing = _step(step)
        execution = current.execution()
        if undo is None or execution is None:
            called = doing(*args, **kwargs)
            result = await called if inspect.isawaitable(called) else called
            if undo is not None:
                self._owed.append(_Undo(doing, undo, args, kwargs, result=result))
            return result
        owed = _Undo(doing, undo, args, kwargs)
        self._owed.append(owed)
        return await owed.do(sites.here())

    async def register(self, undo: Callable[..., Any], *args: Any) -> None:
        """Have ``undo(*args)`` called if the block fails from here on."""
        step = _step(undo)
        owed = _Undo(step, step, args, {}, as_called=True)
        self._owed.append(owed)
        if current.execution() is not None:
            await owed.owe(sites.here())

    async def __aenter__(self) -> Saga:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for owed in self._owed:
                owed.keep()
        elif not isinstance(error, GeneratorExit):
            execution = current.execution()
            if execution is None:
                await self._take_back()
            else:
                await unbroken(execution.duties.run(self._take_back()))
            for owed in self._owed:
                if owed.problem is not None:
                    error.add_note(f"taking back '{owed.step.name}' failed: {owed.problem}; see `flowbook obligations`")

    async def _take_back(self) -> None:
        for owed in reversed(self._owed):
            await owed.take_back()


class _Undo:
    """One step and what takes it back."""

    def __init__(
        self,
        step: Step[..., Any],
        undo: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        as_called: bool = False,
        **done: Any,
    ) -> None:
        self.step = step
        self.undo = patient(undo if isinstance(undo, Step) else Step(undo))
        self.args = args
        self.kwargs = kwargs
        self.as_called = as_called
        self.done = done
        self.duty: Duty | None = None
        self.doing: asyncio.Task[Any] | None = None
        self.taking: asyncio.Task[None] | None = None
        self.problem: Exception | None = None
        self._check()

    def _check(self) -> None:
        if not self.as_called and self._wanted({"result": None}) is None:
            known = ", ".join((*self.step.parameters, *self.step.outputs, "result"))
            raise UserError(
                f"undo '{self.undo.name}' of step '{self.step.name}' takes {', '.join(self.undo.parameters)}; "
                f"what is known is {known}"
            )

    async def owe(self, site: sites.Site | None) -> None:
        """Have it durable that this may have to be taken back."""
        execution = current.required("saga()")
        line = site.line if site is not None else 0
        self.duty = execution.duties.open(self.undo.name, "undo", self.take_back, site=line)
        await self.duty.recorded()

    async def do(self, site: sites.Site | None) -> Any:
        """Run the step, and not half of it: a cancellation waits until it is known what is to be taken back."""
        await self.owe(site)
        self.doing = current.required("saga()").duties.run(self._called(self.step, *self.args, **self.kwargs))
        return await unbroken(self.doing)

    def keep(self) -> None:
        """The block ended well."""
        if self.duty is not None and self.duty.open:
            self.duty.settle("kept")

    async def take_back(self) -> None:
        """Undo it, once."""
        execution = current.execution()
        if execution is None:
            await self._taken_back()
            return
        if self.duty is None or not self.duty.open:
            return
        if self.doing is None and not self.as_called:
            # It has not begun, and does not any more.
            self.duty.settle("cancelled")
            return
        if self.taking is None:
            self.taking = execution.duties.run(self._taken_back())
        await unbroken(self.taking)

    async def _taken_back(self) -> None:
        if self.doing is not None:
            await asyncio.wait([self.doing])
            if not self.doing.cancelled() and self.doing.exception() is None:
                self.done["result"] = self.doing.result()
        try:
            if self.as_called:
                await self._called(self.undo, *self.args)
            elif (wanted := self._wanted(self.done)) is not None:
                await self._called(self.undo, **wanted)
        except Exception as error:
            self.problem = error
            if self.duty is None:
                raise
            self.duty.fail(error)
            return
        if self.duty is not None:
            self.duty.settle("undone")

    async def _called(self, step: Step[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def _wanted(self, done: dict[str, Any]) -> dict[str, Any] | None:
        """The undo's arguments by name; None where the step failed before it gave what the undo needs."""
        known = {**dict(zip(self.step.parameters, self.args, strict=False)), **self.kwargs}
        if "result" in done:
            known |= {"result": done["result"], **self._outputs(done["result"])}
        parameters = inspect.signature(self.undo.function).parameters
        needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
        missing = [name for name in needed if name not in known]
        if len(needed) == 1 and missing and "result" in done:
            return {missing[0]: done["result"]}
        return None if missing else {name: known[name] for name in parameters if name in known}

    def _outputs(self, result: Any) -> dict[str, Any]:
        names = self.step.outputs
        if result is None or not names:
            return dict.fromkeys(names)
        return {names[0]: result} if len(names) == 1 else dict(zip(names, result, strict=True))


def _step(function: Callable[..., Any]) -> Step[..., Any]:
    if not callable(function):
        raise UserError(f"a saga takes steps, not {type(function).__name__}: pass the function, and its arguments")
    return function if isinstance(function, Step) else Step(function)
